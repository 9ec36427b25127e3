//! A reference that parses is printed as one that parses to the same; deciding about any string
//! never panics, and what an image is swapped for is left alone.
#![no_main]

use std::sync::LazyLock;

use image_swapper::image::Reference;
use image_swapper::rules::{Decision, Reason, Rules};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let rewrites = "docker.io={proxy}, quay.io/a=b.example/c, *={proxy}/x/{registry}/y";
    Rules::parse(
        "proxy.example:5000/p",
        rewrites,
        "registry, gcr.io/, redis:7",
    )
    .unwrap()
});

fuzz_target!(|image: &str| {
    if let Ok(reference) = Reference::parse(image) {
        let printed = reference.to_string();
        let again = Reference::parse(&printed).unwrap();
        assert_eq!(again.to_string(), printed);
        assert_eq!(again.registry(), reference.registry());
        assert_eq!(again.repository(), reference.repository());
        assert_eq!(again.tag(), reference.tag());
        assert_eq!(again.digest(), reference.digest());
    }
    if let Decision::Swap { target, .. } = RULES.decide(image, false) {
        let again = RULES.decide(&target, false);
        assert_eq!(again, Decision::Skip(Reason::AlreadyProxied), "{target}");
    }
});
