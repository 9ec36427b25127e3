//! The patch as `serde_json` and `json-patch` understand it.

use serde_json::{Value, json};

use super::*;

/// Keys that a JSON Pointer or a JSON string must escape, or that look as if they were escaped.
const ODD_KEYS: [&str; 14] = [
    "",
    "/",
    "~",
    "~1",
    "~0",
    "~01",
    "~~//~~",
    "a/b",
    "original-image.k8s-proxy-image-swapper/a",
    "\"",
    "\\",
    "\\u0041",
    "\u{0}\u{1f}\n",
    "é雪\u{1f600}",
];

fn parsed(patch: Patch) -> Value {
    serde_json::from_str(&patch.into_json()).unwrap()
}

fn applied(patch: Patch, mut document: Value) -> Value {
    let patch: json_patch::Patch = serde_json::from_str(&patch.into_json()).unwrap();
    json_patch::patch(&mut document, &patch).unwrap();
    document
}

#[test]
fn without_operations() {
    let patch = Patch::default();
    assert!(patch.is_empty());
    assert_eq!(patch.into_json(), "[]");
}

#[test]
fn every_operation() {
    let mut patch = Patch::default();
    patch.replace(&["spec", "containers", "0", "image"], "a");
    assert!(!patch.is_empty());
    patch.add(&["metadata", "labels", "b/c"], "d");
    patch.add_object(&["metadata"], []);
    patch.add_object(&["metadata", "annotations"], [("e", "f"), ("g", "h")]);
    patch.remove(&["metadata", "annotations", "e"]);
    patch.add_list(&["spec", "list"]);
    patch.add_object(&["spec", "list", "-"], [("i", "j")]);
    assert_eq!(
        parsed(patch),
        json!([
            {"op": "replace", "path": "/spec/containers/0/image", "value": "a"},
            {"op": "add", "path": "/metadata/labels/b~1c", "value": "d"},
            {"op": "add", "path": "/metadata", "value": {}},
            {"op": "add", "path": "/metadata/annotations", "value": {"e": "f", "g": "h"}},
            {"op": "remove", "path": "/metadata/annotations/e"},
            {"op": "add", "path": "/spec/list", "value": []},
            {"op": "add", "path": "/spec/list/-", "value": {"i": "j"}},
        ])
    );
}

#[test]
fn a_pointer_finds_the_key_it_was_made_of() {
    for key in ODD_KEYS {
        let document = json!({"m": {key: "old", "other": 1}});

        let mut patch = Patch::default();
        patch.replace(&["m", key], "new");
        assert_eq!(
            applied(patch, document.clone()),
            json!({"m": {key: "new", "other": 1}})
        );

        let mut patch = Patch::default();
        patch.remove(&["m", key]);
        assert_eq!(applied(patch, document), json!({"m": {"other": 1}}));

        let mut patch = Patch::default();
        patch.add(&["m", key], "new");
        assert_eq!(applied(patch, json!({"m": {}})), json!({"m": {key: "new"}}));
    }
}

#[test]
fn values_and_members_are_set_as_they_are() {
    let controls: String = (0..=0x9f).map(char::from).collect();
    for text in ODD_KEYS.into_iter().chain([controls.as_str()]) {
        let mut patch = Patch::default();
        patch.add(&["a"], text);
        patch.add_object(&["b"], [(text, text), ("plain", text)]);
        patch.replace(&["c"], text);
        assert_eq!(
            applied(patch, json!({"c": null})),
            json!({"a": text, "b": {text: text, "plain": text}, "c": text})
        );
    }
}
