//! What the clusters are made of, built once.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the programs that tests/cluster/tools builds. What it is doing is seen meanwhile.
pub(crate) fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let mut command = Command::new(root().join("tests/cluster/tools"));
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "tests/cluster/tools: see above");
        let path = output.stdout.trim_ascii_end().to_vec();
        PathBuf::from(OsString::from_vec(path))
    })
}

/// Our program, as the container image holds it.
pub(crate) fn static_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // The target directory: this runs as target/debug/deps/NAME or target/debug/examples/NAME.
        let exe = std::env::current_exe().unwrap();
        let out = exe.ancestors().nth(3).unwrap().join("tmp/static");
        let mut command = Command::new(root().join(".ci/build-static"));
        command.arg(&out);
        // What cargo has set for this test is not for the program's build.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_")
                && name != "CARGO_TARGET_DIR"
                && name != "CARGO_HOME"
            {
                command.env_remove(name);
            }
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), ".ci/build-static:\n{errors}");
        out.join(env!("CARGO_PKG_NAME"))
    })
}
