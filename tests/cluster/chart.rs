//! The chart's life: what it renders, and how it is installed, upgraded, rolled back and removed.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{
    Cluster, NAMESPACE, PROXY, images, pod, root, sum, until, within_deadline, words,
};

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/\
                             k8s-proxy-image-swapper-webhook";

/// What the tests of upgrades need not wait for.
const QUICK: &str = "drain.delaySeconds=1";

#[test]
fn certificates_by_cert_manager() {
    let cluster = Cluster::start();
    live("helm", &cluster, &[], &["-ca", "-tls"]);
}

#[test]
fn certificates_by_cert_manager_with_helm_3() {
    let cluster = Cluster::start();
    live("helm3", &cluster, &[], &["-ca", "-tls"]);
}

#[test]
fn certificates_by_an_issuer_of_the_users() {
    let cluster = Cluster::start();
    make_namespace(&cluster);
    cluster.kubectl_with(&format!("apply -n {NAMESPACE} -f -"), COMPANY);
    // What issuing makes would else count as the release's.
    cluster.kubectl(&format!(
        "wait -n {NAMESPACE} --for=condition=Ready certificate/company --timeout=60s"
    ));
    let issuer = "certificates.issuerRef.name=company";
    live("helm", &cluster, &["--set", issuer], &["-tls"]);
}

/// A CA of the company's, in the release's namespace.
const COMPANY: &str = r"
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: company-root}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: company}
spec: {isCA: true, commonName: company, secretName: company, issuerRef: {name: company-root}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: company}
spec: {ca: {secretName: company}}
";

#[test]
fn certificates_by_helm() {
    let cluster = Cluster::start();
    live("helm", &cluster, &["--set", "certificates.mode=helm"], &[]);
}

#[test]
fn certificates_in_a_secret_of_the_users() {
    let cluster = Cluster::start();
    make_namespace(&cluster);
    let name = format!("swapper-k8s-proxy-image-swapper.{NAMESPACE}.svc");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name]).unwrap();
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    let certificate = params.self_signed(&key).unwrap().pem();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "mine"},
        "stringData": {"tls.crt": certificate, "tls.key": key.serialize_pem()}
    });
    let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    cluster.api.create(&secrets, &secret).unwrap();
    fs::write(cluster.dir.join("ca.pem"), certificate).unwrap();
    let bundle = format!(
        "certificates.caBundle={}",
        cluster.dir.join("ca.pem").display()
    );
    let values = [
        "--set",
        "certificates.mode=secret,certificates.secretName=mine",
        "--set-file",
        &bundle,
    ];
    live("helm", &cluster, &values, &[]);
}

#[test]
fn in_the_network_of_the_node() {
    let cluster = Cluster::start();
    let values = root().join("chart/ci/host-network-values.yaml");
    cluster.install(&["--values", values.to_str().unwrap()]);
}

/// With `mode=observe` Pods keep their images, and are counted; with `mode=swap` they are swapped again.
#[test]
fn the_brake() {
    let cluster = Cluster::start();
    let values = ["webhook.failurePolicy=Fail", QUICK].join(",");
    cluster.install(&["--set", &values]);
    let helm = |line: &str| {
        let line = format!("{line} --namespace {NAMESPACE}");
        cluster.succeed("helm", &words(&line), "")
    };
    let create = |name: &str| {
        let pods = "/api/v1/namespaces/default/pods";
        cluster.api.create(pods, &pod(name, "nginx")).unwrap()
    };
    let upgrade = |mode: &str| {
        let upgrade = "upgrade swapper ./chart --reuse-values --wait --timeout 90s --set mode=";
        helm(&format!("{upgrade}{mode}"));
        // An old replica answers until it is gone.
        cluster.two_replicas()
    };

    let observers = upgrade("observe");
    assert!(helm("get notes swapper").contains("OBSERVING: no Pod is changed."));
    let observed = create("observed");
    assert_eq!(images(&observed, "containers"), ["nginx"]);
    assert_eq!(observed["metadata"]["labels"], Value::Null);
    assert_eq!(observed["metadata"]["annotations"], Value::Null);
    let counted = observers.each_ref().map(|replica| {
        let metrics = cluster.metrics_of(replica);
        let skipped = "image_swapper_images_skipped_total";
        sum(&metrics, skipped, "reason=\"observed\"")
    });
    assert_eq!(counted.iter().sum::<f64>().to_string(), "1");
    helm("test swapper");
    let log = "pod-logs/image-swapper_swapper-k8s-proxy-image-swapper-test.log";
    let tested = fs::read_to_string(cluster.dir.join(log)).unwrap();
    assert!(
        tested.contains("stays as it is, for mode=observe"),
        "{tested}"
    );

    upgrade("swap");
    let swapped = images(&create("swapped"), "containers");
    assert_eq!(swapped, [format!("{PROXY}/library/nginx:latest")]);
}

/// Installs with some values, tests, upgrades, rolls back and removes; nothing but Secrets of
/// cert-manager's may be left.
fn live(helm: &str, cluster: &Cluster, values: &[&str], left: &[&str]) {
    make_namespace(cluster);
    let before = objects(cluster);
    cluster.install_with(helm, &[values, &["--set", QUICK]].concat());
    let bundle = ca_bundle(cluster);
    let run = |line: &str| cluster.succeed(helm, &words(line), "");

    run(&format!("test swapper --namespace {NAMESPACE}"));
    let log = "pod-logs/image-swapper_swapper-k8s-proxy-image-swapper-test.log";
    let tested = fs::read_to_string(cluster.dir.join(log)).unwrap();
    assert!(
        tested.contains("proxy.example.com/library/busybox:1.36; nothing was stored"),
        "{tested}"
    );

    let only_one = cluster.run(
        helm,
        &[&words("install another ./chart --namespace default --set proxyUrl=a.example,image.repository=b"), values]
            .concat(),
        "",
    );
    let refused = only_one.unwrap_err();
    assert!(
        refused.contains("k8s-proxy-image-swapper-webhook"),
        "{refused}"
    );

    run(&format!(
        "upgrade swapper ./chart --namespace {NAMESPACE} --reuse-values --set settings.LOG=debug --wait --timeout 90s"
    ));
    assert_eq!(environment(cluster, "LOG").as_deref(), Some("debug"));
    assert_eq!(
        ca_bundle(cluster),
        bundle,
        "an upgrade has to keep the CA bundle"
    );
    cluster.until_swapped();

    run(&format!(
        "rollback swapper 1 --namespace {NAMESPACE} --wait --timeout 90s"
    ));
    assert_eq!(environment(cluster, "LOG"), None);
    assert_eq!(
        ca_bundle(cluster),
        bundle,
        "a rollback has to keep the CA bundle"
    );
    cluster.until_swapped();

    let off = format!(
        "upgrade swapper ./chart --namespace {NAMESPACE} --reuse-values --wait --set enableMutatingWebhook"
    );
    run(&format!("{off}=false"));
    let path = "/api/v1/namespaces/default/pods?dryRun=All";
    let created = cluster.api.create(path, &pod("off", "nginx")).unwrap();
    assert_eq!(images(&created, "containers"), ["nginx"]);
    run(&format!("{off}=true"));
    cluster.until_swapped();

    run(&format!("uninstall swapper --namespace {NAMESPACE} --wait"));
    let expected: Vec<_> = left
        .iter()
        .map(|end| format!("{NAMESPACE} Secret swapper-k8s-proxy-image-swapper{end}"))
        .collect();
    let mut after = Vec::new();
    let gone = within_deadline(|| {
        after = objects(cluster);
        after.retain(|object| !before.contains(object));
        (after == expected).then_some(())
    });
    assert!(gone.is_some(), "only {expected:?} may be left: {after:?}");
}

#[test]
fn every_rendering_is_valid() {
    let cluster = Cluster::start();
    make_namespace(&cluster);
    cluster.kubectl("create namespace monitoring");
    let mut checked = 0;
    for file in values_files() {
        let file = file.to_str().unwrap();
        let lint = ["lint", "--strict", "./chart", "--values", file];
        // helm 3 takes a cluster for older than it is; `helm test` runs the hooks.
        let rendering = "template swapper ./chart --kube-version 1.37.0 --no-hooks --namespace";
        let mut rendering = words(rendering);
        rendering.extend([NAMESPACE, "--values", file]);
        for helm in ["helm", "helm3"] {
            cluster.succeed(helm, &lint, "");
            let text = cluster.succeed(helm, &rendering, "");
            // All fields known, none twice.
            cluster.kubectl_with("apply --dry-run=server --validate=strict -f -", &text);
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked}");
}

#[test]
fn plain_manifests() {
    let cluster = Cluster::start();
    cluster.kubectl("apply -k deploy");
    cluster.kubectl("rollout status deployment --namespace image-swapper --timeout 60s");
    cluster.until_becomes("nginx", "registry.example.com/library/nginx:latest");
    let restricted = cluster.api.get("/api/v1/namespaces/image-swapper");
    assert_eq!(
        restricted["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
}

fn values_files() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("chart/ci")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn make_namespace(cluster: &Cluster) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAMESPACE,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"}
    }});
    if cluster
        .api
        .find(&format!("/api/v1/namespaces/{NAMESPACE}"))
        .is_none()
    {
        cluster
            .api
            .create("/api/v1/namespaces", &namespace)
            .unwrap();
    }
    until("the namespace is ready", || {
        let namespaced = format!("/api/v1/namespaces/{NAMESPACE}");
        cluster
            .api
            .find(&format!("{namespaced}/serviceaccounts/default"))?;
        cluster
            .api
            .find(&format!("{namespaced}/configmaps/kube-root-ca.crt"))
    });
}

/// The CA certificates by which the API server knows the webhook.
fn ca_bundle(cluster: &Cluster) -> Value {
    let bundle = cluster.api.get(CONFIGURATION)["webhooks"][0]["clientConfig"]["caBundle"].take();
    assert!(
        bundle.as_str().is_some_and(|text| !text.is_empty()),
        "{bundle}"
    );
    bundle
}

/// What a variable of the webhook's container is set to.
fn environment(cluster: &Cluster, name: &str) -> Option<String> {
    let path =
        format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/swapper-k8s-proxy-image-swapper");
    let deployment = cluster.api.get(&path);
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array()?;
    let found = variables.iter().find(|variable| variable["name"] == name)?;
    Some(found["value"].as_str().unwrap().to_owned())
}

/// Every object of the cluster, as namespace, kind and name, but what comes and goes by itself.
fn objects(cluster: &Cluster) -> Vec<String> {
    let kinds = cluster.kubectl("api-resources --verbs list --output name");
    let passing = [
        "events",
        "events.events.k8s.io",
        "leases.coordination.k8s.io",
        "componentstatuses",
    ];
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|kind| !passing.contains(kind))
        .collect();
    let columns = "custom-columns=NAMESPACE:.metadata.namespace,KIND:.kind,NAME:.metadata.name";
    let all = cluster.kubectl(&format!(
        "get {} --all-namespaces --no-headers --output {columns}",
        kinds.join(",")
    ));
    let mut all: Vec<_> = all.lines().map(|line| words(line).join(" ")).collect();
    all.sort();
    all
}
