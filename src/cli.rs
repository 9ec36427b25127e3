//! The command line: what is asked for, and the text of `--help`.

mod output;
pub mod preview;
pub mod rewrite;

use std::ffi::OsString;
use std::fmt::Write;

use lexopt::prelude::*;

use crate::settings::SETTINGS;

/// The exit code for mistakes on the command line and in settings: `EX_USAGE` of sysexits.h.
pub const EX_USAGE: u8 = 64;

/// The exit code of `preview --exit-code` if an image would be swapped.
pub const EX_SWAPS: u8 = 2;

const USAGE: &str = "\
Usage:
  k8s-proxy-image-swapper [serve] [--dev]
  k8s-proxy-image-swapper rewrite [--json | --explain] [IMAGE...]
  k8s-proxy-image-swapper preview [--json] [--exit-code] [-f FILE]...
  k8s-proxy-image-swapper --help | --version

Commands:
  serve    Run the webhook (the default)
    --dev        On this machine alone: a certificate made in memory, and no setting needed
  rewrite  Print what each IMAGE, or each line of standard input, becomes
    --json       One JSON object a line: the image, the decision and why
    --explain    In words: the image's full name, what each rule says of it, and the outcome
  preview  Print which images of Kubernetes objects, as `kubectl get -o json` prints them, would be
           swapped were their Pods created now, and why
    -f FILE      Read FILE, which may stand several times, instead of standard input (-)
    --json       One JSON object a line, for each image
    --exit-code  Exit with 2 if an image would be swapped

Settings, from the environment:
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the webhook.
    Serve {
        /// Without any file or setting.
        dev: bool,
    },
    /// Decide about images.
    Rewrite {
        /// What is printed of each.
        form: Print,
        /// The images; none for those on standard input.
        images: Vec<OsString>,
    },
    /// Decide about the images of objects.
    Preview {
        /// Whether to print JSON instead of a table.
        json: bool,
        /// Whether the exit code tells if an image would be swapped.
        exit_code: bool,
        /// The files with the objects; none for standard input.
        files: Vec<OsString>,
    },
    /// Print [`help`].
    Help,
    /// Print the version.
    Version,
}

/// What is printed of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// What it becomes, or itself.
    Image,
    /// The decision, as JSON.
    Json,
    /// The decision and how it came about, in words.
    Explanation,
}

/// Reads the command line, without the name of the program.
///
/// # Errors
/// What is wrong with it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut command = None;
    while let Some(arg) = parser.next()? {
        match (&mut command, arg) {
            (_, Short('h') | Long("help")) => return Ok(Command::Help),
            (_, Short('V') | Long("version")) => return Ok(Command::Version),
            (None, Value(name)) if name == "rewrite" => {
                let (form, images) = (Print::Image, Vec::new());
                command = Some(Command::Rewrite { form, images });
            }
            (None, Value(name)) if name == "preview" => {
                command = Some(Command::Preview {
                    json: false,
                    exit_code: false,
                    files: Vec::new(),
                });
            }
            (None, Value(name)) if name == "serve" => command = Some(Command::Serve { dev: false }),
            (None, Long("dev")) => command = Some(Command::Serve { dev: true }),
            (Some(Command::Serve { dev }), Long("dev")) => *dev = true,
            (Some(Command::Rewrite { form, .. }), Long(name @ ("json" | "explain"))) => {
                let wanted = match name {
                    "json" => Print::Json,
                    _ => Print::Explanation,
                };
                if ![Print::Image, wanted].contains(form) {
                    return Err("--json and --explain exclude each other".into());
                }
                *form = wanted;
            }
            (Some(Command::Rewrite { images, .. }), Value(image)) => images.push(image),
            (Some(Command::Preview { json, .. }), Long("json")) => *json = true,
            (Some(Command::Preview { exit_code, .. }), Long("exit-code")) => *exit_code = true,
            (Some(Command::Preview { files, .. }), Short('f')) => files.push(parser.value()?),
            (_, arg) => return Err(arg.unexpected()),
        }
    }
    Ok(command.unwrap_or(Command::Serve { dev: false }))
}

/// The text of `--help`.
#[must_use]
pub fn help() -> String {
    let mut help = format!("{}\n\n{USAGE}", env!("CARGO_PKG_DESCRIPTION"));
    for setting in &SETTINGS {
        let default = setting.default.unwrap_or("none");
        // Writing to a string does not fail.
        let _ = writeln!(help, "  {:<20} {}", setting.name, setting.help);
        let _ = writeln!(help, "  {:<20} (default: {default})", "");
    }
    help
}
