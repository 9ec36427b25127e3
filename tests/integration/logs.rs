//! What the program logs: a line for each review, and not a line for each mistake of a client.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    Authority, Program, command, connect, get, images, patch, post, raw_post, recorded, review,
    service_env, until,
};

/// The lines of a log with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let starts = |line: &Value| line["message"].as_str().unwrap().starts_with(message);
    lines.filter(starts).collect()
}

#[tokio::test]
async fn a_review_is_one_line_at_debug() {
    let authority = Authority::new("a CA");
    let (program, addr, _) = Program::serve(&authority, &[("LOG", "debug")]).await;
    let web = String::from_utf8(recorded("create-web.json")).unwrap();
    post(addr, authority.roots(), web).await;
    program.logs("\"review\"").await;
    let reviews = lines(&program.stderr(), "review");
    assert_eq!(reviews.len(), 1);
    let line = &reviews[0];
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["uid"], "92fff189-776c-4116-9677-d428267c6309");
    assert_eq!(line["namespace"], "default");
    assert_eq!(line["name"], "web");
    assert_eq!(line["operation"], "CREATE");
    assert_eq!(line["swapped"], 2);
    assert_eq!(line["skipped"], 3);
    let summary = line["summary"].as_str().unwrap();
    assert!(
        summary.contains(" becomes registry.example.com/"),
        "{summary}"
    );
    assert!(summary.ends_with(", and 1 more"), "{summary}");
}

#[tokio::test]
async fn what_would_be_swapped_is_one_line_now_and_then() {
    let authority = Authority::new("a CA");
    let (program, addr, _) = Program::serve(&authority, &[("MODE", "observe")]).await;
    let started = lines(&program.stderr(), "serving");
    assert_eq!(started[0]["mode"], "observe", "{started:?}");

    // Nothing is said of what would not be.
    let images = ["quay.io/a/b", "nginx", "nginx:2", "nginx:3"];
    for (uid, image) in ["1", "2", "3", "4"].into_iter().zip(images) {
        let answer = post(addr, authority.roots(), review(uid, image)).await;
        assert_eq!(patch(&answer), [] as [Value; 0]);
    }
    program.logs("would become").await;
    let observed = lines(&program.stderr(), "k8s-proxy-image-swapper: ");
    assert_eq!(observed.len(), 1, "{observed:?}");
    assert_eq!(observed[0]["level"], "INFO");
    assert_eq!(
        observed[0]["message"],
        "k8s-proxy-image-swapper: nginx would become registry.example.com/library/nginx:latest"
    );
    assert_eq!(observed[0]["uid"], "2");
}

#[tokio::test]
async fn mistakes_of_clients_are_one_line_now_and_then() {
    let authority = Authority::new("a CA");
    let (program, addr, _) = Program::serve(&authority, &[]).await;
    for _ in 0..20 {
        let mut client = connect(addr, authority.roots()).await;
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(client.answer().await.status, 404);
    }
    let refusals = lines(&program.stderr(), "request refused");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0]["level"], "WARN");
    assert_eq!(refusals[0]["reason"], "path");

    // What a Pod causes is told apart from what a client causes.
    let odd = review("1", "nginx").replace("\"nginx\"", "{}");
    post(addr, authority.roots(), odd).await;
    program.logs("the Pod is left alone").await;
}

/// The value of a metric without labels.
async fn counted(admin: SocketAddr, name: &str) -> u64 {
    let (_, metrics) = get(admin, "/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_review() {
    let authority = Authority::new("a CA");
    let (_directory, env) = service_env(&authority);
    let env = env.iter().map(|(name, value)| (*name, &**value));
    let env: Vec<_> = env.chain([("LOG", "debug")]).collect();
    let mut command = command(&["serve"], &env);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // One line is read, and then none: a pipe holds 64 KiB.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut serving = String::new();
    stderr.read_line(&mut serving).unwrap();
    let serving: Value = serde_json::from_str(&serving).unwrap();
    let addr = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
    let (addr, admin) = (addr("listen_addr"), addr("admin_addr"));

    let dropped = "image_swapper_log_lines_dropped_total";
    let mut client = connect(addr, authority.roots()).await;
    let mut reviews = 0;
    while reviews < 100 || counted(admin, dropped).await == 0 {
        for _ in 0..100 {
            client.send(raw_post(review("1", "nginx"))).await;
            assert_eq!(client.answer().await.status, 200);
            reviews += 1;
        }
        assert!(reviews < 100_000, "no line was dropped");
    }

    // It ends although nobody reads its last lines.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    drop(client);
    let mut status = None;
    until("the end of the program", || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
    // What was kept is whole lines.
    let kept = stderr.lines().map_while(Result::ok).collect::<Vec<_>>();
    let (_, whole) = kept.split_last().unwrap();
    assert!(
        whole
            .iter()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[tokio::test]
async fn a_log_on_a_full_disk_or_closed_holds_up_no_review() {
    let authority = Authority::new("a CA");
    for redirection in ["2>/dev/full", "2>&-", ">&- 2>&-", "<&- >/dev/full 2>&1"] {
        let (_directory, env) = service_env(&authority);
        // The line that says where it serves is lost.
        let [addr, admin] = [free_port(), free_port()];
        let own = [
            ("LISTEN_ADDR", addr.to_string()),
            ("ADMIN_ADDR", admin.to_string()),
        ];
        let program = env!("CARGO_BIN_EXE_k8s-proxy-image-swapper");
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("exec {program:?} serve {redirection}")])
            .env_clear()
            .envs(env)
            .envs(own)
            .spawn()
            .unwrap();
        let ready = || TcpStream::connect(addr).is_ok();
        until("the program serves", ready).await;
        let answer = post(addr, authority.roots(), review("1", "nginx")).await;
        assert_eq!(images(&answer).len(), 1, "{redirection}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// An address that nobody listens on now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
