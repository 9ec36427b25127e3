//! The end of the service: who is still answered, who is closed, and how the program exits.

use std::net::SocketAddr;
use std::time::Duration;

use image_swapper::shutdown::Phase;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{
    Authority, Program, Setup, connect, get, handshake, port_refuses, raw_post, review, trusting,
};

/// The first part of a review and the rest, cut in the body.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let mut request = raw_post(review("1", "nginx"));
    let rest = request.split_off(request.len() - 100);
    (request, rest)
}

#[tokio::test]
async fn while_draining_every_answer_closes_and_new_connections_are_accepted() {
    let server = Setup::default().start();
    let mut kept = server.connect().await;
    assert!(!kept.review(review("1", "nginx")).await.closes());
    let (first, rest) = halves();
    let mut begun = server.connect().await;
    begun.send(first).await;
    server.serves().await;

    server.phase.send_replace(Phase::Draining);
    for _ in 0..3 {
        let mut new = server.connect().await;
        assert!(new.review(review("1", "nginx")).await.closes());
        new.closed().await;
    }
    begun.send(rest).await;
    let answer = begun.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
    begun.closed().await;
    // It was not closed while nobody asked, and is with its next answer, a refusal too.
    kept.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = kept.answer().await;
    assert_eq!(answer.status, 404);
    assert!(answer.closes());
    kept.closed().await;
    assert!(!server.running.is_finished());
}

#[tokio::test]
async fn when_stopping_the_idle_are_closed_and_the_others_answered() {
    let server = Setup::default().start();
    let mut idle = server.connect().await;
    idle.review(review("1", "nginx")).await;
    let mut new = server.connect().await;
    let newer = server.connect_tcp().await;
    let (first, rest) = halves();
    let mut in_body = server.connect().await;
    in_body.send(&first).await;
    let mut in_head = server.connect().await;
    in_head.send(&first[..20]).await;
    let mut in_next_head = server.connect().await;
    in_next_head.review(review("1", "nginx")).await;
    in_next_head.send(&first[..20]).await;
    // All of this has been read: whatever a new connection sends is read later.
    server.serves().await;
    server.open_connections(6).await;

    server.stop().await;
    idle.closed().await;
    assert!(!server.running.is_finished());

    new.send(raw_post(review("1", "nginx"))).await;
    in_body.send(&rest).await;
    for client in [&mut in_head, &mut in_next_head] {
        client.send(&first[20..]).await;
        client.send(&rest).await;
    }
    let trusting_server = trusting(server.authority.roots());
    let mut newer = handshake(newer.stream, trusting_server).await.unwrap();
    newer.send(raw_post(review("1", "nginx"))).await;
    for client in [
        &mut new,
        &mut newer,
        &mut in_body,
        &mut in_head,
        &mut in_next_head,
    ] {
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.closes());
        client.closed().await;
    }
    server.ended().await;
}

#[tokio::test]
async fn when_stopping_a_connection_that_says_nothing_has_its_bound() {
    let mut setup = Setup::default();
    setup.timeouts.first_head = Duration::from_millis(500);
    let server = setup.start();
    let mut silent = server.connect().await;
    server.stop().await;
    silent.closed().await;
    server.ended().await;
}

/// Those that the kernel has accepted for us when the server stops are connected as far as their
/// clients know.
#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_answered() {
    let server = Setup::default().start();
    server.serves().await;
    // Blocking, so that the server, in this same thread, does not run in between.
    let connect = |_| std::net::TcpStream::connect(server.addr).unwrap();
    let waiting: Vec<std::net::TcpStream> = (0..300).map(connect).collect();
    server.phase.send_replace(Phase::Stopping);
    for stream in waiting {
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let trusting_server = trusting(server.authority.roots());
        let mut client = handshake(stream, trusting_server).await.unwrap();
        assert!(client.review(review("1", "nginx")).await.closes());
    }
    server.ended().await;
}

async fn readyz(admin: SocketAddr) -> u16 {
    get(admin, "/readyz").await.0
}

#[tokio::test]
async fn the_program_drains_and_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let authority = Authority::new("server CA");
        let settings = [
            ("DRAIN_DELAY", "1500ms"),
            ("DRAIN_TIMEOUT", "60s"),
            ("BODY_TIMEOUT", "60s"),
        ];
        let (mut program, addr, admin) = Program::serve(&authority, &settings).await;
        assert_eq!(readyz(admin).await, 200);
        let mut idle = connect(addr, authority.roots()).await;
        idle.review(review("1", "nginx")).await;
        let mut asks_again = connect(addr, authority.roots()).await;
        asks_again.review(review("1", "nginx")).await;
        let mut new = connect(addr, authority.roots()).await;
        let (first, rest) = halves();
        let mut begun = connect(addr, authority.roots()).await;
        begun.send(first).await;

        let signalled = Instant::now();
        program.signal(signal);
        program.logs("draining").await;
        assert_eq!(readyz(admin).await, 503);
        let mut newest = connect(addr, authority.roots()).await;
        assert!(newest.review(review("1", "nginx")).await.closes());
        newest.closed().await;
        assert!(asks_again.review(review("1", "nginx")).await.closes());
        asks_again.closed().await;

        port_refuses(addr).await;
        assert!(signalled.elapsed() >= Duration::from_millis(1500));
        idle.closed().await;
        assert_eq!(readyz(admin).await, 503);
        assert!(!program.has_ended());
        begun.send(rest).await;
        assert_eq!(begun.answer().await.status, 200);
        new.review(review("1", "nginx")).await;
        assert_eq!(program.ended().await.code(), Some(0));
        program.logs("\"drained\"").await;
    }
}

#[tokio::test]
async fn a_second_signal_aborts() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let authority = Authority::new("server CA");
        let settings = [("DRAIN_DELAY", "60s"), ("DRAIN_TIMEOUT", "61s")];
        let (mut program, ..) = Program::serve(&authority, &settings).await;
        program.signal(first);
        program.logs("draining").await;
        program.signal(second);
        assert_eq!(program.ended().await.code(), Some(1));
        program.logs("aborted by a second signal, SIGTERM").await;
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_ends_with_the_timeout() {
    let authority = Authority::new("server CA");
    let settings = [
        ("DRAIN_DELAY", "0s"),
        ("DRAIN_TIMEOUT", "1s"),
        ("BODY_TIMEOUT", "60s"),
    ];
    let (mut program, addr, _) = Program::serve(&authority, &settings).await;
    let mut begun = connect(addr, authority.roots()).await;
    begun.send(halves().0).await;
    let mut other = connect(addr, authority.roots()).await;
    other.review(review("1", "nginx")).await;
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    other.closed().await;
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(signalled.elapsed() >= Duration::from_secs(1));
    program
        .logs("connections were still open after DRAIN_TIMEOUT")
        .await;
    begun.closed().await;
}

#[tokio::test]
async fn nothing_open_and_no_delay_ends_at_once() {
    let authority = Authority::new("server CA");
    let settings = [("DRAIN_DELAY", "0s")];
    let (mut program, ..) = Program::serve(&authority, &settings).await;
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(20));
    program.logs("\"drained\"").await;
    // The log is on standard error.
    assert_eq!(program.stdout(), "");
}
