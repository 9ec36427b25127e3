//! What is counted: every series from the first scrape, each moved by its event and by no other,
//! and what a real Prometheus server makes of it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use image_swapper::rules::Reason;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::{
    Authority, Client, DEADLINE, NEEDED, Program, Prometheus, Series, assert_snapshot, connect,
    get, images, raw_post, test_file, within,
};

/// With these rules an image can be skipped for every reason.
pub(crate) const SETTINGS: [(&str, &str); 2] = [
    (
        "REWRITES",
        "docker.io={proxy}, docker.io/library/nginx={proxy}, *={proxy}/{registry}",
    ),
    ("IGNORE_IMAGES", "registry"),
];

/// With this it changes no Pod.
pub(crate) const OBSERVING: [(&str, &str); 1] = [("MODE", "observe")];

/// A scrape: the value of every series that is ours, by its name and labels.
type Scrape = BTreeMap<String, f64>;

/// The program, and a client that is connected to it.
struct Service {
    addr: SocketAddr,
    admin: SocketAddr,
    authority: Authority,
    client: Client<tokio_rustls::client::TlsStream<TcpStream>>,
    program: Program,
}

impl Service {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts it with more settings.
    async fn start_with(settings: &[(&str, &str)]) -> Self {
        let authority = Authority::new("a CA");
        let settings = [&SETTINGS, settings].concat();
        let (program, addr, admin) = Program::serve(&authority, &settings).await;
        Self {
            client: connect(addr, authority.roots()).await,
            addr,
            admin,
            authority,
            program,
        }
    }

    async fn scrape(&self) -> Scrape {
        read(&text(self.admin).await)
    }

    /// Sends a review, and returns what it counted: every series that is now larger, without
    /// prefix, and by how much. Durations, of which there must be one, are not listed.
    async fn counted(&mut self, review: &Value) -> Vec<(String, f64)> {
        let before = self.scrape().await;
        self.client.review(review.to_string()).await;
        let mut counted = moved(&before, &self.scrape().await);
        let durations = "review_duration_seconds_count".to_owned();
        assert!(counted.contains(&(durations, 1.0)), "{counted:?}");
        counted.retain(|(series, _)| !series.starts_with("review_duration_seconds"));
        counted
    }

    /// Sends a request that must be refused, on a connection of its own, and returns what it
    /// counted.
    async fn refused(&self, request: &str) -> Vec<(String, f64)> {
        let before = self.scrape().await;
        let mut client = connect(self.addr, self.authority.roots()).await;
        client.send(request).await;
        let answer = client.answer().await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        moved(&before, &self.scrape().await)
    }
}

async fn text(admin: SocketAddr) -> String {
    let (status, text) = get(admin, "/metrics").await;
    assert_eq!(status, 200);
    text
}

fn read(scrape: &str) -> Scrape {
    let lines = scrape.lines().filter(|line| !line.is_empty());
    let series = lines.filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
    let entry = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    series.map(entry).collect()
}

/// Every series but the number of connections that has another value, and by how much.
fn moved(before: &Scrape, after: &Scrape) -> Vec<(String, f64)> {
    assert!(before.keys().eq(after.keys()));
    let difference = before.iter().zip(after.values());
    let difference = difference.map(|((series, before), after)| (series, after - before));
    difference
        .filter(|(series, by)| by.abs() > 0.0 && *series != "image_swapper_connections")
        .map(|(series, by)| (series.trim_start_matches("image_swapper_").to_owned(), by))
        .collect()
}

/// The review of a Pod with these images.
pub(crate) fn creates(images: &[&str]) -> Value {
    let container = |(index, image)| json!({"name": format!("c{index}"), "image": image});
    let containers: Vec<Value> = images.iter().enumerate().map(container).collect();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {"metadata": {"name": "web"}, "spec": {"containers": containers}},
        },
    })
}

fn reviews(operation: &str, result: &str, dry_run: bool) -> (String, f64) {
    let labels = format!(r#"operation="{operation}",result="{result}",dry_run="{dry_run}""#);
    (format!("reviews_total{{{labels}}}"), 1.0)
}

fn one(family: &str, label: &str, value: &str) -> (String, f64) {
    (format!("{family}{{{label}=\"{value}\"}}"), 1.0)
}

#[tokio::test]
async fn every_series_is_there_from_the_first_scrape_and_zero() {
    let authority = Authority::new("a CA");
    let (_program, _, admin) = Program::serve(&authority, &SETTINGS).await;
    let scrape = read(&text(admin).await);
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let mut series = String::new();
    for (name, value) in &scrape {
        match name.split('{').next().unwrap() {
            "image_swapper_build_info" => assert!((value - 1.0).abs() < f64::EPSILON),
            "image_swapper_tls_certificate_not_after_timestamp_seconds" => {
                // The year 4096.
                assert!((6.7e10..6.71e10).contains(value), "{value}");
            }
            _ => assert!(value.abs() < f64::EPSILON, "{name} {value}"),
        }
        series += &name.replace(&version, "version=\"VERSION\"");
        series.push('\n');
    }
    assert_snapshot(&test_file("metrics.txt"), &series);
}

#[tokio::test]
async fn swapped_images_count_for_their_rule() {
    let mut service = Service::start().await;
    let review = creates(&["busybox", "redis", "quay.io/a/b"]);
    let expected = [
        ("images_swapped_total{rule=\"*\"}".to_owned(), 1.0),
        ("images_swapped_total{rule=\"docker.io\"}".to_owned(), 2.0),
        reviews("create", "patched", false),
    ];
    assert_eq!(service.counted(&review).await, expected);
}

#[tokio::test]
async fn what_is_observed_is_not_counted_as_swapped() {
    let mut service = Service::start_with(&OBSERVING).await;
    let info = format!(
        r#"image_swapper_build_info{{version="{}",mode="observe"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    assert!(service.scrape().await.contains_key(&info));
    let mut review = creates(&["busybox", "redis", "localhost/a"]);
    let expected = [
        one("images_skipped_total", "reason", "local_registry"),
        ("images_skipped_total{reason=\"observed\"}".to_owned(), 2.0),
        reviews("create", "unchanged", false),
    ];
    assert_eq!(service.counted(&review).await, expected);
    review["request"]["dryRun"] = json!(true);
    let expected = [reviews("create", "unchanged", true)];
    assert_eq!(service.counted(&review).await, expected);
}

/// The review of a Pod whose only image is skipped for this reason; for the last, only by a program
/// that observes.
pub(crate) fn skips(reason: Reason) -> Value {
    let image = match reason {
        Reason::InvalidReference => "not an image",
        Reason::AlreadyProxied => "registry.example.com/a",
        Reason::Ignored => "registry:2",
        Reason::NoRule => "a_b.io/a",
        Reason::LocalRegistry => "localhost:5000/a",
        Reason::InvalidTarget => "nginx",
        Reason::NeverPulled
        | Reason::Unchanged
        | Reason::MirrorPod
        | Reason::OptedOut
        | Reason::Observed => "busybox",
    };
    let mut review = creates(&[image]);
    let request = &mut review["request"];
    match reason {
        Reason::NeverPulled => {
            request["object"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
        }
        Reason::Unchanged => {
            request["operation"] = json!("UPDATE");
            request["oldObject"] = request["object"].clone();
        }
        Reason::MirrorPod => {
            let annotations = json!({"kubernetes.io/config.mirror": "1"});
            request["object"]["metadata"]["annotations"] = annotations;
        }
        Reason::OptedOut => {
            let labels = json!({"k8s-proxy-image-swapper": "skip"});
            request["object"]["metadata"]["labels"] = labels;
        }
        _ => {}
    }
    review
}

#[tokio::test]
async fn skipped_images_count_for_their_reason() {
    let mut service = Service::start().await;
    let mut observer = Service::start_with(&OBSERVING).await;
    for reason in Reason::ALL {
        let service = match reason {
            Reason::Observed => &mut observer,
            _ => &mut service,
        };
        let review = skips(reason);
        let operation = match review["request"]["operation"].as_str() {
            Some("UPDATE") => "update",
            _ => "create",
        };
        let expected = [
            one("images_skipped_total", "reason", reason.as_str()),
            reviews(operation, "unchanged", false),
        ];
        assert_eq!(service.counted(&review).await, expected);
    }
}

#[tokio::test]
async fn reviews_count_by_operation_result_and_dry_run() {
    let mut service = Service::start().await;
    for dry_run in [false, true] {
        for operation in ["CREATE", "UPDATE", "DELETE"] {
            let name = match operation {
                "CREATE" => "create",
                "UPDATE" => "update",
                _ => "other",
            };
            for (image, result) in [("busybox", "patched"), ("localhost/a", "unchanged")] {
                let mut review = creates(&[image]);
                let request = &mut review["request"];
                request["operation"] = json!(operation);
                request["dryRun"] = json!(dry_run);
                let result = if name == "other" { "unchanged" } else { result };
                let mut counted = service.counted(&review).await;
                // Images of dry runs are not.
                let images = usize::from(!dry_run && name != "other");
                assert_eq!(counted.len(), 1 + images, "{counted:?}");
                assert_eq!(counted.pop(), Some(reviews(name, result, dry_run)));
            }
            let mut review = creates(&[]);
            review["request"]["operation"] = json!(operation);
            review["request"]["dryRun"] = json!(dry_run);
            review["request"]["object"] = json!({"spec": "none"});
            let result = if name == "other" {
                "unchanged"
            } else {
                "unreadable"
            };
            let expected = [reviews(name, result, dry_run)];
            assert_eq!(service.counted(&review).await, expected);
        }
    }
}

#[tokio::test]
async fn annotations_without_room_count() {
    let mut service = Service::start().await;
    let mut review = creates(&["busybox", "redis"]);
    let annotations = json!({"large": "x".repeat(262_144 - "large".len())});
    review["request"]["object"]["metadata"]["annotations"] = annotations;
    let expected = [
        ("annotations_omitted_total".to_owned(), 2.0),
        ("images_swapped_total{rule=\"docker.io\"}".to_owned(), 2.0),
        reviews("create", "patched", false),
    ];
    assert_eq!(service.counted(&review).await, expected);
}

#[tokio::test]
async fn refused_requests_count_for_their_reason() {
    let service = Service::start().await;
    let json = "Content-Type: application/json\r\n";
    let post = format!("POST /mutate HTTP/1.1\r\nHost: localhost\r\n{json}");
    let requests = [
        (
            "host",
            format!(
                "POST /mutate HTTP/1.1\r\nHost: a\r\nHost: b\r\n{json}Content-Length: 0\r\n\r\n"
            ),
        ),
        (
            "path",
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "method",
            "GET /mutate HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "media_type",
            "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(),
        ),
        (
            "content_encoding",
            format!("{post}Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            "too_large",
            format!("{post}Content-Length: 8388609\r\n\r\n"),
        ),
        (
            "not_a_review",
            format!("{post}Content-Length: 2\r\n\r\n{{}}"),
        ),
        (
            "body_incomplete",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nnot a size\r\n"),
        ),
    ];
    for (reason, request) in requests {
        let expected = [one("requests_refused_total", "reason", reason)];
        assert_eq!(service.refused(&request).await, expected, "{request}");
    }
}

#[tokio::test]
async fn failed_handshakes_count_for_their_reason() {
    let service = Service::start().await;
    let before = service.scrape().await;
    let mut client = Client::new(TcpStream::connect(service.addr).await.unwrap());
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    let expected = [one("tls_handshake_failures_total", "reason", "not_tls")];
    let counting = async {
        while moved(&before, &service.scrape().await).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within("a failed handshake", counting).await;
    assert_eq!(moved(&before, &service.scrape().await), expected);
}

/// Nothing of a review, such as the name of an image or a namespace, becomes a series.
#[tokio::test]
async fn a_scrape_does_not_grow_with_traffic() {
    let mut service = Service::start().await;
    let before = text(service.admin).await;
    for index in 0..1000 {
        let image = format!("r{index}.example.org/i{index}:v{index}");
        let mut review = creates(&[&image]);
        let request = &mut review["request"];
        request["uid"] = json!(format!("uid-{index}"));
        request["namespace"] = json!(format!("namespace-{index}"));
        request["object"]["metadata"]["name"] = json!(format!("pod-{index}"));
        let answer = service.client.review(review.to_string()).await;
        assert_eq!(images(&answer.body).len(), 1);
    }
    let after = text(service.admin).await;
    assert_eq!(after.lines().count(), before.lines().count());
    assert!(after.contains("image_swapper_images_swapped_total{rule=\"*\"} 1000\n"));
}

/// A command of Prometheus' own, which must be there.
fn spawned(command: &mut Command) -> std::process::Child {
    command.spawn().unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        panic!("{NEEDED}")
    })
}

#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    let mut service = Service::start().await;
    service.counted(&creates(&["busybox", "localhost/a"])).await;
    let scrape = text(service.admin).await;
    let mut promtool = spawned(
        Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut stdin = promtool.stdin.take().unwrap();
    let writing = thread::spawn(move || std::io::Write::write_all(&mut stdin, scrape.as_bytes()));
    let output = promtool.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let said = [&*output.stdout, &*output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success(), "{}", output.status);
}

/// Asks Prometheus, and returns the value of each series in the answer by the value of `label`.
async fn query(prometheus: &Prometheus, query: &str, label: &str) -> BTreeMap<String, f64> {
    let found = prometheus.query(query).await.into_iter();
    let by_label = |mut series: Series| {
        (
            series.labels.remove(label).unwrap_or_default(),
            series.value,
        )
    };
    found.map(by_label).collect()
}

#[tokio::test]
async fn a_real_prometheus_scrapes_and_answers_queries() {
    let mut service = Service::start().await;
    let images = [
        "busybox",
        "redis",
        "quay.io/a/b",
        "localhost/a",
        "registry",
        "nginx",
    ];
    for _ in 0..7 {
        service
            .client
            .send(raw_post(creates(&images).to_string()))
            .await;
        assert_eq!(service.client.answer().await.status, 200);
    }
    let prometheus = Prometheus::scraping(&[("image-swapper", service.admin)]).await;

    let expected = [
        ("*", 7.0),
        ("docker.io", 14.0),
        ("docker.io/library/nginx", 0.0),
    ];
    let owned = |pairs: &[(&str, f64)]| -> BTreeMap<String, f64> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect()
    };
    let deadline = Instant::now() + DEADLINE;
    loop {
        let swapped = query(&prometheus, "image_swapper_images_swapped_total", "rule").await;
        if swapped == owned(&expected) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{swapped:?}\n{}",
            prometheus.log()
        );
        sleep(Duration::from_millis(50)).await;
    }
    let skipped = "sum by (reason) (image_swapper_images_skipped_total) > 0";
    let expected = [
        ("ignored", 7.0),
        ("invalid_target", 7.0),
        ("local_registry", 7.0),
    ];
    assert_eq!(
        query(&prometheus, skipped, "reason").await,
        owned(&expected)
    );
    let up = query(&prometheus, "up", "job").await;
    assert_eq!(up, owned(&[("image-swapper", 1.0)]));
    let last = "image_swapper_review_duration_seconds_count";
    assert_eq!(
        query(&prometheus, last, "job").await,
        owned(&[("image-swapper", 7.0)])
    );
    assert!(!service.program.has_ended());
}
