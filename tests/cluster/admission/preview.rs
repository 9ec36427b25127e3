//! `preview` of what kubectl prints of a real cluster.

use serde_json::{Value, json};

use super::{namespace, pods};
use crate::support::{Cluster, PROXY, images, static_program, until};

/// What it says of a Deployment is what its Pods become, and of these that they are proxied already.
pub(super) fn what_is_on_the_cluster(cluster: &Cluster) {
    let name = "previewed";
    namespace(cluster, name, &json!({}));
    cluster.kubectl("create deployment web -n previewed --image nginx:1.27");
    cluster.kubectl("create cronjob yearly -n previewed --image quay.io/a/b --schedule=@yearly");
    let pod = until("the Deployment has a Pod", || {
        let pods = cluster.api.get(&pods(name));
        pods["items"].as_array()?.first().cloned()
    });

    let (_, workloads) = preview(cluster, "deployments,cronjobs", name);
    let target = format!("{PROXY}/library/nginx:1.27");
    assert_eq!(images(&pod, "containers"), [&*target]);
    assert_eq!(
        workloads,
        [
            [
                "Deployment/web",
                "spec.template.spec.containers[0].image",
                "nginx:1.27",
                &target
            ],
            [
                "CronJob/yearly",
                "spec.jobTemplate.spec.template.spec.containers[0].image",
                "quay.io/a/b",
                "no_rule"
            ],
        ]
    );

    let (all, of_namespace) = preview(cluster, "pods", name);
    let object = format!("Pod/{}", pod["metadata"]["name"].as_str().unwrap());
    assert_eq!(
        of_namespace,
        [[
            &object,
            "spec.containers[0].image",
            &target,
            "already_proxied"
        ]]
    );
    // The release's own and those of other rows.
    assert!(all > 2, "only {all} images");
}

/// How many images it decides about, which must be all there are; and of those in a namespace, the
/// object, the field, the image, and what it becomes or why it does not.
fn preview(cluster: &Cluster, what: &str, namespace: &str) -> (usize, Vec<[String; 4]>) {
    let objects = cluster.kubectl(&format!("get {what} -A -o json"));
    let proxy = format!("PROXY_URL={PROXY}");
    let program = static_program().to_str().unwrap();
    let printed = cluster.succeed(
        "/usr/bin/env",
        &[&proxy, program, "preview", "--json"],
        &objects,
    );
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // No other field of a Pod, Deployment or CronJob has that name, but for those of a status.
    let objects: Value = serde_json::from_str(&objects).unwrap();
    let written = objects["items"].as_array().unwrap().iter();
    let written = written.map(|object| object["spec"].to_string().matches("\"image\":").count());
    assert_eq!(lines.len(), written.sum::<usize>());

    let of_namespace = lines.iter().filter(|line| line["namespace"] == namespace);
    let decided = of_namespace.map(|line| {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let object = format!("{}/{}", text("kind"), text("name"));
        let outcome = text("target").to_owned() + text("reason");
        [&object, text("field"), text("image"), &outcome].map(str::to_owned)
    });
    (lines.len(), decided.collect())
}
