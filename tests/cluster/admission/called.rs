//! Which requests reach the webhook at all.

use serde_json::json;

use super::{LABEL, namespace, pods};
use crate::support::{Cluster, pod, until};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// A second configuration, like the chart's own, for one namespace and to a Service that does not exist.
/// Under failurePolicy Fail the API server refuses whatever it would ask a webhook about.
pub(super) fn what_reaches_the_webhook(cluster: &Cluster) {
    let place = "dead-webhook";
    namespace(cluster, place, &json!({}));
    let path = pods(place);
    let of = |name: &str| format!("{path}/{name}");
    let api = &cluster.api;
    let mut skipped = pod("skipped", "nginx");
    skipped["metadata"]["labels"] = json!({LABEL: "skip"});
    let mut web = pod("web", "nginx");
    web["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2m"}});
    for wanted in [&web, &skipped] {
        api.create(&path, wanted).unwrap();
    }
    register_dead(cluster, place);

    let image = |image: &str| json!({"spec": {"containers": [{"name": "web", "image": image}]}});
    let mut mirror = pod("mirror", "nginx");
    mirror["spec"]["nodeName"] = "elsewhere".into();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "abc"});
    skipped["metadata"]["name"] = "skipped-too".into();

    // Asked about, and so refused here.
    let mut debugged = api.get(&of("web"));
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let asked = [
        ("creating a Pod", api.create(&path, &pod("new", "nginx"))),
        (
            "a dry run",
            api.create(&format!("{path}?dryRun=All"), &pod("new", "nginx")),
        ),
        (
            "changing an image",
            api.strategic(&of("web"), &image("nginx:2")),
        ),
        (
            "kubectl debug",
            api.replace(&format!("{}/ephemeralcontainers", of("web")), &debugged),
        ),
        ("skip and an image", {
            let mut both = image("nginx:2");
            both["metadata"] = json!({"labels": {LABEL: "skip"}});
            api.strategic(&of("web"), &both)
        }),
    ];
    for (what, result) in asked {
        let Err(refused) = result else {
            panic!("{what}: the webhook was not asked");
        };
        assert!(
            refused.message.contains("dead.example.com"),
            "{what}: {refused:?}"
        );
    }

    // Not asked about, and so no slower, nor in danger, with the webhook.
    let status = json!({"status": {"message": "a kubelet's word"}});
    let more = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}, "finalizers": ["example.com/f"]}});
    let less = json!({"metadata": {"finalizers": null}});
    let deadline = json!({"spec": {"activeDeadlineSeconds": 3600}});
    let resize = json!({"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "1m"}}}]}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "skipped", "namespace": place}});
    let not_asked = [
        ("a mirror Pod", api.create(&path, &mirror)),
        ("a Pod with skip", api.create(&path, &skipped)),
        ("an image of a Pod with skip", {
            let containers = json!([{"name": "skipped", "image": "nginx:2"}]);
            api.strategic(&of("skipped"), &json!({"spec": {"containers": containers}}))
        }),
        (
            "labels, annotations and finalizers",
            api.merge(&of("web"), &more),
        ),
        ("taking a finalizer away", api.merge(&of("web"), &less)),
        (
            "another field of the specification",
            api.merge(&of("web"), &deadline),
        ),
        (
            "the status",
            api.merge(&format!("{}/status", of("web")), &status),
        ),
        (
            "a resize",
            api.strategic(&format!("{}/resize", of("web")), &resize),
        ),
        (
            "an eviction",
            api.create(&format!("{}/eviction", of("skipped")), &eviction),
        ),
        ("a deletion", api.delete(&of("web"))),
        ("deleting a mirror Pod", api.delete(&of("mirror"))),
        (
            "another kind of object",
            api.create(
                &format!("/api/v1/namespaces/{place}/configmaps"),
                &json!({"metadata": {"name": "other"}}),
            ),
        ),
    ];
    for (what, result) in not_asked {
        if let Err(refused) = result {
            panic!("{what} must not depend on the webhook: {refused:?}");
        }
    }
}

fn register_dead(cluster: &Cluster, place: &str) {
    let chart = format!("{CONFIGURATIONS}/k8s-proxy-image-swapper-webhook");
    let mut dead = cluster.api.get(&chart);
    dead["metadata"] = json!({"name": "dead"});
    let webhook = &mut dead["webhooks"][0];
    webhook["name"] = "dead.example.com".into();
    webhook["clientConfig"]["service"]["name"] = "not-there".into();
    let only = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [place]});
    let expressions = &mut webhook["namespaceSelector"]["matchExpressions"];
    expressions.as_array_mut().unwrap().push(only);
    assert_eq!(webhook["failurePolicy"], "Fail");
    cluster.api.create(CONFIGURATIONS, &dead).unwrap();
    let path = format!("{}?dryRun=All", pods(place));
    until("the API server knows the configuration", || {
        cluster.api.create(&path, &pod("probe", "nginx")).err()
    });
}
