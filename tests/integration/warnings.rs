//! What people are told of their Pods.

use serde_json::{Value, json};

use crate::metrics::creates;
use crate::support::{Authority, Program, post};

/// The warnings in the answer to the creation of a Pod with these images by this user.
async fn warnings(settings: &[(&str, &str)], user: &str, images: &[&str]) -> Value {
    let authority = Authority::new("a CA");
    let (_program, addr, _) = Program::serve(&authority, settings).await;
    let mut review = creates(images);
    review["request"]["userInfo"] = json!({"username": user});
    // It is when people ask what would be.
    review["request"]["dryRun"] = json!(true);
    let answer = post(addr, authority.roots(), review.to_string()).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["response"]["warnings"].clone()
}

#[tokio::test]
async fn a_person_is_told_once_if_that_is_wanted() {
    let images = ["quay.io/a/b", "nginx:1.27", "redis"];
    let swapped = "nginx:1.27 becomes registry.example.com/library/nginx:1.27, and 1 more";
    let observed = swapped.replace("becomes", "would become");
    let told = |text: &str| json!([format!("k8s-proxy-image-swapper: {text}")]);
    let warn = ("WARN", "true");
    for (settings, user, expected) in [
        (&[][..], "alice", Value::Null),
        (&[warn], "alice", told(swapped)),
        (&[warn, ("MODE", "observe")], "alice", told(&observed)),
        (&[warn], "system:serviceaccount:default:ci", Value::Null),
    ] {
        let warnings = warnings(settings, user, &images).await;
        assert_eq!(warnings, expected, "{settings:?} {user}");
    }
}
