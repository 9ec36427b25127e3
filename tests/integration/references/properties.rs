//! Properties of references, rules and decisions. The runs are deterministic, and count how often
//! the case that matters came up, so that none of them can hold for want of trying.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use image_swapper::image::Reference;
use image_swapper::rules::{Decision, Reason, Rules};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::generate::Generator;

const CASES: u32 = 2_000;
const REGISTRIES: [&str; 14] = [
    "docker.io",
    "docker.io",
    "index.docker.io",
    "quay.io",
    "gcr.io",
    "Quay.io",
    "reg.corp:5000",
    "reg.corp",
    "mirror.corp",
    "localhost:5000",
    "127.0.0.1",
    "[2001:db8::1]:5000",
    "[::]",
    "X",
];
const PATHS: [&str; 6] = ["a", "a/b", "library", "library/a", "bitnami", "a-b/c_d/e"];
const PROXIES: [&str; 7] = [
    "example.com",
    "https://Example.com:8443/",
    "proxy.corp/cache/hub",
    "[fd00::1]:5000/p",
    "localhost:5000",
    "docker.io/mirror",
    "quay.io/proxy",
];
const PROXIED: [&str; 6] = [
    "{proxy}",
    "{proxy}",
    "{proxy}/a",
    "{proxy}/{registry}",
    "{proxy}/m/x-{registry}/y/",
    "{proxy}/library",
];
const IGNORED: [&str; 8] = [
    "registry",
    "quay.io/",
    "bitnami/",
    "docker.io/library/",
    "a:1",
    "gcr.io/a/b:latest",
    "localhost:5000/",
    "reg.corp:5000/a",
];

/// What `REWRITES` and its companions say, item by item.
#[derive(Debug, Clone)]
struct Settings {
    proxy_url: &'static str,
    rewrites: Vec<String>,
    ignore_images: String,
}

impl Settings {
    fn load(&self) -> Option<Rules> {
        Rules::parse(
            self.proxy_url,
            &self.rewrites.join(","),
            &self.ignore_images,
        )
        .ok()
    }
}

fn prefix() -> impl Strategy<Value = String> {
    let path = prop_oneof![Just(None), select(&PATHS[..]).prop_map(Some)];
    (select(&REGISTRIES[..]), path).prop_map(|(registry, path)| match path {
        Some(path) => format!("{registry}/{path}"),
        None => registry.to_owned(),
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let source = prop_oneof![1 => Just("*".to_owned()), 5 => prefix()];
    let target = prop_oneof![
        8 => select(&PROXIED[..]).prop_map(str::to_owned),
        1 => prefix(),
        1 => prefix().prop_map(|prefix| prefix + "/{registry}"),
    ];
    let rewrites = prop::collection::btree_map(source, target, 1..5).prop_map(|rewrites| {
        let item = |(source, target)| format!("{source}={target}");
        rewrites.into_iter().map(item).collect()
    });
    let ignored = prop::collection::vec(select(&IGNORED[..]), 0..3);
    (select(&PROXIES[..]), rewrites, ignored).prop_map(|(proxy_url, rewrites, ignored)| Settings {
        proxy_url,
        rewrites,
        ignore_images: ignored.join("\n"),
    })
}

/// References that the differential run tries too, right and wrong.
fn generated() -> impl Strategy<Value = String> {
    any::<u64>().prop_map(|seed| Generator::new(seed).reference())
}

/// Mostly images that the sources of [`settings`] match.
fn images() -> impl Strategy<Value = Vec<String>> {
    let digest = format!("@sha256:{}", "0123456789abcdef".repeat(4));
    let suffix = select(vec![
        String::new(),
        ":1".to_owned(),
        digest.clone(),
        format!(":v2{digest}"),
    ]);
    let below = select(vec!["", "/x", "/x/y"]);
    let matched = (prefix(), below, suffix)
        .prop_map(|(prefix, below, suffix)| format!("{prefix}{below}{suffix}"));
    prop::collection::vec(prop_oneof![3 => matched, 1 => generated()], 1..12)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-cA-C0-9./:@_\\[\\]{}=*, \n-]{0,60}",
        generated(),
    ]
}

/// Checks `property` for many values of `strategy`, the same ones every time.
fn check<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    match TestRunner::new_with_rng(config, rng).run(strategy, property) {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}\nfor {value:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Checks `property` for the images that generated rules swap, and what they become. Most of the
/// rules must load, and many images be swapped.
fn check_swaps(property: impl Fn(&Rules, &str, &str) -> Result<(), TestCaseError>) {
    let (loaded, swapped) = (Cell::new(0), Cell::new(0));
    check(&(settings(), images()), |(settings, images)| {
        let Some(rules) = settings.load() else {
            return Ok(());
        };
        loaded.set(loaded.get() + 1);
        for image in &images {
            if let Decision::Swap { target, .. } = rules.decide(image, false) {
                swapped.set(swapped.get() + 1);
                property(&rules, image, &target)?;
            }
        }
        Ok(())
    });
    let (loaded, swapped) = (loaded.get(), swapped.get());
    println!("{loaded} of {CASES} rule sets loaded, {swapped} images swapped");
    assert!(loaded * 10 >= CASES * 7, "only {loaded} rule sets loaded");
    assert!(swapped >= CASES, "only {swapped} images were swapped");
}

#[test]
fn what_a_reference_prints_is_that_reference() {
    let valid = Cell::new(0);
    check(&generated(), |image| {
        if let Ok(reference) = Reference::parse(&image) {
            valid.set(valid.get() + 1);
            let printed = reference.to_string();
            prop_assert_eq!(Reference::parse(&printed), Ok(reference));
            prop_assert_eq!(Reference::parse(&printed).unwrap().to_string(), &*printed);
        }
        Ok(())
    });
    let valid = valid.get();
    assert!(valid * 10 >= CASES * 3, "only {valid} were valid");
}

#[test]
fn a_swapped_image_is_never_swapped_again() {
    check_swaps(|rules, _, target| {
        let again = rules.decide(target, false);
        prop_assert_eq!(again, Decision::Skip(Reason::AlreadyProxied), "{}", target);
        Ok(())
    });
}

#[test]
fn a_swapped_image_keeps_its_tag_and_digest() {
    check_swaps(|_, image, target| {
        let (before, after) = (
            Reference::parse(image).unwrap(),
            Reference::parse(target).unwrap(),
        );
        let latest = before.digest().is_none().then_some("latest");
        prop_assert_eq!(after.tag(), before.tag().or(latest));
        prop_assert_eq!(after.digest(), before.digest());
        prop_assert_eq!(after.to_string(), target);
        Ok(())
    });
}

#[test]
fn the_order_of_rewrites_never_matters() {
    let shuffled = settings().prop_flat_map(|settings| {
        let other = Just(settings.rewrites.clone()).prop_shuffle();
        (Just(settings), other)
    });
    let compared = Cell::new(0);
    check(&(shuffled, images()), |((settings, other), images)| {
        let reordered = settings.rewrites != other;
        let other = Settings {
            rewrites: other,
            ..settings.clone()
        };
        let (Some(rules), Some(other)) = (settings.load(), other.load()) else {
            prop_assert!(settings.load().is_none() && other.load().is_none());
            return Ok(());
        };
        for image in &images {
            let [one, two] = [&rules, &other].map(|rules| by_source(rules, image));
            if reordered && one.is_ok() {
                compared.set(compared.get() + 1);
            }
            prop_assert_eq!(one, two);
        }
        Ok(())
    });
    let compared = compared.get();
    assert!(compared >= 1_000, "only {compared} swaps were compared");
}

#[test]
fn nothing_that_is_written_anywhere_makes_it_panic() {
    check(&(settings(), text()), |(settings, image)| {
        let Some(rules) = settings.load() else {
            return Ok(());
        };
        let parses = Reference::parse(&image).is_ok();
        let decision = rules.decide(&image, false);
        prop_assert_eq!(
            decision == Decision::Skip(Reason::InvalidReference),
            !parses
        );
        Ok(())
    });
    let proxy_url = prop_oneof![select(&PROXIES[..]).prop_map(str::to_owned), text()];
    check(
        &(proxy_url, text(), text(), text()),
        |(proxy_url, rewrites, ignored, image)| {
            for rewrites in [
                rewrites.clone(),
                format!("a.io={rewrites}"),
                format!("{rewrites}={{proxy}}"),
            ] {
                match Rules::parse(&proxy_url, &rewrites, &ignored) {
                    Ok(rules) => drop(rules.decide(&image, false)),
                    Err(errors) => prop_assert!(!errors.is_empty()),
                }
            }
            Ok(())
        },
    );
}

#[test]
fn an_explanation_ends_with_the_decision() {
    let seen = RefCell::new(BTreeMap::new());
    check(&(settings(), images()), |(settings, images)| {
        let Some(rules) = settings.load() else {
            return Ok(());
        };
        for image in &images {
            let explained = rules.explain(image);
            let (before, last) = explained.trim_end().rsplit_once("\n  ").unwrap();
            let matches = before.lines().filter_map(|line| {
                let (rule, says) = line.strip_prefix("  rule ")?.split_once(": matches")?;
                Some((rule.split('=').next().unwrap(), says))
            });
            let matches: Vec<_> = matches.collect();
            let outcome = match by_source(&rules, image) {
                Ok((target, source)) => {
                    prop_assert_eq!(last, format!("swap: {target}"));
                    prop_assert_eq!(matches[0], (source, ""));
                    "swap"
                }
                Err(reason) => {
                    let reason = reason.as_str();
                    let start = format!("skip: {reason}: ");
                    prop_assert!(last.starts_with(&start), "{}", explained);
                    prop_assert!(reason != "no_rule" || matches.is_empty(), "{}", explained);
                    reason
                }
            };
            *seen.borrow_mut().entry(outcome).or_insert(0) += 1;
        }
        Ok(())
    });
    println!("{seen:?}");
    assert_eq!(seen.borrow().len(), 7, "not every outcome came up");
}

/// What an image becomes, and the source of the rule that says so.
fn by_source<'r>(rules: &'r Rules, image: &str) -> Result<(String, &'r str), Reason> {
    match rules.decide(image, false) {
        Decision::Swap { target, rule } => Ok((target, rules.sources().nth(rule).unwrap())),
        Decision::Skip(reason) => Err(reason),
    }
}
