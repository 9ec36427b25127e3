//! What is an AdmissionReview and what is none, what is read of it, and the answer; JSON that no
//! API server sends is in `hostile`.

mod hostile;

use serde_json::{Value, json};

use super::*;

/// A review of a Pod's creation.
fn create(object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u-1",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "object": object,
        },
    })
}

/// The text of [`create`] with `object` as it is.
fn create_raw(object: &str) -> String {
    create(&json!("OBJECT"))
        .to_string()
        .replace("\"OBJECT\"", object)
}

/// `review` with `value` at `pointer`, which must exist.
fn with(mut review: Value, pointer: &str, value: Value) -> Value {
    *review.pointer_mut(pointer).unwrap() = value;
    review
}

fn refused(body: impl AsRef<[u8]>) -> NotAReview {
    Review::read(body.as_ref()).unwrap_err()
}

/// Whether the objects of a review could be read.
fn is_readable(body: &str) -> bool {
    let review = Review::read(body.as_bytes()).unwrap();
    assert_eq!(&*review.uid, "u-1");
    if review.unreadable.is_some() {
        assert!(review.pod.metadata.is_none() && review.pod.spec.containers.is_empty());
        assert!(review.old_pod.metadata.is_none() && review.old_pod.spec.containers.is_empty());
    }
    review.unreadable.is_none()
}

#[test]
fn reads_every_field() {
    let image = |n: &str| json!([{"name": n, "image": n, "imagePullPolicy": "Never", "x": [{}]}]);
    let object = json!({
        "metadata": {
            "generateName": "web-",
            "labels": {"a": "b", "k8s-proxy-image-swapper": "skip"},
            "annotations": {
                "a": "bc",
                "kubernetes.io/config.mirror": "",
                "original-image.k8s-proxy-image-swapper/c": "nginx",
                "original-volume.k8s-proxy-image-swapper/v": "é",
            },
        },
        "spec": {
            "containers": image("c"),
            "initContainers": image("i"),
            "ephemeralContainers": image("e"),
            "volumes": [
                {"name": "v", "image": {"reference": "v", "pullPolicy": "Always"}},
                {"name": "w", "emptyDir": {}},
            ],
            "imagePullSecrets": [{"name": "own"}, {}],
        },
    });
    let mut review = create(&object);
    review["request"]["namespace"] = json!("ns");
    review["request"]["dryRun"] = json!(true);
    review["request"]["userInfo"] = json!({"username": "alice", "groups": ["a"], "extra": {}});
    review["request"]["oldObject"] = json!({"spec": {"containers": image("o")}});
    let body = review.to_string();
    let review = Review::read(body.as_bytes()).unwrap();

    assert_eq!(&*review.api_version, "admission.k8s.io/v1");
    assert_eq!(&*review.uid, "u-1");
    assert_eq!(&*review.operation, "CREATE");
    assert_eq!(&*review.namespace, "ns");
    assert_eq!(&*review.name, "web-");
    assert!(review.dry_run && review.unreadable.is_none());
    assert_eq!(&*review.user, "alice");
    let metadata = review.pod.metadata.unwrap();
    assert_eq!(metadata.labels.unwrap().ours.as_deref(), Some(SKIP));
    let annotations = metadata.annotations.unwrap();
    assert!(annotations.mirror);
    let ours = [
        ("original-image.k8s-proxy-image-swapper/c", "nginx"),
        ("original-volume.k8s-proxy-image-swapper/v", "é"),
    ];
    let size = 3 + MIRROR_LEN + ours.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    assert!(annotations.fit(size, 0, 0) && !annotations.fit(size - 1, 0, 0));
    assert!(annotations.fit(size, 7, 7) && !annotations.fit(size, 7, 6));
    for (key, value) in ours {
        assert_eq!(annotations.original(key).as_deref(), Some(value));
    }
    assert_eq!(annotations.original("other"), None);
    let spec = &review.pod.spec;
    for (list, name) in [
        (&spec.containers, "c"),
        (&spec.init_containers, "i"),
        (&spec.ephemeral_containers, "e"),
        (&review.old_pod.spec.containers, "o"),
    ] {
        let [container] = &list[..] else {
            panic!("{list:?}")
        };
        assert_eq!(
            (&*container.name, &*container.image, &*container.pull_policy),
            (name, name, "Never")
        );
    }
    let secrets = spec.image_pull_secrets.iter();
    let secrets: Vec<&str> = secrets.map(|secret| &*secret.name).collect();
    assert_eq!(secrets, ["own", ""]);
    assert_eq!(spec.volumes.len(), 2);
    let image = spec.volumes[0].image.as_ref().unwrap();
    assert_eq!((&*image.reference, &*image.pull_policy), ("v", "Always"));
    assert!(spec.volumes[1].image.is_none());
}

const MIRROR_LEN: usize = "kubernetes.io/config.mirror".len();

#[test]
fn the_subject() {
    let pods = ("", "v1", "pods");
    let cases = [
        (pods, "", "CREATE", Subject::Create),
        (pods, "", "UPDATE", Subject::Update),
        (
            pods,
            "ephemeralcontainers",
            "UPDATE",
            Subject::EphemeralContainers,
        ),
        (pods, "ephemeralcontainers", "CREATE", Subject::Other),
        (pods, "", "DELETE", Subject::Other),
        (pods, "", "CONNECT", Subject::Other),
        (pods, "", "create", Subject::Other),
        (pods, "", "", Subject::Other),
        (pods, "binding", "CREATE", Subject::Other),
        (pods, "eviction", "CREATE", Subject::Other),
        (pods, "resize", "UPDATE", Subject::Other),
        (pods, "status", "UPDATE", Subject::Other),
        (pods, "exec", "CONNECT", Subject::Other),
        (("apps", "v1", "pods"), "", "CREATE", Subject::Other),
        (("", "v2", "pods"), "", "CREATE", Subject::Other),
        (("apps", "v1", "deployments"), "", "CREATE", Subject::Other),
        (("", "v1", "podtemplates"), "", "CREATE", Subject::Other),
        (("", "", ""), "", "CREATE", Subject::Other),
    ];
    for ((group, version, resource), sub_resource, operation, expected) in cases {
        let mut review = create(&json!({}));
        review["request"]["resource"] =
            json!({"group": group, "version": version, "resource": resource});
        review["request"]["operation"] = json!(operation);
        review["request"]["subResource"] = json!(sub_resource);
        let body = review.to_string();
        let review = Review::read(body.as_bytes()).unwrap();
        assert_eq!(review.subject, expected, "{body}");
    }
}

#[test]
fn the_name_is_what_there_is_of_one() {
    let cases = [
        (
            json!("web"),
            json!({"metadata": {"generateName": "web-"}}),
            "web",
        ),
        (
            json!(""),
            json!({"metadata": {"generateName": "web-"}}),
            "web-",
        ),
        (
            json!(null),
            json!({"metadata": {"generateName": "web-"}}),
            "web-",
        ),
        (json!(null), json!({"metadata": {"generateName": null}}), ""),
        (json!(null), json!({"metadata": null}), ""),
        (json!(null), json!(null), ""),
    ];
    for (name, object, expected) in cases {
        let mut review = create(&object);
        review["request"]["name"] = name;
        let body = review.to_string();
        assert_eq!(
            &*Review::read(body.as_bytes()).unwrap().name,
            expected,
            "{body}"
        );
    }
}

#[test]
fn not_a_review() {
    let review = || create(&json!({}));
    let kind = |kind| refused(with(review(), "/kind", kind).to_string());
    assert!(matches!(kind(json!("Pod")), NotAReview::Kind(kind) if kind == "Pod"));
    assert!(matches!(kind(json!("")), NotAReview::Kind(_)));
    assert!(matches!(kind(json!(null)), NotAReview::Kind(_)));
    assert!(matches!(kind(json!(1)), NotAReview::Json(_)));
    let version = |version| refused(with(review(), "/apiVersion", version).to_string());
    let v2 = "admission.k8s.io/v2";
    assert!(matches!(version(json!(v2)), NotAReview::ApiVersion(found) if found == v2));
    assert!(matches!(version(json!("v1")), NotAReview::ApiVersion(_)));
    assert!(matches!(version(json!(null)), NotAReview::ApiVersion(_)));
    let request = |request| refused(with(review(), "/request", request).to_string());
    assert!(matches!(request(json!(null)), NotAReview::NoRequest));
    assert!(matches!(request(json!({})), NotAReview::NoRequest));
    assert!(matches!(request(json!({"uid": ""})), NotAReview::NoRequest));
    assert!(matches!(
        request(json!({"uid": null})),
        NotAReview::NoRequest
    ));
    for wrong in [
        json!([]),
        json!("x"),
        json!(1),
        json!({"uid": 1}),
        json!({"uid": ["u"]}),
    ] {
        assert!(matches!(request(wrong), NotAReview::Json(_)));
    }
    assert!(matches!(refused("{}"), NotAReview::Kind(_)));
    for body in [
        "",
        " ",
        "null",
        "[]",
        "1",
        "\"AdmissionReview\"",
        "{",
        "{]",
        "nginx",
        "{'kind':1}",
    ] {
        assert!(matches!(refused(body), NotAReview::Json(_)), "{body}");
    }
}

#[test]
fn wrong_types_beside_the_objects_are_an_error() {
    for field in [
        "resource",
        "subResource",
        "name",
        "namespace",
        "operation",
        "dryRun",
    ] {
        let mut review = create(&json!({}));
        review["request"][field] = json!([1]);
        assert!(
            matches!(refused(review.to_string()), NotAReview::Json(_)),
            "{field}"
        );
    }
}

#[test]
fn null_is_as_good_as_absent() {
    for field in [
        "resource",
        "subResource",
        "name",
        "namespace",
        "operation",
        "dryRun",
        "object",
        "oldObject",
    ] {
        let mut review = create(&json!({}));
        review["request"][field] = json!(null);
        assert!(is_readable(&review.to_string()), "{field}");
    }
    for object in [
        json!({"metadata": null, "spec": null}),
        json!({"metadata": {"generateName": null, "labels": null, "annotations": null}}),
        json!({"metadata": {"labels": {"a": null, LABEL: null}, "annotations": {"a": null}}}),
        json!({"spec": {"containers": null, "initContainers": null, "volumes": null}}),
        json!({"spec": {"containers": [{"name": null, "image": null, "imagePullPolicy": null}]}}),
        json!({"spec": {"volumes": [{"name": null, "image": null}]}}),
        json!({"spec": {"volumes": [{"image": {"reference": null, "pullPolicy": null}}]}}),
    ] {
        assert!(is_readable(&create(&object).to_string()), "{object}");
    }
}

#[test]
fn objects_of_another_shape_are_unreadable() {
    let unreadable = [
        json!([]),
        json!("x"),
        json!(true),
        json!([{"metadata": {}}, {}]),
        json!({"metadata": []}),
        json!({"metadata": {"generateName": 1}}),
        json!({"metadata": {"labels": []}}),
        json!({"metadata": {"labels": {LABEL: 1}}}),
        json!({"metadata": {"annotations": ["a"]}}),
        json!({"metadata": {"annotations": {"a": 1}}}),
        json!({"spec": []}),
        json!({"spec": {"containers": {}}}),
        json!({"spec": {"containers": "nginx"}}),
        json!({"spec": {"containers": ["nginx"]}}),
        json!({"spec": {"containers": [null]}}),
        json!({"spec": {"containers": [["a", "nginx", ""]]}}),
        json!({"spec": {"containers": [{"image": {"reference": "nginx"}}]}}),
        json!({"spec": {"initContainers": [{"name": 1}]}}),
        json!({"spec": {"ephemeralContainers": [{"imagePullPolicy": false}]}}),
        json!({"spec": {"volumes": [{"image": "nginx"}]}}),
        json!({"spec": {"volumes": [{"image": ["nginx"]}]}}),
        json!({"spec": {"volumes": [{"image": {"reference": ["nginx"]}}]}}),
    ];
    for object in unreadable {
        let review = create(&object);
        assert!(!is_readable(&review.to_string()), "{object}");
        let mut old = create(&json!({}));
        old["request"]["oldObject"] = object.clone();
        assert!(!is_readable(&old.to_string()), "{object}");
        // Nobody looks at it here.
        let binding = with(review, "/request/operation", json!("DELETE"));
        assert!(is_readable(&binding.to_string()), "{object}");
    }
}

#[test]
fn answers() {
    let body = create(&json!({})).to_string();
    for version in API_VERSIONS {
        for uid in [
            "u-1",
            "quote \" backslash \\ control \u{1}\n",
            "é 😀",
            "</script>",
        ] {
            let review: Value = serde_json::from_str(&body).unwrap();
            let review = with(review, "/request/uid", json!(uid));
            let body = with(review, "/apiVersion", json!(version)).to_string();
            let review = Review::read(body.as_bytes()).unwrap();

            let answer: Value = serde_json::from_str(&review.answer(None, None)).unwrap();
            let response = json!({"uid": uid, "allowed": true});
            assert_eq!(
                answer,
                json!({"kind": "AdmissionReview", "apiVersion": version, "response": response})
            );

            for patch in ["[]", "[1]", "[\"\u{e9}\u{1f600}\u{fffd}\"]"] {
                let answer: Value =
                    serde_json::from_str(&review.answer(Some(patch), None)).unwrap();
                let response = &answer["response"];
                assert_eq!(response["uid"], uid);
                assert_eq!(response["allowed"], true);
                assert_eq!(response["patchType"], "JSONPatch");
                let decoded = STANDARD
                    .decode(response["patch"].as_str().unwrap())
                    .unwrap();
                assert_eq!(decoded, patch.as_bytes());
                assert_eq!(response.as_object().unwrap().len(), 4);
            }

            for warning in ["a becomes b", "quote \" backslash \\ control \u{1}\n", "é"] {
                for (patch, members) in [(None, 3), (Some("[]"), 5)] {
                    let answer = review.answer(patch, Some(warning));
                    let answer: Value = serde_json::from_str(&answer).unwrap();
                    let response = answer["response"].as_object().unwrap();
                    assert_eq!(response["warnings"], json!([warning]));
                    assert_eq!(response.len(), members);
                }
            }
        }
    }
}

#[test]
fn says_what_is_wrong() {
    let said = |body: &str| refused(body).to_string();
    let expected = "expected an AdmissionReview as JSON: ";
    for (body, problem) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{\"kind\":\"Pod\"}", "kind is \"Pod\""),
        (
            "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"x\\n\"}",
            "apiVersion is \"x\\n\", and not one of [\"admission.k8s.io/v1\", \"admission.k8s.io/v1beta1\"]",
        ),
        (
            "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}",
            "there is no request, or it has no uid",
        ),
    ] {
        assert_eq!(said(body), format!("{expected}{problem}"));
    }
    assert!(refused(b"\xff").to_string().starts_with(expected));
}
