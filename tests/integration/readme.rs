//! What README says is so: its table of settings, its rules, its commands and what they print.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use image_swapper::rules::Reason;
use image_swapper::settings::SETTINGS;

use crate::support::{assert_snapshot, run};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn readme() -> String {
    fs::read_to_string(path()).unwrap()
}

/// Compares what stands between the lines `<!-- NAME -->` and `<!-- /NAME -->`, or rewrites it with
/// `UPDATE_SNAPSHOTS=1`.
pub(crate) fn assert_part(name: &str, part: &str) {
    let readme = readme();
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- /{name} -->\n");
    let (before, rest) = readme.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    assert_snapshot(&path(), &[before, &begin, part, &end, after].concat());
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
    assert_part("settings", &table);
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// What stands in a cell as code.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// Those that end in the columns `image` and `becomes`. A column with a setting's name has its value,
/// or the default where it is empty.
#[test]
fn its_tables_of_images_are_what_the_program_does() {
    let readme = readme();
    let mut lines = readme.lines();
    let mut rows = 0;
    while let Some(head) = lines.find(|line| line.ends_with("| image | becomes |")) {
        let head = cells(head);
        for row in lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
        {
            let cells = cells(row);
            assert_eq!(cells.len(), head.len(), "{row}");
            let mut env = vec![("PROXY_URL", "registry.example.com")];
            let settings = head.iter().zip(&cells);
            env.extend(settings.filter_map(|(name, value)| Some((code(name)?, code(value)?))));
            let [.., image, becomes] = cells[..] else {
                panic!("{row}");
            };
            let image = code(image).unwrap();
            let output = run(&["rewrite", image], &env, b"");
            let expected = code(becomes).unwrap_or_else(|| {
                assert!(becomes.starts_with("not swapped"), "{row}");
                image
            });
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(printed.trim_end(), expected, "{row}");
            rows += 1;
        }
    }
    assert!(rows > 8, "{rows}");
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
