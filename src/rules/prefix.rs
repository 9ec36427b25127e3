//! A registry with or without a path: what `PROXY_URL`, the sources and the targets of `REWRITES`
//! and the items of `IGNORE_IMAGES` that end in `/` are made of.

use std::fmt;

use crate::image::{self, DOCKER_HUB, ParseError, Reference};

/// A registry, or a path on one. It covers the names that equal it or are below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    text: String,
    registry_len: usize,
}

/// Why a string is no `Prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixError {
    /// It has a scheme, such as `http://`.
    Scheme,
    /// It does not begin with a registry.
    NoRegistry,
    /// It has a digest.
    Digest,
    /// It has a tag.
    Tag,
    /// What follows the registry is no path.
    Path(ParseError),
}

impl Prefix {
    /// Parses a registry, then a path if any. One trailing `/` is dropped.
    pub(crate) fn parse(text: &str) -> Result<Self, PrefixError> {
        if text.contains("://") {
            return Err(PrefixError::Scheme);
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.contains('@') {
            return Err(PrefixError::Digest);
        }
        let (first, path) = match text.split_once('/') {
            Some((first, path)) => (first, Some(path)),
            None => (text, None),
        };
        let registry = image::parse_registry(first).ok_or(PrefixError::NoRegistry)?;
        if path.is_some_and(|path| path.contains(':')) {
            return Err(PrefixError::Tag);
        }
        Self::join(registry, path).map_err(PrefixError::Path)
    }

    /// Parses an item of `IGNORE_IMAGES` that ends in `/`: where the first component is no registry,
    /// the whole is a path on Docker Hub, as it is in an image.
    pub(crate) fn parse_ignored(text: &str) -> Result<Self, PrefixError> {
        match Self::parse(text) {
            Err(PrefixError::NoRegistry) => {}
            result => return result,
        }
        let text = text.strip_suffix('/').unwrap_or(text);
        let below = format!("{text}/x");
        let reference = Reference::parse(&below).map_err(PrefixError::Path)?;
        match reference.registry() {
            DOCKER_HUB => Self::join(DOCKER_HUB, Some(text)).map_err(PrefixError::Path),
            _ => Err(PrefixError::NoRegistry),
        }
    }

    fn join(registry: &str, path: Option<&str>) -> Result<Self, ParseError> {
        let text = match path {
            Some(path) => {
                let text = format!("{registry}/{path}");
                Reference::parse(&text)?;
                text
            }
            None => registry.to_owned(),
        };
        Ok(Self {
            text,
            registry_len: registry.len(),
        })
    }

    /// Something that parses, where what was written does not.
    pub(crate) fn stand_in() -> Self {
        let text = "proxy.invalid".to_owned();
        Self {
            registry_len: text.len(),
            text,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn registry(&self) -> &str {
        &self.text[..self.registry_len]
    }

    /// The path, if it has one.
    pub(crate) fn path(&self) -> Option<&str> {
        self.text[self.registry_len..].strip_prefix('/')
    }

    /// What follows the prefix in `name`, with its `/`, if `name` equals it or is below it.
    pub(crate) fn covers<'n>(&self, name: &'n str) -> Option<&'n str> {
        let rest = name.strip_prefix(self.text.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Whether `name` equals the prefix or is below it, the registry compared without ASCII case,
    /// as host names are.
    pub(crate) fn covers_any_case(&self, name: &str) -> bool {
        let Some((registry, path)) = name.split_at_checked(self.registry_len) else {
            return false;
        };
        let Some(rest) = path.strip_prefix(&self.text[self.registry_len..]) else {
            return false;
        };
        registry.eq_ignore_ascii_case(self.registry()) && (rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str(
                "it has a scheme; write only the registry, since whether to use TLS is the node's setting",
            ),
            Self::NoRegistry => f.write_str(
                "it does not begin with a registry, which has a `.`, a `:port` or an upper-case letter, \
                 or is `localhost`; without one it would name an image on Docker Hub",
            ),
            Self::Digest => f.write_str("it has a digest (`@`)"),
            Self::Tag => f.write_str("it has a tag, or a `:` after the first `/`"),
            Self::Path(error) => write!(f, "its path does not parse: {error}"),
        }
    }
}

impl std::error::Error for PrefixError {}
