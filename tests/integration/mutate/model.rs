//! The design's tables once more, over `serde_json::Value`: naive, slow, and written without a look
//! at the code under test. Only the decision about a single image is taken from [`Rules::decide`].

use std::collections::{BTreeMap, BTreeSet};

use image_swapper::mutate::{Mode, Mutator};
use image_swapper::rules::{Decision, Reason};
use serde_json::{Map, Value, json};

const LABEL: &str = "k8s-proxy-image-swapper";
const LIMIT: usize = 262_144;

/// What must become of a review.
pub(crate) struct Expected {
    pub(crate) pod: Value,
    pub(crate) swapped: usize,
    /// What is swapped for what, or would be.
    pub(crate) swaps: Vec<(String, String)>,
    pub(crate) skipped: Vec<Reason>,
    pub(crate) omitted: usize,
}

/// One image that a request could set.
struct Image {
    pointer: String,
    annotation: String,
    /// Whether its name can end an annotation's key.
    annotated: bool,
    reference: String,
    never: bool,
    changed: bool,
}

pub(crate) fn expected(mutator: &Mutator, review: &Value) -> Expected {
    let request = &review["request"];
    let (object, old) = (&request["object"], &request["oldObject"]);
    let mut expected = Expected {
        pod: object.clone(),
        swapped: 0,
        swaps: Vec::new(),
        skipped: Vec::new(),
        omitted: 0,
    };
    let operation = operation(request);
    let sections: &[_] = match operation {
        ("CREATE", "") => &["containers", "initContainers", "volumes"],
        ("UPDATE", "") => &["containers", "initContainers"],
        ("UPDATE", "ephemeralcontainers") => &["ephemeralContainers"],
        _ => return expected,
    };
    if !is_pod(object) || !is_pod(old) {
        return expected;
    }
    let metadata = &object["metadata"];
    let mirror = metadata["annotations"]
        .get("kubernetes.io/config.mirror")
        .is_some();
    let exempt = match text(&metadata["labels"][LABEL]) {
        _ if mirror => Some(Reason::MirrorPod),
        "skip" => Some(Reason::OptedOut),
        _ => None,
    };
    let mut noted = BTreeMap::new();
    let mut stale = BTreeSet::new();
    for image in sections
        .iter()
        .flat_map(|section| images(operation, section, object, old))
    {
        let decision = match exempt {
            _ if !image.changed => Decision::Skip(Reason::Unchanged),
            Some(reason) => Decision::Skip(reason),
            None => mutator.rules.decide(&image.reference, image.never),
        };
        if let Decision::Swap { target, .. } = &decision {
            let swap = (image.reference.clone(), target.clone());
            expected.swaps.push(swap);
        }
        match decision {
            Decision::Swap { .. } if mutator.mode == Mode::Observe => {
                expected.skipped.push(Reason::Observed);
            }
            Decision::Swap { target, .. } => {
                expected.swapped += 1;
                *expected.pod.pointer_mut(&image.pointer).unwrap() = json!(target);
                if image.annotated {
                    noted.insert(image.annotation, image.reference);
                } else {
                    stale.insert(image.annotation);
                }
            }
            Decision::Skip(reason) => {
                expected.skipped.push(reason);
                let original = text(&metadata["annotations"][&image.annotation]);
                let is_stale = !matches!(
                    mutator.rules.decide(original, false),
                    Decision::Swap { target, .. } if target == image.reference
                );
                if operation == ("UPDATE", "") && image.changed && exempt.is_none() && is_stale {
                    stale.insert(image.annotation);
                }
            }
        }
    }
    if operation == ("CREATE", "") && expected.swapped > 0 {
        add_pull_secret(mutator, &mut expected.pod["spec"]);
    }
    if operation.1.is_empty() && mutator.mode == Mode::Swap {
        mark(mutator, &mut expected, noted, stale);
    }
    expected
}

fn add_pull_secret(mutator: &Mutator, spec: &mut Value) {
    if let Some(secret) = &mutator.pull_secret {
        let all = spec.get("imagePullSecrets").and_then(Value::as_array);
        let mut all = all.cloned().unwrap_or_default();
        if !all.iter().any(|item| item["name"] == **secret) {
            all.push(json!({"name": secret}));
            spec["imagePullSecrets"] = json!(all);
        }
    }
}

/// What a request does, and to what part of Pods.
fn operation(request: &Value) -> (&str, &str) {
    let resource = &request["resource"];
    if ["group", "version", "resource"].map(|field| text(&resource[field])) == ["", "v1", "pods"] {
        (text(&request["operation"]), text(&request["subResource"]))
    } else {
        ("", "")
    }
}

fn images(operation: (&str, &str), section: &str, object: &Value, old: &Value) -> Vec<Image> {
    let items = |pod: &Value| pod["spec"][section].as_array().cloned().unwrap_or_default();
    let stored = items(old);
    let mut images = Vec::new();
    for (index, item) in items(object).iter().enumerate() {
        let volume = section == "volumes";
        if volume && item["image"].is_null() {
            continue;
        }
        let name = text(&item["name"]);
        let reference = if volume {
            &item["image"]["reference"]
        } else {
            &item["image"]
        };
        let policy = if volume {
            &item["image"]["pullPolicy"]
        } else {
            &item["imagePullPolicy"]
        };
        // Names are unique in a valid Pod; of several, the last one counts.
        let old = stored.iter().rev().find(|item| text(&item["name"]) == name);
        images.push(Image {
            pointer: format!(
                "/spec/{section}/{index}/image{}",
                if volume { "/reference" } else { "" }
            ),
            annotation: format!(
                "original-{}.{LABEL}/{name}",
                if volume { "volume" } else { "image" }
            ),
            annotated: is_dns_label(name),
            reference: text(reference).to_owned(),
            never: text(policy) == "Never",
            changed: match operation {
                ("CREATE", "") => true,
                ("UPDATE", "") => old.is_none_or(|old| text(&old["image"]) != text(reference)),
                _ => old.is_none(),
            },
        });
    }
    images
}

/// Sets the label and the annotations.
fn mark(
    mutator: &Mutator,
    expected: &mut Expected,
    mut noted: BTreeMap<String, String>,
    mut stale: BTreeSet<String>,
) {
    let before = expected.pod["metadata"]["annotations"].as_object();
    let before = before.cloned().unwrap_or_default();
    let with = |noted: &BTreeMap<String, String>, stale: &BTreeSet<String>| {
        let mut annotations = before.clone();
        annotations.retain(|key, _| !stale.contains(key));
        annotations.extend(noted.iter().map(|(key, value)| (key.clone(), json!(value))));
        annotations
    };
    let size = |annotations: &Map<String, Value>| -> usize {
        annotations
            .iter()
            .map(|(key, value)| key.len() + text(value).len())
            .sum()
    };
    if !mutator.annotate_originals || size(&with(&noted, &stale)) > LIMIT {
        expected.omitted = if mutator.annotate_originals {
            noted.len()
        } else {
            0
        };
        stale.extend(std::mem::take(&mut noted).into_keys());
    }
    // Assigning below a null or to a key that is absent makes an object of it.
    let after = with(&noted, &stale);
    if after != before {
        expected.pod["metadata"]["annotations"] = json!(after);
    }
    if expected.swapped > 0 {
        expected.pod["metadata"]["labels"][LABEL] = json!("patched-image");
    }
}

/// Whether every field that is looked at has its type, or is absent or null.
fn is_pod(pod: &Value) -> bool {
    let is_text = |value: &Value| value.is_null() || value.is_string();
    let is_object = |value: &Value| value.is_null() || value.is_object();
    let all = |value: &Value, is_item: &dyn Fn(&Value) -> bool| match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(|item| item.is_object() && is_item(item)),
        _ => false,
    };
    let is_container = |item: &Value| {
        ["name", "image", "imagePullPolicy"]
            .iter()
            .all(|field| is_text(&item[field]))
    };
    let is_volume = |item: &Value| {
        let image = &item["image"];
        is_text(&item["name"])
            && is_object(image)
            && is_text(&image["reference"])
            && is_text(&image["pullPolicy"])
    };
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let annotations = &metadata["annotations"];
    is_object(pod)
        && is_object(metadata)
        && is_text(&metadata["generateName"])
        && is_object(&metadata["labels"])
        && is_text(&metadata["labels"][LABEL])
        && is_object(annotations)
        && annotations
            .as_object()
            .is_none_or(|all| all.values().all(is_text))
        && is_object(spec)
        && all(&spec["containers"], &is_container)
        && all(&spec["initContainers"], &is_container)
        && all(&spec["ephemeralContainers"], &is_container)
        && all(&spec["volumes"], &is_volume)
        && all(&spec["imagePullSecrets"], &|item| is_text(&item["name"]))
}

fn is_dns_label(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && name.chars().all(|c| is_end(c) || c == '-')
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
