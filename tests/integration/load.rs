//! The load client in Go (`tests/go/load`), which is set up as an API server's.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::go;
use crate::support::{Authority, Directory, test_file};

/// The client, running; killed when it is dropped.
pub(crate) struct Load {
    child: Child,
    _directory: Directory,
}

/// What it has done.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) count: u64,
    pub(crate) connections: u64,
    /// How many certificates it was shown.
    pub(crate) certificates: usize,
}

impl Load {
    /// Starts to send reviews; without the argument `-count`, until [`Self::finish`].
    pub(crate) fn start(addr: SocketAddr, authority: &Authority, args: &[&str]) -> Self {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let directory = Directory::new();
        let ca = directory.write("ca.crt", authority.pem());
        let child = Command::new(PROGRAM.get_or_init(|| go::build("load")))
            .arg(format!("-url=https://{addr}/mutate?timeout=5s"))
            .arg(format!("-ca={}", ca.display()))
            .arg("-review")
            .arg(test_file("reviews/create-no-labels.json"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            _directory: directory,
        }
    }

    /// Lets it end, and returns what it did; not one review may have failed.
    pub(crate) async fn finish(mut self) -> Sent {
        drop(self.child.stdin.take());
        let mut stdout = self.child.stdout.take().unwrap();
        let reading = spawn_blocking(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let text = reading.await.unwrap();
        assert!(self.child.wait().unwrap().success());
        let result: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["failed"], 0, "{result:#}");
        let sent = Sent {
            count: result["sent"].as_u64().unwrap(),
            connections: result["connections"].as_u64().unwrap(),
            certificates: result["serials"].as_array().map_or(0, Vec::len),
        };
        assert!(sent.count > 0 && sent.certificates > 0, "{sent:?}");
        sent
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
