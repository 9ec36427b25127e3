//! Which images of a Pod are looked at in which request. Every patch is applied, and judged by its
//! result; what else it does to the Pod is tested in `answer`.

mod answer;

use serde_json::{Value, json};

use super::*;

const CONTAINER: &str = "original-image.k8s-proxy-image-swapper/";
const VOLUME: &str = "original-volume.k8s-proxy-image-swapper/";

/// What becomes of a Pod.
#[derive(Debug)]
struct Admitted {
    /// The Pod with the patch applied.
    pod: Value,
    patched: bool,
    swapped: usize,
    skipped: Vec<Reason>,
    omitted: usize,
}

fn admit_with(mutator: &Mutator, review: &Value) -> Admitted {
    let body = review.to_string();
    let read = Review::read(body.as_bytes()).unwrap();
    let outcome = mutator.mutate(&read);
    let patched = !outcome.patch.is_empty();
    let swapped = outcome.swapped().count();
    let skipped = outcome.skipped().collect();
    let patch = serde_json::from_str::<json_patch::Patch>(&outcome.patch.into_json()).unwrap();
    let mut pod = review["request"]["object"].clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    Admitted {
        pod,
        patched,
        swapped,
        skipped,
        omitted: outcome.annotations_omitted,
    }
}

/// Docker Hub comes from `proxy.io`.
fn mutator() -> Mutator {
    Mutator::new(Rules::parse("proxy.io", "docker.io={proxy}", "registry").unwrap())
}

fn admit(review: &Value) -> Admitted {
    admit_with(&mutator(), review)
}

#[track_caller]
fn assert_untouched(review: &Value, reasons: &[Reason]) {
    let admitted = admit(review);
    assert!(!admitted.patched, "{admitted:?}");
    assert_eq!((admitted.swapped, &admitted.skipped[..]), (0, reasons));
}

/// A request about Pods, `sub` of them.
fn request(operation: &str, sub: &str, object: &Value, old: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": sub,
            "operation": operation,
            "object": object,
            "oldObject": old,
        },
    })
}

fn create(object: &Value) -> Value {
    request("CREATE", "", object, &Value::Null)
}

fn update(object: &Value, old: &Value) -> Value {
    request("UPDATE", "", object, old)
}

/// A Pod with `metadata` and one container `c` of `image`.
fn pod(metadata: &Value, image: &str) -> Value {
    json!({"metadata": metadata, "spec": {"containers": [{"name": "c", "image": image}]}})
}

/// A Pod with an image of Docker Hub in every place that can name one.
fn everywhere() -> Value {
    json!({
        "metadata": {"labels": {"app": "x"}, "annotations": {"note": "y"}},
        "spec": {
            "containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "redis:7"}],
            "initContainers": [{"name": "i", "image": "busybox"}],
            "ephemeralContainers": [{"name": "e", "image": "alpine"}],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "v", "image": {"reference": "acme/model"}},
            ],
        },
    })
}

fn image<'p>(pod: &'p Value, list: &str, index: usize) -> &'p str {
    pod["spec"][list][index]["image"].as_str().unwrap()
}

#[test]
fn create_looks_at_containers_init_containers_and_volumes() {
    let admitted = admit(&create(&everywhere()));
    let mut expected = everywhere();
    expected["metadata"]["labels"][LABEL] = json!("patched-image");
    expected["metadata"]["annotations"] = json!({
        "note": "y",
        CONTAINER.to_owned() + "a": "nginx",
        CONTAINER.to_owned() + "b": "redis:7",
        CONTAINER.to_owned() + "i": "busybox",
        VOLUME.to_owned() + "v": "acme/model",
    });
    let spec = &mut expected["spec"];
    spec["containers"][0]["image"] = json!("proxy.io/library/nginx:latest");
    spec["containers"][1]["image"] = json!("proxy.io/library/redis:7");
    spec["initContainers"][0]["image"] = json!("proxy.io/library/busybox:latest");
    spec["volumes"][1]["image"]["reference"] = json!("proxy.io/acme/model:latest");
    assert_eq!(admitted.pod, expected);
    assert_eq!((admitted.swapped, admitted.omitted), (4, 0));
    assert_eq!(admitted.skipped, []);
}

#[test]
fn update_looks_at_what_changed_and_never_at_volumes() {
    let old = everywhere();
    assert_untouched(&update(&old, &old), &[Reason::Unchanged; 3]);

    let mut new = old.clone();
    new["spec"]["containers"][1]["image"] = json!("redis:8");
    new["spec"]["volumes"][1]["image"]["reference"] = json!("acme/model:2");
    new["spec"]["ephemeralContainers"][0]["image"] = json!("alpine:3");
    let admitted = admit(&update(&new, &old));
    new["spec"]["containers"][1]["image"] = json!("proxy.io/library/redis:8");
    new["metadata"]["labels"][LABEL] = json!("patched-image");
    new["metadata"]["annotations"][CONTAINER.to_owned() + "b"] = json!("redis:8");
    assert_eq!(admitted.pod, new);
    assert_eq!(admitted.swapped, 1);
    assert_eq!(admitted.skipped, [Reason::Unchanged; 2]);
}

#[test]
fn update_compares_by_name_within_the_same_list() {
    let containers = |list: Value| json!({"metadata": {}, "spec": list});
    let old = containers(json!({
        "containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "redis"}],
        "initContainers": [{"name": "i", "image": "busybox"}],
    }));
    let swapped_around = containers(json!({
        "containers": [{"name": "b", "image": "redis"}, {"name": "a", "image": "nginx"}],
        "initContainers": [{"name": "i", "image": "busybox"}],
    }));
    assert_untouched(&update(&swapped_around, &old), &[Reason::Unchanged; 3]);

    let new = containers(json!({
        "containers": [{"name": "a", "image": "redis"}, {"name": "i", "image": "busybox"}],
        "initContainers": [{"name": "new", "image": "busybox"}, {"name": "i", "image": "busybox"}],
    }));
    let admitted = admit(&update(&new, &old));
    assert_eq!(
        image(&admitted.pod, "containers", 0),
        "proxy.io/library/redis:latest"
    );
    assert_eq!(
        image(&admitted.pod, "containers", 1),
        "proxy.io/library/busybox:latest"
    );
    assert_eq!(
        image(&admitted.pod, "initContainers", 0),
        "proxy.io/library/busybox:latest"
    );
    assert_eq!(image(&admitted.pod, "initContainers", 1), "busybox");
}

#[test]
fn ephemeral_containers_that_are_new_and_no_metadata() {
    let old = everywhere();
    let ephemeral = |new: &Value| request("UPDATE", "ephemeralcontainers", new, &old);
    assert_untouched(&ephemeral(&old), &[Reason::Unchanged]);

    let mut new = old.clone();
    new["spec"]["ephemeralContainers"][0]["image"] = json!("alpine:changed");
    assert_untouched(&ephemeral(&new), &[Reason::Unchanged]);

    new["spec"]["containers"][0]["image"] = json!("nginx:changed");
    let list = new["spec"]["ephemeralContainers"].as_array_mut().unwrap();
    list.push(json!({"name": "e2", "image": "busybox"}));
    list.push(json!({"name": "e3", "image": "quay.io/a/b"}));
    let admitted = admit(&ephemeral(&new));
    new["spec"]["ephemeralContainers"][1]["image"] = json!("proxy.io/library/busybox:latest");
    assert_eq!(admitted.pod, new);
    assert_eq!(admitted.swapped, 1);
    assert_eq!(admitted.skipped, [Reason::Unchanged, Reason::NoRule]);
}

#[test]
fn mirror_pods_and_pods_that_opted_out() {
    let mut mirror = everywhere();
    mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("");
    let mut skip = everywhere();
    skip["metadata"]["labels"][LABEL] = json!("skip");
    let mut both = skip.clone();
    both["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("x");
    for (pod, reason) in [
        (&mirror, Reason::MirrorPod),
        (&skip, Reason::OptedOut),
        (&both, Reason::MirrorPod),
    ] {
        assert_untouched(&create(pod), &[reason; 4]);

        let mut old = everywhere();
        old["spec"]["containers"][0]["image"] = json!("nginx:0");
        assert_untouched(
            &update(pod, &old),
            &[reason, Reason::Unchanged, Reason::Unchanged],
        );

        old["spec"]["ephemeralContainers"] = json!([]);
        assert_untouched(
            &request("UPDATE", "ephemeralcontainers", pod, &old),
            &[reason],
        );
    }
    // What the old object says no longer counts.
    let admitted = admit(&update(
        &pod(&json!({}), "nginx"),
        &pod(&skip["metadata"], "redis"),
    ));
    assert_eq!(admitted.swapped, 1);
    // Only `skip` opts out.
    for label in ["", "Skip", "skip ", "true", "patched-image"] {
        let metadata = json!({"labels": {LABEL: label}});
        assert_eq!(
            admit(&create(&pod(&metadata, "nginx"))).swapped,
            1,
            "{label}"
        );
    }
}

#[test]
fn anything_else() {
    let (pod, old) = (everywhere(), pod(&json!({}), "redis"));
    for (operation, sub) in [
        ("CREATE", "binding"),
        ("CREATE", "eviction"),
        ("CREATE", "ephemeralcontainers"),
        ("UPDATE", "resize"),
        ("UPDATE", "status"),
        ("CONNECT", "exec"),
        ("DELETE", ""),
    ] {
        assert_untouched(&request(operation, sub, &pod, &old), &[]);
    }
    assert_untouched(&request("DELETE", "", &Value::Null, &pod), &[]);
    let template =
        json!({"metadata": {}, "spec": {"template": pod, "containers": [{"image": "nginx"}]}});
    let mut deployment = create(&template);
    deployment["request"]["resource"] =
        json!({"group": "apps", "version": "v1", "resource": "deployments"});
    assert_untouched(&deployment, &[]);
}

#[test]
fn unreadable_objects_are_left_alone() {
    for object in [
        json!([]),
        json!({"spec": {"containers": [{"name": "c", "image": 1}, {"image": "nginx"}]}}),
    ] {
        assert_untouched(&create(&object), &[]);
        assert_untouched(&update(&object, &everywhere()), &[]);
        assert_untouched(&update(&everywhere(), &object), &[]);
    }
}

#[test]
fn observing_changes_nothing_and_says_what_would_be_swapped() {
    let watcher = Mutator {
        mode: Mode::Observe,
        ..mutator()
    };
    let old = everywhere();
    let mut new = old.clone();
    // A stale annotation, which an update would remove.
    new["metadata"]["annotations"][CONTAINER.to_owned() + "b"] = json!("redis:6");
    new["spec"]["containers"][0]["image"] = json!("nginx:2");
    new["spec"]["containers"][1]["image"] = json!("quay.io/a/b");
    let mut debugged = old.clone();
    let busybox = json!({"name": "debugger", "image": "busybox"});
    debugged["spec"]["ephemeralContainers"]
        .as_array_mut()
        .unwrap()
        .push(busybox);
    let mut full = old.clone();
    full["metadata"]["annotations"]["filler"] = json!("x".repeat(ANNOTATIONS_MAX - 11));
    let mut skip = old.clone();
    skip["metadata"]["labels"][LABEL] = json!("skip");

    let (observed, unchanged) = (Reason::Observed, Reason::Unchanged);
    for (review, reasons) in [
        (create(&old), &[observed; 4][..]),
        (create(&full), &[observed; 4]),
        (create(&skip), &[Reason::OptedOut; 4]),
        (update(&new, &old), &[observed, Reason::NoRule, unchanged]),
        (
            request("UPDATE", "ephemeralcontainers", &debugged, &old),
            &[unchanged, observed],
        ),
    ] {
        let admitted = admit_with(&watcher, &review);
        assert!(!admitted.patched, "{admitted:?}");
        assert_eq!((admitted.swapped, admitted.omitted), (0, 0));
        assert_eq!(admitted.skipped, reasons);
        // As many as would be swapped.
        let swapped = reasons.iter().filter(|reason| **reason == observed).count();
        assert_eq!(admit(&review).swapped, swapped);
    }
}

#[test]
fn people_alone_are_told() {
    let told = |mutator: &Mutator, user: &Value, image: &str| {
        let mut review = create(&pod(&json!({}), image));
        review["request"]["userInfo"] = user.clone();
        let body = review.to_string();
        let review = Review::read(body.as_bytes()).unwrap();
        let outcome = mutator.mutate(&review);
        mutator.warning(&review, &outcome).is_some()
    };
    let mutator = Mutator {
        warn: true,
        ..mutator()
    };
    for (name, expected) in [
        ("alice", true),
        ("kubernetes-admin", true),
        ("oidc:alice@example.com", true),
        ("System:admin", true),
        ("a system:b", true),
        ("", true),
        ("system:admin", false),
        ("system:anonymous", false),
        ("system:node:worker-1", false),
        ("system:kube-controller-manager", false),
        (
            "system:serviceaccount:argocd:argocd-application-controller",
            false,
        ),
    ] {
        let user = json!({"username": name});
        assert_eq!(told(&mutator, &user, "nginx"), expected, "{name}");
        assert!(!told(&mutator, &user, "quay.io/a/b"), "{name}");
    }
    assert!(told(&mutator, &Value::Null, "nginx"));

    let silent = Mutator {
        warn: false,
        ..mutator
    };
    assert!(!told(&silent, &json!({"username": "alice"}), "nginx"));
}

#[test]
fn pull_policy_never() {
    let mut pod = everywhere();
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    pod["spec"]["initContainers"][0]["imagePullPolicy"] = json!("Always");
    pod["spec"]["volumes"][1]["image"]["pullPolicy"] = json!("Never");
    let admitted = admit(&create(&pod));
    assert_eq!(admitted.swapped, 2);
    assert_eq!(admitted.skipped, [Reason::NeverPulled; 2]);
    // Each kind has its own name for it.
    let mut pod = everywhere();
    pod["spec"]["containers"][0]["pullPolicy"] = json!("Never");
    pod["spec"]["volumes"][1]["image"]["imagePullPolicy"] = json!("Never");
    assert_eq!(admit(&create(&pod)).swapped, 4);
}
