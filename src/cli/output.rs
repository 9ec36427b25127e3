//! What `rewrite` and `preview` have in common: where they print, and what they say of an image.

use std::borrow::Cow;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use serde::Serialize;

use crate::image::Reference;
use crate::rules::{Decision, Reason, Rules};

/// Where they print.
pub(super) type Out = BufWriter<StdoutLock<'static>>;

/// Prints to standard output. It is no error that nobody reads on.
pub(super) fn to_stdout(print: impl FnOnce(&mut Out) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match print(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// An image, where it stands, what becomes of it and why. What is empty is not in its JSON.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) field: &'a str,
    pub(super) image: &'a str,
    pub(super) decision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) registry: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) repository: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// An image that stands nowhere, and what was decided about it.
    pub(super) fn new(image: &'a str, decision: &'a Decision, rules: &'a Rules) -> Self {
        let mut line = Self {
            image,
            decision: "skip",
            reason: decision.reason().map(Reason::as_str),
            ..Self::default()
        };
        if let Decision::Swap { target, rule } = decision {
            line.decision = "swap";
            line.target = Some(target);
            line.rule = rules.sources().nth(*rule);
        }
        if let Ok(reference) = Reference::parse(image) {
            line.registry = reference.registry();
            line.repository = reference.repository();
            line.tag = reference.tag();
            line.digest = reference.digest();
        }
        line
    }

    pub(super) fn write_json(&self, out: &mut Out) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}
