//! `rewrite`: the server's own decisions about images, on the command line.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStringExt;

use serde::Serialize;

use crate::image::Reference;
use crate::rules::{Decision, Reason, Rules};

/// What `--json` prints of an image.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    image: &'a str,
    decision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    registry: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
}

/// Prints a line for each of `images`, or for each line of standard input if there are none. It is
/// no error that nobody reads on.
///
/// # Errors
/// What reading or writing says.
pub fn run(rules: &Rules, json: bool, images: Vec<OsString>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if images.is_empty() {
        rewrite_lines(rules, json, io::stdin().lock(), &mut out)
    } else {
        let mut images = images.into_iter().map(OsString::into_vec);
        images.try_for_each(|image| rewrite(rules, json, &image, &mut out))
    };
    match result.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn rewrite_lines(
    rules: &Rules,
    json: bool,
    input: impl Read,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        // Whoever waits for an answer before asking on gets it.
        if input.buffer().is_empty() {
            out.flush()?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let image = line.strip_suffix(b"\n").unwrap_or(&line);
        rewrite(rules, json, image, out)?;
    }
}

fn rewrite(rules: &Rules, json: bool, image: &[u8], out: &mut impl Write) -> io::Result<()> {
    let decision = match std::str::from_utf8(image) {
        Ok(image) => rules.decide(image, false),
        Err(_) => Decision::Skip(Reason::InvalidReference),
    };
    if json {
        write_json(rules, &decision, &String::from_utf8_lossy(image), out)?;
    } else {
        match &decision {
            Decision::Swap { target, .. } => out.write_all(target.as_bytes())?,
            Decision::Skip(_) => out.write_all(image)?,
        }
    }
    out.write_all(b"\n")
}

fn write_json(
    rules: &Rules,
    decision: &Decision,
    image: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut line = Line {
        image,
        ..Line::default()
    };
    match decision {
        Decision::Swap { target, rule } => {
            line.decision = "swap";
            line.target = Some(target);
            line.rule = rules.sources().nth(*rule);
        }
        Decision::Skip(reason) => {
            line.decision = "skip";
            line.reason = Some(reason.as_str());
        }
    }
    let reference = Reference::parse(image).ok();
    let repository = reference.map(|reference| reference.repository());
    if let Some(reference) = reference {
        line.registry = reference.registry();
        line.tag = reference.tag();
        line.digest = reference.digest();
    }
    line.repository = repository.as_deref().unwrap_or_default();
    serde_json::to_writer(out, &line).map_err(io::Error::from)
}
