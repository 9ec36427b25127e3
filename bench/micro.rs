//! How long reading a review and deciding about it take, without a network: `cargo bench --locked`.
//!
//! With arguments, ROUNDS and a file, it does just that so many times. Under callgrind this counts
//! instructions, which do not move with the machine; `bench/instructions` does it.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use image_swapper::mutate::Mutator;
use image_swapper::review::Review;
use image_swapper::rules::Rules;

/// How many times each review is answered, and in how many turns, of which the best counts.
const ROUNDS: u32 = 500;
const TURNS: u32 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Rules::parse(
        "registry.example.com",
        "docker.io={proxy},*={proxy}/{registry}",
        "",
    );
    let mutator = Mutator {
        rules: rules.map_err(|errors| format!("{errors:?}"))?,
        annotate_originals: true,
    };
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    if let [rounds, file] = &args[..] {
        answer(&mutator, &fs::read(file)?, rounds.parse()?);
        return Ok(());
    }
    println!(
        "{:<28} {:>9} {:>11} {:>9}",
        "review", "bytes", "us/review", "ns/byte"
    );
    let mut files: Vec<_> = fs::read_dir("tests/reviews")?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files.iter().filter(|file| file.path().is_file()) {
        let body = fs::read(file.path())?;
        let turn = |_| {
            let start = Instant::now();
            answer(&mutator, &body, ROUNDS);
            start.elapsed() / ROUNDS
        };
        let best = (0..TURNS).map(turn).min().unwrap_or_default().as_secs_f64();
        let (name, bytes) = (file.file_name(), body.len());
        let name = name.to_string_lossy();
        let per_byte = best * 1e9 / f64::from(u32::try_from(bytes)?);
        println!("{name:<28} {bytes:>9} {:>11.1} {per_byte:>9.2}", best * 1e6);
    }
    Ok(())
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
