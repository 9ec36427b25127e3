//! The real program's command line: what it prints, and how it exits.

mod preview;
mod rewrite;

#[cfg(feature = "dev")]
use std::process::Command;
use std::process::Output;

use image_swapper::settings::SETTINGS;

#[cfg(feature = "dev")]
use crate::support::Program;
use crate::support::{Authority, Directory, run, service_env};

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn help_names_every_setting_and_its_default() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["serve", "--help"],
        &["rewrite", "-h"],
        &["preview", "--help"],
    ] {
        let output = run(args, &[], b"");
        assert_eq!(output.status.code(), Some(0));
        for setting in &SETTINGS {
            let line = format!("  {:<20} {}\n", setting.name, setting.help);
            let default = setting.default.unwrap_or("none");
            let default = format!("{line}  {:<20} (default: {default})\n", "");
            assert!(stdout(&output).contains(&default), "{default}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    for args in [&["--version"][..], &["-V"], &["rewrite", "--version"]] {
        let output = run(args, &[], b"");
        assert_eq!(output.status.code(), Some(0));
        let version = concat!("k8s-proxy-image-swapper ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(stdout(&output), version);
    }
}

#[test]
fn what_is_not_understood_exits_with_64() {
    for (args, problem) in [
        (&["--nonsense"][..], "invalid option '--nonsense'"),
        (&["-x"], "invalid option '-x'"),
        (&["nonsense"], "unexpected argument \"nonsense\""),
        (&["serve", "nonsense"], "unexpected argument \"nonsense\""),
        (&["serve", "--json"], "invalid option '--json'"),
        (&["rewrite", "--dev"], "invalid option '--dev'"),
        (&["rewrite", "-x"], "invalid option '-x'"),
        (&["--json", "rewrite"], "invalid option '--json'"),
        (&["preview", "nonsense"], "unexpected argument \"nonsense\""),
        (&["preview", "--explain"], "invalid option '--explain'"),
        (&["preview", "-f"], "missing argument for option '-f'"),
        (
            &["rewrite", "--json", "--explain"],
            "--json and --explain exclude each other",
        ),
        (
            &["rewrite", "--explain", "nginx", "--json"],
            "--json and --explain exclude each other",
        ),
        (
            &["--dev=yes"],
            "unexpected argument for option '--dev': \"yes\"",
        ),
    ] {
        let output = run(args, &[("PROXY_URL", "registry.example.com")], b"");
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        let expected = format!("k8s-proxy-image-swapper: {problem}; see --help\n");
        assert_eq!(stderr(&output), expected);
        assert_eq!(stdout(&output), "");
    }
}

#[cfg(not(feature = "dev"))]
#[test]
fn a_build_without_the_generator_says_so() {
    let output = run(&["serve", "--dev"], &[], b"");
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("without the feature `dev`"));
}

#[test]
fn every_broken_setting_is_told_at_once() {
    let broken = [
        ("PROXY_URL", "registry"),
        ("REWRITES", "nginx={proxy}"),
        ("LISTEN_ADDR", "localhost:8443"),
        ("LOG", "loud"),
        ("MAX_BODY_BYTES", "0"),
        ("BODY_TIMEOUT", "5"),
        ("DRAIN_TIMEOUT", "1s"),
    ];
    for args in [&[][..], &["serve"]] {
        let output = run(args, &[&broken[..], &[("DRAIN_DELAY", "1s")]].concat(), b"");
        assert_eq!(output.status.code(), Some(64));
        let lines: Vec<&str> = stderr(&output).lines().collect();
        assert_eq!(lines.len(), broken.len(), "{lines:#?}");
        for (name, value) in broken {
            let start = format!("k8s-proxy-image-swapper: {name}: {value:?}: ");
            let told = lines.iter().filter(|line| line.starts_with(&start));
            assert_eq!(told.count(), 1, "{start} in {lines:#?}");
        }
    }
}

#[test]
fn the_proxy_is_required() {
    for env in [&[][..], &[("PROXY_URL", "")], &[("PROXY_URL", " \n")]] {
        for args in [&[][..], &["rewrite", "nginx"], &["preview"]] {
            let output = run(args, env, b"");
            assert_eq!(output.status.code(), Some(64));
            let start = "k8s-proxy-image-swapper: PROXY_URL: \"\": ";
            assert!(stderr(&output).starts_with(start), "{}", stderr(&output));
            assert_eq!(stderr(&output).lines().count(), 1);
        }
    }
}

#[test]
fn a_missing_certificate_is_named() {
    let directory = Directory::new();
    let files = Authority::new("CA").issue().write(&directory, &[]);
    let missing = directory.path().join("missing");
    let missing = missing.to_str().unwrap();
    let paths = [&files.cert, &files.key].map(|path| path.to_str().unwrap());
    for (cert, key) in [(missing, paths[1]), (paths[0], missing)] {
        let env = [
            ("PROXY_URL", "registry.example.com"),
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("TLS_CERT_FILE", cert),
            ("TLS_KEY_FILE", key),
        ];
        let output = run(&["serve"], &env, b"");
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("k8s-proxy-image-swapper: {missing}: No such file or directory (os error 2)\n");
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (name, other) in [("LISTEN_ADDR", "ADMIN_ADDR"), ("ADMIN_ADDR", "LISTEN_ADDR")] {
        let (_directory, env) = service_env(&Authority::new("CA"));
        let env = env.iter().map(|(name, value)| (*name, &**value));
        let taken = [(name, &*taken), (other, "127.0.0.1:0")];
        let env: Vec<(&str, &str)> = env.chain(taken).collect();
        let output = run(&["serve"], &env, b"");
        assert_eq!(output.status.code(), Some(1));
        let start = format!(
            "k8s-proxy-image-swapper: {name}: cannot listen on {}: ",
            taken[0].1
        );
        assert!(stderr(&output).contains(&start), "{}", stderr(&output));
    }
}

/// What the shell prints when it runs the line that `serve --dev` prints.
#[cfg(feature = "dev")]
fn run_in_shell(line: &str) -> String {
    for tool in ["curl", "base64", "sed"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output()
            .unwrap();
        assert!(found.status.success(), "this test needs {tool}: install it");
    }
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "dev")]
#[tokio::test]
async fn serve_dev_prints_a_line_that_shows_a_swap() {
    for listen_addr in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let env = [
            ("LISTEN_ADDR", listen_addr),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
        ];
        let mut program = Program::start(&["serve", "--dev"], &env);
        program.serving().await;
        crate::support::until("a line with curl", || program.stdout().contains("echo\n")).await;
        let stdout = program.stdout();
        let lines: Vec<&str> = stdout
            .lines()
            .filter(|line| line.starts_with("curl "))
            .collect();
        let [line] = lines[..] else {
            panic!("one line with curl in {stdout}");
        };
        let printed = run_in_shell(line);
        let patch: Vec<serde_json::Value> = serde_json::from_str(&printed).unwrap();
        let image = patch
            .iter()
            .find(|one| one["path"] == "/spec/containers/0/image");
        let image = image.unwrap();
        assert_eq!(image["op"], "replace");
        assert_eq!(image["value"], "localhost:5000/library/nginx:1.27");
        assert!(!program.has_ended());
    }
}

#[cfg(feature = "dev")]
#[tokio::test]
async fn other_variables_need_not_be_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let bytes = OsStr::from_bytes(b"\xff\xfe");
    let mut command = crate::support::command(
        &["serve", "--dev"],
        &[
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
        ],
    );
    command.env("OTHER", bytes).env(bytes, "other");
    Program::spawn(command).serving().await;

    let mut command = crate::support::command(&["rewrite", "nginx"], &[]);
    command.env("PROXY_URL", bytes);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let start = "k8s-proxy-image-swapper: PROXY_URL: \"\u{fffd}\u{fffd}\": UTF-8\n";
    assert!(stderr(&output).starts_with(start), "{}", stderr(&output));
}
