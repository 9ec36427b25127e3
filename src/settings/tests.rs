//! Every setting with values that are right and values that are not.

use std::collections::HashSet;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::*;
use crate::mutate::Mode;

const PROXY: (&str, &str) = ("PROXY_URL", "registry.example.com");

/// A check of the settings that one variable led to.
type IsRight = fn(&Settings) -> bool;

fn vars(vars: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let var = |(name, value): &(&str, &str)| (name.into(), value.into());
    vars.iter().map(var).collect()
}

/// The settings from these variables and, unless it is among them, a proxy.
fn read(given: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
    Settings::read(vars(&[&[PROXY], given].concat()), false)
}

/// The only mistake in these variables.
fn mistake(given: &[(&str, &str)]) -> SettingError {
    let mut errors = read(given).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.remove(0)
}

fn swaps(settings: &Settings, image: &str, target: Option<&str>) -> bool {
    match (settings.mutator.rules.decide(image, false), target) {
        (crate::rules::Decision::Swap { target, .. }, Some(expected)) => target == expected,
        (crate::rules::Decision::Skip(_), None) => true,
        _ => false,
    }
}

#[test]
fn every_setting_is_consumed() {
    let cases: [(&str, &str, IsRight); SETTINGS.len()] = [
        ("PROXY_URL", "https://r.io/a/", |it| {
            swaps(it, "nginx:1", Some("r.io/a/library/nginx:1"))
        }),
        ("REWRITES", "quay.io={proxy}/q", |it| {
            swaps(it, "nginx", None) && swaps(it, "quay.io/a:1", Some("registry.example.com/q/a:1"))
        }),
        ("IGNORE_IMAGES", "nginx\ndocker.io/b/", |it| {
            swaps(it, "nginx", None)
                && swaps(it, "b/c", None)
                && swaps(
                    it,
                    "registry:2",
                    Some("registry.example.com/library/registry:2"),
                )
        }),
        ("MODE", "observe", |it| it.mutator.mode == Mode::Observe),
        ("ANNOTATE_ORIGINALS", "false", |it| {
            !it.mutator.annotate_originals
        }),
        ("IMAGE_PULL_SECRET", "proxy", |it| {
            it.mutator.pull_secret.as_deref() == Some("proxy")
        }),
        ("WARN", "true", |it| it.mutator.warn),
        ("LISTEN_ADDR", "[::1]:1", |it| {
            it.listen_addr == "[::1]:1".parse().unwrap()
        }),
        ("ADMIN_ADDR", "1.2.3.4:0", |it| {
            it.admin_addr == "1.2.3.4:0".parse().unwrap()
        }),
        ("TLS_CERT_FILE", "a b", |it| it.tls.cert == Path::new("a b")),
        ("TLS_KEY_FILE", "/k", |it| it.tls.key == Path::new("/k")),
        ("TLS_CLIENT_CA_FILE", "/c", |it| {
            it.tls.client_ca.as_deref() == Some(Path::new("/c"))
        }),
        ("LOG", "off", |it| it.log == LevelFilter::OFF),
        ("LOG_FORMAT", "text", |it| it.log_format == LogFormat::Text),
        ("MAX_BODY_BYTES", "64Ki", |it| it.limits.body_bytes == 65536),
        ("MAX_BUFFERED_BYTES", "1Gi", |it| {
            it.limits.buffered_bytes == 1 << 30
        }),
        ("BODY_TIMEOUT", "1500ms", |it| {
            it.limits.body_timeout == Duration::from_millis(1500)
        }),
        ("MAX_CONNECTIONS", "1", |it| it.limits.connections == 1),
        ("MAX_CONNECTION_AGE", "1h 30m", |it| {
            it.limits.connection_age == Duration::from_mins(90)
        }),
        ("DRAIN_DELAY", "0s", |it| it.drain_delay.is_zero()),
        ("DRAIN_TIMEOUT", "6s", |it| {
            it.drain_timeout == Duration::from_secs(6)
        }),
    ];
    for (setting, (name, value, is_right)) in SETTINGS.iter().zip(cases) {
        assert_eq!(setting.name, name);
        assert!(!is_right(&read(&[]).unwrap()), "{name}: also by default");
        assert!(is_right(&read(&[(name, value)]).unwrap()), "{name}");
        // White space around it does not matter.
        let spaced = format!(" \t{value}\n");
        assert!(is_right(&read(&[(name, &spaced)]).unwrap()), "{name}");
    }
}

#[test]
fn the_table_is_in_order() {
    let names: HashSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), SETTINGS.len());
    for setting in &SETTINGS {
        let of_a_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        assert!(setting.name.bytes().all(of_a_name), "{}", setting.name);
        assert!(!setting.help.is_empty() && !setting.help.ends_with('.'));
        assert_ne!(setting.default, Some(""));
        assert_ne!(setting.dev, Some(""));
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let it = read(&[]).unwrap();
    assert_eq!(it.listen_addr, "[::]:8443".parse().unwrap());
    assert_eq!(it.admin_addr, "[::]:8080".parse().unwrap());
    assert_eq!(it.tls.cert, Path::new("/etc/webhook/tls/tls.crt"));
    assert_eq!(it.tls.key, Path::new("/etc/webhook/tls/tls.key"));
    assert_eq!(it.tls.client_ca, None);
    assert_eq!(it.mutator.mode, Mode::Swap);
    assert!(it.mutator.annotate_originals && !it.mutator.warn);
    assert_eq!(it.mutator.pull_secret, None);
    assert!(swaps(
        &it,
        "nginx:1",
        Some("registry.example.com/library/nginx:1")
    ));
    assert!(swaps(&it, "quay.io/a", None));
    assert!(swaps(&it, "registry:2", None));
    assert_eq!(it.log, LevelFilter::INFO);
    assert_eq!(it.log_format, LogFormat::Json);
    assert_eq!(it.limits.body_bytes, 8 << 20);
    assert_eq!(it.limits.buffered_bytes, 64 << 20);
    assert_eq!(it.limits.body_timeout, Duration::from_secs(5));
    assert_eq!(it.limits.connections, 4096);
    assert_eq!(it.limits.connection_age, Duration::from_mins(5));
    assert_eq!(it.drain_delay, Duration::from_secs(5));
    assert_eq!(it.drain_timeout, Duration::from_secs(25));
}

#[test]
fn dev_needs_no_setting_and_takes_any() {
    let it = Settings::read([], true).unwrap();
    assert_eq!(it.listen_addr, "127.0.0.1:8443".parse().unwrap());
    assert_eq!(it.admin_addr, "127.0.0.1:8080".parse().unwrap());
    assert!(swaps(
        &it,
        "nginx:1",
        Some("localhost:5000/library/nginx:1")
    ));
    assert_eq!(it.log_format, LogFormat::Text);
    assert!(it.drain_delay.is_zero());

    let given = [PROXY, ("LISTEN_ADDR", "[::]:1"), ("LOG_FORMAT", "json")];
    let it = Settings::read(vars(&given), true).unwrap();
    assert_eq!(it.listen_addr, "[::]:1".parse().unwrap());
    assert!(swaps(
        &it,
        "nginx:1",
        Some("registry.example.com/library/nginx:1")
    ));
    assert_eq!(it.log_format, LogFormat::Json);
}

#[test]
fn what_is_empty_is_unset_but_for_lists() {
    for setting in &SETTINGS {
        let empty = [(setting.name, " \n")];
        match setting.name {
            "PROXY_URL" | "REWRITES" => {
                let error = mistake(&empty);
                assert_eq!((error.name, &*error.value), (setting.name, ""));
            }
            "IGNORE_IMAGES" => {
                let target = "registry.example.com/library/registry:2";
                assert!(swaps(&read(&empty).unwrap(), "registry:2", Some(target)));
            }
            _ => {
                let given = format!("{:?}", read(&empty).unwrap());
                assert_eq!(given, format!("{:?}", read(&[]).unwrap()));
            }
        }
    }
}

#[test]
fn values_that_are_wrong_are_named_with_what_is_expected() {
    let address = kind::ADDRESS.expected;
    let bytes = kind::BYTES.expected;
    let duration = kind::DURATION.expected;
    let long = "x".repeat(254);
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "LISTEN_ADDR",
            address,
            &[
                "8443",
                ":8443",
                "localhost:8443",
                "::1:8443",
                "1.2.3.4",
                "1.2.3.4:65536",
            ],
        ),
        ("ADMIN_ADDR", address, &["[::]", "https://1.2.3.4:1"]),
        ("MODE", kind::MODE.expected, &["Swap", "observing", "off"]),
        (
            "ANNOTATE_ORIGINALS",
            kind::BOOL.expected,
            &["yes", "True", "1"],
        ),
        (
            "IMAGE_PULL_SECRET",
            kind::SECRET.expected,
            &[
                "Proxy", "a_b", "a/b", "a,b", "a b", "-a", "a-", ".a", "a.", "a..b", "a.-b", "é",
                &long,
            ],
        ),
        ("WARN", kind::BOOL.expected, &["always", "TRUE"]),
        (
            "LOG",
            kind::LEVEL.expected,
            &["loud", "info,debug", "server=info"],
        ),
        ("LOG_FORMAT", kind::LOG_FORMAT.expected, &["JSON", "xml"]),
        (
            "MAX_BODY_BYTES",
            bytes,
            &[
                "0",
                "0Ki",
                "-1",
                "8M",
                "8 Mi",
                "8mi",
                "Mi",
                "1.5Mi",
                "1025Gi",
                "99999999999999999999",
                "17179869184Gi",
            ],
        ),
        ("MAX_BUFFERED_BYTES", bytes, &["18446744073709551615"]),
        (
            "BODY_TIMEOUT",
            duration,
            &[
                "5",
                "0s",
                "-5s",
                "5 seconds ago",
                "s",
                "366d",
                "9999999999y",
            ],
        ),
        (
            "MAX_CONNECTIONS",
            kind::COUNT.expected,
            &["0", "-1", "many", "4Ki"],
        ),
        ("MAX_CONNECTION_AGE", duration, &["0s", "never"]),
        ("DRAIN_DELAY", kind::DELAY.expected, &["5", "later", "366d"]),
        ("DRAIN_TIMEOUT", duration, &["0s", "1"]),
    ];
    for (name, expected, values) in cases {
        for value in *values {
            let error = mistake(&[(name, value)]);
            assert_eq!((error.name, &*error.value), (*name, *value));
            assert_eq!(error.expected, *expected);
            let text = format!("{name}: {value:?}: {expected}");
            assert_eq!(error.to_string(), text);
        }
    }
}

#[test]
fn values_at_their_bounds_are_right() {
    let longest = "x".repeat(253);
    for (name, values) in [
        ("MAX_BODY_BYTES", &["1", "48Mi"][..]),
        ("MAX_BUFFERED_BYTES", &["1024Gi", "11184812"]),
        ("BODY_TIMEOUT", &["1ns", "365d"]),
        ("MAX_CONNECTIONS", &["1", "18446744073709551615"]),
        ("DRAIN_DELAY", &["0s", "24999ms"]),
        ("DRAIN_TIMEOUT", &["5001ms", "365days"]),
        ("LOG", &["OFF", "trace"]),
        ("IMAGE_PULL_SECRET", &["0", "a.b-c.d", &longest]),
    ] {
        for value in values {
            read(&[(name, value)]).unwrap();
        }
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    // Three quarters of it are for large reviews.
    let buffered = ("MAX_BUFFERED_BYTES", "1024");
    read(&[("MAX_BODY_BYTES", "768"), buffered]).unwrap();
    let error = mistake(&[("MAX_BODY_BYTES", "769"), buffered]);
    assert_eq!((error.name, &*error.value), buffered);
    assert!(error.expected.contains("MAX_BODY_BYTES"));

    let delay = ("DRAIN_DELAY", "25s");
    let error = mistake(&[delay]);
    assert_eq!((error.name, &*error.value), ("DRAIN_TIMEOUT", "25s"));
    assert!(error.expected.contains("DRAIN_DELAY"));
    read(&[delay, ("DRAIN_TIMEOUT", "25001ms")]).unwrap();

    // One that is wrong by itself is not compared.
    let error = mistake(&[("MAX_BODY_BYTES", "all"), buffered]);
    assert_eq!(error.name, "MAX_BODY_BYTES");
}

#[test]
fn every_mistake_is_reported() {
    let wrong = [
        ("PROXY_URL", "registry"),
        ("REWRITES", "nginx={proxy}"),
        ("IGNORE_IMAGES", "quay.io"),
        ("MODE", "x"),
        ("ANNOTATE_ORIGINALS", "x"),
        ("IMAGE_PULL_SECRET", "X"),
        ("WARN", "x"),
        ("LISTEN_ADDR", "x"),
        ("ADMIN_ADDR", "x"),
        ("LOG", "x"),
        ("LOG_FORMAT", "x"),
        ("MAX_BODY_BYTES", "x"),
        ("MAX_BUFFERED_BYTES", "x"),
        ("BODY_TIMEOUT", "x"),
        ("MAX_CONNECTIONS", "x"),
        ("MAX_CONNECTION_AGE", "x"),
        ("DRAIN_DELAY", "x"),
        ("DRAIN_TIMEOUT", "x"),
    ];
    let errors = read(&wrong).unwrap_err();
    let named: HashSet<(&str, &str)> = errors.iter().map(|it| (it.name, &*it.value)).collect();
    assert_eq!(errors.len(), wrong.len(), "{errors:#?}");
    assert_eq!(named, HashSet::from(wrong));
}

#[test]
fn only_known_variables_need_be_utf8() {
    let bytes = || OsString::from_vec(b"r\xff".to_vec());
    let mut given = vars(&[PROXY]);
    given.extend([(bytes(), bytes()), ("OTHER".into(), bytes())]);
    Settings::read(given.clone(), false).unwrap();

    given.push(("TLS_CERT_FILE".into(), bytes()));
    let errors = Settings::read(given, false).unwrap_err();
    let expected = SettingError {
        name: "TLS_CERT_FILE",
        value: "r\u{fffd}".to_owned(),
        expected: "UTF-8".to_owned(),
    };
    assert_eq!(errors, [expected]);
}

#[test]
fn names_are_compared_with_case() {
    let error = Settings::read(vars(&[("proxy_url", "registry.example.com")]), false).unwrap_err();
    assert_eq!((error[0].name, &*error[0].value), ("PROXY_URL", ""));
}

#[test]
fn the_rules_alone_are_read_whatever_else_is_wrong() {
    let wrong = SETTINGS.iter().skip(3).map(|setting| (setting.name, "\n!"));
    let given: Vec<(&str, &str)> = [PROXY].into_iter().chain(wrong).collect();
    Settings::read_rules(vars(&given)).unwrap();
    let errors = Settings::read_rules(vars(&given[1..])).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].name, "PROXY_URL");
}
