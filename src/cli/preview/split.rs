//! Cuts a stream of JSON into the objects that it holds, one at a time, so that a list of any length
//! takes no more memory than its largest item.
//!
//! It counts brackets outside of strings, and reads nothing: whether a piece is right is for whoever
//! reads it. Between the pieces it insists on the grammar itself.

use std::io::{BufRead, BufReader, Read};

use super::Failure;

/// The most bytes that an object may have. An API server stores none of more than 1.5 MiB, which is
/// what etcd takes (`--max-request-bytes`).
const OBJECT_MAX: usize = 64 << 20;

/// How deep lists may stand in lists: `jq --slurp` makes an array of lists.
const DEPTH_MAX: usize = 4;

/// What is done with a piece that begins on some line.
type Each<'a> = dyn FnMut(&[u8], usize) -> Result<(), Failure> + 'a;

/// Calls `each` with every object of `input`: those that stand one after the other, and those in
/// arrays and in lists.
///
/// A list is an object with an array as its `items`. `each` gets it twice, the array empty: closed
/// after `items` before those come, and in full after them.
///
/// # Errors
/// What `each` says, or that there is something else, or nothing.
pub(super) fn split<R: Read>(input: BufReader<R>, each: &mut Each<'_>) -> Result<(), Failure> {
    let mut splitter = Splitter {
        input,
        each,
        line: 1,
    };
    // Nothing at all is what a program that failed leaves to the next one of a pipeline.
    splitter.value(0)?;
    while splitter.peek()?.is_some() {
        splitter.value(0)?;
    }
    Ok(())
}

struct Splitter<'e, 'a, R> {
    input: BufReader<R>,
    each: &'e mut Each<'a>,
    /// The line of the byte that comes next.
    line: usize,
}

impl<R: Read> Splitter<'_, '_, R> {
    /// An object, or an array of them.
    fn value(&mut self, depth: usize) -> Result<(), Failure> {
        match self.peek()? {
            Some(b'{') => self.object(depth),
            Some(b'[') if depth < DEPTH_MAX => {
                self.take()?;
                self.items(depth)
            }
            other => {
                Err(self.unexpected(other, "a JSON object, as `kubectl get -o json` prints it"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Failure> {
        let line = self.line;
        let mut text = Vec::new();
        let (mut brackets, mut in_string, mut escaped) = (0, false, false);
        loop {
            let Some(byte) = self.take()? else {
                return Err(self.unexpected(None, "the rest of an object"));
            };
            text.push(byte);
            if text.len() > OBJECT_MAX {
                return Err(self.failure("expected an object of at most 64 MiB"));
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_string,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'[' if brackets == 1 && depth < DEPTH_MAX && begins_items(&text) => {
                    (self.each)(&[&text[..], b"]}"].concat(), line)?;
                    self.items(depth)?;
                    text.push(b']');
                }
                b'{' | b'[' => brackets += 1,
                b'}' | b']' => brackets -= 1,
                _ => {}
            }
            if brackets == 0 {
                return (self.each)(&text, line);
            }
        }
    }

    /// The rest of an array, after its `[`.
    fn items(&mut self, depth: usize) -> Result<(), Failure> {
        let mut next = self.peek()?;
        while next != Some(b']') {
            self.value(depth + 1)?;
            next = self.peek()?;
            match next {
                Some(b',') => self.take().map(drop)?,
                Some(b']') => {}
                other => return Err(self.unexpected(other, "`,` or `]`")),
            }
        }
        self.take().map(drop)
    }

    /// The next byte that is not white space, left where it is.
    fn peek(&mut self) -> Result<Option<u8>, Failure> {
        loop {
            match self.next()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.take().map(drop)?,
                next => return Ok(next),
            }
        }
    }

    fn take(&mut self) -> Result<Option<u8>, Failure> {
        let next = self.next()?;
        if next.is_some() {
            self.input.consume(1);
        }
        self.line += usize::from(next == Some(b'\n'));
        Ok(next)
    }

    fn next(&mut self) -> Result<Option<u8>, Failure> {
        let bytes = self.input.fill_buf();
        let bytes = bytes.map_err(|error| Failure::Input(error.to_string()))?;
        Ok(bytes.first().copied())
    }

    fn unexpected(&self, found: Option<u8>, expected: &str) -> Failure {
        let found = match found {
            Some(byte) => format!("`{}`", byte.escape_ascii()),
            None => "the end".to_owned(),
        };
        self.failure(&format!("expected {expected}, and found {found}"))
    }

    fn failure(&self, problem: &str) -> Failure {
        Failure::Input(format!("line {}: {problem}", self.line))
    }
}

/// Whether what stands directly in an object, up to a `[`, is the beginning of its `items`.
fn begins_items(text: &[u8]) -> bool {
    let before = ["[", ":", "\"items\""].iter().try_fold(text, |text, end| {
        Some(text.strip_suffix(end.as_bytes())?.trim_ascii_end())
    });
    before.is_some_and(|before| before.ends_with(b"{") || before.ends_with(b","))
}

#[cfg(test)]
mod tests;
