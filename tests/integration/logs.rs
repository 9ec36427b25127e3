//! What the program logs: a line for each review, and not a line for each mistake of a client.

use serde_json::Value;

use crate::support::{Authority, Program, connect, post, recorded, review};

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
