//! Parses generated references with the project's parser and with the Go module
//! github.com/distribution/reference, and wants the same answer every time.
//!
//! `DIFFERENTIAL_SEED` and `DIFFERENTIAL_COUNT` choose other references, or more.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use image_swapper::image::{ParseError, Reference};
use serde::Deserialize;

use super::generate::Generator;
use crate::go;

const SEED: u64 = 20_260_101;
const COUNT: u64 = 200_000;

/// How many references there must be at least; how many of each class, and how many in a hundred
/// that are valid.
const COUNT_MIN: usize = 100_000;
const CLASS_MIN: usize = 1_000;
const VALID_MIN: usize = 30;

/// What the Go module makes of a reference.
#[derive(Deserialize)]
struct Answer {
    registry: String,
    repository: String,
    tag: String,
    digest: String,
    error: String,
}

/// A part of the grammar or of the normalisation, and which valid references use it.
type Production = (&'static str, fn(&str, &Reference<'_>) -> bool);

const PRODUCTIONS: [Production; 31] = [
    ("familiar name", |text, _| !text.contains('/')),
    ("familiar path", |text, parsed| {
        parsed.registry() == "docker.io" && text.contains('/') && !text.contains("docker.io/")
    }),
    ("library/ added", |text, parsed| {
        parsed.repository().starts_with("library/") && !text.contains("library/")
    }),
    ("library/ written", |text, _| text.contains("library/")),
    ("docker.io", |text, _| text.starts_with("docker.io/")),
    ("index.docker.io", |text, _| {
        text.starts_with("index.docker.io/")
    }),
    ("localhost", |_, parsed| parsed.registry() == "localhost"),
    ("localhost with port", |_, parsed| {
        parsed.registry().starts_with("localhost:")
    }),
    ("host without port", |_, parsed| {
        parsed.registry() != "docker.io" && parsed.registry().contains('.') && !has_port(parsed)
    }),
    ("host with port", |_, parsed| {
        !is_ipv6(parsed) && has_port(parsed)
    }),
    ("host with port only", |_, parsed| {
        !is_ipv6(parsed) && has_port(parsed) && !parsed.registry().contains('.')
    }),
    ("IPv4", |_, parsed| {
        let host = parsed.registry().split(':').next().unwrap();
        host.parse::<Ipv4Addr>().is_ok()
    }),
    ("IPv6", |_, parsed| is_ipv6(parsed) && !has_port(parsed)),
    ("IPv6 with port", |_, parsed| {
        is_ipv6(parsed) && has_port(parsed)
    }),
    ("upper-case host", |_, parsed| {
        let upper = |b: u8| b.is_ascii_uppercase();
        !is_ipv6(parsed) && parsed.registry().bytes().any(upper)
    }),
    ("empty registry", |_, parsed| parsed.registry().is_empty()),
    ("one component", |_, parsed| {
        !parsed.repository().contains('/')
    }),
    ("two components", |_, parsed| {
        parsed.repository().matches('/').count() == 1
    }),
    ("more components", |_, parsed| {
        parsed.repository().matches('/').count() > 1
    }),
    ("separator .", |_, parsed| {
        has_separator(parsed, |it| it == ".")
    }),
    ("separator _", |_, parsed| {
        has_separator(parsed, |it| it == "_")
    }),
    ("separator __", |_, parsed| {
        has_separator(parsed, |it| it == "__")
    }),
    ("separator -", |_, parsed| {
        has_separator(parsed, |it| it == "-")
    }),
    ("separator -- or more", |_, parsed| {
        has_separator(parsed, |it| it.starts_with("--"))
    }),
    ("repository of 255 bytes", |_, parsed| {
        parsed.repository().len() == 255
    }),
    ("tag alone", |_, parsed| {
        parsed.tag().is_some() && parsed.digest().is_none()
    }),
    ("tag of 128 bytes", |_, parsed| {
        parsed.tag().is_some_and(|tag| tag.len() == 128)
    }),
    ("sha256", |_, parsed| has_digest(parsed, "sha256:")),
    ("sha384", |_, parsed| has_digest(parsed, "sha384:")),
    ("sha512", |_, parsed| has_digest(parsed, "sha512:")),
    ("tag and digest", |_, parsed| {
        parsed.tag().is_some() && parsed.digest().is_some()
    }),
];

const ERRORS: [ParseError; 7] = [
    ParseError::Identifier,
    ParseError::Registry,
    ParseError::Uppercase,
    ParseError::Repository,
    ParseError::TooLong,
    ParseError::Tag,
    ParseError::Digest,
];

#[test]
fn the_parser_agrees_with_the_go_module() {
    let seed = setting("DIFFERENTIAL_SEED", SEED);
    let count = usize::try_from(setting("DIFFERENTIAL_COUNT", COUNT)).unwrap();
    assert!(
        count >= COUNT_MIN,
        "DIFFERENTIAL_COUNT must be {COUNT_MIN} or more"
    );
    let program = go::build("reference");

    let start = Instant::now();
    let references = distinct(seed, count);
    let answers = ask(Command::new(program), &references);
    assert_eq!(answers.len(), references.len(), "an answer each");
    let mut differences = Vec::new();
    for (text, answer) in references.iter().zip(&answers) {
        let parsed = Reference::parse(text);
        if !agree(parsed, answer) {
            differences.push(format!(
                "{text:?}: {parsed:?}, and in Go {}",
                describe(answer)
            ));
        }
    }

    let classes = classify(&references);
    for (class, count) in &classes {
        println!("{count:>7} {class}");
    }
    let valid = answers
        .iter()
        .filter(|answer| answer.error.is_empty())
        .count();
    println!(
        "differential: seed {seed}: {count} distinct references, {valid} of them valid, \
         {} differences, in {:.1} s",
        differences.len(),
        start.elapsed().as_secs_f32(),
    );
    assert!(
        differences.is_empty(),
        "{} of {count} answers differ, such as\n{}",
        differences.len(),
        differences[..differences.len().min(10)].join("\n")
    );
    assert!(valid * 100 >= count * VALID_MIN, "only {valid} are valid");
    for (class, count) in classes {
        assert!(count >= CLASS_MIN, "only {count} of {class:?}");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name}: expected a number, got {value:?}")),
        Err(_) => default,
    }
}

fn distinct(seed: u64, count: usize) -> Vec<String> {
    let mut generator = Generator::new(seed);
    let mut known = HashSet::with_capacity(count);
    let mut references = Vec::with_capacity(count);
    while references.len() < count {
        let reference = generator.reference();
        if known.insert(reference.clone()) {
            references.push(reference);
        }
    }
    references
}

/// Writes one JSON string a line to the tool, and reads one answer a line.
fn ask(mut tool: Command, references: &[String]) -> Vec<Answer> {
    let mut child = tool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = BufWriter::new(child.stdin.take().unwrap());
    let answers = BufReader::new(child.stdout.take().unwrap());
    let answers = thread::scope(|scope| {
        scope.spawn(move || {
            for reference in references {
                serde_json::to_writer(&mut questions, reference).unwrap();
                questions.write_all(b"\n").unwrap();
            }
            questions.flush().unwrap();
        });
        let parse = |line: Result<String, _>| serde_json::from_str(&line.unwrap()).unwrap();
        answers.lines().map(parse).collect()
    });
    assert!(child.wait().unwrap().success(), "the tool failed");
    answers
}

/// Whether both parse and find the same parts, or both refuse; where Go has an error of its own
/// for the reason, that must be ours too.
fn agree(parsed: Result<Reference<'_>, ParseError>, answer: &Answer) -> bool {
    match parsed {
        Ok(parsed) => {
            answer.error.is_empty()
                && parsed.registry() == answer.registry
                && parsed.repository() == answer.repository
                && parsed.tag().unwrap_or_default() == answer.tag
                && parsed.digest().unwrap_or_default() == answer.digest
        }
        Err(error) => {
            let identifier = answer.error.contains("64-byte hexadecimal");
            let too_long = answer.error.contains("not be more than 255");
            !answer.error.is_empty()
                && identifier == (error == ParseError::Identifier)
                && (!too_long || error == ParseError::TooLong)
        }
    }
}

fn describe(answer: &Answer) -> String {
    if answer.error.is_empty() {
        let Answer {
            registry,
            repository,
            tag,
            digest,
            ..
        } = answer;
        format!("{registry:?} {repository:?} {tag:?} {digest:?}")
    } else {
        format!("the error {:?}", answer.error)
    }
}

/// How many references use each production, and are refused for each reason.
fn classify(references: &[String]) -> BTreeMap<String, usize> {
    let productions = PRODUCTIONS.map(|(name, _)| name.to_owned());
    let errors = ERRORS.map(error_class);
    let names = productions
        .into_iter()
        .chain(errors)
        .chain(["beyond ASCII".to_owned()]);
    let mut classes: BTreeMap<_, _> = names.map(|name| (name, 0)).collect();
    let mut add = |class: &str| *classes.get_mut(class).unwrap() += 1;
    for text in references {
        if !text.is_ascii() {
            add("beyond ASCII");
        }
        match Reference::parse(text) {
            Ok(parsed) => {
                let used = PRODUCTIONS.iter().filter(|(_, uses)| uses(text, &parsed));
                used.for_each(|(name, _)| add(name));
            }
            Err(error) => add(&error_class(error)),
        }
    }
    classes
}

fn error_class(error: ParseError) -> String {
    format!("error {error:?}")
}

fn is_ipv6(parsed: &Reference<'_>) -> bool {
    parsed.registry().starts_with('[')
}

fn has_port(parsed: &Reference<'_>) -> bool {
    let host_end = parsed.registry().rfind(']').unwrap_or_default();
    parsed.registry()[host_end..].contains(':')
}

fn has_separator(parsed: &Reference<'_>, is: fn(&str) -> bool) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric() || c == '/';
    parsed.repository().split(alphanumeric).any(is)
}

fn has_digest(parsed: &Reference<'_>, algorithm: &str) -> bool {
    parsed
        .digest()
        .is_some_and(|digest| digest.starts_with(algorithm))
}
