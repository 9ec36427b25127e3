//! Whatever the body: reading it and deciding about it never panic, the answer is JSON, and the
//! patch, if there is one, applies to the object.
#![no_main]

use std::sync::LazyLock;

use image_swapper::mutate::Mutator;
use image_swapper::review::Review;
use image_swapper::rules::Rules;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static MUTATOR: LazyLock<Mutator> = LazyLock::new(|| {
    let rewrites = "docker.io={proxy}, *={proxy}/{registry}";
    Mutator {
        warn: true,
        pull_secret: Some("proxy".to_owned()),
        ..Mutator::new(Rules::parse("proxy.example", rewrites, "").unwrap())
    }
});

fuzz_target!(|body: &[u8]| {
    let Ok(review) = Review::read(body) else {
        return;
    };
    let outcome = MUTATOR.mutate(&review);
    let warning = MUTATOR.warning(&review, &outcome);
    assert!(warning.as_ref().is_none_or(|warning| warning.len() <= 256));
    let answer = review.answer(Some("[]"), warning.as_deref());
    serde_json::from_str::<Value>(&answer).unwrap();
    let patch = outcome.patch;
    if patch.is_empty() {
        return;
    }
    let patch = serde_json::from_str::<json_patch::Patch>(&patch.into_json()).unwrap();
    // A `Value` does not hold all that is skipped unread: numbers beyond f64, 128 levels.
    if let Ok(mut review) = serde_json::from_slice::<Value>(body) {
        json_patch::patch(&mut review["request"]["object"], &patch).unwrap();
    }
});
