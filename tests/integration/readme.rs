//! What README says is so: its table of settings, its commands and what they print.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use image_swapper::rules::Reason;
use image_swapper::settings::SETTINGS;

use crate::support::assert_snapshot;

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "<!-- /settings -->\n";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn readme() -> String {
    fs::read_to_string(path()).unwrap()
}

#[test]
fn the_table_of_settings_is_that_of_the_program() {
    let mut table = "| variable | default | what it is for |\n|---|---|---|\n".to_owned();
    for setting in &SETTINGS {
        let default = setting
            .default
            .map_or("none".to_owned(), |text| format!("`{text}`"));
        writeln!(
            table,
            "| `{}` | {default} | {} |",
            setting.name, setting.help
        )
        .unwrap();
    }
    let readme = readme();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    assert_snapshot(&path(), &[before, BEGIN, &table, END, after].concat());
}

#[test]
fn its_console_blocks_print_what_they_show() {
    let readme = readme();
    let blocks: Vec<_> = readme.split("```console\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (block, _) = block.split_once("```").unwrap();
        let (mut script, mut shown) = (String::new(), String::new());
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => writeln!(script, "{command}"),
                None => writeln!(shown, "{line}"),
            }
            .unwrap();
        }

        let binary = Path::new(env!("CARGO_BIN_EXE_k8s-proxy-image-swapper"));
        let path = env::join_paths([binary.parent().unwrap(), Path::new("/usr/bin")]).unwrap();
        let mut shell = Command::new("/bin/sh");
        let output = shell
            .args(["-ec", &script])
            .env_clear()
            .env("PATH", path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{script}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{script}");
    }
}

#[test]
fn every_reason_is_explained() {
    let readme = readme();
    for reason in Reason::ALL {
        let row = format!("| `{}` |", reason.as_str());
        assert!(readme.contains(&row), "no row {row}");
    }
}
