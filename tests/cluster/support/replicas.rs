//! The webhook's Pods, and what the API server and they themselves count.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Cluster, NAMESPACE, until};

/// The webhook's name, as the API server's metrics have it.
const WEBHOOK: &str = r#"name="pods.k8s-proxy-image-swapper.io""#;

impl Cluster {
    /// The webhook's Pods.
    pub(crate) fn replicas(&self) -> Vec<Value> {
        let selector = "labelSelector=app.kubernetes.io/name=k8s-proxy-image-swapper";
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?{selector}");
        let mut list = self.api.get(&path);
        std::mem::take(list["items"].as_array_mut().unwrap())
    }

    /// Waits until the webhook's Pods are two that are ready and stay, and all others are gone;
    /// returns their names.
    pub(crate) fn two_replicas(&self) -> [String; 2] {
        until("two replicas are ready, and no other is left", || {
            let pods = self.replicas();
            let good = pods.iter().filter(|pod| is_ready(pod)).map(name);
            let names: BTreeSet<_> = good.collect();
            (names.len() == pods.len()).then_some(())?;
            Vec::from_iter(names).try_into().ok()
        })
    }

    /// What a replica's own metrics say now.
    pub(crate) fn metrics_of(&self, replica: &str) -> String {
        let pod = format!("/api/v1/namespaces/{NAMESPACE}/pods/{replica}");
        self.api.text(&format!("{pod}:8080/proxy/metrics"))
    }

    /// How many reviews the API server has asked of the webhook, and how many of its Pods were refused
    /// or passed by for want of an answer.
    pub(crate) fn webhook_calls(&self) -> (f64, f64) {
        let metrics = self.api.text("/metrics");
        let count = |metric| sum(&metrics, metric, WEBHOOK);
        let lost = count("apiserver_admission_webhook_rejection_count")
            + count("apiserver_admission_webhook_fail_open_count");
        (count("apiserver_admission_webhook_request_total"), lost)
    }
}

/// The sum of a metric's series that have a label.
pub(crate) fn sum(metrics: &str, metric: &str, label: &str) -> f64 {
    let series = metrics.lines().filter_map(|line| line.strip_prefix(metric));
    let series = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
    let values = series.map(|line| line.rsplit(' ').next().unwrap());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

/// An object's name.
pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.any(|each| each["type"] == "Ready" && each["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}
