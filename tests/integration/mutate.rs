//! Whole AdmissionReviews in, patches out: those of `tests/reviews`, which an API server sent, and
//! generated ones. Every patch is applied with `json-patch`, and judged by what it did.

mod check;
mod generate;
mod model;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use std::{env, fs, thread};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image_swapper::mutate::{Mode, Mutator};
use image_swapper::review::Review;
use image_swapper::rules::{Reason, Rules};
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::assert_snapshot;
use check::{Change, assert_only_allowed};
use generate::Generator;
use model::expected;

/// How many reviews are generated, unless `MUTATE_COUNT` says otherwise.
const COUNT: u64 = 40_000;

/// How often everything that is worth a case must at least have occurred among [`COUNT`] reviews.
const OCCURRENCES: usize = 1000;

/// The Secret that swapped images are pulled with.
const PULL_SECRET: &str = "proxy";

/// How often something occurred.
#[derive(Default)]
struct Tally(BTreeMap<String, usize>);

/// What became of a review.
struct Answer {
    swapped: usize,
    skipped: Vec<Reason>,
    omitted: usize,
    warning: Option<String>,
    /// The operations of the patch; empty if there is none.
    patch: Value,
    /// The Pod with the patch applied.
    pod: Value,
}

/// Says which generated review failed, if it does.
struct Blame<'b> {
    seed: u64,
    body: &'b str,
}

impl Tally {
    fn count(&mut self, what: &str, names: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut key = what.to_owned();
        for name in names {
            key += " ";
            key += name.as_ref();
        }
        *self.0.entry(key).or_default() += 1;
    }
}

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "with MUTATE_SEED={} MUTATE_COUNT=1:\n{}",
                self.seed, self.body
            );
        }
    }
}

/// Sends a review through the core as the server does, and checks the shape of the answer.
fn answer(mutator: &Mutator, body: &str) -> Answer {
    let sent: Value = serde_json::from_str(body).unwrap();
    let review = Review::read(body.as_bytes()).unwrap();
    let mut outcome = mutator.mutate(&review);
    let patch = std::mem::take(&mut outcome.patch);
    let patch = (!patch.is_empty()).then(|| patch.into_json());
    let warning = mutator.warning(&review, &outcome);
    let answer = review.answer(patch.as_deref(), warning.as_deref());
    let answer: Value = serde_json::from_str(&answer).unwrap();

    let mut expected = json!({
        "kind": "AdmissionReview",
        "apiVersion": sent["apiVersion"],
        "response": {"uid": sent["request"]["uid"], "allowed": true},
    });
    let mut operations = json!([]);
    let mut pod = sent["request"]["object"].clone();
    if let Some(patch) = patch {
        expected["response"]["patchType"] = json!("JSONPatch");
        expected["response"]["patch"] = json!(STANDARD.encode(&patch));
        operations = serde_json::from_str(&patch).unwrap();
        let patch: json_patch::Patch = serde_json::from_str(&patch).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    if let Some(warning) = &warning {
        expected["response"]["warnings"] = json!([warning]);
    }
    assert_eq!(answer, expected);
    Answer {
        swapped: outcome.swapped().count(),
        skipped: outcome.skipped().collect(),
        omitted: outcome.annotations_omitted,
        warning,
        patch: operations,
        pod,
    }
}

/// The review that the API server sends next if another webhook changed the Pod meanwhile.
fn again(review: &Value, pod: Value) -> String {
    let mut review = review.clone();
    review["request"]["object"] = pod;
    review.to_string()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn recorded_reviews() {
    let rewrites = "docker.io={proxy}, *={proxy}/{registry}";
    let ignore = "registry, mcr.microsoft.com/";
    let mutator = Mutator::new(Rules::parse("registry.example.com", rewrites, ignore).unwrap());
    let reviews = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reviews");
    let mut names = Vec::new();
    for entry in fs::read_dir(&reviews).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            names.push(path.file_name().unwrap().to_owned());
        }
    }
    assert!(names.len() >= 11, "{names:?}");
    for name in names {
        let body = fs::read_to_string(reviews.join(&name)).unwrap();
        let sent: Value = serde_json::from_str(&body).unwrap();
        let request = &sent["request"];
        let answer = answer(&mutator, &body);

        let expected = expected(&mutator, &sent);
        assert_eq!(answer.pod, expected.pod, "{}", name.display());
        assert_eq!(answer.skipped, expected.skipped, "{}", name.display());
        let (operation, sub) = (text(request, "operation"), text(request, "subResource"));
        assert_only_allowed(operation, sub, &request["object"], &answer.pod);

        let snapshot = reviews.join("patches").join(&name);
        let pretty = serde_json::to_string_pretty(&answer.patch).unwrap() + "\n";
        assert_snapshot(&snapshot, &pretty);

        let second = self::answer(&mutator, &again(&sent, answer.pod));
        assert_eq!(second.patch, json!([]), "{}", name.display());
    }
}

#[test]
fn generated_reviews() {
    let number = |name| {
        env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().unwrap())
    };
    let first = number("MUTATE_SEED").unwrap_or(1);
    let count = number("MUTATE_COUNT").unwrap_or(COUNT);
    let sources = "docker.io={proxy}, quay.io/prometheus=mirror.example:5000/prom";
    let any = format!("{sources}, *={{proxy}}/x/{{registry}}");
    let mutator = |rewrites| {
        let ignore = "registry, quay.io/ignored/";
        Mutator::new(Rules::parse("proxy.example/cache", rewrites, ignore).unwrap())
    };
    let telling = Mutator {
        warn: true,
        pull_secret: Some(PULL_SECRET.to_owned()),
        ..mutator(&any)
    };
    let without_annotations = Mutator {
        annotate_originals: false,
        ..mutator(&any)
    };
    let observer = Mutator {
        mode: Mode::Observe,
        warn: true,
        pull_secret: Some(PULL_SECRET.to_owned()),
        ..mutator(&any)
    };
    let mutators = [mutator(sources), telling, without_annotations, observer];
    let start = Instant::now();
    let mut tally = Tally::default();
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let mutator = &mutators[[0, 1, 1, 1, 2, 3][random.below(6)]];
        check_one(mutator, seed, &mut random, &mut tally);
    }

    println!("{count} reviews from seed {first}, {:?}", start.elapsed());
    for (what, occurred) in &tally.0 {
        println!("{occurred:>8} {what}");
    }
    if count >= COUNT {
        assert_everything_occurred(&tally);
    }
}

/// Generates a review, and checks all that must hold for it.
fn check_one(mutator: &Mutator, seed: u64, random: &mut Random, tally: &mut Tally) {
    let (sent, damaged) = Generator { mutator, random }.review();
    let (body, twice) = write::write(&sent, random, tally);
    let _blame = Blame { seed, body: &body };
    let request = &sent["request"];
    let object = &request["object"];
    let (operation, sub) = (text(request, "operation"), text(request, "subResource"));
    let answer = answer(mutator, &body);
    let pod = &answer.pod;

    let changes = assert_only_allowed(operation, sub, object, pod);
    let of_secrets = |change: &Change| change.path.contains(&"imagePullSecrets");
    assert!(mutator.pull_secret.is_some() || !changes.iter().any(of_secrets));
    assert!(annotations_size(pod) <= annotations_size(object).max(262_144));
    // A key that stands twice may, or may not, stand where it is looked at.
    if !(twice && answer.patch == json!([])) {
        let expected = expected(mutator, &sent);
        assert_eq!(*pod, expected.pod);
        assert_eq!(answer.skipped, expected.skipped);
        assert_eq!(answer.swapped, expected.swapped);
        assert_eq!(answer.omitted, expected.omitted);
        let user = text(&request["userInfo"], "username");
        let told = mutator.warn && !user.starts_with("system:");
        let swaps = expected.swaps.iter().filter(|_| told);
        assert_warning(answer.warning.as_deref(), mutator.mode, swaps, tally);

        // Two containers of one name share an annotation, which fits only one of them.
        if operation != "UPDATE" || has_unique_names(object) {
            let second = self::answer(mutator, &again(&sent, pod.clone()));
            assert_eq!(second.patch, json!([]));
        }
    }

    tally.count("operation", [operation, sub]);
    tally.count("damaged", [damaged.to_string()]);
    tally.count("a key twice", [twice.to_string()]);
    let is_full = annotations_size(object) > 262_144 - 200;
    let annotated = |change: &Change| change.path.starts_with(&["metadata", "annotations"]);
    if answer.omitted > 0 {
        tally.count("annotations that do not fit", [""; 0]);
    } else if is_full && changes.iter().any(annotated) {
        tally.count("annotations that just fit", [""; 0]);
    }
    for reason in &answer.skipped {
        tally.count("skipped", [reason.as_str()]);
    }
    let secrets = |pod: &Value| pod["spec"]["imagePullSecrets"].as_array().map(Vec::len);
    if secrets(object) != secrets(pod) {
        tally.count("pull secret", ["added"]);
    } else if mutator.pull_secret.is_some() && operation == "CREATE" && answer.swapped > 0 {
        tally.count("pull secret", ["there already"]);
    }
    for change in changes {
        if let ["spec", section, ..] = change.path[..] {
            tally.count("swapped in", [section]);
        }
    }
    for step in answer.patch.as_array().unwrap() {
        let value = match step.get("value") {
            None => "",
            Some(value) if value.is_string() => "string",
            Some(value) if value.is_array() => "list",
            Some(_) => "object",
        };
        tally.count("patch operation", [text(step, "op"), value]);
    }
}

/// Fails unless `warning` is what an API server passes on whole, and says what is swapped.
fn assert_warning<'s>(
    warning: Option<&str>,
    mode: Mode,
    swaps: impl Iterator<Item = &'s (String, String)>,
    tally: &mut Tally,
) {
    let swaps: Vec<_> = swaps.collect();
    let [(image, target), rest @ ..] = &swaps[..] else {
        assert_eq!(warning, None);
        return;
    };
    let becomes = match mode {
        Mode::Swap => "becomes",
        Mode::Observe => "would become",
    };
    let whole = format!("k8s-proxy-image-swapper: {image} {becomes} {target}");
    let end = match rest.len() {
        0 => String::new(),
        count => format!(", and {count} more"),
    };
    let warning = warning.unwrap();
    assert!(!warning.contains(char::is_control), "{warning:?}");
    let (length, fits) = (warning.chars().count(), whole.len() + end.len() <= 256);
    if fits {
        assert_eq!(warning, whole + &end);
    } else {
        let begins = warning.strip_suffix(&format!("...{end}"));
        assert!(
            begins.is_some_and(|begins| whole.starts_with(begins)),
            "{warning}"
        );
        assert_eq!(length, 256, "{warning}");
    }
    tally.count("warning", [if fits { "whole" } else { "cut" }]);
}

fn assert_everything_occurred(tally: &Tally) {
    let mut keys = Vec::new();
    for section in [
        "containers",
        "initContainers",
        "ephemeralContainers",
        "volumes",
    ] {
        keys.push(format!("swapped in {section}"));
    }
    for operation in [
        "CREATE ",
        "UPDATE ",
        "UPDATE ephemeralcontainers",
        "DELETE ",
        "CONNECT exec",
    ] {
        keys.push(format!("operation {operation}"));
    }
    for reason in Reason::ALL {
        keys.push(format!("skipped {}", reason.as_str()));
    }
    for operation in [
        "replace string",
        "add string",
        "add object",
        "add list",
        "remove ",
    ] {
        keys.push(format!("patch operation {operation}"));
    }
    for form in [
        "as it is",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\uxxxx",
        "\\uXXXX",
        "surrogates",
    ] {
        keys.extend(["key", "value"].map(|place| format!("escape in {place} {form}")));
    }
    keys.extend(["damaged true", "a key twice true"].map(str::to_owned));
    keys.push("warning whole".to_owned());
    keys.extend(["added", "there already"].map(|what| format!("pull secret {what}")));
    for key in keys {
        let occurred = tally.0.get(&key).copied().unwrap_or_default();
        assert!(occurred >= OCCURRENCES, "{key}: {occurred}");
    }
    // Rarer: their Pods are large, and slow, or their first image is long.
    for key in [
        "annotations that do not fit",
        "annotations that just fit",
        "warning cut",
    ] {
        let occurred = tally.0.get(key).copied().unwrap_or_default();
        assert!(occurred >= OCCURRENCES / 20, "{key}: {occurred}");
    }
}

fn annotations_size(pod: &Value) -> usize {
    let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let annotations = pod["metadata"]["annotations"].as_object();
    annotations.map_or(0, |all| all.iter().map(size).sum())
}

fn has_unique_names(pod: &Value) -> bool {
    let mut names: Vec<_> = ["containers", "initContainers"]
        .iter()
        .flat_map(|section| pod["spec"][section].as_array().into_iter().flatten())
        .map(|item| text(item, "name"))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    names.len() == count
}
