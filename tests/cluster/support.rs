//! A cluster for a test: the processes behind it, and how a test speaks to it.

mod api;
mod load;
mod replicas;
mod tools;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::{Value, json};

pub(crate) use api::{Api, Refused};
pub(crate) use load::Load;
pub(crate) use replicas::{name, sum};
pub(crate) use tools::{root, static_program, tools};

/// When a test gives up; reached only where something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// The repository that the chart's `image` names, and that the node knows to be our program.
pub(crate) const IMAGE: &str = "registry.example.com/k8s-proxy-image-swapper";

/// The image of the chart's own test, which the node runs with this machine's shell and kubectl.
const KUBECTL_IMAGE: &str = "docker.io/alpine/kubectl";

/// The proxy that the tests install with.
pub(crate) const PROXY: &str = "proxy.example.com";

/// The release's namespace.
pub(crate) const NAMESPACE: &str = "image-swapper";

/// A cluster of one node that works. It ends when this is dropped, or the process that holds it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) api: Api,
    pub(crate) dir: PathBuf,
    process: Child,
    // The cluster ends when this is closed.
    stdin: Option<ChildStdin>,
}

impl Cluster {
    /// Starts one of the newest Kubernetes.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one, with more arguments for tests/go/cluster/controlplane.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let dir = new_dir();
        let mut command = Command::new(tools().join("controlplane"));
        command.arg("-tools").arg(tools()).arg("-dir").arg(&dir);
        let mut program = std::ffi::OsString::from(format!("{IMAGE}="));
        program.push(static_program());
        command.arg("-image").arg(program);
        command.args(["-image", &format!("{KUBECTL_IMAGE}=HOST")]);
        let mut process = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "see {}", dir.display());
        let kubeconfig = fs::read_to_string(dir.join("kubeconfig")).unwrap();
        Self {
            api: Api::new(&kubeconfig),
            dir,
            process,
            stdin,
        }
    }

    /// Runs kubectl, which must succeed, and returns what it prints.
    pub(crate) fn kubectl(&self, line: &str) -> String {
        self.succeed("kubectl", &words(line), "")
    }

    /// The same, with something on its standard input.
    pub(crate) fn kubectl_with(&self, line: &str, input: &str) -> String {
        self.succeed("kubectl", &words(line), input)
    }

    /// Runs a program of the tools, which must succeed, and returns what it prints.
    pub(crate) fn succeed<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
        input: &str,
    ) -> String {
        let ran = self.run(program, args, input);
        let line: Vec<_> = args
            .iter()
            .map(|arg| arg.as_ref().to_string_lossy())
            .collect();
        ran.unwrap_or_else(|error| panic!("{program} {}:\n{error}", line.join(" ")))
    }

    /// Runs a program of the tools; returns what it prints, or the errors that it prints.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[S],
        input: &str,
    ) -> Result<String, String> {
        let output = self.output(program, args, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    /// Runs kubectl, which must succeed, and returns the warnings that it prints.
    pub(crate) fn warnings(&self, line: &str, input: &str) -> Vec<String> {
        let output = self.output("kubectl", &words(line), input);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "kubectl {line}: {errors}");
        let warnings = errors.lines();
        let warnings = warnings.filter_map(|line| line.strip_prefix("Warning: "));
        warnings.map(str::to_owned).collect()
    }

    fn output<S: AsRef<OsStr>>(&self, program: &str, args: &[S], input: &str) -> Output {
        let mut child = Command::new(tools().join(program))
            .args(args)
            .current_dir(root())
            .env("KUBECONFIG", self.dir.join("kubeconfig"))
            // Where kubectl and helm keep what they cache, and would look for plugins.
            .env("HOME", &self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // It may end without reading.
        let writing = thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let _ = writing.join().unwrap();
        output
    }

    /// Installs the chart as README says, with more arguments for helm, and waits until Pods are swapped.
    pub(crate) fn install(&self, arguments: &[&str]) {
        self.install_with("helm", arguments);
    }

    /// The same, with `helm` or `helm3`.
    pub(crate) fn install_with(&self, helm: &str, arguments: &[&str]) {
        let proxy = format!("proxyUrl={PROXY}");
        let image = format!("image.repository={IMAGE}");
        let mut line = vec!["install", "swapper", "./chart", "--namespace", NAMESPACE];
        line.extend(["--create-namespace", "--wait", "--timeout", "60s"]);
        line.extend(["--set", &proxy, "--set", &image]);
        line.extend(arguments);
        self.succeed(helm, &line, "");
        self.until_swapped();
    }

    /// Waits until Pods are swapped: an API server learns of a webhook, and of the CA that cert-manager
    /// writes into it, some time after both are stored.
    pub(crate) fn until_swapped(&self) {
        self.until_becomes("nginx", &format!("{PROXY}/library/nginx:latest"));
    }

    /// The same, of an image and a proxy that the test has chosen.
    pub(crate) fn until_becomes(&self, image: &str, swapped: &str) {
        let path = "/api/v1/namespaces/default/pods?dryRun=All";
        let probe = pod("probe", image);
        until("a Pod is swapped", || {
            let stored = self.api.create(path, &probe).ok()?;
            (images(&stored, "containers") == [swapped]).then_some(())
        });
    }

    /// The images of a stored Pod's containers.
    pub(crate) fn images(&self, namespace: &str, pod: &str) -> Vec<String> {
        let pod = self
            .api
            .get(&format!("/api/v1/namespaces/{namespace}/pods/{pod}"));
        images(&pod, "containers")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the cluster's logs are in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A Pod of one container, called as it is.
pub(crate) fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": name, "image": image}]}
    })
}

/// The images of an object's containers of one kind.
pub(crate) fn images(pod: &Value, kind: &str) -> Vec<String> {
    let containers = pod["spec"][kind].as_array();
    let text = |container: &Value| container["image"].as_str().unwrap().to_owned();
    containers.into_iter().flatten().map(text).collect()
}

/// A command line without quotes.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Waits until there is something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within_deadline(look).unwrap_or_else(|| panic!("{what}: not within {DEADLINE:?}"))
}

/// The same, for a test that has more to say when there is nothing.
pub(crate) fn within_deadline<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A new folder for a cluster's files. Removes those whose test is gone: one that many tests share is
/// never dropped.
fn new_dir() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let parent = env::temp_dir().join("k8s-proxy-image-swapper-clusters");
    fs::create_dir_all(&parent).unwrap();
    for old in fs::read_dir(&parent).unwrap().flatten() {
        let name = old.file_name().into_string().unwrap_or_default();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(old.path());
        }
    }
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    parent.join(format!("{}-{next}", std::process::id()))
}
