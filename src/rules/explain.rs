//! Why an image becomes what it does, in words for a person.

use std::fmt::{self, Write};

use super::{Decision, Finding, Rewrite, Rules, Source};
use crate::image::Reference;

impl Rules {
    /// How [`Rules::decide`] comes to its decision about `image`: the image, its full name, what each
    /// rule says of it, the longest source first, and at last what is done and why.
    #[must_use]
    pub fn explain(&self, image: &str) -> String {
        let mut lines = format!("{image:?}\n");
        let mut line = |line: fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "  {line}");
        };
        if let Ok(reference) = Reference::parse(image) {
            line(format_args!("in full: {reference}"));
            let name = reference.name();
            let mut matched = false;
            for rewrite in &self.rewrites {
                let says = match rewrite.source.covers(&reference, &name) {
                    None => rewrite.source.misses(&reference, &name),
                    Some(_) if matched => "matches, but a longer source does too",
                    Some(_) => {
                        matched = true;
                        "matches"
                    }
                };
                line(format_args!("rule {rewrite}: {says}"));
            }
        }
        let finding = self.find(image, false);
        let why = finding.to_string();
        match finding.into() {
            Decision::Swap { target, .. } => line(format_args!("swap: {target}")),
            Decision::Skip(reason) => line(format_args!("skip: {}: {why}", reason.as_str())),
        }
        lines
    }
}

impl Source {
    /// What it says of an image that it does not match.
    fn misses(&self, reference: &Reference<'_>, name: &str) -> &'static str {
        match self {
            _ if reference.registry().is_empty() => "does not match: the image has no registry",
            Self::Prefix(prefix) if prefix.covers_any_case(name) => {
                "does not match: the case of letters counts"
            }
            Self::Prefix(prefix) if name.starts_with(prefix.as_str()) => {
                "does not match: it is compared by whole components"
            }
            _ => "does not match",
        }
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.source.as_str(), self.target.describe())
    }
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => write!(f, "{error}"),
            Self::NeverPulled => f.write_str("its pull policy is Never"),
            Self::Proxied(target) => write!(f, "it is below the target {target}"),
            Self::OnProxy(target) => write!(
                f,
                "only `*` matches, and it is on the registry of the target {target}"
            ),
            Self::Ignored(item) => write!(f, "IGNORE_IMAGES has {item:?}"),
            Self::NoRule => f.write_str("no rule matches"),
            Self::Local => f.write_str("only `*` matches, and it is on the node itself"),
            Self::InvalidTarget(rewrite) => {
                write!(f, "the rule {rewrite} would make of it what is no image")
            }
            Self::Swap { target, .. } => f.write_str(target),
        }
    }
}
