//! What a client can hold of the server, and for how long; an honest client on a new connection is
//! answered meanwhile.

mod bodies;
mod places;

use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use crate::support::{
    Client, DEADLINE, Setup, TestServer, connect, handshake, raw_post, review, trusting, until,
};

/// How long the bound is that a test runs into: long enough for an honest client to be quicker.
const SHORT: Duration = Duration::from_secs(1);

/// How much later than its bound a connection may be closed where the machine is busy.
const SLACK: Duration = Duration::from_secs(10);

/// Asserts that what began at `start` ended after `bound` and not much later.
fn assert_after(bound: Duration, start: Instant) {
    let elapsed = start.elapsed();
    assert!(bound <= elapsed && elapsed < bound + SLACK, "{elapsed:?}");
}

fn short_first_head() -> TestServer {
    let mut setup = Setup::default();
    setup.timeouts.first_head = SHORT;
    setup.start()
}

fn short_next_head() -> TestServer {
    let mut setup = Setup::default();
    setup.timeouts.next_head = SHORT;
    setup.start()
}

fn timeouts(server: &TestServer) -> u64 {
    server.metric(r#"tls_handshake_failures_total{reason="timeout"}"#)
}

#[tokio::test]
async fn a_handshake_that_never_starts() {
    let server = short_first_head();
    let start = Instant::now();
    let mut client = server.connect_tcp().await;
    server.serves().await;
    client.closed().await;
    assert_after(SHORT, start);
    assert_eq!(timeouts(&server), 1);
    server.open_connections(0).await;
}

#[tokio::test]
async fn a_handshake_that_stops_half_way() {
    let server = short_first_head();
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let start = Instant::now();
        let mut client = server.connect_tcp().await;
        client.send(bytes).await;
        server.serves().await;
        client.closed().await;
        assert_after(SHORT, start);
    }
    assert_eq!(timeouts(&server), 2);
}

#[tokio::test]
async fn a_first_head_that_never_comes() {
    let server = short_first_head();
    let start = Instant::now();
    let mut client = server.connect().await;
    server.serves().await;
    client.closed().await;
    assert_after(SHORT, start);
}

/// Sends `bytes` again and again, until the connection is closed.
async fn dribble(client: &mut Client<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>) {
    let start = Instant::now();
    while client.try_send("x").await.is_ok() {
        assert!(start.elapsed() < DEADLINE, "still open");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_first_head_that_comes_slowly() {
    let server = short_first_head();
    let start = Instant::now();
    let mut client = server.connect().await;
    client.send("POST /mutate HTTP/1.1\r\nHost: ").await;
    server.serves().await;
    dribble(&mut client).await;
    assert_after(SHORT, start);
}

#[tokio::test]
async fn a_connection_that_had_its_first_head_in_time_lives_on() {
    let server = short_first_head();
    let start = Instant::now();
    let mut client = server.connect().await;
    client.send(&raw_post(review("1", "nginx"))[..200]).await;
    // A body is not bound by the time for the head, nor is the next head.
    server.serves().await;
    until("the first bound to pass", || {
        start.elapsed() > SHORT * 3 / 2
    })
    .await;
    client.send(&raw_post(review("1", "nginx"))[200..]).await;
    assert_eq!(client.answer().await.status, 200);
    until("more time to pass", || start.elapsed() > SHORT * 2).await;
    client.review(review("2", "nginx")).await;
}

#[tokio::test]
async fn an_idle_connection() {
    let server = short_next_head();
    let mut client = server.connect().await;
    client.review(review("1", "nginx")).await;
    let start = Instant::now();
    client.review(review("2", "nginx")).await;
    server.serves().await;
    client.closed().await;
    assert_after(SHORT, start);
}

#[tokio::test]
async fn a_next_head_that_comes_slowly() {
    let server = short_next_head();
    let mut client = server.connect().await;
    let start = Instant::now();
    client.review(review("1", "nginx")).await;
    client.send("POST /mutate HTTP/1.1\r\nHost: ").await;
    server.serves().await;
    dribble(&mut client).await;
    assert_after(SHORT, start);
}

#[tokio::test]
async fn a_client_that_pipelines_and_never_reads() {
    let mut setup = Setup::default();
    setup.timeouts.write = SHORT;
    let server = setup.start();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let start = Instant::now();
    let stream = socket.connect(server.addr).await.unwrap();
    let config = trusting(server.authority.roots());
    let mut client = handshake(stream, config).await.unwrap();
    let requests = raw_post(review("1", "nginx")).repeat(1000);
    let flood = tokio::spawn(async move {
        while client.try_send(&requests).await.is_ok() {}
        client
    });
    server.serves().await;
    crate::support::within("the end of the flood", flood)
        .await
        .unwrap();
    assert_after(SHORT, start);
    server.open_connections(0).await;
    server.serves().await;
}

/// As long as the client reads at all, however slowly, and in time, it gets everything.
#[tokio::test]
async fn a_client_that_pipelines_and_reads_is_served() {
    let mut setup = Setup::default();
    setup.timeouts.write = SHORT;
    let server = setup.start();
    let mut client = server.connect().await;
    let requests = raw_post(review("1", "nginx")).repeat(2000);
    let (mut read, mut write) = tokio::io::split(client.stream);
    let writing = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &requests)
            .await
            .unwrap();
        write
    });
    let mut received = Vec::new();
    while String::from_utf8_lossy(&received)
        .matches("HTTP/1.1 200")
        .count()
        < 2000
    {
        let reading = tokio::io::AsyncReadExt::read_buf(&mut read, &mut received);
        let read = crate::support::within("answers", reading).await.unwrap();
        assert!(read > 0);
    }
    client = Client::new(read.unsplit(writing.await.unwrap()));
    client.review(review("2", "nginx")).await;
}

#[tokio::test]
async fn an_answer_after_the_maximum_age_closes() {
    let age = Duration::from_millis(600);
    let mut setup = Setup::default();
    setup.limits.connection_age = age;
    let server = setup.start();
    let before = Instant::now();
    let mut client = server.connect().await;
    let opened = Instant::now();
    loop {
        let sent = Instant::now();
        let answer = client.review(review("1", "nginx")).await;
        if answer.closes() {
            assert!(before.elapsed() > age * 9 / 10);
            break;
        }
        assert!(sent - opened <= age);
        sleep(Duration::from_millis(10)).await;
    }
    client.closed().await;
    // A new connection is young.
    server.serves().await;
}

/// Without a request there is nothing to be answered, and so no reason to close.
#[tokio::test]
async fn an_idle_connection_is_not_closed_for_its_age() {
    let mut setup = Setup::default();
    setup.limits.connection_age = Duration::from_millis(1);
    let server = setup.start();
    let mut client = connect(server.addr, server.authority.roots()).await;
    let start = Instant::now();
    until("its age", || start.elapsed() > Duration::from_millis(300)).await;
    assert!(client.review(review("1", "nginx")).await.closes());
    client.closed().await;
}
