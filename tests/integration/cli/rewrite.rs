//! `rewrite`: the decisions about images, as arguments and as lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;

use super::{stderr, stdout};
use crate::support::{command, piped, run};

const ENV: [(&str, &str); 1] = [("PROXY_URL", "registry.example.com")];

#[test]
fn each_argument_gives_a_line() {
    let args = [
        "rewrite",
        "nginx",
        "",
        "quay.io/a/b:c",
        "toto/tata:titi",
        "registry:2",
    ];
    let output = run(&args, &ENV, b"not read");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "registry.example.com/library/nginx:latest\n\
         \n\
         quay.io/a/b:c\n\
         registry.example.com/toto/tata:titi\n\
         registry:2\n"
    );
    assert_eq!(stderr(&output), "");
}

#[test]
fn images_may_begin_with_a_dash_after_two() {
    let output = run(
        &["rewrite", "--json", "--", "--json", "-x", "nginx"],
        &ENV,
        b"",
    );
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), 3);
    let invalid = r#"{"image":"--json","decision":"skip","reason":"invalid_reference"}"#;
    assert_eq!(lines[0], invalid);
}

#[test]
fn each_line_gives_a_line() {
    for (input, expected) in [
        (&b""[..], &b""[..]),
        (b"nginx\n", b"registry.example.com/library/nginx:latest\n"),
        (b"nginx", b"registry.example.com/library/nginx:latest\n"),
        (b"\n\n", b"\n\n"),
        (
            b"a\n\nb\n",
            b"registry.example.com/library/a:latest\n\nregistry.example.com/library/b:latest\n",
        ),
        // A line is taken as it is.
        (b"nginx\r\n", b"nginx\r\n"),
        (b" nginx\nnginx \n", b" nginx\nnginx \n"),
        (b"\xff\nnginx\xfe\n", b"\xff\nnginx\xfe\n"),
        (b"a\0b\n", b"a\0b\n"),
    ] {
        let output = run(&["rewrite"], &ENV, input);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout, expected, "{input:?}");
    }
}

#[test]
fn json_says_why() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let rules = [
        ("PROXY_URL", "registry.example.com/mirror"),
        ("REWRITES", "docker.io={proxy}, *={proxy}/{registry}"),
        ("IGNORE_IMAGES", "docker.io/bitnami/"),
    ];
    let both = format!("nginx:1@{digest}");
    for (image, expected) in [
        (
            "nginx",
            r#""decision":"swap","target":"registry.example.com/mirror/library/nginx:latest","rule":"docker.io","registry":"docker.io","repository":"library/nginx""#.to_owned(),
        ),
        (
            &*both,
            format!(r#""decision":"swap","target":"registry.example.com/mirror/library/nginx:1@{digest}","rule":"docker.io","registry":"docker.io","repository":"library/nginx","tag":"1","digest":"{digest}""#),
        ),
        (
            "Quay.io:443/a/b:c",
            r#""decision":"swap","target":"registry.example.com/mirror/quay.io-443/a/b:c","rule":"*","registry":"Quay.io:443","repository":"a/b","tag":"c""#.to_owned(),
        ),
        (
            "bitnami/redis:7",
            r#""decision":"skip","reason":"ignored","registry":"docker.io","repository":"bitnami/redis","tag":"7""#.to_owned(),
        ),
        (
            "a_b.io/x",
            r#""decision":"skip","reason":"no_rule","repository":"a_b.io/x""#.to_owned(),
        ),
        (
            "localhost:5000/x",
            r#""decision":"skip","reason":"local_registry","registry":"localhost:5000","repository":"x""#.to_owned(),
        ),
        (
            "registry.example.com/mirror/x",
            r#""decision":"skip","reason":"already_proxied","registry":"registry.example.com","repository":"mirror/x""#.to_owned(),
        ),
        ("", r#""decision":"skip","reason":"invalid_reference""#.to_owned()),
        ("a\\\"b\u{e9}", r#""decision":"skip","reason":"invalid_reference""#.to_owned()),
    ] {
        let output = run(&["rewrite", "--json", image], &rules, b"");
        let image = serde_json::to_string(image).unwrap();
        assert_eq!(stdout(&output), format!("{{\"image\":{image},{expected}}}\n"));
    }
}

#[test]
fn an_explanation_for_each_image() {
    let rules = [
        ("PROXY_URL", "registry.example.com"),
        ("REWRITES", "docker.io={proxy}, quay.io={proxy}/quay"),
    ];
    let args = [
        "rewrite",
        "--explain",
        "nginx:1",
        "registry",
        "ghcr.io/acme/web",
    ];
    let expected = r#""nginx:1"
  in full: docker.io/library/nginx:1
  rule docker.io=registry.example.com: matches
  rule quay.io=registry.example.com/quay: does not match
  swap: registry.example.com/library/nginx:1
"registry"
  in full: docker.io/library/registry
  rule docker.io=registry.example.com: matches
  rule quay.io=registry.example.com/quay: does not match
  skip: ignored: IGNORE_IMAGES has "registry"
"ghcr.io/acme/web"
  in full: ghcr.io/acme/web
  rule docker.io=registry.example.com: does not match
  rule quay.io=registry.example.com/quay: does not match
  skip: no_rule: no rule matches
"#;
    let output = run(&args, &rules, b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), expected);
    let output = run(&args[..2], &rules, b"nginx:1\nregistry\nghcr.io/acme/web\n");
    assert_eq!(stdout(&output), expected);

    let output = run(&["rewrite", "--explain"], &rules, b"nginx\xff\n");
    assert_eq!(stdout(&output).lines().next(), Some("\"nginx\u{fffd}\""));
    assert!(stdout(&output).contains("\n  skip: invalid_reference: the repository must be"));
}

#[test]
fn json_of_a_line_that_is_not_utf8() {
    let output = run(&["rewrite", "--json"], &ENV, b"nginx\xff\n\nnginx\r\n");
    let lines: Vec<&str> = stdout(&output).lines().collect();
    let invalid = |image: &str| {
        format!(r#"{{"image":"{image}","decision":"skip","reason":"invalid_reference"}}"#)
    };
    assert_eq!(
        lines,
        [invalid("nginx\u{fffd}"), invalid(""), invalid(r"nginx\r")]
    );
}

#[test]
fn only_the_rules_matter() {
    let env = [
        ("PROXY_URL", "registry.example.com"),
        ("LISTEN_ADDR", "nonsense"),
        ("LOG", "loud"),
        ("MAX_BODY_BYTES", "-1"),
        ("TLS_CERT_FILE", "/missing"),
    ];
    let output = run(&["rewrite", "nginx"], &env, b"");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "registry.example.com/library/nginx:latest\n"
    );

    let env = [
        ("PROXY_URL", "registry.example.com"),
        ("REWRITES", ""),
        ("IGNORE_IMAGES", "quay.io"),
    ];
    let output = run(&["rewrite", "nginx"], &env, b"");
    assert_eq!(output.status.code(), Some(64));
    let lines: Vec<&str> = stderr(&output).lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for start in ["REWRITES: \"\": ", "IGNORE_IMAGES: \"quay.io\": "] {
        let start = format!("k8s-proxy-image-swapper: {start}");
        assert!(
            lines.iter().any(|line| line.starts_with(&start)),
            "{lines:?}"
        );
    }
}

#[test]
fn it_is_no_error_that_nobody_reads_on() {
    for json in [&[][..], &["--json"]] {
        let mut child = piped(&[&["rewrite"], json].concat(), &ENV);
        let mut input = child.stdin.take().unwrap();
        let writer = thread::spawn(move || {
            let lines = "nginx\n".repeat(1_000_000);
            // It is not all read.
            let _ = input.write_all(lines.as_bytes());
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains("registry.example.com/library/nginx:latest"));
        drop(output);
        writer.join().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn nobody_reads_at_all() {
    let mut child = command(&["rewrite", "nginx"], &ENV)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut rewrite = command(&["rewrite", "nginx"], &ENV);
    let output = rewrite.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("No space left on device"));
}

#[test]
fn who_asks_line_by_line_is_answered_line_by_line() {
    let mut child = command(&["rewrite"], &ENV)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for number in 0..100 {
        writeln!(input, "a:{number}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("registry.example.com/library/a:{number}\n"));
    }
    // Half a line is not answered, and then it is.
    write!(input, "a").unwrap();
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "registry.example.com/library/a:latest\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_long_line_is_one_image() {
    let long = "x".repeat(3 << 20);
    let output = run(&["rewrite"], &ENV, format!("{long}\nnginx\n").as_bytes());
    let expected = format!("{long}\nregistry.example.com/library/nginx:latest\n");
    assert!(stdout(&output) == expected);
}
