//! How long the parts of a review take, without a network: `cargo bench --locked --bench micro`. With
//! `-- --quick` it takes a second, to see that it works.
//!
//! With the arguments `read` or `answer`, a number of rounds and a file, it does just that. Under
//! callgrind this counts instructions, which do not move with the machine: `bench/instructions`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};
use std::{env, fs};

use image_swapper::image::Reference;
use image_swapper::mutate::Mutator;
use image_swapper::review::Review;
use image_swapper::rules::{Decision, Rules};

/// In how many turns each work is done, of which the best counts.
const TURNS: u32 = 20;

/// How often a work is done in a turn: so many reviews, and a hundred times as many images.
const ROUNDS: u32 = 500;

const REWRITES: &str = "docker.io={proxy},*={proxy}/{registry}";

/// Rules under which an image can be left alone for each reason that is common, and such images.
const SOME_REWRITES: &str =
    "docker.io={proxy},quay.io={proxy}/quay,quay.io/prometheus={proxy}/prom";
const SOME_IGNORED: &str = "registry,docker.io/bitnami/";
const IMAGES: [&str; 7] = [
    "nginx:1.27",
    "quay.io/prometheus/node-exporter:v1.9.0",
    "nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "registry.example.com/library/nginx:1.27",
    "bitnami/redis:7.4",
    "registry.k8s.io/ingress-nginx/controller:v1.12.1",
    "Not/an image",
];

/// How much is done to measure it.
struct Effort {
    turns: u32,
    rounds: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mutator = Mutator::new(rules(REWRITES, "")?);
    let mut args: Vec<String> = env::args().skip(1).collect();
    args.retain(|arg| arg != "--bench");
    if let [work, rounds, file] = &args[..] {
        let body = fs::read(file)?;
        for _ in 0..rounds.parse()? {
            match &**work {
                "read" => read(&body),
                _ => answer(&mutator, &body),
            }
        }
        return Ok(());
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let (turns, rounds) = if quick { (2, 5) } else { (TURNS, ROUNDS) };
    reviews(&mutator, &Effort { turns, rounds })?;
    let rounds = rounds * 100;
    images(
        &rules(SOME_REWRITES, SOME_IGNORED)?,
        &Effort { turns, rounds },
    );
    Ok(())
}

fn rules(rewrites: &str, ignored: &str) -> Result<Rules, String> {
    Rules::parse("registry.example.com", rewrites, ignored).map_err(|errors| format!("{errors:?}"))
}

impl Effort {
    /// How long `work` takes.
    fn time<T>(&self, work: impl Fn() -> T) -> Duration {
        let turn = |_| {
            let start = Instant::now();
            for _ in 0..self.rounds {
                black_box(work());
            }
            start.elapsed()
        };
        (0..self.turns).map(turn).min().unwrap_or_default() / self.rounds
    }
}

/// Each review of `tests/reviews`: reading it, and all of it to the answer.
fn reviews(mutator: &Mutator, effort: &Effort) -> Result<(), Box<dyn Error>> {
    println!(
        "{:<28} {:>9} {:>9} {:>11}",
        "review", "bytes", "read, us", "answer, us"
    );
    let mut files: Vec<_> = fs::read_dir("tests/reviews")?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files.iter().filter(|file| file.path().is_file()) {
        let body = fs::read(file.path())?;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let read = micros(effort.time(|| read(&body)));
        let answer = micros(effort.time(|| answer(mutator, &body)));
        let (name, bytes) = (file.file_name(), body.len());
        let name = name.to_string_lossy();
        println!("{name:<28} {bytes:>9} {read:>9.1} {answer:>11.1}");
    }
    Ok(())
}

/// Images by what is decided about them: parsing the reference, and all of it to the decision.
fn images(rules: &Rules, effort: &Effort) {
    println!(
        "\n{:<18} {:>9} {:>11}  image",
        "decision", "parse, ns", "decide, ns"
    );
    for image in IMAGES {
        let decision = match rules.decide(image, false) {
            Decision::Swap { .. } => "swap",
            Decision::Skip(reason) => reason.as_str(),
        };
        let parse = effort.time(|| Reference::parse(black_box(image)));
        let decide = effort.time(|| rules.decide(black_box(image), false));
        let (parse, decide) = (parse.as_nanos(), decide.as_nanos());
        println!("{decision:<18} {parse:>9} {decide:>11}  {image}");
    }
}

fn read(body: &[u8]) {
    assert!(black_box(Review::read(black_box(body))).is_ok());
}

/// Does what the server does between a body and its answer.
fn answer(mutator: &Mutator, body: &[u8]) {
    let Ok(review) = Review::read(black_box(body)) else {
        panic!("not a review");
    };
    let outcome = mutator.mutate(&review);
    let warning = mutator.warning(&review, &outcome);
    let patch = outcome.patch.into_json();
    black_box(review.answer(Some(&patch), warning.as_deref()));
}
