//! A real Prometheus server.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Directory, Program, get, within};

/// What is said where it is not installed.
pub(crate) const NEEDED: &str = "this test needs Prometheus: install Debian's package \
                                 `prometheus`, which has `prometheus` and `promtool`";

/// It runs until it is dropped.
pub(crate) struct Prometheus {
    addr: SocketAddr,
    program: Program,
}

/// One of the series that a query returns.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Prometheus {
    /// Starts it, to scrape each target five times a second, as the job of that name.
    pub(crate) async fn scraping(targets: &[(&str, SocketAddr)]) -> Self {
        let job = |(name, target): &(&str, SocketAddr)| {
            json!({
                "job_name": name,
                "static_configs": [{"targets": [target.to_string()]}],
            })
        };
        let config = json!({
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": targets.iter().map(job).collect::<Vec<_>>(),
        });
        let directory = Directory::new();
        // JSON is YAML.
        let config = directory.write("prometheus.yml", config.to_string());
        let data = directory.path().join("data");
        let found = Command::new("prometheus").arg("--version").output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "{NEEDED}"
        );
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]);
        let mut program = Program::spawn(command);
        program.keep(directory);
        let addr = within("where Prometheus listens", listening(&mut program)).await;
        Self { addr, program }
    }

    /// What a query returns now; nothing while it is still reading its own, empty, storage.
    pub(crate) async fn query(&self, query: &str) -> Vec<Series> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in query.bytes() {
            write!(path, "%{byte:02X}").unwrap();
        }
        let (status, text) = get(self.addr, &path).await;
        assert!([200, 503].contains(&status), "{query}: {text}");
        if status == 503 {
            return Vec::new();
        }
        let answer: Value = serde_json::from_str(&text).unwrap();
        let found = answer["data"]["result"].as_array().unwrap().iter();
        let series = |found: &Value| Series {
            labels: serde_json::from_value(found["metric"].clone()).unwrap(),
            value: found["value"][1].as_str().unwrap().parse().unwrap(),
        };
        found.map(series).collect()
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        self.program.stderr()
    }
}

async fn listening(program: &mut Program) -> SocketAddr {
    loop {
        let log = program.stderr();
        assert!(!program.has_ended(), "{log}");
        let listening = log.lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let listening = line["msg"] == "Listening on";
            listening.then(|| line["address"].as_str().unwrap().parse().unwrap())
        });
        if let Some(addr) = listening {
            return addr;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
