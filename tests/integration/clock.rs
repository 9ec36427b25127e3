//! A clock that jumps while the program runs: only what a calendar decides follows it.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use humantime::parse_rfc3339;
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::reload::Service;
use crate::support::{
    Authority, Directory, Program, connect, get, images, port_refuses, post, raw_post, review,
};

/// Of Debian's package `libfaketime`. `$LIB` is for the loader.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// What is said where it is not installed.
const NEEDED: &str = "this test needs libfaketime: install Debian's package `faketime`";

const RIGHT: &str = "+0";

/// A wall clock that programs can be given. What passes is told by another, the monotonic one, which
/// no one sets.
struct Clock {
    directory: Directory,
}

impl Clock {
    /// A clock that is right.
    fn new() -> Self {
        let clock = Self {
            directory: Directory::new(),
        };
        clock.set("@2000-01-01 00:00:00");
        let mut date = Command::new("date");
        let date = date.arg("+%Y").envs(clock.env()).output().unwrap();
        assert_eq!(date.stdout, b"2000\n", "{NEEDED}");
        clock.set(RIGHT);
        clock
    }

    /// What a program needs to go by it.
    fn env(&self) -> [(&'static str, String); 4] {
        let file = self.directory.path().join("time");
        [
            ("LD_PRELOAD", FAKETIME.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap().to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// Sets it: to a time, or by how much it is wrong.
    fn set(&self, time: &str) {
        let new = self.directory.write("new", time);
        fs::rename(new, self.directory.path().join("time")).unwrap();
    }
}

#[tokio::test]
async fn a_jump_out_of_the_certificates_time_makes_unready_for_as_long() {
    let clock = Clock::new();
    let first = |authority: &Authority| authority.issue_for(2020..2100);
    let service = Service::start_with(Authority::new("a CA"), first, &clock.env()).await;
    let roots = || service.authority.roots();
    let ready = (200, "ok\n".to_owned());
    let unready = (
        503,
        "the certificate is not valid at this time\n".to_owned(),
    );
    let mut kept = connect(service.addr, roots()).await;
    assert_eq!(get(service.admin, "/readyz").await, ready);
    for time in ["@2150-01-01 00:00:00", "@2010-01-01 00:00:00"] {
        clock.set(time);
        assert_eq!(get(service.admin, "/readyz").await, unready);
        assert_eq!(get(service.admin, "/livez").await.0, 200);
        // Who asks all the same is answered: its own clock may be right.
        assert_eq!(
            images(&kept.review(review("1", "nginx")).await.body).len(),
            1
        );
        let answer = post(service.addr, roots(), review("2", "nginx")).await;
        assert_eq!(images(&answer).len(), 1);

        clock.set(RIGHT);
        assert_eq!(get(service.admin, "/readyz").await, ready);
    }
}

#[tokio::test]
async fn a_renewal_that_a_wrong_clock_refused_is_taken_once_it_is_right() {
    let clock = Clock::new();
    let authority = Authority::new("a CA");
    let service = Service::start_with(authority, Authority::issue, &clock.env()).await;
    clock.set("@2010-01-01 00:00:00");
    let renewed = service.authority.issue_for(2020..2100);
    renewed.write(&service.directory, &[]);
    service.refuses(1).await;

    clock.set(RIGHT);
    // The files are read each minute, and when anything changes beside them.
    service.directory.write("another", "");
    service.shows(&renewed).await;
    service.refuses(1).await;
}

/// How far the clock of the program is from the right one, by its last line with this message.
fn wrong_by(program: &Program, message: &str) -> Duration {
    let log = program.stderr();
    let mut lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.rfind(|line| line["message"] == message).unwrap();
    let time = parse_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
    let right = SystemTime::now();
    right
        .duration_since(time)
        .unwrap_or_else(|ahead| ahead.duration())
}

#[tokio::test]
async fn timeouts_the_drain_and_metrics_go_by_what_passes() {
    let hours = Duration::from_hours(9);
    for jump in ["+10h", "-10h"] {
        let clock = Clock::new();
        let clock_env = clock.env();
        let mut settings: Vec<_> = clock_env
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        settings.extend([
            ("BODY_TIMEOUT", "10s"),
            ("DRAIN_DELAY", "1s"),
            ("DRAIN_TIMEOUT", "60s"),
        ]);
        let authority = Authority::new("a CA");
        let (mut program, addr, admin) = Program::serve(&authority, &settings).await;
        let request = raw_post(review("1", "nginx"));
        let (half, rest) = request.split_at(request.len() - 100);
        let mut kept = connect(addr, authority.roots()).await;
        kept.review(review("1", "nginx")).await;
        let mut begun = connect(addr, authority.roots()).await;
        let mut silent = connect(addr, authority.roots()).await;
        let asked = Instant::now();
        begun.send(half).await;
        silent.send(half).await;

        clock.set(jump);
        assert_eq!(kept.review(review("2", "nginx")).await.status, 200);
        begun.send(rest).await;
        assert_eq!(begun.answer().await.status, 200);
        assert_eq!(silent.answer().await.status, 408);
        assert!(asked.elapsed() >= Duration::from_secs(10));

        let (_, metrics) = get(admin, "/metrics").await;
        let sum = metrics
            .lines()
            .find_map(|line| line.strip_prefix("image_swapper_review_duration_seconds_sum "));
        let sum: f64 = sum.unwrap().parse().unwrap();
        assert!((0.0..10.0).contains(&sum), "{sum} s for three reviews");

        // It jumps once more while draining, back to what is right.
        let signalled = Instant::now();
        program.signal(Signal::TERM);
        program.logs("\"draining\"").await;
        assert!(wrong_by(&program, "draining") > hours);
        clock.set(RIGHT);
        assert!(kept.review(review("3", "nginx")).await.closes());
        port_refuses(addr).await;
        assert!(signalled.elapsed() >= Duration::from_secs(1));
        assert_eq!(program.ended().await.code(), Some(0));
        program.logs("\"drained\"").await;
        assert!(wrong_by(&program, "drained") < hours);
    }
}
