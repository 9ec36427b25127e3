//! The places for connections, and what happens when they, or the open files, run out.

use tokio::net::TcpStream;

use crate::support::{Authority, Client, Program, Setup, get, post, review, service_env, within};

#[tokio::test]
async fn the_connection_that_waits_longest_makes_place() {
    let mut setup = Setup::default();
    setup.limits.connections = 4;
    let server = setup.start();
    // In the order in which they begin to wait: one that says nothing, one that has sent a part of
    // a request, one that was answered, although it is the oldest, and one that is new.
    let mut answered = server.connect().await;
    let mut silent = server.connect_tcp().await;
    server.open_connections(2).await;
    let mut half = server.connect().await;
    half.send("POST /mutate HTTP/1.1\r\n").await;
    answered.review(review("1", "nginx")).await;
    let mut new = server.connect().await;
    server.open_connections(4).await;

    let mut others = Vec::new();
    for place in 0..4 {
        let mut client = server.connect().await;
        client.review(review("1", "nginx")).await;
        others.push(client);
        match place {
            0 => silent.closed().await,
            1 => half.closed().await,
            2 => answered.closed().await,
            _ => new.closed().await,
        }
        assert_eq!(server.metric("connections_evicted_total"), place + 1);
    }
    // Nobody who got such a place has lost it.
    for client in &mut others {
        client.review(review("2", "nginx")).await;
    }
    assert_eq!(server.metric("connections_refused_total"), 0);
    assert_eq!(server.metric("connections"), 4);
}

#[tokio::test]
async fn idle_clients_do_not_lock_others_out() {
    let mut setup = Setup::default();
    setup.limits.connections = 16;
    let server = setup.start();
    let mut idle = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            idle.push(server.connect_tcp().await);
        }
        server.serves().await;
    }
    assert!(server.metric("connections") <= 16);
}

#[tokio::test]
async fn open_files_that_run_out() {
    let authority = Authority::new("server CA");
    let (_directory, env) = service_env(&authority);
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut program = Program::start_with_files(64, &env);
    let (addr, admin) = program.serving().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        let connecting = TcpStream::connect(addr);
        idle.push(Client::new(
            within("a connection", connecting).await.unwrap(),
        ));
    }
    for _ in 0..3 {
        post(addr, authority.roots(), review("1", "nginx")).await;
        idle.push(Client::new(TcpStream::connect(addr).await.unwrap()));
    }
    assert_eq!(get(admin, "/livez").await.0, 200);
    assert!(
        program
            .stderr()
            .contains("at most 32 connections, not MAX_CONNECTIONS")
    );
    assert!(!program.has_ended());
}
