//! What becomes of Pods, under failurePolicy Fail and over the Service, as in a real cluster: once with
//! the newest Kubernetes, and once with an API server that emulates the oldest that is supported.
//!
//! All rows of a version share its cluster, and run at the same time: each has names of its own.

mod apply;
mod called;
mod create;
mod exempt;
mod preview;
mod same;
mod secrets;
mod sidecar;
mod update;
mod warned;

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{Cluster, Refused, tools, until};

/// The name of our webhook in the API server's metrics.
const WEBHOOK: &str = "pods.k8s-proxy-image-swapper.io";

const LABEL: &str = "k8s-proxy-image-swapper";
const ORIGINAL: &str = "original-image.k8s-proxy-image-swapper/";
const ORIGINAL_VOLUME: &str = "original-volume.k8s-proxy-image-swapper/";

/// A namespace whose Pods are left alone by the chart's value `excludedNamespaces`.
const EXCLUDED: &str = "excluded";

/// The Secret that swapped images are pulled with.
const PULL_SECRET: &str = "proxy-credentials";

/// A registry that only the row about counters uses.
const COUNTED: &str = "counted.example.com";

/// What the node runs tests/go/cluster/injector for.
const INJECTOR: &str = "registry.example.com/injector";

/// A cluster that many tests share, with what had failed in it when Pods were first swapped.
struct Shared {
    cluster: Cluster,
    failures: Vec<String>,
}

static NEWEST: OnceLock<Shared> = OnceLock::new();
static EMULATED_1_34: OnceLock<Shared> = OnceLock::new();

/// Makes two tests of each row.
macro_rules! rows {
    ($($file:ident: $($row:ident)+;)+) => {
        mod newest {
            $($(#[test] fn $row() { super::run(&super::NEWEST, &[], super::$file::$row); })+)+
        }
        mod emulated_1_34 {
            const ARGUMENTS: &[&str] = &["-emulated-version", "1.34"];
            $($(#[test] fn $row() { super::run(&super::EMULATED_1_34, ARGUMENTS, super::$file::$row); })+)+
        }
    };
}

rows! {
    apply:
        apply_a_deployment_twice
        apply_a_pod_twice
        apply_a_pod_twice_on_the_server
        debug_twice
        dry_run;
    called: what_reaches_the_webhook;
    create:
        annotations_at_the_limit
        every_container
        image_volumes
        images_left_alone
        mirror_pods
        null_and_empty_metadata
        unparsable_images;
    exempt:
        namespaces
        skip_on_a_namespace
        skip_on_a_pod;
    preview: what_is_on_the_cluster;
    same: minus_our_changes;
    secrets:
        of_an_account_that_enforces_its_own
        not_of_pods_that_exist
        of_a_service_account
        of_new_pods;
    sidecar:
        injected_by_a_policy
        injected_by_a_webhook;
    update:
        image
        image_of_many_containers
        labels_of_an_old_pod
        opting_in
        opting_out
        stale_annotation;
    warned:
        people
        programs;
}

fn run(shared: &OnceLock<Shared>, arguments: &[&str], row: fn(&Cluster)) {
    let shared = shared.get_or_init(|| {
        let injector = format!("{INJECTOR}={}", tools().join("injector").display());
        let cluster = Cluster::start_with(&[arguments, &["-image", &injector]].concat());
        let rewrites = format!(r#"rewrites=["docker.io={{proxy}}","{COUNTED}={{proxy}}/counted"]"#);
        let excluded = format!("excludedNamespaces={{{EXCLUDED}}}");
        cluster.install(&[
            "--set",
            &format!("webhook.failurePolicy=Fail,settings.WARN=true,settings.IMAGE_PULL_SECRET={PULL_SECRET}"),
            "--set",
            &excluded,
            "--set-json",
            &rewrites,
        ]);
        namespace(&cluster, EXCLUDED, &json!({}));
        let failures = failures(&cluster);
        Shared { cluster, failures }
    });
    row(&shared.cluster);
    assert_eq!(
        failures(&shared.cluster),
        shared.failures,
        "the API server counted failures of the webhook, in this row or one beside it"
    );
}

/// The API server's own series about what failed with our webhook: patches that it could not use, calls
/// that it gave up, match conditions that it could not decide.
fn failures(cluster: &Cluster) -> Vec<String> {
    let name = format!("name=\"{WEBHOOK}\"");
    let metrics = cluster.api.text("/metrics");
    assert!(
        metrics.lines().any(|line| {
            line.starts_with("apiserver_admission_webhook_admission_duration_seconds_count")
                && line.contains(&name)
        }),
        "the API server does not count calls of {WEBHOOK}"
    );
    let failures = metrics.lines().filter(|line| {
        let (series, _) = line.split_once('{').unwrap_or_default();
        let counted = [
            "apiserver_admission_webhook_rejection_count",
            "apiserver_admission_webhook_fail_open_count",
            "apiserver_admission_match_condition_evaluation_errors_total",
        ];
        counted.contains(&series) && line.contains(&name)
    });
    failures.map(str::to_owned).collect()
}

/// Creates a Namespace in which Pods can be created.
fn namespace(cluster: &Cluster, name: &str, labels: &Value) {
    let object = json!({"metadata": {"name": name, "labels": labels}});
    cluster.api.create("/api/v1/namespaces", &object).unwrap();
    let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
    until("the Namespace has a ServiceAccount", || {
        cluster.api.find(&account)
    });
}

/// Where the Pods of a namespace are.
fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// Creates a Pod in `default`.
fn create(cluster: &Cluster, pod: &Value) -> Value {
    let created = cluster.api.create(&pods("default"), pod);
    created.unwrap_or_else(|refused| panic!("the Pod was refused: {}\n{pod}", refused.message))
}

/// Merges a patch into a Pod of `default`.
fn merge(cluster: &Cluster, pod: &str, change: &Value) -> Value {
    let path = format!("{}/{pod}", pods("default"));
    allowed(cluster.api.merge(&path, change))
}

/// What was stored, where the API server refused nothing.
fn allowed(result: Result<Value, Refused>) -> Value {
    result.unwrap_or_else(|refused| panic!("the API server refused: {}", refused.message))
}

/// The image that is kept as a container's own.
fn original<'a>(pod: &'a Value, container: &str) -> &'a Value {
    &pod["metadata"]["annotations"][format!("{ORIGINAL}{container}")]
}

/// Asserts that nothing of ours is on a Pod.
#[track_caller]
fn assert_untouched(pod: &Value) {
    let metadata = pod["metadata"].to_string();
    let managed = pod["metadata"]["managedFields"].to_string();
    let label = &pod["metadata"]["labels"][LABEL];
    assert!(label.is_null() || label == "skip", "{metadata}");
    assert!(
        !metadata.replace(&managed, "").contains(ORIGINAL),
        "{metadata}"
    );
    let spec = pod["spec"].to_string();
    for ours in [crate::support::PROXY, PULL_SECRET] {
        assert!(!spec.contains(ours), "{spec}");
    }
}
