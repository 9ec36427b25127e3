//! Requests that are refused, each with a text that says what was wrong.

use crate::support::{Answer, Client, Setup, TestServer, raw_post, review};

/// Sends a request on a connection of its own. When `closes`, the server has to say that it closes
/// and to do it; otherwise the connection must serve a review afterwards.
async fn refused(server: &TestServer, request: impl AsRef<[u8]>, closes: bool) -> Answer {
    let mut client = server.connect().await;
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!(answer.closes(), closes, "{answer:?}");
    let text = "text/plain; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(text), "{answer:?}");
    assert!(answer.text().ends_with('\n'));
    if closes {
        client.closed().await;
    } else {
        client.review(review("1", "nginx")).await;
    }
    answer
}

/// The head of a review whose body is framed by `framing`.
fn head_with(framing: &str) -> String {
    format!(
        "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         {framing}\r\n\r\n"
    )
}

/// A review of which a part of the head is replaced.
fn instead(of: &str, with: &str) -> String {
    let request = String::from_utf8(raw_post(review("1", "nginx"))).unwrap();
    assert!(request.contains(of));
    request.replacen(of, with, 1)
}

#[tokio::test]
async fn what_is_not_a_review() {
    let server = Setup::default().start();
    let ok = review("1", "nginx");
    let unfinished = &ok[..ok.len() - 1];
    let trailing = format!("{ok}{{}}");
    let kind = ok.replace("AdmissionReview", "Pod");
    let (end, after) = (ok.len() - 1, ok.len() + 1);
    let unfinished_at = format!("EOF while parsing an object at line 1 column {end}");
    let trailing_at = format!("trailing characters at line 1 column {after}");
    let version = ok.replace("admission.k8s.io/v1", "admission.k8s.io/v2");
    let no_uid = review("", "nginx");
    let number = ok.replace(r#""uid":"1""#, r#""uid":1"#);
    let twice = ok.replace(r#""uid":"1""#, r#""uid":"1","uid":"2""#);
    let cases: &[(&[u8], &str)] = &[
        (b"", "EOF while parsing a value at line 1 column 0"),
        (b"\xff", "invalid utf-8 sequence of 1 bytes from index 0"),
        (b"nonsense", "expected ident at line 1 column 2"),
        (
            b"[]",
            "invalid type: sequence, expected an object at line 1 column 0",
        ),
        (b"{}", r#"kind is """#),
        (unfinished.as_bytes(), &unfinished_at),
        (trailing.as_bytes(), &trailing_at),
        (kind.as_bytes(), r#"kind is "Pod""#),
        (
            version.as_bytes(),
            r#"apiVersion is "admission.k8s.io/v2", and not one of ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]"#,
        ),
        (no_uid.as_bytes(), "there is no request, or it has no uid"),
        (
            br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
            "there is no request, or it has no uid",
        ),
        (
            number.as_bytes(),
            "invalid type: integer `1`, expected a string at line 1 column 79",
        ),
        (
            twice.as_bytes(),
            "duplicate field `uid` at line 1 column 87",
        ),
    ];
    for (body, problem) in cases {
        let answer = refused(&server, raw_post(body), false).await;
        assert_eq!(answer.status, 400);
        let expected = format!("expected an AdmissionReview as JSON: {problem}\n");
        assert_eq!(answer.text(), expected);
    }
    let series = r#"requests_refused_total{reason="not_a_review"}"#;
    assert_eq!(server.metric(series), cases.len() as u64);
}

#[tokio::test]
async fn another_path() {
    let server = Setup::default().start();
    for path in [
        "/",
        "/mutate/",
        "/mutate/x",
        "/Mutate",
        "/%6dutate",
        "//mutate",
        "/metrics",
        "/readyz",
    ] {
        let request = instead("/mutate?timeout=5s", path);
        let answer = refused(&server, request, true).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.text(), "expected the path /mutate\n");
    }
    let series = r#"requests_refused_total{reason="path"}"#;
    assert_eq!(server.metric(series), 8);
}

#[tokio::test]
async fn another_method() {
    let server = Setup::default().start();
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "post", "MUTATE"] {
        let answer = refused(&server, instead("POST", method), true).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST"));
        assert_eq!(answer.text(), "expected the method POST\n");
    }
}

#[tokio::test]
async fn head() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    client
        .send("HEAD /mutate HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let answer = client.answer_to_head().await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("POST"));
    assert!(answer.closes());
    client.closed().await;
}

#[tokio::test]
async fn another_media_type() {
    let server = Setup::default().start();
    let json = "Content-Type: application/json";
    for content_type in [
        "",
        "Content-Type:\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/yaml\r\n",
        "Content-Type: application/json-patch+json\r\n",
        "Content-Type: application/json, text/plain\r\n",
        "Content-Type: \u{e9}\r\n",
    ] {
        let request = instead(&format!("{json}\r\n"), content_type);
        let answer = refused(&server, request, true).await;
        assert_eq!(answer.status, 415, "{content_type:?}");
        assert_eq!(
            answer.text(),
            "expected the Content-Type application/json\n"
        );
    }
}

#[tokio::test]
async fn any_content_encoding() {
    let server = Setup::default().start();
    for encoding in ["identity", "gzip", "br", ""] {
        let header = format!("Content-Encoding: {encoding}\r\nContent-Length");
        let request = instead("Content-Length", &header);
        let answer = refused(&server, request, true).await;
        assert_eq!(answer.status, 415, "{encoding:?}");
        assert_eq!(answer.text(), "expected no Content-Encoding\n");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let mut setup = Setup::default();
    setup.limits.body_bytes = 1000;
    let server = setup.start();
    let announced = refused(&server, head_with("Content-Length: 1001"), true).await;
    let head = head_with("Transfer-Encoding: chunked");
    let chunks = format!("3e8\r\n{}\r\n1\r\n \r\n", " ".repeat(1000));
    let chunked = refused(&server, format!("{head}{chunks}"), true).await;
    for answer in [announced, chunked] {
        assert_eq!(answer.status, 413);
        assert_eq!(answer.text(), "expected a body of at most 1000 bytes\n");
    }
    assert_eq!(
        server.metric(r#"requests_refused_total{reason="too_large"}"#),
        2
    );
    server.serves().await;
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_no_refusal() {
    let body = review("1", "nginx");
    let mut setup = Setup::default();
    setup.limits.body_bytes = body.len();
    let server = setup.start();
    let mut client = server.connect().await;
    client.review(&body).await;
    let head = head_with("Transfer-Encoding: chunked");
    client
        .send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
        .await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn no_host_or_two() {
    let server = Setup::default().start();
    for host in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        let request = instead("Host: localhost\r\n", host);
        let answer = refused(&server, request, true).await;
        assert_eq!(answer.status, 400, "{host:?}");
        assert_eq!(answer.text(), "expected one Host\n");
    }
    assert_eq!(server.metric(r#"requests_refused_total{reason="host"}"#), 2);
}

/// What hyper itself refuses, with an empty answer.
#[tokio::test]
async fn a_head_that_is_no_http() {
    let server = Setup::default().start();
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    let many = format!(
        "POST /mutate HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "A: b\r\n".repeat(101)
    );
    for (request, status) in [
        ("nonsense\r\n\r\n", 400),
        ("POST /mutate HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
        (&long, 431),
        (&many, 431),
    ] {
        let mut client = server.connect().await;
        client.try_send(request).await.unwrap();
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{request:.60}: {answer:?}");
        assert!(answer.closes());
        client.closed().await;
    }
    // HTTP/2, although it was not agreed on, is closed without a word.
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.closed().await;
    server.serves().await;
}

/// An answer that comes before the body has been read says that it closes, whenever the body comes:
/// otherwise a client could send its next review into a connection that is about to go.
#[tokio::test]
async fn a_connection_with_an_unread_body_says_that_it_closes() {
    let server = Setup::default().start();
    let request = instead("/mutate?timeout=5s", "/");
    let body_at = request.find("\r\n\r\n").unwrap() + 4;
    for part in [body_at, body_at + 1, request.len() - 1, request.len()] {
        let mut client: Client<_> = server.connect().await;
        client.send(&request[..part]).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 404);
        assert!(answer.closes());
        client.closed().await;
    }
}
