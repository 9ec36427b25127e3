//! What the tests of the service share: certificates, a server in this process, the real program,
//! clients, and reviews to send.

mod client;
mod pki;
mod program;
mod prometheus;
mod server;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use client::{
    Answer, Client, connect, connect_with, get, handshake, post, raw_post, showing, trusting,
};
pub(crate) use pki::{Authority, Pair};
pub(crate) use program::{Program, command, memory, piped, run, service_env};
pub(crate) use prometheus::{NEEDED, Prometheus, Series};
pub(crate) use server::{Setup, TestServer};

/// When a test gives up; reached only where something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for `future`, which must end.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let result = timeout(DEADLINE, future).await;
    result.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Waits until nobody listens on a port.
pub(crate) async fn port_refuses(addr: SocketAddr) {
    let refused = async {
        loop {
            match TcpStream::connect(addr).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                // Not so often that this machine runs out of ports.
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    within("the port refuses", refused).await;
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A directory that goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("service-{}-{next}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file of that name, and returns its path.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file of the tests' own directory.
pub(crate) fn test_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Compares a text with a committed file, or rewrites the file with `UPDATE_SNAPSHOTS=1`.
pub(crate) fn assert_snapshot(file: &Path, text: &str) {
    if env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    let file = file.display();
    assert_eq!(text, expected, "{file}: UPDATE_SNAPSHOTS=1 rewrites it");
}

/// A review as a real API server sent it.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    fs::read(test_file("reviews").join(name)).unwrap()
}

/// The review of a Pod that is created with one container.
pub(crate) fn review(uid: &str, image: &str) -> String {
    format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"{uid}","operation":"CREATE","resource":{{"group":"","version":"v1","resource":"pods"}},"object":{{"metadata":{{"name":"web"}},"spec":{{"containers":[{{"name":"web","image":"{image}"}}]}}}}}}}}"#
    )
}

/// The same, of exactly `size` bytes.
pub(crate) fn review_of_size(uid: &str, image: &str, size: usize) -> String {
    let mut review = review(uid, image);
    let padding = r#"{"padding":"","#;
    let padding_at = review.find(r#"{"metadata""#).unwrap();
    let more = size - review.len() - padding.len() + 1;
    review.replace_range(
        padding_at..=padding_at,
        &padding.replace("\"\"", &format!("\"{}\"", "x".repeat(more))),
    );
    assert_eq!(review.len(), size);
    review
}

/// The operations of the patch in an answer, which must be one that allows; none without a patch.
pub(crate) fn patch(answer: &[u8]) -> Vec<Value> {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    let response = &answer["response"];
    assert_eq!(response["allowed"], true, "{answer}");
    let Some(patch) = response["patch"].as_str() else {
        return Vec::new();
    };
    assert_eq!(response["patchType"], "JSONPatch");
    serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap()
}

/// The images that the patch in an answer sets, each with the path where.
pub(crate) fn images(answer: &[u8]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    patch(answer)
        .iter()
        .filter(|operation| operation["op"] == "replace")
        .map(|operation| (text(&operation["path"]), text(&operation["value"])))
        .filter(|(path, _)| path.ends_with("/image") || path.ends_with("/reference"))
        .collect()
}
