//! How long reading a review takes, and how long all of it to the answer, without a network:
//! `cargo bench --locked --bench micro`. With `-- --quick` it takes a second, to see that it works.
//!
//! With the arguments `read` or `answer`, a number of rounds and a file, it does just that. Under
//! callgrind this counts instructions, which do not move with the machine: `bench/instructions`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use std::{env, fs};

use image_swapper::mutate::Mutator;
use image_swapper::review::Review;
use image_swapper::rules::Rules;

/// How many times each review is answered, and in how many turns, of which the best counts.
const ROUNDS: u32 = 500;
const TURNS: u32 = 20;
const QUICK: (u32, u32) = (5, 2);

/// Does something with a review so many times.
type Work = fn(&Mutator, &[u8], u32);

fn main() -> Result<(), Box<dyn Error>> {
    let rewrites = "docker.io={proxy},*={proxy}/{registry}";
    let rules = Rules::parse("registry.example.com", rewrites, "");
    let mutator = Mutator {
        rules: rules.map_err(|errors| format!("{errors:?}"))?,
        annotate_originals: true,
    };
    let mut args: Vec<String> = env::args().skip(1).collect();
    args.retain(|arg| arg != "--bench");
    let quick = args.iter().any(|arg| arg == "--quick");
    let (rounds, turns) = if quick { QUICK } else { (ROUNDS, TURNS) };
    if let [work, rounds, file] = &args[..] {
        let work: Work = if work == "read" { read } else { answer };
        work(&mutator, &fs::read(file)?, rounds.parse()?);
        return Ok(());
    }
    println!(
        "{:<28} {:>9} {:>9} {:>11}",
        "review", "bytes", "read, us", "answer, us"
    );
    let mut files: Vec<_> = fs::read_dir("tests/reviews")?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files.iter().filter(|file| file.path().is_file()) {
        let body = fs::read(file.path())?;
        let best = |work: Work| {
            let turn = |_| {
                let start = Instant::now();
                work(&mutator, &body, rounds);
                start.elapsed() / rounds
            };
            let best = (0..turns).map(turn).min().unwrap_or_default();
            best.as_secs_f64() * 1e6
        };
        let (name, bytes) = (file.file_name(), body.len());
        let (name, read, answer) = (name.to_string_lossy(), best(read), best(answer));
        println!("{name:<28} {bytes:>9} {read:>9.1} {answer:>11.1}");
    }
    Ok(())
}

fn read(_: &Mutator, body: &[u8], rounds: u32) {
    for _ in 0..rounds {
        assert!(black_box(Review::read(black_box(body))).is_ok());
    }
}

/// Does what the server does between a body and its answer.
fn answer(mutator: &Mutator, body: &[u8], rounds: u32) {
    for _ in 0..rounds {
        let Ok(review) = Review::read(black_box(body)) else {
            panic!("not a review");
        };
        let patch = mutator.mutate(&review).patch.into_json();
        black_box(review.answer(Some(&patch)));
    }
}
