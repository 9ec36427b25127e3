//! The program: reads the command line and the settings, and exits with 0, with 64 for a mistake in
//! either, with 2 if `preview --exit-code` finds something to swap, or with 1.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use image_swapper::cli::{self, Command, EX_SWAPS, EX_USAGE};
use image_swapper::serve;
use image_swapper::settings::Settings;

const VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n");

fn main() -> ExitCode {
    let command = match cli::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return refuse(&[format!("{error}; see --help")]),
    };
    match command {
        Command::Help => finish(io::stdout().write_all(cli::help().as_bytes())),
        Command::Version => finish(io::stdout().write_all(VERSION.as_bytes())),
        Command::Rewrite { form, images } => match Settings::read_rules(env::vars_os()) {
            Ok(rules) => finish(cli::rewrite::run(&rules, form, images)),
            Err(errors) => refuse(&errors),
        },
        Command::Preview {
            json,
            exit_code,
            files,
        } => match Settings::read_rules(env::vars_os()) {
            Ok(rules) => match cli::preview::run(rules, json, &files) {
                Ok(Some(true)) if exit_code => ExitCode::from(EX_SWAPS),
                Ok(None) if exit_code => {
                    finish(Err("not every object was looked at: nobody read on"))
                }
                result => finish(result.map(drop)),
            },
            Err(errors) => refuse(&errors),
        },
        Command::Serve { dev: true } if !cfg!(feature = "dev") => {
            refuse(&["this build has no `serve --dev`: it was built without the feature `dev`"])
        }
        Command::Serve { dev } => match Settings::read(env::vars_os(), dev) {
            Ok(settings) => finish(serve::run(settings, dev)),
            Err(errors) => refuse(&errors),
        },
    }
}

/// Says what is wrong with the command line or the settings.
fn refuse(mistakes: &[impl Display]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("{}: {mistake}", env!("CARGO_PKG_NAME"));
    }
    ExitCode::from(EX_USAGE)
}

fn finish<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", env!("CARGO_PKG_NAME"));
            ExitCode::FAILURE
        }
    }
}
