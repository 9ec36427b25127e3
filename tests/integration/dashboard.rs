//! The Grafana dashboard: every panel's query returns what it should, in a real Prometheus that
//! scraped a run in which everything happens that a panel shows.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, path::Path};

use image_swapper::rules::Reason;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use crate::metrics::{OBSERVING, SETTINGS, creates, skips};
use crate::reload::Service;
use crate::support::{
    Authority, Client, DEADLINE, Program, Prometheus, Series, connect, connect_with, post,
    test_file, trusting,
};

/// What stays at zero in the run: only as many requests at once as there are places would refuse a
/// connection, the log is read, and CPU time is counted in whole seconds.
const QUIET: [&str; 3] = [
    "image_swapper_connections_refused_total",
    "image_swapper_log_lines_dropped_total",
    "process_cpu_seconds_total",
];

/// A query of a panel.
#[derive(Debug)]
struct Query {
    panel: String,
    expr: String,
    legend: String,
}

fn dashboard() -> Value {
    let file = "chart/dashboards/k8s-proxy-image-swapper.json";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row")
}

/// Every query, with a value in place of each variable.
fn queries(dashboard: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let mut expr = target["expr"].as_str().unwrap().to_owned();
            for (variable, value) in [
                ("$__rate_interval", "1m"),
                ("$__range", "1h"),
                ("$job", ".*"),
                ("$instance", ".*"),
            ] {
                expr = expr.replace(variable, value);
            }
            assert!(!expr.contains('$'), "{expr}");
            queries.push(Query {
                panel: panel["title"].as_str().unwrap().to_owned(),
                expr,
                legend: target["legendFormat"].as_str().unwrap().to_owned(),
            });
        }
    }
    assert!(queries.len() > 20, "{queries:?}");
    queries
}

/// The metrics of a kube-apiserver, as one answered them after it had called the webhook, failed
/// to, and refused its answer.
struct ApiServer {
    addr: SocketAddr,
    /// All values are multiplied by it.
    factor: Arc<AtomicU32>,
}

impl ApiServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let factor = Arc::new(AtomicU32::new(1));
        let now = Arc::clone(&factor);
        let recorded = fs::read_to_string(test_file("apiserver-metrics.txt")).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let scrape = multiplied(&recorded, now.load(Ordering::Relaxed));
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\
                     Content-Length: {}\r\n\r\n{scrape}",
                    scrape.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { addr, factor }
    }
}

fn multiplied(scrape: &str, factor: u32) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((series, value)) if !line.starts_with('#') => {
            let value = value.parse::<f64>().unwrap() * f64::from(factor);
            format!("{series} {value}\n")
        }
        _ => format!("{line}\n"),
    };
    scrape.lines().map(line).collect()
}

/// Lets happen to the service whatever a panel shows, and returns a connection that is open still.
async fn everything(service: &Service) -> Client<TlsStream<TcpStream>> {
    let roots = || service.authority.roots();

    let reasons = Reason::ALL.into_iter();
    let reasons = reasons.filter(|reason| *reason != Reason::Observed);
    let mut reviews: Vec<Value> = reasons.map(skips).collect();
    reviews.push(creates(&["busybox", "redis", "quay.io/a/b"]));
    let mut dry_run = creates(&["busybox"]);
    dry_run["request"]["dryRun"] = json!(true);
    reviews.push(dry_run);
    let mut unreadable = creates(&[]);
    unreadable["request"]["object"] = json!({"spec": "none"});
    reviews.push(unreadable);
    let mut full = creates(&["busybox"]);
    let annotations = json!({"large": "x".repeat(262_144 - "large".len())});
    full["request"]["object"]["metadata"]["annotations"] = annotations;
    reviews.push(full);
    let mut client = connect(service.addr, roots()).await;
    for review in reviews {
        client.review(review.to_string()).await;
    }

    for request in [
        "GET /mutate HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\n\r\n{}",
    ] {
        let mut client = connect(service.addr, roots()).await;
        client.send(request).await;
        assert!((400..500).contains(&client.answer().await.status));
    }

    let mut plain = Client::new(TcpStream::connect(service.addr).await.unwrap());
    plain.send("GET / HTTP/1.1\r\n\r\n").await;
    let other = trusting(Authority::new("another CA").roots());
    assert!(connect_with(service.addr, other).await.is_err());

    let renewed = service.authority.issue();
    renewed.write(&service.directory, &[]);
    service.shows(&renewed).await;
    service.directory.write("tls.key", "no key");
    service.refuses(1).await;

    // More than there are places, and none asks for anything.
    let mut idle = Vec::new();
    for _ in 0..9 {
        idle.push(connect(service.addr, roots()).await);
    }
    drop(idle);
    let mut kept = connect(service.addr, roots()).await;
    kept.review(creates(&["busybox"]).to_string()).await;
    kept
}

/// What is wrong with what a query returned.
fn problem(query: &Query, found: &[Series]) -> Option<String> {
    if found.is_empty() {
        return Some("no data".to_owned());
    }
    let mut legend = query.legend.split("{{").skip(1);
    if let Some(label) = legend.find_map(|part| {
        let label = part.split_once("}}").unwrap().0;
        found
            .iter()
            .any(|series| !series.labels.contains_key(label))
            .then_some(label)
    }) {
        return Some(format!("no label {label}"));
    }
    let quiet = QUIET.iter().any(|series| query.expr.contains(series));
    let moves = |series: &Series| series.value.is_finite() && series.value > 0.0;
    (!quiet && !found.iter().any(moves)).then(|| "nothing above zero".to_owned())
}

#[tokio::test]
async fn every_query_returns_data_of_a_run_in_which_everything_happens() {
    let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
    let mut settings = settings.to_vec();
    settings.push(("MAX_CONNECTIONS", "8".to_owned()));
    let authority = Authority::new("a CA");
    let service = Service::start_with(authority, Authority::issue, &settings).await;
    let observing = Authority::new("another CA");
    let (_observer, observer, observer_admin) = Program::serve(&observing, &OBSERVING).await;
    let api_server = ApiServer::start().await;
    let targets = [
        ("image-swapper", service.admin),
        ("observer", observer_admin),
        ("apiserver", api_server.addr),
    ];
    let prometheus = Prometheus::scraping(&targets).await;

    // What happens is seen only by what is scraped before and after.
    let deadline = Instant::now() + DEADLINE;
    let all = "(count(image_swapper_build_info) == 2) \
               + count(apiserver_admission_webhook_request_total)";
    while prometheus.query(all).await.is_empty() {
        assert!(Instant::now() < deadline, "{}", prometheus.log());
        sleep(Duration::from_millis(50)).await;
    }
    let kept = everything(&service).await;
    post(
        observer,
        observing.roots(),
        skips(Reason::Observed).to_string(),
    )
    .await;
    api_server.factor.store(3, Ordering::Relaxed);

    let dashboard = dashboard();
    let queries = queries(&dashboard);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut problems = Vec::new();
        for query in &queries {
            let found = prometheus.query(&query.expr).await;
            if let Some(problem) = problem(query, &found) {
                problems.push(format!("{}: {problem}: {}", query.panel, query.expr));
            }
        }
        if problems.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{}", problems.join("\n"));
        sleep(Duration::from_millis(100)).await;
    }

    let skipped = queries.iter().find(|query| query.panel == "Images skipped");
    let mut reasons = BTreeSet::new();
    for series in prometheus.query(&skipped.unwrap().expr).await {
        if series.value > 0.0 {
            reasons.insert(series.labels["reason"].clone());
        }
    }
    let all: BTreeSet<_> = Reason::ALL.map(|it| it.as_str().to_owned()).into();
    assert_eq!(reasons, all);

    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap();
            let values = query.strip_prefix("label_values(").unwrap();
            let (metric, label) = values.trim_end_matches(')').split_once(", ").unwrap();
            let found = prometheus.query(metric).await;
            assert!(found.iter().any(|series| series.labels.contains_key(label)));
        }
    }
    drop(kept);
}

#[test]
fn every_panel_says_what_it_shows_and_has_a_place() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && places.insert((x, y)), "{panel}");
            }
        }
    }
    for panel in panels(&dashboard) {
        assert_ne!(panel["title"].as_str().unwrap(), "");
        assert_ne!(panel["description"].as_str().unwrap(), "", "{panel}");
        assert_ne!(panel["fieldConfig"]["defaults"]["unit"], Value::Null);
        // Whatever the data source is called, and whoever imports it.
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
    assert_eq!(dashboard["__inputs"], Value::Null);
    assert_eq!(dashboard["id"], Value::Null);
}

#[test]
fn every_metric_is_shown() {
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    let series = fs::read_to_string(test_file("metrics.txt")).unwrap();
    for series in series.lines() {
        let name = series.split('{').next().unwrap();
        let name = name.trim_end_matches("_sum").trim_end_matches("_count");
        let shown = queries.iter().any(|query| query.expr.contains(name));
        assert!(shown, "{name}");
    }
}
