//! The Secret that swapped images are pulled with.

use serde_json::{Value, json};

use super::{PULL_SECRET, allowed, create, pods};
use crate::support::{Cluster, PROXY, images, pod, until};

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

/// It stands once at the end of the list of a new Pod of which an image is swapped.
pub(super) fn of_new_pods(cluster: &Cluster) {
    let lists = [
        (Value::Null, named(&[PULL_SECRET])),
        (json!([]), named(&[PULL_SECRET])),
        (
            named(&["own", "other"]),
            named(&["own", "other", PULL_SECRET]),
        ),
        (named(&[PULL_SECRET, "own"]), named(&[PULL_SECRET, "own"])),
    ];
    for (number, (given, expected)) in lists.into_iter().enumerate() {
        let mut wanted = pod(&format!("secret-{number}"), "nginx");
        wanted["spec"]["imagePullSecrets"] = given.clone();
        let created = create(cluster, &wanted);
        assert_eq!(created["spec"]["imagePullSecrets"], expected, "{given}");
    }

    let mut wanted = pod("secret-unswapped", "ghcr.io/acme/web:1");
    wanted["spec"]["imagePullSecrets"] = named(&["own"]);
    let created = create(cluster, &wanted);
    assert_eq!(created["spec"]["imagePullSecrets"], named(&["own"]));
}

/// A service account's own are given to the Pod before we are asked: none is lost.
pub(super) fn of_a_service_account(cluster: &Cluster) {
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({
        "metadata": {"name": "puller"},
        "imagePullSecrets": [{"name": "of-the-account"}, {"name": "another"}]
    });
    cluster.api.create(accounts, &account).unwrap();
    let mut wanted = pod("secret-account", "nginx");
    wanted["spec"]["serviceAccountName"] = "puller".into();
    let path = format!("{}?dryRun=All", pods("default"));
    // Its controllers learn of the account some time after it is stored.
    until("the ServiceAccount is known", || {
        cluster.api.create(&path, &wanted).ok()
    });
    let created = create(cluster, &wanted);
    let expected = named(&["of-the-account", "another", PULL_SECRET]);
    assert_eq!(created["spec"]["imagePullSecrets"], expected);
}

/// The API server would forbid it.
pub(super) fn not_of_pods_that_exist(cluster: &Cluster) {
    create(cluster, &pod("secret-old", "ghcr.io/acme/web:1"));
    let path = format!("{}/secret-old", pods("default"));
    let change = json!({"spec": {"containers": [{"name": "secret-old", "image": "nginx:2"}]}});
    let updated = allowed(cluster.api.strategic(&path, &change));
    assert_eq!(
        images(&updated, "containers"),
        [format!("{PROXY}/library/nginx:2")]
    );
    assert_eq!(updated["spec"].get("imagePullSecrets"), None);

    cluster.kubectl("debug secret-old --attach=false --image=busybox:1");
    let debugged = cluster.api.get(&path);
    assert_eq!(
        images(&debugged, "ephemeralContainers"),
        [format!("{PROXY}/library/busybox:1")]
    );
    assert_eq!(debugged["spec"].get("imagePullSecrets"), None);
}

/// Where a service account enforces its secrets, the API server refuses the Pods that we add another to,
/// as README says; not those of which no image is swapped.
pub(super) fn of_an_account_that_enforces_its_own(cluster: &Cluster) {
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"metadata": {
        "name": "strict",
        "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}
    }});
    cluster.api.create(accounts, &account).unwrap();
    let path = format!("{}?dryRun=All", pods("default"));
    let admit = |image: &str| {
        let mut wanted = pod("secret-strict", image);
        wanted["spec"]["serviceAccountName"] = "strict".into();
        cluster.api.create(&path, &wanted)
    };
    until("Pods whose images are not swapped are created", || {
        admit("ghcr.io/acme/web:1").ok()
    });
    let refused = admit("nginx").unwrap_err();
    assert!(refused.message.contains("imagePullSecrets"), "{refused:?}");

    let listed = json!({"imagePullSecrets": named(&[PULL_SECRET])});
    let account = format!("{accounts}/strict");
    cluster.api.merge(&account, &listed).unwrap();
    let created = until("Pods are created once it lists the Secret", || {
        admit("nginx").ok()
    });
    assert_eq!(created["spec"]["imagePullSecrets"], named(&[PULL_SECRET]));
}
