//! Decisions in words.

use super::{DEFAULT, Rules, load};

#[track_caller]
fn explains(rules: &Rules, image: &str, lines: &[&str]) {
    let explained = rules.explain(image);
    let first = format!("{image:?}");
    let expected: Vec<&str> = std::iter::once(&*first)
        .chain(lines.iter().copied())
        .collect();
    let explained: Vec<&str> = explained.lines().map(str::trim_start).collect();
    assert_eq!(explained, expected);
}

#[test]
fn every_rule_and_then_the_outcome() {
    let rewrites = "docker.io={proxy}, docker.io/library={proxy}/official, *={proxy}/{registry}";
    let rules = load("example.com/hub", rewrites, "registry, bitnami/");
    explains(
        &rules,
        "nginx:1",
        &[
            "in full: docker.io/library/nginx:1",
            "rule docker.io/library=example.com/hub/official: matches",
            "rule docker.io=example.com/hub: matches, but a longer source does too",
            "rule *=example.com/hub/{registry}: matches, but a longer source does too",
            "swap: example.com/hub/official/nginx:1",
        ],
    );
    explains(
        &rules,
        "quay.io/a/b",
        &[
            "in full: quay.io/a/b",
            "rule docker.io/library=example.com/hub/official: does not match",
            "rule docker.io=example.com/hub: does not match",
            "rule *=example.com/hub/{registry}: matches",
            "swap: example.com/hub/quay.io/a/b:latest",
        ],
    );
}

#[test]
fn why_a_source_does_not_match() {
    let rules = load("example.com", "quay.io/prom={proxy}", "");
    for (image, says) in [
        (
            "quay.io/prometheus/node",
            "does not match: it is compared by whole components",
        ),
        (
            "Quay.io/prom/node",
            "does not match: the case of letters counts",
        ),
        ("a_b.io/x", "does not match: the image has no registry"),
        ("nginx", "does not match"),
    ] {
        let explained = rules.explain(image);
        let rule = explained.lines().nth(2).unwrap();
        assert_eq!(rule, format!("  rule quay.io/prom=example.com: {says}"));
        assert!(explained.ends_with("  skip: no_rule: no rule matches\n"));
    }
}

#[test]
fn every_reason_for_leaving_an_image_alone() {
    let any = "docker.io/library/nginx={proxy}, *=Harbor.corp/cache/{registry}";
    let rules = load("example.com", any, "registry, bitnami/");
    for (image, outcome) in [
        (
            "",
            "invalid_reference: the repository must be components of a-z and 0-9, joined by one `.`, one or two `_`, or any `-`",
        ),
        (
            "a/B",
            "invalid_reference: the repository must be lower case",
        ),
        (
            "example.com/a/b",
            "already_proxied: it is below the target example.com",
        ),
        (
            "harbor.corp/cache/x",
            "already_proxied: it is below the target Harbor.corp/cache",
        ),
        (
            "harbor.corp/own",
            "already_proxied: only `*` matches, and it is on the registry of the target Harbor.corp/cache",
        ),
        ("registry:2", "ignored: IGNORE_IMAGES has \"registry\""),
        ("bitnami/redis", "ignored: IGNORE_IMAGES has \"bitnami/\""),
        ("a_b.io/x", "no_rule: no rule matches"),
        (
            "localhost:5000/x",
            "local_registry: only `*` matches, and it is on the node itself",
        ),
        (
            "nginx",
            "invalid_target: the rule docker.io/library/nginx=example.com would make of it what is no image",
        ),
    ] {
        let explained = rules.explain(image);
        let last = explained.lines().last().unwrap();
        assert_eq!(last, format!("  skip: {outcome}"), "{image:?}");
    }
    let rules = load("example.com", DEFAULT, "");
    assert!(
        rules
            .explain("a\n\u{1b}[0m")
            .starts_with("\"a\\n\\u{1b}[0m\"\n")
    );
}
