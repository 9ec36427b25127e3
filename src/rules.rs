//! The rules that decide about one image: whether it is swapped, for what, and if not, why.
//!
//! Pure: the settings' text becomes [`Rules`] once, at start (`parse`), and every image is decided
//! by [`Rules::decide`], which neither blocks nor fails.

mod explain;
mod parse;
mod prefix;

use std::net::IpAddr;

pub use parse::{Problem, RuleError, Warning};
use prefix::Prefix;
pub use prefix::PrefixError;

use crate::image::{ParseError, Reference};

/// What `PROXY_URL`, `REWRITES` and `IGNORE_IMAGES` say, ready to be applied.
#[derive(Debug)]
pub struct Rules {
    /// The longest source first, so that the first that matches is the one to apply.
    rewrites: Vec<Rewrite>,
    /// Each with its text.
    ignored: Vec<(String, Ignored)>,
    warnings: Vec<Warning>,
}

/// What is to be done with one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Pull another image instead.
    Swap {
        /// The image to pull, in full, always with a tag or a digest.
        target: String,
        /// The index in [`Rules::sources`] of the rule that says so.
        rule: usize,
    },
    /// Leave it alone.
    Skip(Reason),
}

/// Why an image is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It does not parse: the kubelet will say so.
    InvalidReference,
    /// Its pull policy is `Never`: under another name a preloaded image would not be found.
    NeverPulled,
    /// It is below a target, or on a target's registry and only `*` would match.
    AlreadyProxied,
    /// `IGNORE_IMAGES` names it.
    Ignored,
    /// No source matches it.
    NoRule,
    /// It is on this node's own registry, and only `*` would match.
    LocalRegistry,
    /// Its swapped form would not be an image below the target.
    InvalidTarget,
    /// An update that does not change it.
    Unchanged,
    /// Its Pod mirrors a static Pod, which the kubelet runs whatever the API server stores.
    MirrorPod,
    /// Its Pod has the label `k8s-proxy-image-swapper: skip`.
    OptedOut,
    /// It would be swapped, if the mode were not to observe.
    Observed,
}

impl Decision {
    /// The rule by which the image is swapped, if it is.
    #[must_use]
    pub fn rule(&self) -> Option<usize> {
        match self {
            Self::Swap { rule, .. } => Some(*rule),
            Self::Skip(_) => None,
        }
    }

    /// Why the image is left alone, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Swap { .. } => None,
            Self::Skip(reason) => Some(*reason),
        }
    }
}

/// What settles the decision about an image: a [`Decision`], and what it rests on.
enum Finding<'r> {
    /// It does not parse.
    Invalid(ParseError),
    NeverPulled,
    /// It is below this target.
    Proxied(&'r Prefix),
    /// It is on the registry of this target, and only `*` would match.
    OnProxy(&'r Prefix),
    /// This item of `IGNORE_IMAGES` names it.
    Ignored(&'r str),
    NoRule,
    Local,
    /// The target of this rule does not suit it.
    InvalidTarget(&'r Rewrite),
    Swap {
        target: String,
        rule: usize,
    },
}

/// `SOURCE=TARGET`
#[derive(Debug)]
struct Rewrite {
    source: Source,
    target: Target,
}

/// What a rule matches.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// `*`: every registry.
    Any,
    Prefix(Prefix),
}

/// What replaces that which the source matched.
#[derive(Debug)]
struct Target {
    /// All of it, or what precedes the component that holds `{registry}`.
    fixed: Prefix,
    /// What stands between the fixed part and `{registry}`, and what stands after.
    around_registry: Option<(String, String)>,
}

/// An item of `IGNORE_IMAGES`.
#[derive(Debug)]
enum Ignored {
    /// A registry or path, and all below it.
    Below(Prefix),
    /// One repository, or one tag or digest of it.
    Image {
        name: String,
        tag: Option<String>,
        digest: Option<String>,
    },
}

impl Reason {
    /// Every reason, in the order in which they are counted.
    pub const ALL: [Self; 11] = [
        Self::InvalidReference,
        Self::NeverPulled,
        Self::AlreadyProxied,
        Self::Ignored,
        Self::NoRule,
        Self::LocalRegistry,
        Self::InvalidTarget,
        Self::Unchanged,
        Self::MirrorPod,
        Self::OptedOut,
        Self::Observed,
    ];

    /// The name that metrics and the command line show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidReference => "invalid_reference",
            Self::NeverPulled => "never_pulled",
            Self::AlreadyProxied => "already_proxied",
            Self::Ignored => "ignored",
            Self::NoRule => "no_rule",
            Self::LocalRegistry => "local_registry",
            Self::InvalidTarget => "invalid_target",
            Self::Unchanged => "unchanged",
            Self::MirrorPod => "mirror_pod",
            Self::OptedOut => "opted_out",
            Self::Observed => "observed",
        }
    }
}

impl From<Finding<'_>> for Decision {
    fn from(finding: Finding<'_>) -> Self {
        Self::Skip(match finding {
            Finding::Swap { target, rule } => return Self::Swap { target, rule },
            Finding::Invalid(_) => Reason::InvalidReference,
            Finding::NeverPulled => Reason::NeverPulled,
            Finding::Proxied(_) | Finding::OnProxy(_) => Reason::AlreadyProxied,
            Finding::Ignored(_) => Reason::Ignored,
            Finding::NoRule => Reason::NoRule,
            Finding::Local => Reason::LocalRegistry,
            Finding::InvalidTarget(_) => Reason::InvalidTarget,
        })
    }
}

impl Rules {
    /// Decides about `image` as written in a Pod. `never_pulled` says that its pull policy is
    /// `Never`.
    ///
    /// Deciding about the target of a swap again always skips it, as already proxied.
    #[must_use]
    pub fn decide(&self, image: &str, never_pulled: bool) -> Decision {
        self.find(image, never_pulled).into()
    }

    /// Finds what settles the decision about an image.
    fn find(&self, image: &str, never_pulled: bool) -> Finding<'_> {
        let reference = match Reference::parse(image) {
            Ok(reference) => reference,
            Err(error) => return Finding::Invalid(error),
        };
        if never_pulled {
            return Finding::NeverPulled;
        }
        let name = reference.name();
        let matching = self
            .rewrites
            .iter()
            .enumerate()
            .find_map(|(rule, rewrite)| {
                let rest = rewrite.source.covers(&reference, &name)?;
                Some((rule, rewrite, rest))
            });
        let only_any = matching.is_some_and(|(_, rewrite, _)| rewrite.source == Source::Any);

        let targets = || self.rewrites.iter().map(|rewrite| &rewrite.target.fixed);
        if let Some(target) = targets().find(|target| target.covers_any_case(&name)) {
            return Finding::Proxied(target);
        }
        let on_registry =
            |target: &&Prefix| target.registry().eq_ignore_ascii_case(reference.registry());
        if only_any && let Some(target) = targets().find(on_registry) {
            return Finding::OnProxy(target);
        }
        let mut ignored = self.ignored.iter();
        if let Some((item, _)) = ignored.find(|(_, item)| item.covers(&reference, &name)) {
            return Finding::Ignored(item);
        }
        let Some((rule, rewrite, rest)) = matching else {
            return Finding::NoRule;
        };
        if only_any && is_local(reference.registry()) {
            return Finding::Local;
        }
        match rewrite.target.apply(&reference, rest) {
            Some(target) => Finding::Swap { target, rule },
            None => Finding::InvalidTarget(rewrite),
        }
    }

    /// The sources of the rules as metrics and the command line show them, the longest first.
    #[must_use]
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &str> {
        self.rewrites.iter().map(|rewrite| rewrite.source.as_str())
    }

    /// What is allowed, but hardly meant.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl Source {
    /// What is left of the name if the source matches it, with its leading `/`.
    fn covers<'n>(&self, reference: &Reference<'_>, name: &'n str) -> Option<&'n str> {
        match (self, reference.registry()) {
            (_, "") => None,
            (Self::Any, registry) => Some(&name[registry.len()..]),
            (Self::Prefix(prefix), _) => prefix.covers(name),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::Prefix(prefix) => prefix.as_str(),
        }
    }
}

impl Target {
    /// The swapped form of `reference`, of which the source left `rest`; none where that would not
    /// be read back as the image that is meant.
    fn apply(&self, reference: &Reference<'_>, rest: &str) -> Option<String> {
        let mut target = self.fixed.as_str().to_owned();
        if let Some((before, after)) = &self.around_registry {
            let component = registry_component(reference.registry())?;
            target.extend([before, component.as_str(), after]);
        }
        target.push_str(rest);
        let name_len = target.len();
        match (reference.tag(), reference.digest()) {
            (None, None) => target.push_str(":latest"),
            (tag, digest) => {
                for (separator, part) in [(":", tag), ("@", digest)] {
                    target.extend(part.map(|part| [separator, part]).into_iter().flatten());
                }
            }
        }
        let swapped = Reference::parse(&target).ok()?;
        (swapped.name() == target[..name_len]).then_some(target)
    }
}

impl Ignored {
    fn covers(&self, reference: &Reference<'_>, name: &str) -> bool {
        match self {
            Self::Below(prefix) => prefix.covers(name).is_some_and(|rest| !rest.is_empty()),
            Self::Image {
                name: ignored,
                tag,
                digest,
            } => {
                let implied = reference.digest().is_none().then_some("latest");
                ignored == name
                    && (tag.is_none() || tag.as_deref() == reference.tag().or(implied))
                    && (digest.is_none() || digest.as_deref() == reference.digest())
            }
        }
    }
}

/// A registry as one path component: lower case, without brackets, the port after a `-`.
fn registry_component(registry: &str) -> Option<String> {
    let component = registry
        .to_ascii_lowercase()
        .replace(['[', ']'], "")
        .replace(':', "-");
    let component = component.trim_matches('-');
    (!component.is_empty()).then(|| component.to_owned())
}

/// Whether a registry is `localhost` or a loopback address, with or without a port.
fn is_local(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;
