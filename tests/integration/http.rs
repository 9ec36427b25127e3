//! Requests through real TLS sockets: what each is answered, and whether its connection goes on.

mod framing;
mod refusals;

use crate::support::{Setup, images, patch, raw_post, recorded, review, review_of_size};

const SWAPPED: &str = "registry.example.com/library/nginx:latest";

/// The images of a review with one container.
fn one_image(answer: &[u8]) -> String {
    let images = images(answer);
    assert_eq!(images.len(), 1, "{images:?}");
    images[0].1.clone()
}

#[tokio::test]
async fn a_recorded_review_is_answered() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let answer = client.review(recorded("create-web.json")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.closes());
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["kind"], "AdmissionReview");
    assert_eq!(body["apiVersion"], "admission.k8s.io/v1");
    let uid = "92fff189-776c-4116-9677-d428267c6309";
    assert_eq!(body["response"]["uid"], uid);
    assert!(body.get("request").is_none());
    let expected = [
        (
            "/spec/containers/0/image",
            "registry.example.com/library/nginx:1.27.3",
        ),
        (
            "/spec/initContainers/1/image",
            "registry.example.com/library/busybox:1.36",
        ),
    ]
    .map(|(path, image)| (path.to_owned(), image.to_owned()));
    assert_eq!(images(&answer.body), expected);
}

#[tokio::test]
async fn v1beta1_is_answered_as_v1beta1() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let answer = client.review(recorded("create-v1beta1.json")).await;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["apiVersion"], "admission.k8s.io/v1beta1");
    assert!(!patch(&answer.body).is_empty());
}

#[tokio::test]
async fn every_recorded_review_is_answered_on_one_connection() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let files = std::fs::read_dir(crate::support::test_file("reviews")).unwrap();
    let mut count = 0;
    for file in files {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            continue;
        }
        let name = file.file_name().into_string().unwrap();
        let answer = client.review(recorded(&name)).await;
        patch(&answer.body);
        count += 1;
    }
    assert!(count > 5);
}

#[tokio::test]
async fn a_client_of_hyper_is_answered() {
    Setup::default().start().serves().await;
}

#[tokio::test]
async fn media_types_with_parameters_and_in_any_case_are_json() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    for media_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=utf-8",
        "application/json ; a=b; c=\"d;e\"",
    ] {
        let request = String::from_utf8(raw_post(review("1", "nginx"))).unwrap();
        client
            .send(request.replace("application/json", media_type))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{media_type}: {answer:?}");
    }
}

#[tokio::test]
async fn a_query_is_ignored() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    for path in [
        "/mutate",
        "/mutate?",
        "/mutate?timeout=5s&a=/b",
        "http://localhost/mutate",
    ] {
        let request = String::from_utf8(raw_post(review("1", "nginx"))).unwrap();
        client
            .send(request.replace("/mutate?timeout=5s", path))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let uids: Vec<String> = (0..50).map(|uid| uid.to_string()).collect();
    let requests = uids.iter().flat_map(|uid| raw_post(review(uid, "nginx")));
    client.send(requests.collect::<Vec<u8>>()).await;
    for uid in &uids {
        let answer = client.answer().await;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["response"]["uid"], **uid);
    }
}

#[tokio::test]
async fn a_review_in_single_bytes_is_answered() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    for byte in raw_post(review("1", "nginx")) {
        client.send([byte]).await;
    }
    assert_eq!(one_image(&client.answer().await.body), SWAPPED);
}

#[tokio::test]
async fn a_review_of_8_mib_is_answered_and_one_byte_more_is_not() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let limit = 8 << 20;
    let answer = client.review(review_of_size("1", "nginx", limit)).await;
    assert_eq!(one_image(&answer.body), SWAPPED);
    let larger = raw_post(review_of_size("1", "nginx", limit + 1));
    // It need not be taken to its end; the answer arrives all the same.
    let _ = client.try_send(larger).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.text(), "expected a body of at most 8388608 bytes\n");
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let body = review("1", "nginx");
    client
        .send(format!(
            "POST /mutate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(one_image(&answer.body), SWAPPED);
    client.closed().await;
}

#[tokio::test]
async fn connection_close_is_honoured() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let request = String::from_utf8(raw_post(review("1", "nginx"))).unwrap();
    let request = request.replace("Content-Length", "Connection: close\r\nContent-Length");
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
    client.closed().await;
}
