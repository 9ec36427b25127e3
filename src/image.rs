//! Image references: the grammar and the normalisation of the distribution project's
//! `reference.ParseNormalizedNamed` (v0.6), which the kubelet and containerd use.
//!
//! A hand-written scanner that borrows from its input. It decides nothing: see `rules`.

use std::borrow::Cow;
use std::fmt;

/// The registry of references that name none.
pub const DOCKER_HUB: &str = "docker.io";

/// The older name of [`DOCKER_HUB`]; it normalises to it.
const DOCKER_INDEX: &str = "index.docker.io";

/// What Docker Hub's repositories of one component, such as `nginx`, are below.
const LIBRARY: &str = "library/";

/// The longest repository, in bytes.
const REPOSITORY_MAX: usize = 255;

/// The longest tag, in bytes.
const TAG_MAX: usize = 128;

/// A valid image reference, normalised.
///
/// Printed, it is the canonical form: `docker.io/library/nginx` for `nginx`. No tag is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    registry: &'a str,
    /// Whether the repository is `library/` and then `path`.
    library: bool,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// Why a string is no image reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// 64 hex digits: the identifier of an image, not a name.
    Identifier,
    /// What stands before the first `/` can only be a registry, and is none.
    Registry,
    /// The repository has upper-case letters.
    Uppercase,
    /// The repository is not made of path components.
    Repository,
    /// The repository is too long.
    TooLong,
    /// What follows the `:` is no tag.
    Tag,
    /// What follows the `@` is no digest.
    Digest,
}

impl<'a> Reference<'a> {
    /// Parses and normalises `image` as `reference.ParseNormalizedNamed` does.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(image: &'a str) -> Result<Self, ParseError> {
        if image.len() == 64 && image.bytes().all(is_lower_hex) {
            return Err(ParseError::Identifier);
        }
        let (registry, remainder) = match image.split_once('/') {
            Some((first, rest)) if looks_like_registry(first) => match parse_registry(first) {
                Some(registry) => (registry, rest),
                // It may still be a path component: `a_b.io/x` is a repository of no registry.
                None if is_path_component(first) => ("", image),
                None => return Err(ParseError::Registry),
            },
            _ => (DOCKER_HUB, image),
        };
        let (name, digest) = split_suffix(remainder, '@');
        let (path, tag) = split_suffix(name, ':');
        check_path(path)?;
        // `nginx` and `library/nginx` become the same, so that they are equal.
        let below_library = path.strip_prefix(LIBRARY).unwrap_or(path);
        let library = registry == DOCKER_HUB && !below_library.contains('/');
        let path = if library { below_library } else { path };
        if path.len() + if library { LIBRARY.len() } else { 0 } > REPOSITORY_MAX {
            return Err(ParseError::TooLong);
        }
        if !tag.is_none_or(is_tag) {
            return Err(ParseError::Tag);
        }
        if !digest.is_none_or(is_digest) {
            return Err(ParseError::Digest);
        }
        Ok(Self {
            registry,
            library,
            path,
            tag,
            digest,
        })
    }

    /// The host that serves the image, with its port: `docker.io`, `[::1]:5000`. Empty where the
    /// grammar sees none although the first component looks like one (`a_b.io/x`).
    #[must_use]
    pub fn registry(&self) -> &'a str {
        self.registry
    }

    /// The path on the registry: `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> Cow<'a, str> {
        if self.library {
            Cow::Owned([LIBRARY, self.path].concat())
        } else {
            Cow::Borrowed(self.path)
        }
    }

    /// Registry and repository: `docker.io/library/nginx`.
    #[must_use]
    pub fn name(&self) -> String {
        let slash = if self.registry.is_empty() { "" } else { "/" };
        let library = if self.library { LIBRARY } else { "" };
        [self.registry, slash, library, self.path].concat()
    }

    /// What stands after the `:`, if anything.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// What stands after the `@`, if anything: `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> Option<&'a str> {
        self.digest
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        if let Some(tag) = self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identifier => "64 hex digits name no image",
            Self::Registry => "the part before the first `/` is neither a registry nor a path component",
            Self::Uppercase => "the repository must be lower case",
            Self::Repository => {
                "the repository must be components of a-z and 0-9, joined by one `.`, one or two `_`, or any `-`"
            }
            Self::TooLong => "the repository is longer than 255 bytes",
            Self::Tag => {
                "the tag must be 1 to 128 letters, digits, `_`, `.` or `-`, and not begin with `.` or `-`"
            }
            Self::Digest => {
                "the digest must be `sha256:`, `sha384:` or `sha512:` and 64, 96 or 128 lower-case hex digits"
            }
        })
    }
}

impl std::error::Error for ParseError {}

/// The registry that a first component `text` names, normalised; none where the grammar takes it as
/// the beginning of a path.
pub(crate) fn parse_registry(text: &str) -> Option<&str> {
    if !looks_like_registry(text) {
        return None;
    }
    match text {
        DOCKER_INDEX => Some(DOCKER_HUB),
        _ => is_registry(text).then_some(text),
    }
}

/// Whether the grammar takes a first component as a registry, well-formed or not.
fn looks_like_registry(text: &str) -> bool {
    let telling = |b: u8| matches!(b, b'.' | b':') || b.is_ascii_uppercase();
    text == "localhost" || text.bytes().any(telling)
}

/// Whether `text` is `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn is_registry(text: &str) -> bool {
    if let Some(ipv6) = text.strip_prefix('[') {
        return ipv6.split_once(']').is_some_and(|(address, port)| {
            let valid = |b: u8| b.is_ascii_hexdigit() || b == b':';
            !address.is_empty()
                && address.bytes().all(valid)
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = split_suffix(text, ':');
    host.split('.').all(is_host_component) && port.is_none_or(is_port)
}

/// Checks that `path` is path components joined by `/`, of any length.
fn check_path(path: &str) -> Result<(), ParseError> {
    if path.split('/').all(is_path_component) {
        Ok(())
    } else if path.bytes().any(|b| b.is_ascii_uppercase()) {
        Err(ParseError::Uppercase)
    } else {
        Err(ParseError::Repository)
    }
}

fn split_suffix(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((head, suffix)) => (head, Some(suffix)),
        None => (text, None),
    }
}

fn is_host_component(text: &str) -> bool {
    let ends_with_dash = text.starts_with('-') || text.ends_with('-');
    let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty() && !ends_with_dash && text.bytes().all(valid)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Runs of `[a-z0-9]`, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let run = count_while(rest, |b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        let separator = match rest {
            [] => return true,
            [b'-', ..] => count_while(rest, |b| b == b'-'),
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            _ => return false,
        };
        rest = &rest[separator..];
    }
}

fn count_while(bytes: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|b| accept(**b)).count()
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// The digests that go-digest validates: the OCI image specification's registered algorithms, and
/// SHA-384.
fn is_digest(text: &str) -> bool {
    let digits = match text.split_once(':') {
        Some(("sha256", hex)) => (hex, 64),
        Some(("sha384", hex)) => (hex, 96),
        Some(("sha512", hex)) => (hex, 128),
        _ => return false,
    };
    digits.0.len() == digits.1 && digits.0.bytes().all(is_lower_hex)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests;
