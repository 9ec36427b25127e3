//! From the text of `PROXY_URL`, `REWRITES` and `IGNORE_IMAGES` to [`Rules`]: all that is wrong is
//! found in one go, and each mistake names its setting, its item, and what was expected.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;

use super::prefix::{Prefix, PrefixError};
use super::{Ignored, Rewrite, Rules, Source, Target};
use crate::image::{DOCKER_HUB, ParseError, Reference};

const PROXY: &str = "{proxy}";
const REGISTRY: &str = "{registry}";

/// A mistake in one of the settings that make the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The name of the setting.
    pub setting: &'static str,
    /// The offending item of its value.
    pub item: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `PROXY_URL` is no registry.
    Proxy(PrefixError),
    /// `REWRITES` is set, and empty.
    NoRewrites,
    /// An item of `REWRITES` without `=`.
    NoEquals,
    /// What precedes the `=` is neither `*` nor a registry.
    Source(PrefixError),
    /// What follows the `=` is no registry.
    Target(PrefixError),
    /// `{proxy}` not at the start of a target, or not followed by `/`.
    ProxyPlace,
    /// `{registry}` twice, or before the first `/` of a target.
    RegistryPlace,
    /// A source that stands twice.
    Duplicate,
    /// A source below the fixed part of a target, that one: images there are already proxied.
    NeverApplies(String),
    /// An item of `IGNORE_IMAGES` that is no registry or path, though it ends in `/`.
    IgnoredPrefix(PrefixError),
    /// An item of `IGNORE_IMAGES` that is no image.
    IgnoredImage(ParseError),
    /// An item of `IGNORE_IMAGES` that reads as a registry, but names an image; what to write.
    IgnoredRegistry(String),
}

/// Something that is allowed, but hardly meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A target below another rule's source.
    NeverSwappedAgain {
        /// The target, with `{proxy}` filled in.
        target: String,
        /// The other rule's source.
        source: String,
    },
    /// A source `docker.io/NAME`.
    NotOfficial {
        /// The source.
        source: String,
    },
}

impl Rules {
    /// Parses the three settings; the rules of each are in `README.md`.
    ///
    /// # Errors
    /// Every mistake in any of them.
    pub fn parse(
        proxy_url: &str,
        rewrites: &str,
        ignore_images: &str,
    ) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let proxy = parse_proxy(proxy_url).unwrap_or_else(|error| {
            errors.push(RuleError {
                setting: "PROXY_URL",
                item: proxy_url.to_owned(),
                problem: Problem::Proxy(error),
            });
            // So that the mistakes in the other settings are found as well.
            Prefix::stand_in()
        });
        let parse_rewrite = |item: &str| Rewrite::parse(item, &proxy);
        let parsed = parse_list("REWRITES", rewrites, parse_rewrite, &mut errors);
        let ignored = parse_list("IGNORE_IMAGES", ignore_images, Ignored::parse, &mut errors);
        errors.extend(check_together(&parsed));
        if split_list(rewrites).next().is_none() {
            errors.push(RuleError {
                setting: "REWRITES",
                item: String::new(),
                problem: Problem::NoRewrites,
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }

        let mut rewrites: Vec<_> = parsed.into_iter().map(|(_, rewrite)| rewrite).collect();
        let with_text = |(item, ignored): (&str, _)| (item.to_owned(), ignored);
        let ignored = ignored.into_iter().map(with_text).collect();
        rewrites.sort_by_key(|rewrite| match &rewrite.source {
            Source::Any => Reverse(0),
            Source::Prefix(prefix) => Reverse(prefix.as_str().len()),
        });
        let warnings = find_warnings(&rewrites);
        Ok(Self {
            rewrites,
            ignored,
            warnings,
        })
    }
}

impl Rewrite {
    fn parse(item: &str, proxy: &Prefix) -> Result<Self, Problem> {
        let (source, target) = item.split_once('=').ok_or(Problem::NoEquals)?;
        let source = match source.trim_ascii() {
            "*" => Source::Any,
            text => Source::Prefix(Prefix::parse(text).map_err(Problem::Source)?),
        };
        let target = Target::parse(target.trim_ascii(), proxy)?;
        Ok(Self { source, target })
    }
}

impl Target {
    fn parse(text: &str, proxy: &Prefix) -> Result<Self, Problem> {
        let text = match text.strip_prefix(PROXY) {
            None => text.to_owned(),
            Some(path) if path.is_empty() || path.starts_with('/') => format!("{proxy}{path}"),
            Some(_) => return Err(Problem::ProxyPlace),
        };
        if text.contains(PROXY) {
            return Err(Problem::ProxyPlace);
        }
        let prefix = |text: &str| Prefix::parse(text).map_err(Problem::Target);
        let Some((before, after)) = text.split_once(REGISTRY) else {
            let fixed = prefix(&text)?;
            return Ok(Self {
                fixed,
                around_registry: None,
            });
        };
        if after.contains(REGISTRY) {
            return Err(Problem::RegistryPlace);
        }
        let (fixed, component) = before.rsplit_once('/').ok_or(Problem::RegistryPlace)?;
        // The rest of the component and of the path must be right around any registry.
        prefix(&text.replace(REGISTRY, "x"))?;
        let after = after.strip_suffix('/').unwrap_or(after);
        Ok(Self {
            fixed: prefix(fixed)?,
            around_registry: Some((format!("/{component}"), after.to_owned())),
        })
    }

    /// How the target reads, with `{proxy}` filled in.
    pub(super) fn describe(&self) -> String {
        match &self.around_registry {
            None => self.fixed.to_string(),
            Some((before, after)) => format!("{}{before}{REGISTRY}{after}", self.fixed),
        }
    }
}

impl Ignored {
    fn parse(item: &str) -> Result<Self, Problem> {
        if item.ends_with('/') {
            let prefix = Prefix::parse_ignored(item).map_err(Problem::IgnoredPrefix)?;
            return Ok(Self::Below(prefix));
        }
        let reference = Reference::parse(item).map_err(Problem::IgnoredImage)?;
        let without_digest = item.split('@').next().unwrap_or_default();
        let familiar = without_digest.split(':').next().unwrap_or_default();
        if !item.contains('/') && (familiar.contains('.') || familiar == "localhost") {
            return Err(Problem::IgnoredRegistry(format!("{without_digest}/")));
        }
        Ok(Self::Image {
            name: reference.name(),
            tag: reference.tag().map(str::to_owned),
            digest: reference.digest().map(str::to_owned),
        })
    }
}

/// `PROXY_URL`: people paste it from a browser, so a scheme that says nothing new and a final `/`
/// are dropped.
fn parse_proxy(text: &str) -> Result<Prefix, PrefixError> {
    let text = text.strip_prefix("https://").unwrap_or(text);
    Prefix::parse(text.trim_end_matches('/'))
}

/// The items of a list: separated by commas or newlines, trimmed, the empty ones dropped.
fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n'])
        .map(str::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// Parses each item of a list, and returns it with its text.
fn parse_list<'t, T>(
    setting: &'static str,
    list: &'t str,
    parse: impl Fn(&'t str) -> Result<T, Problem>,
    errors: &mut Vec<RuleError>,
) -> Vec<(&'t str, T)> {
    let mut parsed = Vec::new();
    for item in split_list(list) {
        match parse(item) {
            Ok(value) => parsed.push((item, value)),
            Err(problem) => errors.push(RuleError {
                setting,
                item: item.to_owned(),
                problem,
            }),
        }
    }
    parsed
}

/// What is wrong with rules that are right one by one.
fn check_together(rewrites: &[(&str, Rewrite)]) -> Vec<RuleError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (item, rewrite) in rewrites {
        let mut refuse = |problem| {
            errors.push(RuleError {
                setting: "REWRITES",
                item: (*item).to_owned(),
                problem,
            });
        };
        let source = rewrite.source.as_str();
        if !seen.insert(source) {
            refuse(Problem::Duplicate);
        }
        let over = rewrites
            .iter()
            .find(|(_, other)| other.target.fixed.covers_any_case(source));
        if let Some((other, _)) = over {
            refuse(Problem::NeverApplies((*other).to_owned()));
        }
    }
    errors
}

fn find_warnings(rewrites: &[Rewrite]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for rewrite in rewrites {
        let Source::Prefix(source) = &rewrite.source else {
            continue;
        };
        let others = rewrites
            .iter()
            .filter(|other| other.source != rewrite.source);
        for other in others.filter(|other| source.covers(other.target.fixed.as_str()).is_some()) {
            warnings.push(Warning::NeverSwappedAgain {
                target: other.target.describe(),
                source: source.to_string(),
            });
        }
        let one_component = source
            .path()
            .is_some_and(|path| !path.contains('/') && path != "library");
        if source.registry() == DOCKER_HUB && one_component {
            warnings.push(Warning::NotOfficial {
                source: source.to_string(),
            });
        }
    }
    warnings
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.setting, self.item, self.problem)
    }
}

impl std::error::Error for RuleError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(error) => write!(
                f,
                "expected a registry, with or without a path, such as `registry.example.com/proxy`; {error}"
            ),
            Self::NoRewrites => f.write_str(
                "expected at least one `SOURCE=TARGET`, or the variable unset for the default",
            ),
            Self::NoEquals => f.write_str("expected `SOURCE=TARGET`, and there is no `=`"),
            Self::Source(error) => write!(
                f,
                "expected `*` or a registry, with or without a path, before the `=`; {error} \
                 (for the image `nginx`, write `docker.io/library/nginx`)"
            ),
            Self::Target(error) => write!(
                f,
                "expected `{PROXY}` or a registry, with or without a path, after the `=`; {error}"
            ),
            Self::ProxyPlace => write!(
                f,
                "expected `{PROXY}` only at the start of the target, alone or followed by `/`"
            ),
            Self::RegistryPlace => write!(
                f,
                "expected `{REGISTRY}` at most once, and after the first `/` of the target"
            ),
            Self::Duplicate => f.write_str("expected each source once, and this one stands twice"),
            Self::NeverApplies(other) => write!(
                f,
                "expected a source outside every target: images there are already proxied by \
                 {other:?}, so that this rule could never apply"
            ),
            Self::IgnoredPrefix(error) => write!(
                f,
                "expected a registry or a path before the final `/`; {error}"
            ),
            Self::IgnoredImage(error) => write!(f, "expected an image; {error}"),
            Self::IgnoredRegistry(prefix) => write!(
                f,
                "expected an image, and this would be one on Docker Hub; for the registry, write {prefix:?}"
            ),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSwappedAgain { target, source } => write!(
                f,
                "REWRITES: the target {target:?} is below the source {source:?}; images swapped to \
                 it are not swapped again"
            ),
            Self::NotOfficial { source } => {
                let name = source.rsplit('/').next().unwrap_or_default();
                write!(
                    f,
                    "REWRITES: the source {source:?} matches `{name}/…` on Docker Hub; for the official \
                     image, write `docker.io/library/{name}`"
                )
            }
        }
    }
}
