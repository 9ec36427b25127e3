//! Pods as they are created.

use serde_json::{Value, json};

use super::{
    COUNTED, EXCLUDED, LABEL, ORIGINAL, ORIGINAL_VOLUME, assert_untouched, create, original, pods,
};
use crate::support::{Cluster, PROXY, images, pod};

/// Containers, init containers and restartable ones are swapped, labelled and annotated.
pub(super) fn every_container(cluster: &Cluster) {
    let created = create(
        cluster,
        &json!({
            "metadata": {"name": "every", "labels": {"app": "every"}, "annotations": {"note": "é\u{1}\"~/"}},
            "spec": {
                "initContainers": [
                    {"name": "first", "image": "busybox:1.36"},
                    {"name": "sidecar", "image": "docker.io/envoyproxy/envoy:v1", "restartPolicy": "Always"}
                ],
                "containers": [
                    {"name": "tagged", "image": "nginx:1.27"},
                    {"name": "bare", "image": "bitnami/redis"},
                    {"name": "pinned", "image": PINNED}
                ]
            }
        }),
    );
    assert_eq!(
        images(&created, "initContainers"),
        [
            format!("{PROXY}/library/busybox:1.36"),
            format!("{PROXY}/envoyproxy/envoy:v1")
        ]
    );
    assert_eq!(
        images(&created, "containers"),
        [
            format!("{PROXY}/library/nginx:1.27"),
            format!("{PROXY}/bitnami/redis:latest"),
            format!("{PROXY}/library/{PINNED}"),
        ]
    );
    assert_eq!(
        created["metadata"]["labels"],
        json!({"app": "every", LABEL: "patched-image"})
    );
    assert_eq!(
        created["metadata"]["annotations"],
        json!({
            "note": "é\u{1}\"~/",
            "original-image.k8s-proxy-image-swapper/first": "busybox:1.36",
            "original-image.k8s-proxy-image-swapper/sidecar": "docker.io/envoyproxy/envoy:v1",
            "original-image.k8s-proxy-image-swapper/tagged": "nginx:1.27",
            "original-image.k8s-proxy-image-swapper/bare": "bitnami/redis",
            "original-image.k8s-proxy-image-swapper/pinned": PINNED,
        })
    );
    // What the API server makes of an image without a tag is as if it had not been swapped.
    assert_eq!(
        created["spec"]["containers"][0]["imagePullPolicy"],
        "IfNotPresent"
    );
    assert_eq!(
        created["spec"]["containers"][1]["imagePullPolicy"],
        "Always"
    );
}

const PINNED: &str =
    "redis@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Metadata without labels or annotations, or with null for them, is made as needed.
pub(super) fn null_and_empty_metadata(cluster: &Cluster) {
    let forms = [
        json!({}),
        json!({"labels": null, "annotations": null}),
        json!({"labels": {}, "annotations": {}}),
        json!({"labels": {"a": "b"}, "annotations": null}),
        json!({"labels": null, "annotations": {"a": "b"}}),
    ];
    for (number, form) in forms.into_iter().enumerate() {
        let mut wanted = pod("web", "nginx");
        wanted["metadata"] = form.clone();
        wanted["metadata"]["name"] = format!("metadata-{number}").into();
        let created = create(cluster, &wanted);
        assert_eq!(
            created["metadata"]["labels"][LABEL], "patched-image",
            "{form}"
        );
        assert_eq!(original(&created, "web"), "nginx", "{form}");
        for kind in ["labels", "annotations"] {
            let own = form[kind].as_object().map_or(0, serde_json::Map::len);
            let stored = created["metadata"][kind].as_object().unwrap();
            assert_eq!(stored.len(), own + 1, "{form}");
        }
    }
}

/// Image volumes are swapped where the API server has them. Where it does not, it shows them to webhooks
/// all the same, and drops them after.
pub(super) fn image_volumes(cluster: &Cluster) {
    let mut wanted = pod("image-volume", "ghcr.io/acme/serve:2.1");
    wanted["spec"]["automountServiceAccountToken"] = false.into();
    wanted["spec"]["volumes"] = json!([
        {"name": "model", "image": {"reference": "acme/model:7b"}},
        {"name": "own", "image": {"reference": "quay.io/acme/lib:1"}},
        {"name": "preloaded", "image": {"reference": "acme/data:1", "pullPolicy": "Never"}},
        {"name": "scratch", "emptyDir": {}}
    ]);
    let created = create(cluster, &wanted);
    let note = format!("{ORIGINAL_VOLUME}model");
    assert_eq!(
        created["metadata"]["annotations"],
        json!({note: "acme/model:7b"})
    );
    let volumes = created["spec"]["volumes"].as_array().unwrap();
    let references: Vec<_> = volumes
        .iter()
        .filter_map(|volume| volume["image"]["reference"].as_str())
        .collect();
    if minor_version(cluster) < 35 {
        assert_eq!(references, [""; 0], "image volumes are off before 1.35");
        assert_eq!(volumes.len(), 1);
    } else {
        let swapped = format!("{PROXY}/acme/model:7b");
        assert_eq!(references, [&swapped, "quay.io/acme/lib:1", "acme/data:1"]);
        assert_eq!(volumes.len(), 4);
    }
}

/// The 34 of Kubernetes 1.34.
pub(super) fn minor_version(cluster: &Cluster) -> u32 {
    let version = cluster.api.get("/version");
    version["emulationMinor"].as_str().unwrap().parse().unwrap()
}

/// Registries without a rule, what the proxy serves already, what the node has to have, what is ignored.
pub(super) fn images_left_alone(cluster: &Cluster) {
    let left = [
        "ghcr.io/acme/web:1",
        "localhost/team/tool",
        "127.0.0.1:5000/a",
        "registry:2",
        "a_b.io/x",
        "[2001:db8::1]:5000/x/y:z",
    ];
    for (number, image) in left.into_iter().enumerate() {
        let created = create(cluster, &pod(&format!("left-{number}"), image));
        assert_eq!(images(&created, "containers"), [image]);
        assert_untouched(&created);
    }
    let proxied = format!("{PROXY}/library/nginx:1");
    let created = create(cluster, &pod("left-proxied", &proxied));
    assert_eq!(images(&created, "containers"), [proxied]);
    assert!(created["metadata"]["labels"].is_null());
    assert!(created["metadata"]["annotations"].is_null());

    let mut never = pod("left-never", "nginx");
    never["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    assert_untouched(&create(cluster, &never));

    // Beside others, too, and with another registry's own rule.
    let mut mixed = pod("left-mixed", "ghcr.io/acme/web:1");
    let more = json!({"name": "other", "image": format!("{COUNTED}/none")});
    mixed["spec"]["initContainers"] = json!([more]);
    mixed["spec"]["initContainers"][0]["imagePullPolicy"] = "Never".into();
    let beside = json!({"name": "swapped", "image": "nginx"});
    mixed["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(beside);
    let created = create(cluster, &mixed);
    assert_eq!(
        images(&created, "containers"),
        [
            "ghcr.io/acme/web:1".to_owned(),
            format!("{PROXY}/library/nginx:latest")
        ]
    );
    let note = format!("{ORIGINAL}swapped");
    assert_eq!(created["metadata"]["annotations"], json!({note: "nginx"}));
}

/// What is not an image's name is left for the API server and the kubelet to complain about.
pub(super) fn unparsable_images(cluster: &Cluster) {
    let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let short = format!("nginx@sha256:{}", &hex[..54]);
    let long = format!("docker.io/{}", "a".repeat(300));
    let odd = [
        "Not A Reference!",
        hex,
        &short,
        &long,
        "nginx:",
        "nginx@",
        "/nginx",
        "nginx/",
        "a//b",
        "-",
        "Ünïcode",
        "docker.io/UPPER",
        "https://docker.io/nginx",
        "nginx:1:2",
        "\u{0}",
        " nginx",
        "nginx\n",
        "",
        " ",
    ];
    for (number, image) in odd.into_iter().enumerate() {
        let wanted = pod(&format!("odd-{number}"), image);
        let here = cluster.api.create(&pods("default"), &wanted);
        let there = cluster.api.create(&pods(EXCLUDED), &wanted);
        match (here, there) {
            (Ok(here), Ok(there)) => {
                assert_untouched(&here);
                assert_eq!(
                    here["spec"]["containers"][0]["image"],
                    there["spec"]["containers"][0]["image"]
                );
            }
            (Err(here), Err(there)) => assert_eq!(here.message, there.message, "{image:?}"),
            (here, there) => panic!("{image:?} here: {here:?}\nand without us: {there:?}"),
        }
    }
    // An unparsable one keeps no other from being swapped.
    let mut mixed = pod("odd-mixed", "Not A Reference!");
    let beside = json!({"name": "fine", "image": "nginx"});
    mixed["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(beside);
    assert_eq!(
        images(&create(cluster, &mixed), "containers"),
        [
            "Not A Reference!".to_owned(),
            format!("{PROXY}/library/nginx:latest")
        ]
    );
}

/// Mirror Pods are what a node tells of a static Pod that runs: their images are not ours to change.
pub(super) fn mirror_pods(cluster: &Cluster) {
    let mut mirror = pod("mirror", "nginx");
    mirror["metadata"]["annotations"] = json!({
        "kubernetes.io/config.mirror": "abc",
        "kubernetes.io/config.hash": "abc",
        "kubernetes.io/config.source": "file"
    });
    // Without a node the API server takes no mirror Pod, whoever calls it one.
    let refused = cluster.api.create(&pods("default"), &mirror).unwrap_err();
    assert!(
        refused.message.contains("must set spec.nodeName"),
        "{refused:?}"
    );
    mirror["spec"]["nodeName"] = "elsewhere".into();
    let created = create(cluster, &mirror);
    assert_eq!(images(&created, "containers"), ["nginx"]);
    assert_untouched(&created);
}

/// All annotations of a Pod may have 262,144 bytes together. Ours are left out where they do not fit.
pub(super) fn annotations_at_the_limit(cluster: &Cluster) {
    const LIMIT: usize = 256 * 1024;
    let ours = ORIGINAL.len() + "web".len() + "nginx".len();
    let with = |name: &str, bytes: usize| -> Value {
        let mut pod = pod("web", "nginx");
        pod["metadata"]["name"] = name.into();
        pod["metadata"]["annotations"] = json!({"k": "v".repeat(bytes - 1)});
        pod
    };
    let fits = create(cluster, &with("limit-fits", LIMIT - ours));
    assert_eq!(original(&fits, "web"), "nginx");
    for (name, bytes) in [("limit-over", LIMIT - ours + 1), ("limit-full", LIMIT)] {
        let created = create(cluster, &with(name, bytes));
        assert_eq!(
            images(&created, "containers"),
            [format!("{PROXY}/library/nginx:latest")]
        );
        assert_eq!(created["metadata"]["labels"][LABEL], "patched-image");
        let annotations = created["metadata"]["annotations"].as_object().unwrap();
        assert!(annotations.keys().eq(["k"]), "{:?}", annotations.keys());
    }
    // One more is refused with and without us.
    let beyond = ["default", EXCLUDED].map(|namespace| {
        let pod = with("limit-beyond", LIMIT + 1);
        cluster
            .api
            .create(&pods(namespace), &pod)
            .unwrap_err()
            .message
    });
    assert_eq!(beyond[0], beyond[1]);
    assert!(
        beyond[0].contains("metadata.annotations: Too long"),
        "{}",
        beyond[0]
    );
}
