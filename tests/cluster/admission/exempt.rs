//! Namespaces and Pods that are left alone as a whole.

use serde_json::json;

use super::{EXCLUDED, LABEL, assert_untouched, create, namespace, pods};
use crate::support::{Cluster, NAMESPACE, PROXY, images, pod, until};

/// kube-system and the chart's `excludedNamespaces` are never touched; the release's own namespace is as
/// any other, and what keeps the webhook's own Pods from needing it is their label.
pub(super) fn namespaces(cluster: &Cluster) {
    for excluded in ["kube-system", EXCLUDED] {
        let created = cluster
            .api
            .create(&pods(excluded), &pod("excluded", "nginx"));
        assert_untouched(&created.unwrap());
    }
    let wanted = pod("included", "nginx");
    // A dry run: the rows about counters and replicas list the Pods there.
    let path = format!("{}?dryRun=All", pods(NAMESPACE));
    let created = cluster.api.create(&path, &wanted).unwrap();
    assert_eq!(
        images(&created, "containers"),
        [format!("{PROXY}/library/nginx:latest")]
    );
    let replicas = cluster.api.get(&pods(NAMESPACE));
    let replicas = replicas["items"].as_array().unwrap();
    assert_eq!(replicas.len(), 2);
    for replica in replicas {
        assert_eq!(replica["metadata"]["labels"][LABEL], "skip");
    }
}

/// `skip` on a Namespace, from the beginning, taken away and set again.
pub(super) fn skip_on_a_namespace(cluster: &Cluster) {
    let name = "skipped";
    namespace(cluster, name, &json!({LABEL: "skip"}));
    let path = pods(name);
    assert_untouched(&cluster.api.create(&path, &pod("first", "nginx")).unwrap());
    let label = |value| {
        let change = json!({"metadata": {"labels": {LABEL: value}}});
        cluster
            .api
            .merge(&format!("/api/v1/namespaces/{name}"), &change)
            .unwrap();
    };
    // The API server learns of a Namespace's labels some time after they are stored.
    let until_image = |image: &str| {
        until("the API server knows the Namespace's new labels", || {
            let created = cluster
                .api
                .create(&format!("{path}?dryRun=All"), &pod("dry", "nginx"));
            (images(&created.unwrap(), "containers") == [image]).then_some(())
        });
    };
    let swapped = format!("{PROXY}/library/nginx:latest");
    label(None);
    until_image(&swapped);
    label(Some("skip"));
    until_image("nginx");
    // Only `skip` is an exemption.
    label(Some("enabled"));
    until_image(&swapped);
    assert_eq!(cluster.images(name, "first"), ["nginx"]);
}

/// `skip` on a Pod; any other value of the label is no exemption, and replaced.
pub(super) fn skip_on_a_pod(cluster: &Cluster) {
    let labelled = |name: &str, value: &str| {
        let mut pod = pod(name, "nginx");
        pod["metadata"]["labels"] = json!({LABEL: value, "app": "a"});
        create(cluster, &pod)
    };
    let skipped = labelled("skip-pod", "skip");
    assert_untouched(&skipped);
    assert_eq!(
        skipped["metadata"]["labels"],
        json!({LABEL: "skip", "app": "a"})
    );
    for (number, value) in ["", "SKIP", "patched-image", "other"]
        .into_iter()
        .enumerate()
    {
        let created = labelled(&format!("skip-not-{number}"), value);
        assert_eq!(
            images(&created, "containers"),
            [format!("{PROXY}/library/nginx:latest")]
        );
        assert_eq!(
            created["metadata"]["labels"][LABEL], "patched-image",
            "{value:?}"
        );
    }
    // `kubectl debug` of a Pod with skip is none of ours either.
    cluster.kubectl("debug skip-pod --attach=false --image=busybox:1");
    let debugged = cluster.api.get(&format!("{}/skip-pod", pods("default")));
    assert_eq!(images(&debugged, "ephemeralContainers"), ["busybox:1"]);
}
