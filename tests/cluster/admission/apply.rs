//! The ways in which people and tools say the same thing twice, or ask what would be.

use serde_json::{Value, json};

use super::{COUNTED, original, pods};
use crate::support::{Cluster, NAMESPACE, PROXY, images, pod, until};

/// `kubectl apply` twice writes nothing the second time: no container restarts.
pub(super) fn apply_a_pod_twice(cluster: &Cluster) {
    apply_twice(cluster, "apply-twice", "apply -f -");
}

/// Nor does server-side apply, and it does not conflict with us.
pub(super) fn apply_a_pod_twice_on_the_server(cluster: &Cluster) {
    apply_twice(cluster, "apply-server", "apply --server-side -f -");
}

fn apply_twice(cluster: &Cluster, name: &str, line: &str) {
    let mut wanted = pod(name, "nginx");
    wanted["spec"]["initContainers"] = json!([{"name": "wait", "image": "busybox:1"}]);
    let manifest = wanted.to_string();
    let path = format!("{}/{name}", pods("default"));
    cluster.kubectl_with(line, &manifest);
    let first = cluster.api.get(&path);
    assert_eq!(
        images(&first, "containers"),
        [format!("{PROXY}/library/nginx:latest")]
    );
    cluster.kubectl_with(line, &manifest);
    let second = cluster.api.get(&path);
    assert_eq!(first, second, "the second `kubectl {line}` changed the Pod");
    // GitOps tools see no drift.
    cluster.kubectl_with(&line.replace("apply", "diff"), &manifest);

    // What was changed is changed, and nothing else.
    wanted["spec"]["containers"][0]["image"] = "nginx:2".into();
    cluster.kubectl_with(line, &wanted.to_string());
    let third = cluster.api.get(&path);
    assert_eq!(
        images(&third, "containers"),
        [format!("{PROXY}/library/nginx:2")]
    );
    assert_eq!(
        images(&third, "initContainers"),
        [format!("{PROXY}/library/busybox:1")]
    );
    assert_eq!(original(&third, name), "nginx:2");
    assert_eq!(third["metadata"]["generation"], 2);
}

/// A Deployment keeps its images as written, so that a second apply rolls nothing out.
pub(super) fn apply_a_deployment_twice(cluster: &Cluster) {
    let labels = json!({"app": "apply-deployment"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("web", "nginx")["spec"]});
    let manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "apply-deployment"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    })
    .to_string();
    let select = "?labelSelector=app%3Dapply-deployment";
    let list = |path: &str| -> Vec<(Value, Value)> {
        let found = cluster.api.get(&format!("{path}{select}"));
        let items = found["items"].as_array().unwrap().iter();
        let identity = |item: &Value| {
            (
                item["metadata"]["uid"].clone(),
                item["metadata"]["generation"].clone(),
            )
        };
        items.map(identity).collect()
    };
    let replica_sets = "/apis/apps/v1/namespaces/default/replicasets";
    let stored = || {
        cluster
            .api
            .get("/apis/apps/v1/namespaces/default/deployments/apply-deployment")
    };
    for line in ["apply -f -", "apply --server-side --force-conflicts -f -"] {
        cluster.kubectl_with(line, &manifest);
        until("the Deployment has its Pods, as its status tells", || {
            let settled = stored()["status"]["unavailableReplicas"] == 2;
            (settled && list(&pods("default")).len() == 2).then_some(())
        });
        let before = (
            stored()["metadata"]["generation"].clone(),
            list(replica_sets),
            list(&pods("default")),
        );
        let said = cluster.kubectl_with(line, &manifest);
        if line == "apply -f -" {
            assert!(said.contains("unchanged"), "{said}");
        }
        let after = (
            stored()["metadata"]["generation"].clone(),
            list(replica_sets),
            list(&pods("default")),
        );
        assert_eq!(
            before, after,
            "the second `kubectl {line}` rolled something out"
        );
        assert_eq!(after.1.len(), 1);
    }
    let found = cluster.api.get(&format!("{}{select}", pods("default")));
    for pod in found["items"].as_array().unwrap() {
        assert_eq!(
            images(pod, "containers"),
            [format!("{PROXY}/library/nginx:latest")]
        );
        assert_eq!(original(pod, "web"), "nginx");
    }
    let template = &stored()["spec"]["template"];
    assert_eq!(images(template, "containers"), ["nginx"]);
    assert_eq!(template["metadata"]["labels"], labels);
}

/// `kubectl debug` gets an image through the proxy, and leaves the containers of an earlier one alone.
pub(super) fn debug_twice(cluster: &Cluster) {
    cluster
        .api
        .create(&pods("default"), &pod("debugged", "nginx"))
        .unwrap();
    let path = format!("{}/debugged", pods("default"));
    let before = cluster.api.get(&path);
    let debug =
        |options: &str| cluster.kubectl(&format!("debug debugged --attach=false {options}"));
    let ephemeral = || images(&cluster.api.get(&path), "ephemeralContainers");
    let busybox = format!("{PROXY}/library/busybox:1");
    let own = "ghcr.io/acme/tools:1".to_owned();
    let alpine = format!("{PROXY}/library/alpine:latest");
    debug("--image=busybox:1");
    assert_eq!(ephemeral(), [busybox.as_str()]);
    debug("--image=ghcr.io/acme/tools:1 --target=debugged");
    assert_eq!(ephemeral(), [busybox.clone(), own.clone()]);
    debug("--image=alpine --profile=netadmin");
    assert_eq!(ephemeral(), [busybox, own, alpine]);
    // The API server lets nothing else be changed there.
    let after = cluster.api.get(&path);
    assert_eq!(before["spec"]["containers"], after["spec"]["containers"]);
    for kind in ["labels", "annotations"] {
        assert_eq!(before["metadata"][kind], after["metadata"][kind]);
    }
    // A copy of a swapped Pod is swapped no further.
    debug("--copy-to=debugged-copy --set-image=debugged=nginx:2");
    debug("--copy-to=debugged-same --set-image=*=nginx:3");
    assert_eq!(
        cluster.images("default", "debugged-copy"),
        [format!("{PROXY}/library/nginx:2")]
    );
    assert_eq!(
        cluster.images("default", "debugged-same"),
        [format!("{PROXY}/library/nginx:3")]
    );
}

/// A dry run shows what would be, stores nothing and counts nothing.
pub(super) fn dry_run(cluster: &Cluster) {
    let image = format!("{COUNTED}/app:1");
    let swapped = format!("{PROXY}/counted/app:1");
    let manifest = pod("dry", &image).to_string();
    let path = format!("{}/dry", pods("default"));
    let before = reviews_of_dry_runs(cluster);

    let shown = cluster.kubectl_with("create --dry-run=server -o json -f -", &manifest);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(images(&shown, "containers"), [swapped.as_str()]);
    let shown = cluster.run("kubectl", &["diff", "-f", "-"], &manifest);
    // It exits with 1 where there is a difference.
    let shown = shown.unwrap_err();
    assert!(
        shown.contains(&format!("+  - image: {swapped}\n")),
        "{shown}"
    );
    assert!(
        cluster.api.find(&path).is_none(),
        "a dry run has stored a Pod"
    );
    assert_eq!(
        swapped_by(cluster, COUNTED),
        0,
        "a dry run has counted an image"
    );
    assert!(reviews_of_dry_runs(cluster) >= before + 2);

    cluster.kubectl_with("create -f -", &manifest);
    assert_eq!(cluster.images("default", "dry"), [swapped]);
    assert_eq!(swapped_by(cluster, COUNTED), 1);
}

fn swapped_by(cluster: &Cluster, rule: &str) -> u64 {
    let rule = format!("rule=\"{rule}\"");
    sum(cluster, "image_swapper_images_swapped_total", &rule)
}

fn reviews_of_dry_runs(cluster: &Cluster) -> u64 {
    sum(cluster, "image_swapper_reviews_total", "dry_run=\"true\"")
}

/// The sum of a counter's series with a label, over all replicas.
fn sum(cluster: &Cluster, counter: &str, label: &str) -> u64 {
    let replicas = cluster.api.get(&pods(NAMESPACE));
    let mut found = Vec::new();
    for replica in replicas["items"].as_array().unwrap() {
        let name = replica["metadata"]["name"].as_str().unwrap();
        let metrics = cluster
            .api
            .text(&format!("{}/{name}:8080/proxy/metrics", pods(NAMESPACE)));
        for line in metrics.lines() {
            if line.starts_with(&format!("{counter}{{")) && line.contains(label) {
                found.push(line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no replica has {counter} with {label}");
    found.iter().sum()
}
