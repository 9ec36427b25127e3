//! What becomes of Pods, under failurePolicy Fail and over the Service, as in a real cluster.

use crate::support::{Cluster, PROXY, pod};

#[test]
fn creates() {
    let cluster = Cluster::start();
    cluster.install(&["--set", "webhook.failurePolicy=Fail"]);
    let stored = cluster
        .api
        .create("/api/v1/namespaces/default/pods", &pod("web", "nginx"));
    assert_eq!(
        stored.unwrap()["metadata"]["labels"]["k8s-proxy-image-swapper"],
        "patched-image"
    );
    assert_eq!(
        cluster.images("default", "web"),
        [format!("{PROXY}/library/nginx:latest")]
    );
}
