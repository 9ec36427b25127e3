//! What people are told of a review.

use serde_json::{Value, json};

use crate::mutate::{Mode, Mutator};
use crate::review::Review;
use crate::rules::Rules;

const PROXY: &str = "proxy.io";

/// The summary of the creation of a Pod with these images.
fn summary(proxy: &str, mode: Mode, images: &[&str]) -> Option<String> {
    let containers: Vec<Value> = images.iter().map(|image| json!({"image": image})).collect();
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "object": {"spec": {"containers": containers}},
        },
    })
    .to_string();
    let mutator = Mutator {
        mode,
        ..Mutator::new(Rules::parse(proxy, "docker.io={proxy}", "").unwrap())
    };
    let review = Review::read(review.as_bytes()).unwrap();
    mutator.mutate(&review).summary()
}

#[test]
fn the_first_image_and_how_many_more() {
    for (images, expected) in [
        (&[][..], None),
        (&["quay.io/a", "Not A Reference!"], None),
        (
            &["nginx:1.27"],
            Some("nginx:1.27 becomes proxy.io/library/nginx:1.27"),
        ),
        (
            &["quay.io/a", "acme/web"],
            Some("acme/web becomes proxy.io/acme/web:latest"),
        ),
        (
            &["nginx", "quay.io/a", "redis:7"],
            Some("nginx becomes proxy.io/library/nginx:latest, and 1 more"),
        ),
        (
            &["nginx"; 12],
            Some("nginx becomes proxy.io/library/nginx:latest, and 11 more"),
        ),
    ] {
        let expected = expected.map(|text| format!("k8s-proxy-image-swapper: {text}"));
        assert_eq!(summary(PROXY, Mode::Swap, images), expected);
        let expected = expected.map(|text| text.replace("becomes", "would become"));
        assert_eq!(summary(PROXY, Mode::Observe, images), expected);
    }
}

#[test]
fn what_is_too_long_is_cut_before_the_number() {
    let around = "k8s-proxy-image-swapper:  becomes proxy.com/".len();
    for (image_len, len, cut) in [(105, 254, false), (106, 256, false), (107, 256, true)] {
        let image = format!("a/{}:1", "x".repeat(image_len - "a/:1".len()));
        let text = summary("proxy.com", Mode::Swap, &[&image]).unwrap();
        assert!(cut || text.len() == around + 2 * image_len);
        assert_eq!((text.len(), text.ends_with("...")), (len, cut), "{text}");
    }

    // However long the name of a registry is, and however many images there are.
    let registry = format!("{}io", "a.".repeat(300));
    for count in [1, 2, 1000] {
        let text = summary(&registry, Mode::Observe, &vec!["nginx"; count]).unwrap();
        assert_eq!(text.len(), 256, "{text}");
        assert!(text.starts_with("k8s-proxy-image-swapper: nginx would become a.a."));
        let end = match count {
            1 => "...".to_owned(),
            _ => format!("..., and {} more", count - 1),
        };
        assert!(text.ends_with(&end), "{text}");
    }
}
