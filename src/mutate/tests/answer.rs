//! What is done to a Pod when one of its images is swapped, beside the image: the label, and the
//! annotations that keep what the user wrote.

use super::*;

#[test]
fn a_doubt_about_one_image_leaves_that_one_alone() {
    let pod = json!({"spec": {"containers": [
        {"name": "a", "image": "Not A Reference!"},
        {"name": "b"},
        {"name": "c", "image": null},
        {"name": "d", "image": "nginx:1"},
        {"name": "e", "image": "proxy.io/x"},
        {"name": "f", "image": "registry:2"},
        {"name": "g", "image": "quay.io/x"},
        {"image": "redis:7"},
    ]}});
    let admitted = admit(&create(&pod));
    let invalid = Reason::InvalidReference;
    let reasons = [
        invalid,
        invalid,
        invalid,
        Reason::AlreadyProxied,
        Reason::Ignored,
        Reason::NoRule,
    ];
    assert_eq!(admitted.skipped, reasons);
    let mut expected = pod;
    expected["spec"]["containers"][3]["image"] = json!("proxy.io/library/nginx:1");
    expected["spec"]["containers"][7]["image"] = json!("proxy.io/library/redis:7");
    expected["metadata"] = json!({
        "labels": {LABEL: "patched-image"},
        "annotations": {CONTAINER.to_owned() + "d": "nginx:1"},
    });
    assert_eq!(admitted.pod, expected);
}

#[test]
fn nothing_swapped_changes_nothing() {
    for metadata in [json!(null), json!({}), json!({"labels": {LABEL: "x"}})] {
        assert_untouched(&create(&pod(&metadata, "quay.io/a/b")), &[Reason::NoRule]);
    }
}

#[test]
fn missing_and_null_maps_are_created() {
    let marked = json!({
        "labels": {LABEL: "patched-image"},
        "annotations": {CONTAINER.to_owned() + "c": "nginx"},
    });
    for metadata in [
        json!(null),
        json!({}),
        json!({"labels": null}),
        json!({"annotations": null}),
        json!({"labels": null, "annotations": null}),
        json!({"labels": {}, "annotations": {}}),
        json!({"labels": {LABEL: "patched-image"}}),
        json!({"labels": {LABEL: null}}),
        json!({"labels": {LABEL: "other"}, "annotations": {CONTAINER.to_owned() + "c": "stale"}}),
    ] {
        assert_eq!(
            admit(&create(&pod(&metadata, "nginx"))).pod["metadata"],
            marked,
            "{metadata}"
        );
    }
    let absent = json!({"spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    assert_eq!(admit(&create(&absent)).pod["metadata"], marked);
}

#[test]
fn originals_as_the_user_wrote_them() {
    let written = [
        "nginx",
        "docker.io/nginx:1",
        "index.docker.io/library/nginx",
        "a/b@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ];
    for image in written {
        let admitted = admit(&create(&pod(&json!({}), image)));
        assert_eq!(
            admitted.pod["metadata"]["annotations"][CONTAINER.to_owned() + "c"],
            image
        );
    }
}

#[test]
fn names_that_cannot_end_an_annotation_key() {
    let long = "x".repeat(63);
    for (name, annotated) in [
        ("a", true),
        ("0-b", true),
        (long.as_str(), true),
        (&"x".repeat(64), false),
        ("", false),
        ("-a", false),
        ("a-", false),
        ("A", false),
        ("a.b", false),
        ("a/b", false),
        ("a~1b", false),
        ("a_b", false),
        ("é", false),
        ("a\"", false),
    ] {
        let pod = json!({"spec": {
            "containers": [{"name": name, "image": "nginx"}],
            "volumes": [{"name": name, "image": {"reference": "redis"}}],
        }});
        let admitted = admit(&create(&pod));
        assert_eq!((admitted.swapped, admitted.omitted), (2, 0));
        let expected = annotated.then(
            || json!({CONTAINER.to_owned() + name: "nginx", VOLUME.to_owned() + name: "redis"}),
        );
        assert_eq!(
            admitted.pod["metadata"].get("annotations"),
            expected.as_ref(),
            "{name}"
        );
    }
}

#[test]
fn asked_again_about_an_injected_sidecar() {
    let once = admit(&create(&everywhere())).pod;
    assert_untouched(&create(&once), &[Reason::AlreadyProxied; 4]);
    let mut injected = once.clone();
    let sidecar = json!({"name": "mesh", "image": "mesh/proxy:2"});
    injected["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .insert(0, sidecar);
    let twice = admit(&create(&injected));
    assert_eq!(twice.swapped, 1);
    assert_eq!(image(&twice.pod, "containers", 0), "proxy.io/mesh/proxy:2");
    let mut expected = once["metadata"].clone();
    expected["annotations"][CONTAINER.to_owned() + "mesh"] = json!("mesh/proxy:2");
    assert_eq!(twice.pod["metadata"], expected);
}

#[test]
fn asked_again_about_an_update() {
    let old = pod(&json!({}), "proxy.io/library/nginx:1");
    for metadata in [
        json!({}),
        json!({"annotations": {CONTAINER.to_owned() + "c": "nginx:1"}}),
    ] {
        let once = admit(&update(&pod(&metadata, "nginx:2"), &old)).pod;
        assert_eq!(
            once["metadata"]["annotations"][CONTAINER.to_owned() + "c"],
            "nginx:2"
        );
        assert_untouched(&update(&once, &old), &[Reason::AlreadyProxied]);
    }
}

#[test]
fn update_replaces_or_removes_the_annotation_of_a_changed_image() {
    let key = CONTAINER.to_owned() + "c";
    let other = CONTAINER.to_owned() + "other";
    let annotated = json!({"annotations": {&key: "nginx:1", &other: "nginx:1"}});
    let old = pod(&annotated, "proxy.io/library/nginx:1");
    for (image, becomes, annotation) in [
        (
            "proxy.io/library/nginx:1",
            "proxy.io/library/nginx:1",
            Some("nginx:1"),
        ),
        ("nginx:2", "proxy.io/library/nginx:2", Some("nginx:2")),
        ("proxy.io/library/nginx:2", "proxy.io/library/nginx:2", None),
        ("quay.io/a/b", "quay.io/a/b", None),
        ("registry:2", "registry:2", None),
        ("Not A Reference!", "Not A Reference!", None),
    ] {
        let admitted = admit(&update(&pod(&annotated, image), &old)).pod;
        let expected = annotation.map(Value::from);
        assert_eq!(admitted["spec"]["containers"][0]["image"], becomes);
        assert_eq!(
            admitted["metadata"]["annotations"].get(&key),
            expected.as_ref(),
            "{image}"
        );
        assert_eq!(admitted["metadata"]["annotations"][&other], "nginx:1");
    }
    // A new Pod says what it likes, and a Pod that opted out too.
    assert_untouched(&create(&pod(&annotated, "quay.io/a/b")), &[Reason::NoRule]);
    let mut skip = annotated;
    skip["labels"] = json!({LABEL: "skip"});
    assert_untouched(
        &update(&pod(&skip, "quay.io/a/b"), &old),
        &[Reason::OptedOut],
    );
}

#[test]
fn without_annotations_of_the_originals() {
    let mutator = Mutator {
        annotate_originals: false,
        ..mutator()
    };
    let admitted = admit_with(&mutator, &create(&pod(&json!(null), "nginx")));
    assert_eq!((admitted.swapped, admitted.omitted), (1, 0));
    assert_eq!(
        admitted.pod["metadata"],
        json!({"labels": {LABEL: "patched-image"}})
    );
    // One that is there says something else by now.
    let stale = json!({"annotations": {CONTAINER.to_owned() + "c": "nginx:1", "a": "b"}});
    let old = pod(&stale, "proxy.io/library/nginx:1");
    for image in ["nginx:2", "quay.io/a/b"] {
        let admitted = admit_with(&mutator, &update(&pod(&stale, image), &old));
        assert_eq!(admitted.pod["metadata"]["annotations"], json!({"a": "b"}));
    }
}

#[test]
fn a_pull_secret_ends_the_list_of_a_new_pod() {
    let mutator = Mutator {
        pull_secret: Some("proxy".to_owned()),
        ..mutator()
    };
    let with = |secrets: &Value, image: &str| {
        let mut pod = pod(&json!({}), image);
        pod["spec"]["imagePullSecrets"] = secrets.clone();
        pod
    };
    let named = |names: &[&str]| -> Value { names.iter().map(|it| json!({"name": it})).collect() };
    for (before, after) in [
        (Value::Null, named(&["proxy"])),
        (json!([]), named(&["proxy"])),
        (named(&["own"]), named(&["own", "proxy"])),
        (named(&["b", "a", "b"]), named(&["b", "a", "b", "proxy"])),
        (named(&["proxy-2"]), named(&["proxy-2", "proxy"])),
        (named(&["proxy"]), named(&["proxy"])),
        (named(&["proxy", "own"]), named(&["proxy", "own"])),
        (
            json!([{}, {"name": null}]),
            json!([{}, {"name": null}, {"name": "proxy"}]),
        ),
    ] {
        let once = admit_with(&mutator, &create(&with(&before, "nginx"))).pod;
        assert_eq!(once["spec"]["imagePullSecrets"], after, "{before}");
        assert!(!admit_with(&mutator, &create(&once)).patched);

        // A container that is injected later brings no second one.
        let mut injected = once;
        let sidecar = json!({"name": "mesh", "image": "mesh/proxy:2"});
        injected["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(sidecar);
        let twice = admit_with(&mutator, &create(&injected));
        assert_eq!(twice.swapped, 1);
        assert_eq!(twice.pod["spec"]["imagePullSecrets"], after, "{before}");

        // Of a Pod whose images stay, everything stays.
        assert!(!admit_with(&mutator, &create(&with(&before, "quay.io/a/b"))).patched);
    }
    let absent = admit_with(&mutator, &create(&pod(&json!({}), "nginx"))).pod;
    assert_eq!(absent["spec"]["imagePullSecrets"], named(&["proxy"]));
    let volume = json!({"spec": {"volumes": [{"name": "v", "image": {"reference": "redis"}}]}});
    let volume = admit_with(&mutator, &create(&volume)).pod;
    assert_eq!(volume["spec"]["imagePullSecrets"], named(&["proxy"]));
}

#[test]
fn no_pull_secret_where_the_api_server_forbids_it_or_nothing_is_changed() {
    let mutator = Mutator {
        pull_secret: Some("proxy".to_owned()),
        ..mutator()
    };
    let (new, old) = (pod(&json!({}), "nginx:2"), pod(&json!({}), "nginx:1"));
    let updated = admit_with(&mutator, &update(&new, &old));
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "busybox"}]);
    let debugged = request("UPDATE", "ephemeralcontainers", &debugged, &old);
    let debugged = admit_with(&mutator, &debugged);
    for admitted in [updated, debugged] {
        assert_eq!(admitted.swapped, 1);
        assert_eq!(admitted.pod["spec"].get("imagePullSecrets"), None);
    }
    let observer = Mutator {
        mode: Mode::Observe,
        ..mutator
    };
    assert!(!admit_with(&observer, &create(&new)).patched);
}

#[test]
fn annotations_up_to_the_limit() {
    const LIMIT: usize = 262_144;
    let key = CONTAINER.to_owned() + "c";
    let size = |pod: &Value| -> usize {
        let all = pod["metadata"]["annotations"].as_object().unwrap();
        all.iter()
            .map(|(key, value)| key.len() + value.as_str().unwrap().len())
            .sum()
    };
    let ours = key.len() + "nginx".len();
    let text = |len: usize| "é".repeat(len / 2) + if len % 2 == 1 { "x" } else { "" };
    let filled = |len: usize| json!({"a": text(len - 1)});

    let fits = admit(&create(&pod(
        &json!({"annotations": filled(LIMIT - ours)}),
        "nginx",
    )));
    assert_eq!(size(&fits.pod), LIMIT);
    assert_eq!((fits.swapped, fits.omitted), (1, 0));

    for len in [LIMIT - ours + 1, LIMIT, LIMIT + 1] {
        let full = pod(&json!({"annotations": filled(len)}), "nginx");
        let omitted = admit(&create(&full));
        assert_eq!(
            image(&omitted.pod, "containers", 0),
            "proxy.io/library/nginx:latest"
        );
        assert_eq!(omitted.pod["metadata"]["labels"][LABEL], "patched-image");
        assert_eq!(
            omitted.pod["metadata"]["annotations"],
            full["metadata"]["annotations"]
        );
        assert_eq!((omitted.swapped, omitted.omitted), (1, 1));
    }

    // What is replaced no longer counts, and what does not fit is not left stale.
    for (stale, fits) in [("redis", true), ("redis:7", true), ("a/b", false)] {
        let mut annotations = filled(LIMIT - key.len() - stale.len());
        annotations[&key] = json!(stale);
        let admitted = admit(&create(&pod(&json!({"annotations": annotations}), "nginx")));
        let annotation = admitted.pod["metadata"]["annotations"].get(&key);
        assert_eq!(annotation, fits.then(|| json!("nginx")).as_ref());
        assert_eq!(admitted.omitted, usize::from(!fits));
    }
}
