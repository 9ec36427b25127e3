//! What kubectl tells whoever uses it.

use serde_json::json;

use super::pods;
use crate::support::{Cluster, PROXY, pod};

/// A person is told what is swapped, once: on the client's side and the server's, in a dry run, of an
/// update and of `kubectl debug`.
pub(super) fn people(cluster: &Cluster) {
    let mut wanted = pod("told", "nginx:1.27");
    wanted["spec"]["initContainers"] = json!([{"name": "wait", "image": "busybox:1"}]);
    let manifest = wanted.to_string();
    let nginx = format!("nginx:1.27 becomes {PROXY}/library/nginx:1.27");
    let both = format!("{nginx}, and 1 more");
    for (line, input, told) in [
        ("apply --dry-run=server -f -", &manifest, Some(both.clone())),
        ("apply -f -", &manifest, Some(both.clone())),
        // It is swapped again, and so said again.
        ("apply -f -", &manifest, Some(both)),
        (
            "set image pod/told told=nginx:2",
            &String::new(),
            Some(format!("nginx:2 becomes {PROXY}/library/nginx:2")),
        ),
        (
            "debug told --attach=false --image=alpine:3",
            &String::new(),
            Some(format!("alpine:3 becomes {PROXY}/library/alpine:3")),
        ),
        (
            "run not-told --image=ghcr.io/acme/web:1",
            &String::new(),
            None,
        ),
    ] {
        let warnings = cluster.warnings(
            &format!("--as=alice --as-group=system:masters {line}"),
            input,
        );
        let told = told.map(|text| format!("k8s-proxy-image-swapper: {text}"));
        assert_eq!(warnings, Vec::from_iter(told), "kubectl {line}");
    }
}

/// Service accounts, nodes and controllers are told nothing, although their Pods are swapped.
pub(super) fn programs(cluster: &Cluster) {
    let users = [
        "system:serviceaccount:default:default",
        "system:kube-controller-manager",
        "system:admin",
    ];
    for (number, user) in users.into_iter().enumerate() {
        let name = format!("untold-{number}");
        let line = format!("--as={user} --as-group=system:masters apply -f -");
        let warnings = cluster.warnings(&line, &pod(&name, "nginx").to_string());
        assert_eq!(warnings, [] as [String; 0], "{user}");
        let path = format!("{}/{name}", pods("default"));
        let stored = cluster.api.get(&path);
        assert_eq!(stored["metadata"]["labels"][super::LABEL], "patched-image");
    }
}
