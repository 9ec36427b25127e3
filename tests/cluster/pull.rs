//! The swap is real: what the webhook makes of a reference is pulled from a registry in pull-through mode,
//! which had never seen the image.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Cluster, IMAGE, NAMESPACE, pod, tools, until};

/// Where the image is, below both registries.
const REPOSITORY: &str = "library/hello";

/// What is in the image's one file.
const CONTENT: &str = "hello from upstream\n";

/// The distribution project's registry, on a port of loopback. It ends when this is dropped.
struct Registry {
    addr: String,
    storage: PathBuf,
    process: Child,
}

impl Registry {
    /// Starts one with its files in a folder, and further lines of its configuration.
    fn start(dir: &Path, name: &str, more: &str) -> Self {
        let storage = dir.join(name);
        let config = dir.join(format!("{name}.yml"));
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}}}\n{more}",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let mut process = Command::new(tools().join("registry"))
            .args(["serve".as_ref(), config.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let addr = loop {
            let Some(line) = lines.next() else {
                panic!("the registry {name} does not listen:\n{said}");
            };
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
            said += &line;
            said += "\n";
        };
        // It must never find the pipe full.
        thread::spawn(move || lines.for_each(drop));
        Self {
            addr,
            storage,
            process,
        }
    }

    /// The repositories that it has.
    fn repositories(&self) -> String {
        crane(&["catalog", &self.addr])
    }

    /// Whether it has stored a blob, or a manifest.
    fn has(&self, digest: &str) -> bool {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.storage.join("docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data").exists()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs crane, which must succeed, and returns what it prints.
fn crane(args: &[&str]) -> String {
    let mut command = Command::new(tools().join("crane"));
    let output = command.args(args).arg("--insecure").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "crane {args:?}:\n{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end().to_owned()
}

/// Runs tar, which must succeed, and returns what it prints.
fn tar(args: &[&str], dir: &Path) -> String {
    let output = Command::new("tar").args(args).current_dir(dir).output();
    let output = output.unwrap();
    assert!(output.status.success(), "tar {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Pulls an image whole, as a node does, and returns what is in its one file.
fn pull(reference: &str, dir: &Path) -> String {
    let image = dir.join("pulled.tar");
    crane(&["pull", reference, image.to_str().unwrap()]);
    let mut export = Command::new(tools().join("crane"));
    let export = export.args(["export", "-", "files.tar"]).current_dir(dir);
    let status = export.stdin(File::open(image).unwrap()).status();
    assert!(status.unwrap().success(), "crane export");
    tar(&["-xOf", "files.tar", "hello"], dir)
}

/// Creates a Pod with an image, and returns the image that is stored.
fn stored(cluster: &Cluster, name: &str, image: &str) -> String {
    let path = "/api/v1/namespaces/default/pods";
    cluster.api.create(path, &pod(name, image)).unwrap();
    let [stored] = <[String; 1]>::try_from(cluster.images("default", name)).unwrap();
    println!("{image} is stored as {stored}");
    stored
}

#[test]
fn what_is_swapped_is_pulled_through_the_proxy() {
    let cluster = Cluster::start();
    let dir = cluster.dir.join("registries");
    fs::create_dir(&dir).unwrap();
    let upstream = Registry::start(&dir, "upstream", "");
    let through = format!("proxy: {{remoteurl: 'http://{}'}}\n", upstream.addr);
    let proxy = Registry::start(&dir, "proxy", &through);
    install(&cluster, &upstream, &proxy);

    fs::write(dir.join("hello"), CONTENT).unwrap();
    tar(&["-cf", "layer.tar", "hello"], &dir);
    let layer = dir.join("layer.tar");
    let layer = layer.to_str().unwrap();
    let name = format!("{}/{REPOSITORY}", upstream.addr);
    let tagged = format!("{name}:1");
    crane(&["append", "--new_tag", &tagged, "--new_layer", layer]);
    let digest = crane(&["digest", &tagged]);
    let manifest: Value = serde_json::from_str(&crane(&["manifest", &tagged])).unwrap();

    let through = format!("{}/{REPOSITORY}", proxy.addr);
    let by_tag = stored(&cluster, "tag", &tagged);
    assert_eq!(by_tag, format!("{through}:1"));
    let by_digest = stored(&cluster, "digest", &format!("{name}@{digest}"));
    assert_eq!(by_digest, format!("{through}@{digest}"));
    let by_both = stored(&cluster, "both", &format!("{tagged}@{digest}"));
    assert_eq!(by_both, format!("{through}:1@{digest}"));

    assert_eq!(upstream.repositories(), REPOSITORY);
    assert_eq!(
        proxy.repositories(),
        "",
        "what the proxy has before the pull"
    );
    assert!(upstream.has(&digest) && !proxy.has(&digest));
    assert_eq!(crane(&["digest", &by_tag]), digest);
    assert_eq!(pull(&by_tag, &dir), CONTENT);
    assert_eq!(proxy.repositories(), REPOSITORY);

    // It answers first, and stores then.
    for blob in [&manifest["config"], &manifest["layers"][0]] {
        let digest = blob["digest"].as_str().unwrap();
        until("the proxy keeps what was pulled", || {
            proxy.has(digest).then_some(())
        });
    }
    let gone = upstream.addr.clone();
    drop(upstream);
    let mut refused = Command::new(tools().join("crane"));
    let refused = refused.args(["digest", &tagged, "--insecure"]).output();
    assert!(!refused.unwrap().status.success(), "{gone} still answers");
    for reference in [by_tag, by_digest, by_both] {
        assert_eq!(crane(&["digest", &reference]), digest, "{reference}");
        assert_eq!(pull(&reference, &dir), CONTENT, "{reference}");
    }
}

/// Installs the chart for these two, and waits until it works.
fn install(cluster: &Cluster, upstream: &Registry, proxy: &Registry) {
    let values = json!({
        "image": {"repository": IMAGE},
        "proxyUrl": proxy.addr,
        "rewrites": [format!("{}={{proxy}}", upstream.addr)],
        "webhook": {"failurePolicy": "Fail"},
    });
    let values = values.to_string();
    let mut line = vec!["install", "swapper", "./chart", "--namespace", NAMESPACE];
    line.extend(["--create-namespace", "--wait", "--timeout", "60s"]);
    line.extend(["--set-json", &values]);
    cluster.succeed("helm", &line, "");
    let swapped = format!("{}/probe:latest", proxy.addr);
    cluster.until_becomes(&format!("{}/probe", upstream.addr), &swapped);
}
