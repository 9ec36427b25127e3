//! What goes wrong around the program, besides its certificates, its clock, its log and its clients.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::support::{
    Authority, Program, connect, get, images, post, raw_post, review, review_of_size, until,
};

#[tokio::test]
async fn a_process_that_was_stopped_answers_what_came_meanwhile() {
    let authority = Authority::new("a CA");
    let (program, addr, admin) = Program::serve(&authority, &[]).await;
    let mut kept = connect(addr, authority.roots()).await;

    program.signal(Signal::STOP);
    until("the program is stopped", || program.state() == 'T').await;
    kept.send(raw_post(review("1", "nginx"))).await;
    let new = tokio::spawn(post(addr, authority.roots(), review("2", "nginx")));
    program.signal(Signal::CONT);

    assert_eq!(images(&kept.answer().await.body).len(), 1);
    assert_eq!(images(&new.await.unwrap()).len(), 1);
    assert_eq!(get(admin, "/readyz").await.0, 200);
}

/// Begins to send reviews of 8 MiB, 64 MiB in all, to a program whose memory may grow by 48 MiB.
async fn large_reviews(
    buffered: &str,
    timeout: &str,
) -> (Program, Authority, [SocketAddr; 2], JoinSet<()>) {
    let authority = Authority::new("a CA");
    let settings = [("MAX_BUFFERED_BYTES", buffered), ("BODY_TIMEOUT", timeout)];
    let (program, addr, admin) = Program::serve(&authority, &settings).await;
    post(addr, authority.roots(), review("1", "nginx")).await;
    program.limit_memory(48 << 10);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let roots = authority.roots();
        clients.spawn(async move {
            let mut client = connect(addr, roots).await;
            let request = raw_post(review_of_size("1", "nginx", 8 << 20));
            // All but the end: whoever is received to there is kept.
            let sent = client.try_send(&request[..request.len() - 1]).await;
            if sent.is_ok() {
                client.answer().await;
            }
        });
    }
    (program, authority, [addr, admin], clients)
}

#[tokio::test]
async fn where_memory_runs_out_the_program_says_so_and_ends() {
    let (mut program, _, _, _clients) = large_reviews("1Gi", "60s").await;
    let status = program.ended().await;
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    program.logs("memory allocation of").await;
}

#[tokio::test]
async fn max_buffered_bytes_keeps_it_within_its_memory() {
    let (mut program, authority, [addr, admin], mut clients) = large_reviews("16Mi", "2s").await;
    while let Some(client) = clients.join_next().await {
        client.unwrap();
        let answer = post(addr, authority.roots(), review("2", "nginx")).await;
        assert_eq!(images(&answer).len(), 1);
    }
    assert!(!program.has_ended());
    let (_, metrics) = get(admin, "/metrics").await;
    let no_room = r#"image_swapper_requests_refused_total{reason="no_room"} "#;
    let refused = metrics.lines().find_map(|line| line.strip_prefix(no_room));
    assert_ne!(refused, Some("0"), "there was room for all");
}
