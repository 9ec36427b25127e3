//! What a patch may change at most, found by comparing the Pod before and after, and nothing else.

use serde_json::{Map, Value, json};

/// One place at which two documents differ, and what stands there.
pub(crate) struct Change<'v> {
    pub(crate) path: Vec<&'v str>,
    pub(crate) index: Option<usize>,
    pub(crate) before: Option<&'v Value>,
    pub(crate) after: Option<&'v Value>,
}

/// Fails where `after` differs from `before` by more than the answer to a request of `operation`
/// about `sub` of a Pod may change. Returns the differences.
pub(crate) fn assert_only_allowed<'v>(
    operation: &str,
    sub: &str,
    before: &'v Value,
    after: &'v Value,
) -> Vec<Change<'v>> {
    let mut changes = Vec::new();
    compare(
        &mut Vec::new(),
        None,
        Some(before),
        Some(after),
        &mut changes,
    );
    for change in &changes {
        assert!(
            is_allowed(operation, sub, change),
            "{operation} {sub:?} changed {:?}[{:?}] from {:?} to {:?}",
            change.path,
            change.index,
            change.before,
            change.after,
        );
    }
    changes
}

fn is_allowed(operation: &str, sub: &str, change: &Change<'_>) -> bool {
    let create = (operation, sub) == ("CREATE", "");
    let update = (operation, sub) == ("UPDATE", "");
    let ephemeral = (operation, sub) == ("UPDATE", "ephemeralcontainers");
    let is_string = |value: Option<&Value>| value.is_some_and(Value::is_string);
    let replaced = is_string(change.before) && is_string(change.after);
    match change.path[..] {
        ["spec", "containers" | "initContainers", "image"] => (create || update) && replaced,
        ["spec", "ephemeralContainers", "image"] => ephemeral && replaced,
        ["spec", "volumes", "image", "reference"] => create && replaced,
        // As many as before in the same order, and one more.
        ["spec", "imagePullSecrets"] => {
            let before = change.before.and_then(Value::as_array);
            let mut expected = before.cloned().unwrap_or_default();
            expected.push(json!({"name": super::PULL_SECRET}));
            create && change.after.and_then(Value::as_array) == Some(&expected)
        }
        ["metadata", "labels", "k8s-proxy-image-swapper"] => {
            (create || update) && change.after.is_some_and(|label| label == "patched-image")
        }
        ["metadata", "annotations", key] => {
            let ours = [
                "original-image.k8s-proxy-image-swapper/",
                "original-volume.k8s-proxy-image-swapper/",
            ];
            (create || update)
                && ours.iter().any(|prefix| key.starts_with(prefix))
                && (change.after.is_none() || is_string(change.after))
        }
        _ => false,
    }
}

/// Collects the differences. `index` is that of the last array which `path` leads through.
fn compare<'v>(
    path: &mut Vec<&'v str>,
    index: Option<usize>,
    before: Option<&'v Value>,
    after: Option<&'v Value>,
    changes: &mut Vec<Change<'v>>,
) {
    // A map that is made where there was none differs by what is in it.
    let made = matches!(
        path[..],
        ["metadata"] | ["metadata", "labels" | "annotations"]
    );
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            compare_objects(path, index, Some(before), after, changes);
        }
        (None | Some(Value::Null), Some(Value::Object(after))) if made && !after.is_empty() => {
            compare_objects(path, index, None, after, changes);
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(path, Some(index), Some(before), Some(after), changes);
            }
        }
        _ if before == after => {}
        _ => changes.push(Change {
            path: path.clone(),
            index,
            before,
            after,
        }),
    }
}

fn compare_objects<'v>(
    path: &mut Vec<&'v str>,
    index: Option<usize>,
    before: Option<&'v Map<String, Value>>,
    after: &'v Map<String, Value>,
    changes: &mut Vec<Change<'v>>,
) {
    let stored = |key: &str| before.and_then(|before| before.get(key));
    let kept = before.into_iter().flat_map(Map::keys);
    let added = after.keys().filter(|key| stored(key).is_none());
    for key in kept.chain(added) {
        path.push(key);
        compare(path, index, stored(key), after.get(key), changes);
        path.pop();
    }
}
