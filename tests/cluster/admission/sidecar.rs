//! Containers that others add to a Pod as it is created, before or after us.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{INJECTOR, LABEL, PULL_SECRET, namespace, original, pods};
use crate::support::{Cluster, PROXY, images, pod, until};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const SIDECAR: &str = "envoyproxy/envoy:v1";

/// What a webhook injects is swapped, whether the API server asks it before us or after: then we are
/// asked again.
pub(super) fn injected_by_a_webhook(cluster: &Cluster) {
    let place = "injector";
    namespace(cluster, place, &json!({}));
    let certificate = start_injector(cluster, place);
    // In the order of the configurations' names.
    for (name, when) in [("a-injector", "before"), ("z-injector", "after")] {
        let namespace_name = format!("injected-{when}");
        namespace(cluster, &namespace_name, &json!({"inject": when}));
        let configuration = json!({
            "metadata": {"name": name},
            "webhooks": [{
                "name": "injector.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
                "clientConfig": {
                    "caBundle": STANDARD.encode(&certificate),
                    "service": {"name": "injector", "namespace": place}
                },
                "namespaceSelector": {"matchLabels": {"inject": when}},
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]
                }]
            }]
        });
        let path = format!("{GROUP}/mutatingwebhookconfigurations");
        cluster.api.create(&path, &configuration).unwrap();
        check(cluster, &namespace_name);
    }
}

/// Runs tests/go/cluster/injector, and returns the certificate that it is known by.
fn start_injector(cluster: &Cluster, place: &str) -> String {
    let name = format!("injector.{place}.svc");
    let pair = rcgen::generate_simple_self_signed([name]).unwrap();
    let certificate = pair.cert.pem();
    let objects = [
        (
            "secrets",
            json!({
                "metadata": {"name": "tls"},
                "stringData": {"tls.crt": certificate, "tls.key": pair.signing_key.serialize_pem()}
            }),
        ),
        (
            "pods",
            json!({
                "metadata": {"name": "injector", "labels": {"app": "injector"}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "injector",
                        "image": INJECTOR,
                        "args": ["-image", SIDECAR, "-tls", "/tls"],
                        "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": true}]
                    }],
                    "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}]
                }
            }),
        ),
        (
            "services",
            json!({
                "metadata": {"name": "injector"},
                "spec": {"selector": {"app": "injector"}, "ports": [{"port": 443, "targetPort": 8443}]}
            }),
        ),
    ];
    for (kind, object) in objects {
        let path = format!("/api/v1/namespaces/{place}/{kind}");
        cluster.api.create(&path, &object).unwrap();
    }
    certificate
}

/// What a policy injects after us is swapped too: the API server evaluates policies before it asks
/// webhooks, and again when these have changed the Pod.
pub(super) fn injected_by_a_policy(cluster: &Cluster) {
    let policies = format!("{GROUP}/mutatingadmissionpolicies");
    if cluster.api.find(&policies).is_none() {
        assert!(
            super::create::minor_version(cluster) < 36,
            "1.36 has such policies"
        );
        return;
    }
    let place = "injected-by-policy";
    namespace(cluster, place, &json!({"inject": "policy"}));
    let expression = format!(
        "'{LABEL}' in object.metadata.?labels.orValue({{}}) && !object.spec.containers.exists(c, c.name == 'injected') \
         ? [JSONPatch{{op: 'add', path: '/spec/containers/-', \
         value: Object.spec.containers{{name: 'injected', image: '{SIDECAR}'}}}}] : []"
    );
    let policy = json!({
        "metadata": {"name": "injector"},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"inject": "policy"}},
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]
                }]
            },
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]
        }
    });
    let binding = json!({"metadata": {"name": "injector"}, "spec": {"policyName": "injector"}});
    cluster.api.create(&policies, &policy).unwrap();
    cluster
        .api
        .create(
            &format!("{GROUP}/mutatingadmissionpolicybindings"),
            &binding,
        )
        .unwrap();
    check(cluster, place);
}

/// Creates a Pod where a container is injected: both are swapped, each with its annotation.
fn check(cluster: &Cluster, place: &str) {
    let path = pods(place);
    until("a container is injected", || {
        let created = cluster
            .api
            .create(&format!("{path}?dryRun=All"), &pod("dry", "nginx"));
        (images(&created.ok()?, "containers").len() == 2).then_some(())
    });
    let created: Value = cluster.api.create(&path, &pod("web", "nginx")).unwrap();
    assert_eq!(
        images(&created, "containers"),
        [
            format!("{PROXY}/library/nginx:latest"),
            format!("{PROXY}/{SIDECAR}")
        ],
        "in {place}"
    );
    assert_eq!(original(&created, "web"), "nginx");
    assert_eq!(original(&created, "injected"), SIDECAR);
    // Once, although both were swapped.
    let secrets = &created["spec"]["imagePullSecrets"];
    assert_eq!(*secrets, json!([{"name": PULL_SECRET}]), "in {place}");
    assert_eq!(
        created["metadata"]["labels"],
        json!({LABEL: "patched-image"})
    );
}
