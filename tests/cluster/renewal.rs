//! Certificates are renewed by cert-manager while Pods are created: none fails, none is missed.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::support::{Cluster, Load, NAMESPACE, sum, until};

const LEAF: &str = "swapper-k8s-proxy-image-swapper";
const CA: &str = "swapper-k8s-proxy-image-swapper-ca";
const LEAF_SECRET: &str = "swapper-k8s-proxy-image-swapper-tls";

#[test]
fn of_leaf_and_ca_loses_no_pod() {
    renewals_lose_no_pod(&Cluster::start(), true);
}

/// Older releases of cert-manager tell the API server of the new CA alone. While the replicas still serve
/// the old leaf, it is trusted because the CA's key has stayed.
#[test]
fn of_leaf_and_ca_loses_no_pod_where_the_old_ca_is_forgotten() {
    let gates = ["-injector-feature-gates", "CAInjectorMerging=false"];
    renewals_lose_no_pod(&Cluster::start_with(&gates), false);
}

fn renewals_lose_no_pod(cluster: &Cluster, merges: bool) {
    // A certificate is seen by new connections, of which there are few as long as old ones last.
    cluster.install(&[
        "--set=webhook.failurePolicy=Fail",
        "--set=settings.MAX_CONNECTION_AGE=200ms",
    ]);
    let replicas = cluster.two_replicas();
    let (calls_before, lost_before) = cluster.webhook_calls();
    let mut load = Load::start(&cluster.api);

    let mut renew_leaf = |what: &str| {
        let reloads = |replica: &String| reloads(cluster, replica);
        let before = replicas.each_ref().map(reloads);
        load.during(what, || {
            renew(cluster, LEAF);
            for (replica, before) in replicas.iter().zip(before) {
                until("each replica serves the renewed certificate", || {
                    (reloads(replica) > before).then_some(())
                });
                let wrong = not_after_served(cluster, replica) - not_after(cluster);
                assert!(wrong.abs() < 1.0, "{replica} serves another certificate");
            }
            let ca = pem(&secret(cluster, LEAF_SECRET)["ca.crt"]);
            until("the API server is told of the CA", || {
                ca_bundle(cluster).contains(&ca).then_some(())
            });
        })
        .assert_whole();
    };
    for round in 1..=3 {
        renew_leaf(&format!("renewal {round} of the leaf"));
    }
    let old = pem(&secret(cluster, CA)["tls.crt"]);
    renew(cluster, CA);
    let new = pem(&secret(cluster, CA)["tls.crt"]);
    assert_ne!(old, new);
    assert!(ca_bundle(cluster).contains(&old));
    renew_leaf("renewal of the leaf by a renewed CA");
    assert!(ca_bundle(cluster).contains(&new));
    assert_eq!(ca_bundle(cluster).contains(&old), merges);
    renew_leaf("renewal of the leaf once more");

    let all = load.stop();
    all.assert_whole();
    assert_eq!(cluster.two_replicas(), replicas, "nothing is restarted");
    let (calls, lost) = cluster.webhook_calls();
    println!("the API server counts {} reviews", calls - calls_before);
    assert!(calls - calls_before >= f64::from(u32::try_from(all.created).unwrap()));
    assert!(lost - lost_before < 1.0, "{} lost", lost - lost_before);
}

/// Renews a Certificate as `cmctl renew` does, and waits until it is.
fn renew(cluster: &Cluster, certificate: &str) {
    let path =
        format!("/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificates/{certificate}");
    let revision = |object: &Value| object["status"]["revision"].as_u64().unwrap();
    let before = revision(&cluster.api.get(&path));
    until("the renewal is asked for", || {
        let mut object = cluster.api.get(&path);
        let generation = object["metadata"]["generation"].clone();
        object["status"]["conditions"].as_array_mut()?.push(json!({
            "type": "Issuing",
            "status": "True",
            "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "observedGeneration": generation,
            "lastTransitionTime": format_rfc3339_seconds(SystemTime::now()).to_string(),
        }));
        // Refused if a controller was faster.
        cluster.api.replace(&format!("{path}/status"), &object).ok()
    });
    until("cert-manager has renewed the certificate", || {
        (revision(&cluster.api.get(&path)) > before).then_some(())
    });
}

/// The data of a Secret of the release, which are base64.
fn secret(cluster: &Cluster, name: &str) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
    cluster.api.get(&path)["data"].take()
}

/// The CAs that the API server trusts, as PEM.
fn ca_bundle(cluster: &Cluster) -> String {
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/\
                k8s-proxy-image-swapper-webhook";
    pem(&cluster.api.get(path)["webhooks"][0]["clientConfig"]["caBundle"])
}

/// What is PEM in base64.
fn pem(base64: &Value) -> String {
    let text = STANDARD.decode(base64.as_str().unwrap()).unwrap();
    String::from_utf8(text).unwrap().trim_end().to_owned()
}

/// How many renewed certificates a replica has taken up.
fn reloads(cluster: &Cluster, replica: &str) -> f64 {
    let metrics = cluster.metrics_of(replica);
    let failed = sum(&metrics, "image_swapper_tls_reloads_total", r#""error""#);
    assert!(failed < 1.0, "{replica} could not read a certificate");
    sum(&metrics, "image_swapper_tls_reloads_total", r#""success""#)
}

/// When the certificate that a replica serves ends, in seconds since the epoch.
fn not_after_served(cluster: &Cluster, replica: &str) -> f64 {
    let metric = "image_swapper_tls_certificate_not_after_timestamp_seconds";
    sum(&cluster.metrics_of(replica), metric, "")
}

/// When the certificate in the Secret does.
fn not_after(cluster: &Cluster) -> f64 {
    let pem = pem(&secret(cluster, LEAF_SECRET)["tls.crt"]);
    let leaf = rustls_pemfile::certs(&mut pem.as_bytes()).next().unwrap();
    let leaf = Certificate::from_der(&leaf.unwrap()).unwrap();
    let end = leaf.tbs_certificate().validity().not_after.to_system_time();
    end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
