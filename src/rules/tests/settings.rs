//! What `PROXY_URL`, `REWRITES` and `IGNORE_IMAGES` may say: lists, mistakes and warnings.

use super::{DEFAULT, load, rules, swaps};
use crate::image::ParseError;
use crate::rules::{PrefixError, Problem, RuleError, Rules, Warning};

fn error(setting: &'static str, item: &str, problem: Problem) -> RuleError {
    RuleError {
        setting,
        item: item.to_owned(),
        problem,
    }
}

#[track_caller]
fn errors(proxy_url: &str, rewrites: &str, ignore_images: &str) -> Vec<RuleError> {
    match Rules::parse(proxy_url, rewrites, ignore_images) {
        Err(errors) => errors,
        Ok(rules) => panic!("{proxy_url:?}, {rewrites:?}, {ignore_images:?}: {rules:?}"),
    }
}

/// Asserts that `item`, the only one of `REWRITES`, is refused for `problem` alone.
#[track_caller]
fn refuses_rewrite(item: &str, problem: Problem) {
    let expected = error("REWRITES", item, problem);
    assert_eq!(errors("example.com", item, ""), [expected], "{item:?}");
}

#[test]
fn lists_are_split_at_commas_and_newlines_and_trimmed() {
    for list in [
        "a.io={proxy}/a,b.io={proxy}/b",
        "a.io={proxy}/a\nb.io={proxy}/b",
        "\n  a.io={proxy}/a,\n\tb.io={proxy}/b\r\n",
        ",,a.io={proxy}/a, ,\n\n,b.io={proxy}/b,",
        "\u{c}a.io={proxy}/a\r\n b.io={proxy}/b \r\n",
        // Around the parts of an item as well.
        "a.io = {proxy}/a , b.io\t=\t{proxy}/b",
    ] {
        swaps(
            &load("example.com", list, " quay.io/ ,\n registry "),
            &[
                ("a.io/x:1", "example.com/a/x:1"),
                ("b.io/x:1", "example.com/b/x:1"),
            ],
        );
    }
    // Nothing else separates items, nor is trimmed.
    for list in [
        "a.io={proxy};b.io={proxy}",
        "a.io={proxy} b.io={proxy}",
        "a.io={proxy}\u{a0}",
    ] {
        errors("example.com", list, "");
    }
    for list in ["", ",", " \n, "] {
        load("example.com", DEFAULT, list);
    }
}

#[test]
fn proxies() {
    for (proxy_url, registry) in [
        ("example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("example.com/", "example.com"),
        ("https://example.com///", "example.com"),
        ("example.com:5000/a/b/", "example.com:5000/a/b"),
        ("localhost", "localhost"),
        ("localhost:5000", "localhost:5000"),
        ("registry:5000", "registry:5000"),
        ("Registry", "Registry"),
        ("[::1]:5000/x", "[::1]:5000/x"),
        ("index.docker.io/mirror", "docker.io/mirror"),
    ] {
        swaps(
            &load(proxy_url, "quay.io={proxy}", ""),
            &[("quay.io/a/b:1", &format!("{registry}/a/b:1"))],
        );
    }
    for (proxy_url, expected) in [
        ("", PrefixError::NoRegistry),
        ("/", PrefixError::NoRegistry),
        ("https://", PrefixError::NoRegistry),
        ("registry", PrefixError::NoRegistry),
        ("registry/cache", PrefixError::NoRegistry),
        ("a_b.io", PrefixError::NoRegistry),
        ("example.com:port", PrefixError::NoRegistry),
        ("example.com:", PrefixError::NoRegistry),
        ("exam ple.com", PrefixError::NoRegistry),
        ("user:pass@example.com", PrefixError::Digest),
        ("[::1", PrefixError::NoRegistry),
        ("{proxy}", PrefixError::NoRegistry),
        ("http://example.com", PrefixError::Scheme),
        ("HTTPS://example.com", PrefixError::Scheme),
        ("https://https://example.com", PrefixError::Scheme),
        ("oci://example.com", PrefixError::Scheme),
        ("example.com/cache:1", PrefixError::Tag),
        ("example.com/cache:5000/x", PrefixError::Tag),
        ("example.com/cache@sha256:0", PrefixError::Digest),
        (
            "example.com/Cache",
            PrefixError::Path(ParseError::Uppercase),
        ),
        (
            "example.com//cache",
            PrefixError::Path(ParseError::Repository),
        ),
        (
            "example.com/a___b",
            PrefixError::Path(ParseError::Repository),
        ),
        (
            "example.com/?x=y",
            PrefixError::Path(ParseError::Repository),
        ),
    ] {
        assert_eq!(
            errors(proxy_url, DEFAULT, ""),
            [error("PROXY_URL", proxy_url, Problem::Proxy(expected))],
        );
    }
    let long = format!("example.com/{}", "a".repeat(256));
    let expected = Problem::Proxy(PrefixError::Path(ParseError::TooLong));
    assert_eq!(
        errors(&long, DEFAULT, ""),
        [error("PROXY_URL", &long, expected)]
    );
}

#[test]
fn a_trailing_slash_of_source_and_target_is_dropped() {
    for (item, image, target) in [
        ("quay.io/={proxy}/", "quay.io/a:1", "example.com/a:1"),
        (
            "quay.io/a/={proxy}/b/",
            "quay.io/a/x:1",
            "example.com/b/x:1",
        ),
        (
            "*={proxy}/{registry}/",
            "quay.io/a:1",
            "example.com/quay.io/a:1",
        ),
        ("*=b.io/{registry}/c/", "quay.io/a:1", "b.io/quay.io/c/a:1"),
    ] {
        swaps(&rules(item), &[(image, target)]);
    }
}

#[test]
fn the_proxy_may_have_a_path() {
    let rewrites = "docker.io={proxy}, quay.io={proxy}/quay, gcr.io={proxy}/{registry}";
    swaps(
        &load("proxy.corp:5000/cache", rewrites, ""),
        &[
            ("nginx:1", "proxy.corp:5000/cache/library/nginx:1"),
            ("quay.io/a:1", "proxy.corp:5000/cache/quay/a:1"),
            ("gcr.io/a:1", "proxy.corp:5000/cache/gcr.io/a:1"),
        ],
    );
}

#[test]
fn no_rewrites() {
    for list in ["", ",", " \n ,\n"] {
        let expected = error("REWRITES", "", Problem::NoRewrites);
        assert_eq!(errors("example.com", list, ""), [expected]);
    }
}

#[test]
fn items_without_an_equals_sign() {
    for item in ["quay.io", "*", "quay.io:{proxy}"] {
        refuses_rewrite(item, Problem::NoEquals);
    }
}

#[test]
fn sources_that_are_no_registry() {
    for (item, expected) in [
        ("={proxy}", PrefixError::NoRegistry),
        ("nginx={proxy}", PrefixError::NoRegistry),
        ("library/nginx={proxy}", PrefixError::NoRegistry),
        ("a_b.io={proxy}", PrefixError::NoRegistry),
        ("*/x={proxy}", PrefixError::NoRegistry),
        ("**={proxy}", PrefixError::NoRegistry),
        ("*.io={proxy}", PrefixError::NoRegistry),
        ("{proxy}={proxy}", PrefixError::NoRegistry),
        ("{registry}={proxy}", PrefixError::NoRegistry),
        ("https://quay.io={proxy}", PrefixError::Scheme),
        ("quay.io/a:1={proxy}", PrefixError::Tag),
        ("quay.io/a@sha256:0={proxy}", PrefixError::Digest),
        (
            "quay.io/A={proxy}",
            PrefixError::Path(ParseError::Uppercase),
        ),
        (
            "quay.io//={proxy}",
            PrefixError::Path(ParseError::Repository),
        ),
        (
            "quay.io/*={proxy}",
            PrefixError::Path(ParseError::Repository),
        ),
    ] {
        refuses_rewrite(item, Problem::Source(expected));
    }
}

#[test]
fn targets_that_are_no_registry() {
    for (item, expected) in [
        ("a.io=", PrefixError::NoRegistry),
        ("a.io=cache", PrefixError::NoRegistry),
        ("a.io=cache/{registry}", PrefixError::NoRegistry),
        ("a.io=b.io=c.io", PrefixError::NoRegistry),
        ("a.io=*", PrefixError::NoRegistry),
        ("a.io=https://b.io", PrefixError::Scheme),
        ("a.io={proxy}/x:1", PrefixError::Tag),
        ("a.io=b.io/{registry}:1", PrefixError::Tag),
        ("a.io={proxy}/x@sha256:0", PrefixError::Digest),
        ("a.io={proxy}//x", PrefixError::Path(ParseError::Repository)),
        (
            "a.io={proxy}/{registry}//",
            PrefixError::Path(ParseError::Repository),
        ),
        ("a.io={proxy}/X", PrefixError::Path(ParseError::Uppercase)),
        (
            "a.io={proxy}/{Registry}",
            PrefixError::Path(ParseError::Uppercase),
        ),
        (
            "a.io={proxy}/_{registry}",
            PrefixError::Path(ParseError::Repository),
        ),
        (
            "a.io={proxy}/{registry}-/x",
            PrefixError::Path(ParseError::Repository),
        ),
        (
            "a.io={proxy}/{other}",
            PrefixError::Path(ParseError::Repository),
        ),
    ] {
        refuses_rewrite(item, Problem::Target(expected));
    }
}

#[test]
fn placeholders_out_of_place() {
    for item in [
        "a.io={proxy}x",
        "a.io={proxy}:5000",
        "a.io={proxy}@sha256:0",
        "a.io={proxy}{proxy}",
        "a.io={proxy}{registry}",
        "a.io={proxy}/{proxy}",
        "a.io=x{proxy}",
        "a.io=b.io/{proxy}",
        "a.io=/{proxy}",
    ] {
        refuses_rewrite(item, Problem::ProxyPlace);
    }
    for item in [
        "a.io={registry}",
        "a.io={registry}/x",
        "a.io=b.io{registry}/x",
        "a.io={proxy}/{registry}/{registry}",
        "a.io={proxy}/{registry}{registry}",
    ] {
        refuses_rewrite(item, Problem::RegistryPlace);
    }
}

#[test]
fn the_same_source_twice() {
    for (first, second) in [
        ("a.io={proxy}", "a.io=b.io"),
        ("a.io={proxy}", "a.io/={proxy}"),
        ("*={proxy}", "*=b.io"),
        ("docker.io={proxy}", "index.docker.io={proxy}"),
    ] {
        let list = format!("{first},{second}");
        let expected = error("REWRITES", second, Problem::Duplicate);
        assert_eq!(errors("example.com", &list, ""), [expected]);
    }
    // Another case is another source.
    rules("a.io={proxy},A.io={proxy}");
}

#[test]
fn sources_below_a_target_could_never_apply() {
    for (proxy, list, item, target) in [
        ("docker.io", DEFAULT, DEFAULT, DEFAULT),
        (
            "example.com",
            "a.io=b.io, b.io={proxy}",
            "b.io={proxy}",
            "a.io=b.io",
        ),
        (
            "example.com",
            "a.io/x={proxy}, *=a.io",
            "a.io/x={proxy}",
            "*=a.io",
        ),
        (
            "example.com",
            "a.io={proxy}, example.com/x=b.io",
            "example.com/x=b.io",
            "a.io={proxy}",
        ),
        (
            "Example.com",
            "a.io={proxy}, exAmple.com=b.io",
            "exAmple.com=b.io",
            "a.io={proxy}",
        ),
        // The fixed part of a target ends before `{registry}`.
        (
            "example.com",
            "*={proxy}/m/{registry}, example.com/m/x=b.io",
            "example.com/m/x=b.io",
            "*={proxy}/m/{registry}",
        ),
    ] {
        let expected = error("REWRITES", item, Problem::NeverApplies(target.to_owned()));
        assert_eq!(errors(proxy, list, ""), [expected], "{list:?}");
    }
    // Beside a target, or above it, a source can apply.
    rules("a.io={proxy}/m, example.com/n={proxy}/m/n, example.com/mm=b.io/x, b.io=c.io");
}

#[test]
fn ignored_items_that_name_nothing() {
    let problems = [
        ("registry:", Problem::IgnoredImage(ParseError::Tag)),
        ("Nginx", Problem::IgnoredImage(ParseError::Uppercase)),
        ("a___b", Problem::IgnoredImage(ParseError::Repository)),
        ("a.b:c/x", Problem::IgnoredImage(ParseError::Registry)),
        ("x@sha256:0", Problem::IgnoredImage(ParseError::Digest)),
        ("*", Problem::IgnoredImage(ParseError::Repository)),
        (
            "/",
            Problem::IgnoredPrefix(PrefixError::Path(ParseError::Repository)),
        ),
        (
            "quay.io//",
            Problem::IgnoredPrefix(PrefixError::Path(ParseError::Repository)),
        ),
        (
            "a___b/",
            Problem::IgnoredPrefix(PrefixError::Path(ParseError::Repository)),
        ),
        (
            "a/B/",
            Problem::IgnoredPrefix(PrefixError::Path(ParseError::Uppercase)),
        ),
        ("a_b.io/", Problem::IgnoredPrefix(PrefixError::NoRegistry)),
        (
            "https://quay.io/",
            Problem::IgnoredPrefix(PrefixError::Scheme),
        ),
        ("quay.io/a:1/", Problem::IgnoredPrefix(PrefixError::Tag)),
        (
            "quay.io/a@sha256:0/",
            Problem::IgnoredPrefix(PrefixError::Digest),
        ),
        // These read as registries, and would be images on Docker Hub.
        ("quay.io", Problem::IgnoredRegistry("quay.io/".to_owned())),
        (
            "quay.io@{d}",
            Problem::IgnoredRegistry("quay.io/".to_owned()),
        ),
        (
            "reg.corp:5000",
            Problem::IgnoredRegistry("reg.corp:5000/".to_owned()),
        ),
        (
            "localhost",
            Problem::IgnoredRegistry("localhost/".to_owned()),
        ),
        (
            "localhost:5000",
            Problem::IgnoredRegistry("localhost:5000/".to_owned()),
        ),
    ];
    for (item, problem) in problems {
        let item = item.replace("{d}", super::DIGEST);
        let expected = error("IGNORE_IMAGES", &item, problem);
        assert_eq!(errors("example.com", DEFAULT, &item), [expected]);
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let rewrites = "a.io, nginx={proxy}, b.io={proxy}x,\n c.io=d.io, d.io=e.io, c.io=f.io, g.io=x";
    let expected = [
        error("PROXY_URL", "http://x", Problem::Proxy(PrefixError::Scheme)),
        error("REWRITES", "a.io", Problem::NoEquals),
        error(
            "REWRITES",
            "nginx={proxy}",
            Problem::Source(PrefixError::NoRegistry),
        ),
        error("REWRITES", "b.io={proxy}x", Problem::ProxyPlace),
        error(
            "REWRITES",
            "g.io=x",
            Problem::Target(PrefixError::NoRegistry),
        ),
        error(
            "IGNORE_IMAGES",
            "quay.io",
            Problem::IgnoredRegistry("quay.io/".to_owned()),
        ),
        error(
            "IGNORE_IMAGES",
            "A",
            Problem::IgnoredImage(ParseError::Uppercase),
        ),
        error(
            "REWRITES",
            "d.io=e.io",
            Problem::NeverApplies("c.io=d.io".to_owned()),
        ),
        error("REWRITES", "c.io=f.io", Problem::Duplicate),
    ];
    assert_eq!(errors("http://x", rewrites, "quay.io, nginx, A"), expected);

    let nothing = errors("", "", "B");
    let settings: Vec<_> = nothing.iter().map(|error| error.setting).collect();
    assert_eq!(settings, ["PROXY_URL", "IGNORE_IMAGES", "REWRITES"]);
}

#[test]
fn warnings() {
    let again = |target: &str, source: &str| Warning::NeverSwappedAgain {
        target: target.to_owned(),
        source: source.to_owned(),
    };
    let not_official = |source: &str| Warning::NotOfficial {
        source: source.to_owned(),
    };
    for (proxy, rewrites, expected) in [
        ("example.com", DEFAULT, vec![]),
        ("example.com", "*={proxy}", vec![]),
        // `*` leaves the registries of targets alone anyway.
        ("example.com", "*={proxy}, a.io=b.io/x", vec![]),
        (
            "quay.io/proxy",
            "docker.io={proxy}, quay.io=mirror.corp",
            vec![again("quay.io/proxy", "quay.io")],
        ),
        (
            "example.com",
            "*=quay.io/m/{registry}/x, quay.io={proxy}",
            vec![again("quay.io/m/{registry}/x", "quay.io")],
        ),
        // Below its own source alone, nobody would expect it to be swapped again.
        ("docker.io/mirror", DEFAULT, vec![]),
        (
            "example.com",
            "docker.io/nginx={proxy}/x",
            vec![not_official("docker.io/nginx")],
        ),
        (
            "example.com",
            "index.docker.io/nginx={proxy}/x",
            vec![not_official("docker.io/nginx")],
        ),
        ("example.com", "docker.io/library={proxy}", vec![]),
        ("example.com", "docker.io/library/nginx={proxy}/x", vec![]),
        ("example.com", "quay.io/nginx={proxy}/x", vec![]),
        (
            "docker.io/a/m",
            "quay.io={proxy}, docker.io/a=b.io",
            vec![
                again("docker.io/a/m", "docker.io/a"),
                not_official("docker.io/a"),
            ],
        ),
    ] {
        assert_eq!(
            load(proxy, rewrites, "").warnings(),
            expected,
            "{rewrites:?}"
        );
    }
}

#[test]
fn messages_name_the_input_and_what_was_expected() {
    for (proxy, rewrites, ignore_images, parts) in [
        (
            "registry",
            DEFAULT,
            "",
            [
                "PROXY_URL: \"registry\"",
                "such as `registry.example.com/proxy`",
            ],
        ),
        (
            "http://a.io",
            DEFAULT,
            "",
            ["PROXY_URL: \"http://a.io\"", "TLS is the node's setting"],
        ),
        (
            "a.io",
            "",
            "",
            ["REWRITES: \"\"", "at least one `SOURCE=TARGET`"],
        ),
        (
            "a.io",
            "quay.io",
            "",
            ["REWRITES: \"quay.io\"", "expected `SOURCE=TARGET`"],
        ),
        (
            "a.io",
            "nginx={proxy}",
            "",
            [
                "REWRITES: \"nginx={proxy}\"",
                "write `docker.io/library/nginx`",
            ],
        ),
        (
            "a.io",
            "b.io={proxy}x",
            "",
            ["REWRITES: \"b.io={proxy}x\"", "followed by `/`"],
        ),
        (
            "docker.io",
            DEFAULT,
            "",
            ["REWRITES: \"docker.io={proxy}\"", "could never apply"],
        ),
        (
            "a.io",
            DEFAULT,
            "quay.io",
            ["IGNORE_IMAGES: \"quay.io\"", "write \"quay.io/\""],
        ),
        (
            "a.io",
            DEFAULT,
            "A",
            ["IGNORE_IMAGES: \"A\"", "must be lower case"],
        ),
    ] {
        let message = errors(proxy, rewrites, ignore_images)[0].to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }
    let rules = load("docker.io/a/m", "quay.io={proxy}, docker.io/a=b.io", "");
    let messages: Vec<_> = rules.warnings().iter().map(ToString::to_string).collect();
    assert!(
        messages[0].contains("\"docker.io/a/m\" is below the source \"docker.io/a\""),
        "{messages:?}"
    );
    assert!(
        messages[1].contains("write `docker.io/library/a`"),
        "{messages:?}"
    );
}
