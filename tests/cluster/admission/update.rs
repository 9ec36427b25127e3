//! Pods that are there already.

use serde_json::{Value, json};

use super::{LABEL, assert_untouched, create, merge, original};
use crate::support::{Cluster, PROXY, images, pod};

/// A patch of the image of the container `web`. The list is replaced, and the rest of the container kept.
fn set(pod: &Value, image: &str) -> Value {
    let mut containers = pod["spec"]["containers"].clone();
    containers[0]["image"] = image.into();
    json!({"spec": {"containers": containers}})
}

/// Creates a Pod whose container is called `web`.
fn create_web(cluster: &Cluster, name: &str, image: &str) -> Value {
    let mut web = pod("web", image);
    web["metadata"]["name"] = name.into();
    create(cluster, &web)
}

/// A new image is swapped too, and its annotation follows.
pub(super) fn image(cluster: &Cluster) {
    let created = create_web(cluster, "update-image", "nginx:1");
    let updated = merge(cluster, "update-image", &set(&created, "nginx:2"));
    assert_eq!(
        images(&updated, "containers"),
        [format!("{PROXY}/library/nginx:2")]
    );
    assert_eq!(original(&updated, "web"), "nginx:2");
    assert_eq!(updated["metadata"]["generation"], 2);
    // By kubectl, and in an init container.
    let mut wanted = pod("update-init", "ghcr.io/acme/web:1");
    wanted["spec"]["initContainers"] = json!([{"name": "wait", "image": "ghcr.io/acme/wait:1"}]);
    assert_untouched(&create(cluster, &wanted));
    cluster.kubectl("set image pod/update-init wait=busybox:1");
    let updated = cluster
        .api
        .get("/api/v1/namespaces/default/pods/update-init");
    assert_eq!(
        images(&updated, "initContainers"),
        [format!("{PROXY}/library/busybox:1")]
    );
    assert_eq!(images(&updated, "containers"), ["ghcr.io/acme/web:1"]);
    assert_eq!(original(&updated, "wait"), "busybox:1");
    assert_eq!(
        updated["metadata"]["labels"],
        json!({LABEL: "patched-image"})
    );
}

/// The annotation tells of the image that is there: it goes with the image that it told of.
pub(super) fn stale_annotation(cluster: &Cluster) {
    let name = "update-stale";
    let created = create_web(cluster, name, "nginx:1");
    let set = |image: &str| merge(cluster, name, &set(&created, image));

    let own = set("ghcr.io/acme/web:1");
    assert_eq!(images(&own, "containers"), ["ghcr.io/acme/web:1"]);
    assert!(original(&own, "web").is_null(), "{}", own["metadata"]);

    let back = set("redis:7");
    assert_eq!(
        images(&back, "containers"),
        [format!("{PROXY}/library/redis:7")]
    );
    assert_eq!(original(&back, "web"), "redis:7");

    let by_hand = format!("{PROXY}/library/valkey:8");
    let other = set(&by_hand);
    assert_eq!(images(&other, "containers"), [by_hand]);
    assert!(original(&other, "web").is_null(), "{}", other["metadata"]);

    // What the annotation tells of, written by hand, keeps it.
    let mut patch = json!({"metadata": {"annotations": {}}});
    patch["metadata"]["annotations"][format!("{}web", super::ORIGINAL)] = "httpd:2".into();
    merge(cluster, name, &patch);
    let kept = set(&format!("{PROXY}/library/httpd:2"));
    assert_eq!(original(&kept, "web"), "httpd:2");
}

/// A Pod from before the webhook keeps its image through other updates: to change it would restart it.
pub(super) fn labels_of_an_old_pod(cluster: &Cluster) {
    let name = "update-old";
    let mut old = pod(name, "nginx");
    old["metadata"]["labels"] = json!({LABEL: "skip"});
    create(cluster, &old);
    // Without the label it is as one that was created before.
    merge(
        cluster,
        name,
        &json!({"metadata": {"labels": {LABEL: null}}}),
    );
    cluster.kubectl(&format!("label pod {name} a=b"));
    cluster.kubectl(&format!("annotate pod {name} a=b"));
    let updated = cluster
        .api
        .get(&format!("/api/v1/namespaces/default/pods/{name}"));
    assert_eq!(images(&updated, "containers"), ["nginx"]);
    assert_untouched(&updated);
    assert_eq!(updated["metadata"]["generation"], 1);

    // Of several containers only the one whose image changes is swapped.
    let mut two = pod("update-old-two", "nginx");
    two["metadata"]["labels"] = json!({LABEL: "skip"});
    two["spec"]["containers"] =
        json!([{"name": "a", "image": "nginx"}, {"name": "b", "image": "redis"}]);
    create(cluster, &two);
    merge(
        cluster,
        "update-old-two",
        &json!({"metadata": {"labels": {LABEL: null}}}),
    );
    cluster.kubectl("set image pod/update-old-two b=redis:7");
    assert_eq!(
        cluster.images("default", "update-old-two"),
        ["nginx".to_owned(), format!("{PROXY}/library/redis:7")]
    );
}

/// One update that sets `skip` and an image: the API server asks, since the old Pod had no `skip`.
pub(super) fn opting_out(cluster: &Cluster) {
    let created = create_web(cluster, "opt-out", "nginx:1");
    let mut patch = set(&created, "nginx:2");
    patch["metadata"] = json!({"labels": {LABEL: "skip"}});
    let updated = merge(cluster, "opt-out", &patch);
    assert_eq!(images(&updated, "containers"), ["nginx:2"]);
    assert_eq!(updated["metadata"]["labels"], json!({LABEL: "skip"}));
    // From now on it is not asked at all.
    let updated = merge(cluster, "opt-out", &set(&created, "nginx:3"));
    assert_eq!(images(&updated, "containers"), ["nginx:3"]);
}

/// And one that takes `skip` away: the new Pod is as any other.
pub(super) fn opting_in(cluster: &Cluster) {
    let mut skipped = pod("opt-in", "nginx:1");
    skipped["metadata"]["labels"] = json!({LABEL: "skip"});
    let created = create(cluster, &skipped);
    assert_untouched(&created);
    let mut patch = set(&created, "nginx:2");
    patch["metadata"] = json!({"labels": {LABEL: null}});
    let updated = merge(cluster, "opt-in", &patch);
    assert_eq!(
        images(&updated, "containers"),
        [format!("{PROXY}/library/nginx:2")]
    );
    assert_eq!(
        updated["metadata"]["labels"],
        json!({LABEL: "patched-image"})
    );
}

/// What the match conditions cost grows with the containers, and must stay within what the API server
/// allows: beyond, it would refuse the Pod.
pub(super) fn image_of_many_containers(cluster: &Cluster) {
    let count = 5_000;
    let containers: Vec<_> = (0..count)
        .map(|number| json!({"name": format!("c{number}"), "image": "nginx"}))
        .collect();
    let mut wanted = pod("many", "nginx");
    wanted["spec"] = json!({"containers": containers, "automountServiceAccountToken": false});
    let created = create(cluster, &wanted);
    let swapped = format!("{PROXY}/library/nginx:latest");
    assert_eq!(images(&created, "containers"), vec![swapped.clone(); count]);
    merge(
        cluster,
        "many",
        &json!({"metadata": {"labels": {"a": "b"}}}),
    );
    let updated = merge(cluster, "many", &set(&created, "nginx:2"));
    let images = images(&updated, "containers");
    assert_eq!(images[0], format!("{PROXY}/library/nginx:2"));
    assert_eq!(images[1..], vec![swapped; count - 1]);
}
