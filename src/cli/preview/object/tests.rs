//! Where a Pod is found, and where none is.

use serde_json::{Value, json};

use super::*;

/// Kind, namespace, name and place of an object with a Pod, of which the images must be these.
#[track_caller]
fn pod(object: &Value, images: &[&str]) -> [String; 4] {
    let text = object.to_string();
    let Ok(Object::Pod {
        kind,
        place,
        review,
    }) = Object::read(text.as_bytes())
    else {
        panic!("no Pod in {object:#}");
    };
    let containers = review.pod.spec.containers.iter();
    let found: Vec<&str> = containers.map(|container| &*container.image).collect();
    assert_eq!(found, images, "{object:#}");
    [&kind, &review.namespace, &review.name, place].map(str::to_owned)
}

fn spec() -> Value {
    json!({"containers": [{"name": "a", "image": "nginx"}]})
}

#[test]
fn a_pod_and_every_kind_of_template() {
    for (api_version, kind, object, place) in [
        ("v1", "Pod", json!({"spec": spec()}), ""),
        (
            "apps/v1",
            "Deployment",
            json!({"spec": {"template": {"spec": spec()}}}),
            "spec.template.",
        ),
        (
            "batch/v1",
            "Job",
            json!({"spec": {"template": {"spec": spec()}}}),
            "spec.template.",
        ),
        (
            "batch/v1",
            "CronJob",
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec()}}}}}),
            "spec.jobTemplate.spec.template.",
        ),
        (
            "v1",
            "PodTemplate",
            json!({"template": {"spec": spec()}}),
            "template.",
        ),
        // Argo's, which nobody has told it of.
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            json!({"spec": {"template": {"spec": spec()}}}),
            "spec.template.",
        ),
    ] {
        let mut object = object;
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"name": "web", "namespace": "shop"});
        assert_eq!(pod(&object, &["nginx"]), [kind, "shop", "web", place]);
    }
}

#[test]
fn what_an_object_does_not_say_is_empty() {
    assert_eq!(pod(&json!({"spec": spec()}), &["nginx"]), [""; 4]);
    assert_eq!(
        pod(&json!({"metadata": null, "spec": spec()}), &["nginx"]),
        [""; 4]
    );
    let generated = json!({"metadata": {"generateName": "web-"}, "spec": spec()});
    assert_eq!(pod(&generated, &["nginx"]), ["", "", "web-", ""]);
    pod(&json!({"spec": {"containers": []}}), &[]);
}

#[test]
fn a_review_is_about_its_pod() {
    let mut review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "name": "web",
            "object": {"spec": spec()},
        }
    });
    let expected = ["AdmissionReview", "shop", "web", "request.object."];
    assert_eq!(pod(&review, &["nginx"]), expected);
    review["request"]["operation"] = "DELETE".into();
    assert!(matches!(
        Object::read(review.to_string().as_bytes()),
        Ok(Object::Other)
    ));
    review["request"]["uid"] = "".into();
    assert!(Object::read(review.to_string().as_bytes()).is_err());
}

#[test]
fn others_are_passed_over() {
    for object in [
        json!({}),
        json!({"kind": "Service", "spec": {"ports": []}}),
        json!({"kind": "Node", "spec": null, "status": {"images": []}}),
        json!({"kind": "ConfigMap", "template": "nginx", "spec": "x"}),
        // A custom resource that is no Pod, and one whose template is of another shape.
        json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "spec": spec()}),
        json!({"apiVersion": "a.io/v1", "spec": {"template": {"spec": {"containers": "many"}}}}),
        json!({"apiVersion": "a.io/v1", "spec": {"template": "text"}}),
    ] {
        let text = object.to_string();
        let read = Object::read(text.as_bytes());
        assert!(matches!(read, Ok(Object::Other)), "{read:?} for {object}");
    }
}

#[test]
fn lists_say_their_kind() {
    for (text, kind) in [
        (r#"{"kind":"PodList","items":[]}"#, "PodList"),
        (r#"{"items":null}"#, ""),
    ] {
        let Ok(Object::List(found)) = Object::read(text.as_bytes()) else {
            panic!("no list: {text}");
        };
        assert_eq!(&*found, kind);
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, problem) in [
        (
            &b"{\"a\":\xff}"[..],
            "invalid utf-8 sequence of 1 bytes from index 5",
        ),
        (b"{\"a\" 1}", "expected `:` at line 1 column 6"),
        (
            b"{\"spec\":{\"containers\":\"nginx\"}}",
            "the Pod in it: invalid type: string \"nginx\", expected a sequence at line 1 column 29",
        ),
        (
            b"{\"kind\":\"AdmissionReview\"}",
            "expected an AdmissionReview as JSON: apiVersion is \"\", and not one of [\"admission.k8s.io/v1\", \"admission.k8s.io/v1beta1\"]",
        ),
    ] {
        assert_eq!(Object::read(text).unwrap_err(), problem);
    }
}

#[test]
fn a_list_that_was_not_cut_is_no_object_without_a_pod() {
    for (object, kind) in [
        (r#"{"kind":"List","items":[]}"#, Some("List")),
        (r#"{"kind":"PodList","items":null}"#, Some("PodList")),
        (r#"{"kind":"PodList","items":[{"spec":{}}]}"#, None),
        (r#"{"\u0069tems":[{"spec":{}}]}"#, None),
    ] {
        match (Object::read(object.as_bytes()), kind) {
            (Ok(Object::List(found)), Some(kind)) => assert_eq!(&*found, kind),
            (Err(problem), None) => assert!(problem.contains("a list"), "{problem}"),
            (read, _) => panic!("{object}: {read:?}"),
        }
    }
    let settings = json!({"apiVersion": "v1", "kind": "Pod", "items": {"a": 1}, "spec": spec()});
    pod(&settings, &["nginx"]);
}
