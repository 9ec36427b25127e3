//! Builds the tools of `tests/go`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

const NEEDED: &str =
    "this test needs Go 1.26 or newer: install it from https://go.dev/dl, with `go` on the PATH";

/// Builds `tests/go/<tool>` and returns the path of the program.
pub(crate) fn build(tool: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(tool);
    let built = Command::new("go")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go"))
        .args(["build", "-buildvcs=false", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(format!("./{tool}"))
        .output();
    match built {
        Ok(output) if output.status.success() => program,
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            panic!("`go build ./{tool}` failed; {NEEDED}\n{errors}");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("no `go` found; {NEEDED}"),
        Err(error) => panic!("`go` does not run: {error}; {NEEDED}"),
    }
}
