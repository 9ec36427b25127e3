//! The recipes of the chart, `chart/recipes`: each is a values file, whose comments say what becomes
//! of which image. These are asked of the program, and README's table is made of them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use image_swapper::rules::{Decision, Rules};

use crate::readme;
use crate::support::run;

/// What each recipe has an example of.
const REGISTRIES: [&str; 7] = [
    "docker.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
];

struct Recipe {
    name: String,
    /// The first line.
    what: String,
    /// Images as written, and what becomes of them: `not swapped`, or another image.
    examples: Vec<(String, String)>,
    proxy_url: String,
    rewrites: Vec<String>,
}

impl Recipe {
    /// Reads such a file, which is YAML of the simplest kind.
    fn read(file: &Path) -> Self {
        let name = file.file_name().unwrap().to_str().unwrap();
        let name = name.strip_suffix("-values.yaml").unwrap();
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines().peekable();
        let mut comments = Vec::new();
        while let Some(comment) = lines.next_if(|line| line.starts_with('#')) {
            comments.push(comment.trim_start_matches('#').trim_start());
        }
        let mut value = |key: &str| lines.next().unwrap().strip_prefix(key).unwrap().to_owned();
        let proxy_url = value("proxyUrl: ");
        assert_eq!(value("rewrites:"), "");
        let mut rewrites = Vec::new();
        while let Some(item) = lines.next_if(|line| line.starts_with("  - ")) {
            rewrites.push(item["  - ".len()..].to_owned());
        }
        let rest: Vec<_> = lines.collect();
        assert!(
            rest.len() == 2 && rest[0] == "image:" && rest[1].starts_with("  repository: "),
            "{name}: {rest:?}"
        );
        let examples = comments
            .iter()
            .filter_map(|comment| comment.split_once(" -> "));
        Self {
            name: name.to_owned(),
            what: comments[0].to_owned(),
            examples: examples
                .map(|(image, becomes)| (image.to_owned(), becomes.to_owned()))
                .collect(),
            proxy_url,
            rewrites,
        }
    }

    /// All of them, by their names.
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("chart/recipes");
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 6);
        files.iter().map(|file| Self::read(file)).collect()
    }
}

#[test]
fn each_makes_of_its_examples_what_it_says() {
    for recipe in Recipe::all() {
        let rewrites = recipe.rewrites.join(",");
        let env = [("PROXY_URL", &*recipe.proxy_url), ("REWRITES", &*rewrites)];
        let images = recipe.examples.iter().map(|(image, _)| &**image);
        let args: Vec<_> = ["rewrite", "--"].into_iter().chain(images).collect();
        let output = run(&args, &env, b"");
        assert!(output.status.success(), "{}: {output:?}", recipe.name);
        let printed = String::from_utf8(output.stdout).unwrap();
        let mut expected = String::new();
        for (image, becomes) in &recipe.examples {
            let line = if becomes == "not swapped" {
                image
            } else {
                becomes
            };
            writeln!(expected, "{line}").unwrap();
        }
        assert_eq!(printed, expected, "{}", recipe.name);
    }
}

#[test]
fn each_has_an_example_of_every_rule_and_of_every_common_registry() {
    for recipe in Recipe::all() {
        let rules = Rules::parse(&recipe.proxy_url, &recipe.rewrites.join(","), "").unwrap();
        assert!(rules.warnings().is_empty(), "{}", recipe.name);
        let images = || recipe.examples.iter().map(|(image, _)| &**image);
        for (index, rule) in rules.sources().enumerate() {
            let applies = |image| matches!(rules.decide(image, false), Decision::Swap { rule, .. } if rule == index);
            assert!(images().any(applies), "{}: {rule}", recipe.name);
        }
        for registry in REGISTRIES {
            let named = |image: &str| match image.split_once('/') {
                Some((first, _)) if first.contains('.') => first == registry,
                _ => registry == "docker.io",
            };
            assert!(images().any(named), "{}: {registry}", recipe.name);
        }
    }
}

#[test]
fn the_table_of_them_is_that_of_the_files() {
    let mut table = "| values file | for | `nginx:1.27` becomes |\n|---|---|---|\n".to_owned();
    for recipe in Recipe::all() {
        let (image, becomes) = &recipe.examples[0];
        assert_eq!(image, "nginx:1.27");
        let Recipe { name, what, .. } = &recipe;
        let what = what.trim_end_matches('.');
        writeln!(
            table,
            "| [{name}](chart/recipes/{name}-values.yaml) | {what} | `{becomes}` |"
        )
        .unwrap();
    }
    readme::assert_part("recipes", &table);
}
