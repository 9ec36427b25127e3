//! The real program, with the environment it is given and no other.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;

use super::{Authority, Directory, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_k8s-proxy-image-swapper");

/// The program, running; killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// What it needs for as long as it runs.
    kept: Option<Directory>,
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Output {
    let mut child = piped(args, env);
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // Of a program that does not read it, only as much as the pipe holds is taken.
        scope.spawn(move || input.write_all(stdin));
        child.wait_with_output().unwrap()
    })
}

/// Starts the program with all that it reads and prints in the hands of the test.
pub(crate) fn piped(args: &[&str], env: &[(&str, &str)]) -> Child {
    command(args, env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The program, to be started.
pub(crate) fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).env_clear().envs(env.iter().copied());
    command
}

/// What the service needs to serve on free ports of this machine, with a certificate of `authority`
/// in the directory.
pub(crate) fn service_env(authority: &Authority) -> (Directory, Vec<(&'static str, String)>) {
    let directory = Directory::new();
    let files = authority.issue().write(&directory, &[]);
    let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let env = vec![
        ("PROXY_URL", "registry.example.com".to_owned()),
        ("LISTEN_ADDR", "127.0.0.1:0".to_owned()),
        ("ADMIN_ADDR", "127.0.0.1:0".to_owned()),
        ("TLS_CERT_FILE", path(files.cert)),
        ("TLS_KEY_FILE", path(files.key)),
    ];
    (directory, env)
}

/// The memory of a process in KiB, as the kernel counts it: `VmRSS` is resident now, `VmHWM` was at
/// most, and `VmSize` is the address space.
pub(crate) fn memory(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let size = line.and_then(|line| line.strip_prefix(':')?.trim().strip_suffix(" kB"));
    size.unwrap().parse().unwrap()
}

impl Program {
    /// Starts the program.
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::spawn(command(args, env))
    }

    /// Starts the service with a certificate of `authority` and these settings besides those it
    /// needs, and returns where it serves: `LISTEN_ADDR` and `ADMIN_ADDR`.
    pub(crate) async fn serve(
        authority: &Authority,
        settings: &[(&str, &str)],
    ) -> (Self, SocketAddr, SocketAddr) {
        let (directory, env) = service_env(authority);
        let env = env.iter().map(|(name, value)| (*name, &**value));
        let env: Vec<(&str, &str)> = env.chain(settings.iter().copied()).collect();
        let mut program = Self::start(&["serve"], &env);
        program.keep(directory);
        let (addr, admin) = program.serving().await;
        (program, addr, admin)
    }

    /// Starts the program with at most so many open files.
    pub(crate) fn start_with_files(max: u32, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("ulimit -n {max}; exec {PROGRAM:?}")])
            .env_clear()
            .envs(env.iter().copied());
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            // So that nothing that is typed at the tests' terminal reaches it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            kept: None,
        }
    }

    /// Keeps the directory for as long as the program runs.
    pub(crate) fn keep(&mut self, directory: Directory) {
        self.kept = Some(directory);
    }

    /// Waits until it serves, and returns where: `LISTEN_ADDR` and `ADMIN_ADDR`.
    pub(crate) async fn serving(&mut self) -> (SocketAddr, SocketAddr) {
        let mut serving = None;
        until("the line that says serving", || {
            let stderr = self.stderr();
            assert!(self.child.try_wait().unwrap().is_none(), "ended: {stderr}");
            serving = stderr.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == "serving").then_some(line)
            });
            serving.is_some()
        })
        .await;
        let serving = serving.unwrap();
        let addr = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        (addr("listen_addr"), addr("admin_addr"))
    }

    /// Waits until it has logged a line with this text in it.
    pub(crate) async fn logs(&self, text: &str) {
        until(text, || self.stderr().contains(text)).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets its address space grow by so many KiB and no more.
    pub(crate) fn limit_memory(&self, more: u64) {
        let limit = Some((self.memory("VmSize") + more) << 10);
        let limit = Rlimit {
            current: limit,
            maximum: limit,
        };
        let process = Some(Pid::from_child(&self.child));
        prlimit(process, Resource::As, limit).unwrap();
        // Nor does it leave its memory behind.
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        prlimit(process, Resource::Core, none).unwrap();
    }

    /// Its memory: see [`memory`].
    pub(crate) fn memory(&self, field: &str) -> u64 {
        memory(self.child.id(), field)
    }

    /// Its state as the kernel shows it: `T` is stopped.
    pub(crate) fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        after_name.chars().next().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends, and returns how.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of the program", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.kept.take());
    }
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned()
}

/// Reads to the end, in a thread of its own.
fn collect(mut from: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&collected);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    });
    collected
}
