//! Bodies that do not come, come slowly, or find no room among all others.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::{DEADLINE, SHORT, assert_after};
use crate::support::{Client, Setup, TestServer, raw_post, review, review_of_size};

fn short_body() -> TestServer {
    let mut setup = Setup::default();
    setup.limits.body_timeout = SHORT;
    setup.start()
}

fn refused(server: &TestServer, reason: &str) -> u64 {
    server.metric(&format!("requests_refused_total{{reason=\"{reason}\"}}"))
}

/// Asserts that the answer is that the body did not come in time, and that the connection ends.
async fn timed_out(client: &mut Client<TlsStream<TcpStream>>) {
    let answer = client.answer().await;
    assert_eq!(answer.status, 408);
    assert_eq!(answer.text(), "the body did not arrive in time\n");
    assert!(answer.closes());
    client.closed().await;
}

#[tokio::test]
async fn a_body_that_is_announced_and_never_comes() {
    let server = short_body();
    let mut client = server.connect().await;
    let start = Instant::now();
    let request = raw_post(review("1", "nginx"));
    client
        .send(&request[..request.len() - review("1", "nginx").len()])
        .await;
    server.serves().await;
    timed_out(&mut client).await;
    assert_after(SHORT, start);
    assert_eq!(refused(&server, "body_timeout"), 1);
}

#[tokio::test]
async fn a_body_that_comes_slowly() {
    let server = short_body();
    let mut client = server.connect().await;
    let start = Instant::now();
    client
        .send("POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        .await;
    client.send("Transfer-Encoding: chunked\r\n\r\n").await;
    server.serves().await;
    while refused(&server, "body_timeout") == 0 {
        assert!(start.elapsed() < DEADLINE);
        let _ = client.try_send("1\r\n \r\n").await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_after(SHORT, start);
    let answer = client.answer().await;
    assert_eq!(answer.status, 408);
    assert!(answer.closes());
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_breaks_off() {
    let server = Setup::default().start();
    let request = raw_post(review("1", "nginx"));
    for (count, end) in [request.len() - 1, request.len() - 100]
        .into_iter()
        .enumerate()
    {
        let mut client = server.connect().await;
        client.send(&request[..end]).await;
        server.serves().await;
        drop(client);
        let count = count as u64 + 1;
        crate::support::until("a body that broke off", || {
            refused(&server, "body_incomplete") == count
        })
        .await;
    }
    server.open_connections(0).await;
}

/// A server in which one large body of at most 256 KiB leaves room for half of another.
fn with_little_room() -> TestServer {
    let mut setup = Setup::default();
    setup.limits.body_bytes = 256 << 10;
    setup.limits.buffered_bytes = 512 << 10;
    setup.limits.body_timeout = SHORT;
    setup.start()
}

/// A connection that has sent `part` of a review of 256 KiB, and what is left to be sent.
async fn part_of_a_large(
    server: &TestServer,
    part: usize,
) -> (Client<TlsStream<TcpStream>>, Vec<u8>) {
    let mut client = server.connect().await;
    let mut request = raw_post(review_of_size("1", "nginx", 256 << 10));
    let rest = request.split_off(part << 10);
    client.send(request).await;
    (client, rest)
}

#[tokio::test]
async fn a_body_that_finds_no_room() {
    let server = with_little_room();
    let start = Instant::now();
    // 128 KiB of the 384 for large ones, then nearly 256 for another.
    let (mut early, rest) = part_of_a_large(&server, 100).await;
    server.serves().await;
    let (mut late, _) = part_of_a_large(&server, 255).await;
    server.serves().await;
    early.send(rest).await;

    // The large ones hold all they may; ordinary reviews and those of up to 64 KiB have their own.
    server.serves().await;
    let mut small = server.connect().await;
    small.review(review_of_size("1", "nginx", 64 << 10)).await;

    let answer = early.answer().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.text(), "too many bodies at once, try again\n");
    assert!(answer.closes());
    assert_after(SHORT, start);
    early.closed().await;
    assert_eq!(refused(&server, "no_room"), 1);

    timed_out(&mut late).await;
    // What they held is free again.
    let mut large = server.connect().await;
    large.review(review_of_size("1", "nginx", 256 << 10)).await;
}

#[tokio::test]
async fn a_body_waits_for_room_and_gets_it() {
    let server = with_little_room();
    let (mut first, rest) = part_of_a_large(&server, 255).await;
    server.serves().await;
    let (mut second, second_rest) = part_of_a_large(&server, 200).await;
    server.serves().await;
    first.send(rest).await;
    assert_eq!(first.answer().await.status, 200);
    second.send(second_rest).await;
    assert_eq!(second.answer().await.status, 200);
}

/// What a client announces takes nothing from the others.
#[tokio::test]
async fn announced_bodies_take_no_room() {
    let server = with_little_room();
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(part_of_a_large(&server, 1).await);
    }
    let mut large = server.connect().await;
    large.review(review_of_size("1", "nginx", 256 << 10)).await;
}

/// A chunked body announces nothing, so that it could be large; the room for small ones is not its.
#[tokio::test]
async fn chunked_bodies_do_not_take_the_room_of_small_ones() {
    let server = with_little_room();
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let head = "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = server.connect().await;
        client.send(head).await;
        for _ in 0..6 {
            client.send(&chunk).await;
        }
        clients.push(client);
    }
    server.serves().await;
    let mut small = server.connect().await;
    small.review(review_of_size("1", "nginx", 64 << 10)).await;
    // Whether one found no room in its time or just did not end depends on their order.
    for client in &mut clients {
        let status = client.answer().await.status;
        assert!(matches!(status, 408 | 503), "{status}");
    }
}
