//! Where a request ends: chunks, lengths, and what is tried so that two readers of one connection
//! see different requests (RFC 9112).

use crate::support::{Answer, Setup, TestServer, review};

use super::{SWAPPED, one_image};

const HEAD: &str = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/// What is hidden behind a request, to be seen as another.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends the request with [`HIDDEN`] behind it; the server answers once, and closes.
async fn answered_once(server: &TestServer, request: impl AsRef<[u8]>) -> Answer {
    let mut client = server.connect().await;
    let bytes = [request.as_ref(), HIDDEN.as_bytes()].concat();
    client.send(bytes).await;
    let answer = client.answer().await;
    assert!(answer.closes(), "{answer:?}");
    client.closed().await;
    answer
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

#[tokio::test]
async fn chunks_of_any_size() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let body = review("1", "nginx");
    for size in [1, 2, 7, 100, body.len()] {
        let chunks = body.as_bytes().chunks(size);
        let chunks: String = chunks
            .map(|data| chunk(std::str::from_utf8(data).unwrap()))
            .collect();
        let head = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
        client.send(format!("{head}{chunks}0\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(!answer.closes());
        assert_eq!(one_image(&answer.body), SWAPPED);
    }
}

#[tokio::test]
async fn chunk_extensions_and_trailers_are_ignored() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let body = review("1", "nginx");
    let size = body.len();
    let request = format!(
        "{HEAD}Transfer-Encoding: Chunked\r\n\r\n00{size:X};a=b\r\n{body}\r\n0\r\n\
         Content-Length: 5\r\nX: y\r\n\r\n"
    );
    client.send(request).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(one_image(&answer.body), SWAPPED);
    client.review(review("2", "nginx")).await;
}

#[tokio::test]
async fn expect_100_continue() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let body = review("1", "nginx");
    let head = format!(
        "{HEAD}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(&head).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(&body).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(!answer.closes());

    // What is refused is refused without asking for the body.
    client
        .send(head.replace("application/json", "text/plain"))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 415);
    assert!(answer.closes());
    client.closed().await;
}

#[tokio::test]
async fn content_length_and_transfer_encoding_together() {
    let server = Setup::default().start();
    let body = review("1", "nginx");
    let chunks = format!("{}0\r\n\r\n", chunk(&body));
    let whole = chunks.len() + HIDDEN.len();
    for headers in [
        format!("Content-Length: {whole}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {whole}\r\n"),
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n".to_owned(),
    ] {
        // Transfer-Encoding wins, and nothing more is read (RFC 9112, section 6.1).
        let answer = answered_once(&server, format!("{HEAD}{headers}\r\n{chunks}")).await;
        assert_eq!(answer.status, 200, "{headers}");
        assert_eq!(one_image(&answer.body), SWAPPED);
    }
}

#[tokio::test]
async fn heads_that_could_be_read_in_two_ways() {
    let server = Setup::default().start();
    let body = review("1", "nginx");
    let size = body.len();
    let chunks = format!("{}0\r\n\r\n", chunk(&body));
    for (headers, body) in [
        (
            format!("Content-Length: {size}\r\nContent-Length: 0\r\n"),
            &body,
        ),
        (format!("Content-Length: {size}, {size}\r\n"), &body),
        (format!("Content-Length: +{size}\r\n"), &body),
        (format!("Content-Length: -{size}\r\n"), &body),
        (format!("Content-Length: 0x{size:x}\r\n"), &body),
        (format!("Content-Length: {size} {size}\r\n"), &body),
        ("Content-Length: 99999999999999999999\r\n".to_owned(), &body),
        ("Content-Length:\r\n".to_owned(), &body),
        (format!("Content-Length : {size}\r\n"), &body),
        (format!("Content-Length: {size}\r\nA : b\r\n"), &body),
        (format!("Content-Length: {size}\r\nA: b\r\n c\r\n"), &body),
        (format!(" A: b\r\nContent-Length: {size}\r\n"), &body),
        (format!("Content-Length: {size}\r\nA: b\rc\r\n"), &body),
        ("Transfer-Encoding : chunked\r\n".to_owned(), &chunks),
        (
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            &chunks,
        ),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), &chunks),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
            &chunks,
        ),
        ("Transfer-Encoding:\r\n chunked\r\n".to_owned(), &chunks),
    ] {
        let answer = answered_once(&server, format!("{HEAD}{headers}\r\n{body}")).await;
        assert_eq!(answer.status, 400, "{headers:?}: {answer:?}");
    }
    server.serves().await;
}

#[tokio::test]
async fn transfer_encoding_in_http_1_0() {
    let server = Setup::default().start();
    let head = HEAD.replace("HTTP/1.1", "HTTP/1.0");
    let chunks = format!("{}0\r\n\r\n", chunk(&review("1", "nginx")));
    let request = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}");
    assert_eq!(answered_once(&server, request).await.status, 400);
}

#[tokio::test]
async fn the_same_length_twice_is_one_length() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let body = review("1", "nginx");
    let length = format!("Content-Length: {}\r\n", body.len());
    client
        .send(format!("{HEAD}{length}{length}\r\n{body}"))
        .await;
    assert_eq!(client.answer().await.status, 200);
    client.review(body).await;
}

#[tokio::test]
async fn bad_chunks() {
    let server = Setup::default().start();
    let body = review("1", "nginx");
    let size = body.len();
    for chunks in [
        format!("{size}q\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("0x{size:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("\r\n{body}\r\n0\r\n\r\n"),
        format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x}\n{body}\r\n0\r\n\r\n"),
        format!("{size:x}\r\n{body}\n0\r\n\r\n"),
        format!("{size:x}\r\n{body}{body}\r\n0\r\n\r\n"),
        format!("{size:x};a\n=b\r\n{body}\r\n0\r\n\r\n"),
        format!("{size:x} {size:x}\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let request = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = answered_once(&server, request).await;
        assert_eq!(answer.status, 400, "{chunks:?}");
        assert_eq!(answer.text(), "the body broke off\n");
    }
    server.serves().await;
}

/// A line of a head may end without a CR (RFC 9112, section 2.2): the same request for all.
#[tokio::test]
async fn a_bare_line_feed_ends_a_line() {
    let server = Setup::default().start();
    let mut client = server.connect().await;
    let body = review("1", "nginx");
    let head = format!("{HEAD}Content-Length: {}\r\n\r\n", body.len());
    client
        .send(format!("{}{body}", head.replace("\r\n", "\n")))
        .await;
    assert_eq!(client.answer().await.status, 200);
    client.review(body).await;
}

/// A body on a request that is refused for its head is no request of its own.
#[tokio::test]
async fn a_body_is_never_the_next_request() {
    let server = Setup::default().start();
    for head in [
        HEAD.replace("POST", "GET"),
        HEAD.replace("POST", "HEAD"),
        HEAD.replace("/mutate", "/"),
        HEAD.replace("POST", "CONNECT"),
        format!("{HEAD}Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Encoding: gzip\r\n"),
    ] {
        let mut client = server.connect().await;
        let length = format!("Content-Length: {}\r\n\r\n", HIDDEN.len());
        client.send(format!("{head}{length}{HIDDEN}")).await;
        let answer = if head.starts_with("HEAD") {
            client.answer_to_head().await
        } else {
            client.answer().await
        };
        assert!((400..=415).contains(&answer.status), "{answer:?}");
        client.closed().await;
    }
}
