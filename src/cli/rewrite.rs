//! `rewrite`: the server's own decisions about images, on the command line.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStringExt;

use super::Print;
use super::output::{Line, Out, to_stdout};
use crate::rules::{Decision, Reason, Rules};

/// Prints what becomes of each of `images`, or of each line of standard input if there are none. It
/// is no error that nobody reads on.
///
/// # Errors
/// What reading or writing says.
pub fn run(rules: &Rules, form: Print, images: Vec<OsString>) -> io::Result<()> {
    to_stdout(|out| {
        if images.is_empty() {
            return rewrite_lines(rules, form, io::stdin().lock(), out);
        }
        let mut images = images.into_iter().map(OsString::into_vec);
        images.try_for_each(|image| rewrite(rules, form, &image, out))
    })
}

fn rewrite_lines(rules: &Rules, form: Print, input: impl Read, out: &mut Out) -> io::Result<()> {
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
        rewrite(rules, form, image, out)?;
    }
}

fn rewrite(rules: &Rules, form: Print, image: &[u8], out: &mut Out) -> io::Result<()> {
    let text = String::from_utf8_lossy(image);
    if form == Print::Explanation {
        return out.write_all(rules.explain(&text).as_bytes());
    }
    let decision = match std::str::from_utf8(image) {
        Ok(image) => rules.decide(image, false),
        Err(_) => Decision::Skip(Reason::InvalidReference),
    };
    match &decision {
        _ if form == Print::Json => return Line::new(&text, &decision, rules).write_json(out),
        Decision::Swap { target, .. } => out.write_all(target.as_bytes())?,
        Decision::Skip(_) => out.write_all(image)?,
    }
    out.write_all(b"\n")
}
