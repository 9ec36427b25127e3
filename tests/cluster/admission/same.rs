//! Nothing of a Pod is changed but what is said to be: without our changes it is what the API server
//! stores in a namespace that is left alone.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

use super::create::minor_version;
use super::{EXCLUDED, LABEL, ORIGINAL, ORIGINAL_VOLUME, PULL_SECRET, pods};
use crate::support::{Cluster, Refused, root};

/// A Pod with fields that our code never heard of, and one with some of 1.35: before, they are dropped,
/// and what is left of that Pod is refused.
const NEW_FIELDS: &str = "new fields";
const NEWER_FIELDS: &str = "newer fields";

/// A Pod that is refused by all.
const REFUSED: &str = "refused";

pub(super) fn minus_our_changes(cluster: &Cluster) {
    let version = minor_version(cluster);
    let (mut swapped, mut refused) = (0, Vec::new());
    for (what, pod) in every_pod() {
        let created = ["default", EXCLUDED].map(|place| cluster.api.create(&pods(place), &pod));
        let Ok(here) = &created[0] else {
            compare(&what, "create", created);
            refused.push(what);
            continue;
        };
        swapped += usize::from(here["metadata"]["labels"][LABEL] == "patched-image");
        assert_fields(&what, &here["spec"], version);
        compare(&what, "create", created);

        // And as it is updated: an image, and labels.
        let name = pod["metadata"]["name"].as_str().unwrap();
        let updated = ["default", EXCLUDED].map(|place| {
            let path = format!("{}/{name}", pods(place));
            let mut stored = cluster.api.get(&path);
            stored["spec"]["containers"][0]["image"] = "docker.io/valkey/valkey:8".into();
            stored["metadata"]["labels"]["updated"] = "yes".into();
            cluster.api.replace(&path, &stored)
        });
        compare(&what, "update", updated);
    }
    let expected: &[&str] = if version < 35 {
        &[NEWER_FIELDS, REFUSED]
    } else {
        &[REFUSED]
    };
    assert_eq!(refused, expected, "the Pods that were refused");
    assert!(swapped >= 14, "only {swapped} of the Pods were swapped");
}

/// The new fields are stored: otherwise their Pods would prove nothing.
fn assert_fields(what: &str, spec: &Value, version: u32) {
    let container = &spec["containers"][0];
    let stored: &[_] = match what {
        NEW_FIELDS if version < 35 => &[&spec["resources"]],
        NEW_FIELDS => &[&spec["resources"], &spec["hostnameOverride"]],
        NEWER_FIELDS => &[
            &container["restartPolicyRules"],
            &container["env"][0]["valueFrom"]["fileKeyRef"],
        ],
        _ => &[],
    };
    for field in stored {
        assert!(!field.is_null(), "{what}: {spec}");
    }
}

/// Pods of all sorts: those of the recorded reviews, and some more.
fn every_pod() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("tests/reviews"))
        .unwrap()
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let review = fs::read(entry.path()).unwrap();
            let mut review: Value = serde_json::from_slice(&review).unwrap();
            let name = entry.file_name().into_string().unwrap();
            all.push((name, review["request"]["object"].take()));
        }
    }
    for given in [Value::Null, json!({}), json!({"a/b_c": "\u{1}é\"\\"})] {
        let mut pod =
            json!({"metadata": {}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
        pod["metadata"]["annotations"] = given.clone();
        if given.as_object().is_none_or(Map::is_empty) {
            pod["metadata"]["labels"] = given;
        }
        all.push((format!("metadata {}", pod["metadata"]), pod));
    }
    all.push((NEW_FIELDS.to_owned(), new_fields()));
    all.push((NEWER_FIELDS.to_owned(), newer_fields()));
    let refused = json!({
        "metadata": {}, "spec": {"containers": [{"name": "Not A Name", "image": "nginx"}]}
    });
    all.push((REFUSED.to_owned(), refused));
    for (number, (_, pod)) in all.iter_mut().enumerate() {
        creatable(pod, &format!("same-{number}"));
    }
    all
}

fn new_fields() -> Value {
    json!({
        "metadata": {},
        "spec": {
            "aFieldOfTheFuture": {"image": "nginx"},
            "hostnameOverride": "other.example.com",
            "resources": {"requests": {"cpu": "1"}},
            "volumes": [
                {"name": "model", "image": {"reference": "acme/model"}},
                {"name": "files", "emptyDir": {}}
            ],
            "containers": [
                {"name": "web", "image": "nginx", "aFieldOfTheFuture": [1, 2.5, null]},
                {"name": "own", "image": "ghcr.io/acme/web:1", "lifecycle": {"stopSignal": "SIGUSR1"}}
            ],
            "initContainers": [{"name": "sidecar", "image": "redis:7", "restartPolicy": "Always"}]
        }
    })
}

fn newer_fields() -> Value {
    json!({
        "metadata": {},
        "spec": {
            "volumes": [{"name": "files", "emptyDir": {}}],
            "containers": [{
                "name": "web",
                "image": "nginx",
                "restartPolicy": "Never",
                "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
                ],
                "env": [{
                    "name": "A",
                    "valueFrom": {"fileKeyRef": {"volumeName": "files", "path": "env", "key": "A"}}
                }]
            }]
        }
    })
}

/// Makes of a Pod that was stored once one that can be created, in any namespace.
fn creatable(pod: &mut Value, name: &str) {
    let metadata = pod["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["labels", "annotations"].contains(&key.as_str()));
    metadata.insert("name".to_owned(), name.into());
    let spec = pod["spec"].as_object_mut().unwrap();
    for field in [
        "ephemeralContainers",
        "serviceAccountName",
        "serviceAccount",
    ] {
        spec.remove(field);
    }
    // The name of its volume is random.
    spec.insert("automountServiceAccountToken".to_owned(), false.into());
    // Those of the recorded ones.
    let own = |item: &Value| {
        let name = item["name"].as_str().unwrap_or_default();
        !name.starts_with("kube-api-access-")
    };
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(own);
    }
    for kind in ["containers", "initContainers"] {
        for container in spec
            .get_mut(kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.retain(own);
            }
        }
    }
}

/// Compares what became of a Pod here with what became of it where nothing is swapped.
fn compare(what: &str, did: &str, [here, there]: [Result<Value, Refused>; 2]) {
    match (here, there) {
        (Ok(mut here), Ok(mut there)) => {
            undo(&mut here);
            strip(&mut here);
            strip(&mut there);
            let mut differences = Vec::new();
            differ("", &here, &there, &mut differences);
            assert!(
                differences.is_empty(),
                "{did}: {what}: what is stored, minus our changes, is not what is stored without us:\n{}",
                differences.join("\n")
            );
        }
        (Err(here), Err(there)) => {
            assert_eq!(
                (here.code, here.message),
                (there.code, there.message),
                "{did}: {what}"
            );
        }
        (here, there) => {
            panic!("{did}: {what}: here {here:?}\nand where nothing is swapped {there:?}")
        }
    }
}

/// Takes back our label, annotations and images, by what our annotations tell, and our pull secret.
fn undo(pod: &mut Value) {
    let secrets = pod["spec"]["imagePullSecrets"].as_array_mut();
    if let Some(secrets) = secrets {
        assert_eq!(secrets.pop(), Some(json!({"name": PULL_SECRET})));
        if secrets.is_empty() {
            pod["spec"]
                .as_object_mut()
                .unwrap()
                .remove("imagePullSecrets");
        }
    }
    if let Some(labels) = pod["metadata"]["labels"].as_object_mut() {
        labels.remove(LABEL);
    }
    let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() else {
        return;
    };
    let ours = |key: &String| key.starts_with(ORIGINAL) || key.starts_with(ORIGINAL_VOLUME);
    let originals: Vec<_> = annotations
        .keys()
        .filter(|key| ours(key))
        .cloned()
        .collect();
    let originals: Vec<_> = originals
        .into_iter()
        .map(|key| (annotations.remove(&key).unwrap(), key))
        .collect();
    for (image, key) in originals {
        let (prefix, name) = key.split_at(key.find('/').unwrap() + 1);
        let (lists, field): (&[_], _) = if prefix == ORIGINAL {
            (&["containers", "initContainers"], "/image")
        } else {
            (&["volumes"], "/image/reference")
        };
        for list in lists {
            for item in pod["spec"][list].as_array_mut().into_iter().flatten() {
                if item["name"] == name {
                    *item.pointer_mut(field).unwrap() = image.clone();
                }
            }
        }
    }
}

/// Removes what differs between any two Pods.
fn strip(pod: &mut Value) {
    let metadata = pod["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "namespace",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    // The API server drops empty maps.
    metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
}

/// Where two values differ.
fn differ(path: &str, here: &Value, there: &Value, differences: &mut Vec<String>) {
    let nested: Vec<_> = match (here, there) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let item = |key: &String| (key.clone(), &here[key], &there[key]);
            keys.into_iter().map(item).collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let items = a.iter().zip(b).enumerate();
            items
                .map(|(index, (a, b))| (index.to_string(), a, b))
                .collect()
        }
        _ if here == there => return,
        _ => return differences.push(format!("{path}: {here} instead of {there}")),
    };
    for (key, here, there) in nested {
        differ(&format!("{path}/{key}"), here, there, differences);
    }
}
