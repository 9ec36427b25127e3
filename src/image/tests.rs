//! The grammar and the normalisation as tables that read like the specification.
//!
//! Every row says what the distribution project's Go module makes of it; the integration tests
//! compare the two on generated references.

use super::{ParseError, Reference};

/// What `image` is made of: registry, repository, tag and digest.
struct Parts {
    registry: &'static str,
    repository: &'static str,
    tag: Option<&'static str>,
    digest: Option<String>,
}

fn on(registry: &'static str, repository: &'static str) -> Parts {
    Parts {
        registry,
        repository,
        tag: None,
        digest: None,
    }
}

fn on_hub(repository: &'static str) -> Parts {
    on("docker.io", repository)
}

impl Parts {
    fn tag(self, tag: &'static str) -> Self {
        Self {
            tag: Some(tag),
            ..self
        }
    }

    fn digest(self, digest: String) -> Self {
        Self {
            digest: Some(digest),
            ..self
        }
    }
}

#[track_caller]
fn accepts(image: &str, expected: &Parts) {
    let reference = match Reference::parse(image) {
        Ok(reference) => reference,
        Err(error) => panic!("{image:?}: {error}"),
    };
    assert_eq!(reference.registry(), expected.registry, "{image:?}");
    assert_eq!(reference.repository(), expected.repository, "{image:?}");
    assert_eq!(reference.tag(), expected.tag, "{image:?}");
    assert_eq!(reference.digest(), expected.digest.as_deref(), "{image:?}");
}

#[track_caller]
fn refuses(image: &str, expected: ParseError) {
    assert_eq!(Reference::parse(image), Err(expected), "{image:?}");
}

fn hex(len: usize) -> String {
    "0123456789abcdef".chars().cycle().take(len).collect()
}

fn sha256() -> String {
    format!("sha256:{}", hex(64))
}

#[test]
fn awkward_references() {
    let digested = format!("nginx:1@{}", sha256());
    for (image, expected) in [
        ("nginx", on_hub("library/nginx")),
        ("index.docker.io/nginx", on_hub("library/nginx")),
        ("localhost/x", on("localhost", "x")),
        ("host:5000/a", on("host:5000", "a")),
        ("Upper/x", on("Upper", "x")),
        ("UPPER/x:1", on("UPPER", "x").tag("1")),
        ("[::1]:5000/a/b", on("[::1]:5000", "a/b")),
        ("registry-1.docker.io/x", on("registry-1.docker.io", "x")),
        ("docker.io", on_hub("library/docker.io")),
        ("a_b.io/x", on("", "a_b.io/x")),
        ("sha256:abc", on_hub("library/sha256").tag("abc")),
        (
            digested.as_str(),
            on_hub("library/nginx").tag("1").digest(sha256()),
        ),
    ] {
        accepts(image, &expected);
    }
    refuses(&hex(64), ParseError::Identifier);
    refuses(
        &format!("docker.io/nginx@sha256:{}", hex(54)),
        ParseError::Digest,
    );
}

#[test]
fn docker_hub_is_implied() {
    for (image, expected) in [
        ("busybox:toto", on_hub("library/busybox").tag("toto")),
        ("library/busybox", on_hub("library/busybox")),
        ("docker.io/busybox", on_hub("library/busybox")),
        ("docker.io/library/busybox", on_hub("library/busybox")),
        ("index.docker.io/library/a", on_hub("library/a")),
        ("index.docker.io/a/b", on_hub("a/b")),
        ("toto/tata/titi", on_hub("toto/tata/titi")),
        ("library", on_hub("library/library")),
        ("library/library", on_hub("library/library")),
        ("library/a/b", on_hub("library/a/b")),
        // `library/` is added on Docker Hub only, and only by its exact name.
        ("quay.io/busybox", on("quay.io", "busybox")),
        ("DOCKER.IO/busybox", on("DOCKER.IO", "busybox")),
        ("docker.io:443/busybox", on("docker.io:443", "busybox")),
        ("index.docker.io", on_hub("library/index.docker.io")),
        ("localhost", on_hub("library/localhost")),
        ("localhost:5000", on_hub("library/localhost").tag("5000")),
        ("docker.io:5000", on_hub("library/docker.io").tag("5000")),
    ] {
        accepts(image, &expected);
    }
}

#[test]
fn registries() {
    for (image, expected) in [
        ("a.b/x", on("a.b", "x")),
        ("1.2/x", on("1.2", "x")),
        ("10.0.0.1/x", on("10.0.0.1", "x")),
        ("10.0.0.1:5000/x/y:z", on("10.0.0.1:5000", "x/y").tag("z")),
        ("localhost:5000/x", on("localhost:5000", "x")),
        ("localhosT/x", on("localhosT", "x")),
        ("a:0/x", on("a:0", "x")),
        ("nginx:1/x", on("nginx:1", "x")),
        // No limit to ports, and no look at what they are.
        ("a:0099999999/x", on("a:0099999999", "x")),
        ("a--b.c/x", on("a--b.c", "x")),
        ("xn--n3h.example/x", on("xn--n3h.example", "x")),
        ("A/x", on("A", "x")),
        ("[::]/x", on("[::]", "x")),
        ("[2001:DB8::1]/x", on("[2001:DB8::1]", "x")),
        // The grammar wants hex digits and colons between the brackets, no more.
        ("[::::]:1/x", on("[::::]:1", "x")),
        ("[:]/x", on("[:]", "x")),
        // Without a dot, a colon or a capital, what comes first is part of the path.
        ("host/x", on_hub("host/x")),
        ("localhost1/x", on_hub("localhost1/x")),
        ("a__b/x", on_hub("a__b/x")),
        // It has a dot, but only as a path component: the grammar sees no registry.
        ("a__b.io/x/y", on("", "a__b.io/x/y")),
        ("a_b.io/x:1", on("", "a_b.io/x").tag("1")),
    ] {
        accepts(image, &expected);
    }
    for image in [
        "a..b/x",
        ".a/x",
        "a./x",
        "-a.b/x",
        "a-.b/x",
        "a.b-/x",
        "A_b/x",
        "a:/x",
        "a:b/x",
        "a:1:2/x",
        "a:-1/x",
        ":5000/x",
        "[::1/x",
        "[::1]a/x",
        "[::1]:/x",
        "[::1]:a/x",
        "[::1]5000/x",
        "[::ffff:1.2.3.4]/x",
        "[fe80::1%eth0]/x",
        "::1/x",
        "https://a.b/x",
        "user:pass@a.b/x",
        "a.b /x",
        "é.b/x",
        "nginx:v1/x",
    ] {
        refuses(image, ParseError::Registry);
    }
}

#[test]
fn components_and_separators() {
    for (image, expected) in [
        ("a.b", on_hub("library/a.b")),
        ("a_b", on_hub("library/a_b")),
        ("a__b", on_hub("library/a__b")),
        ("a-b", on_hub("library/a-b")),
        ("a--b", on_hub("library/a--b")),
        ("a-----b", on_hub("library/a-----b")),
        ("a.b_c__d-e--f", on_hub("library/a.b_c__d-e--f")),
        ("0/1/2", on_hub("0/1/2")),
        ("a.b/c.d/e_f", on("a.b", "c.d/e_f")),
    ] {
        accepts(image, &expected);
    }
    for image in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "a.b/",
        "a.b//c",
        "a___b",
        "a..b",
        "a._b",
        "a_.b",
        "a-_b",
        "a.-b",
        "_a",
        "a_",
        "a-",
        ".a",
        "a.",
        "-a",
        " a",
        "a ",
        "a\n",
        "a\0",
        "é",
        "a/é",
        "a/[::1]/b",
        "[abc]/x",
        "a+b",
        "a%2fb",
        "*",
        ":1",
        "@",
        "a/b?c",
    ] {
        refuses(image, ParseError::Repository);
    }
    for image in [
        "A",
        "nginX",
        "a/B",
        "a.b/C",
        "docker.io/Nginx:1",
        "A_",
        "a.b/c/_D",
    ] {
        refuses(image, ParseError::Uppercase);
    }
}

#[test]
fn tags() {
    let longest: &str = &"t".repeat(128);
    for tag in [
        "1",
        "A",
        "_",
        "_.-",
        "v1.2.3-rc.1",
        "UPPER",
        "a__b",
        "a..b",
        "a-",
        "a.",
        longest,
    ] {
        let image = format!("a.b/x:{tag}");
        let reference = Reference::parse(&image).unwrap();
        assert_eq!(reference.tag(), Some(tag));
        assert_eq!(reference.repository(), "x");
    }
    let too_long: &str = &"t".repeat(129);
    for tag in [
        "", ".a", "-a", "a/b", "a:b", "a+b", "a b", "a\n", "é", "1 ", too_long,
    ] {
        // Not `x:a/b`, where `x:a` would be read as a registry.
        refuses(&format!("a.b/x:{tag}"), ParseError::Tag);
    }
}

#[test]
fn digests() {
    for digest in [
        format!("sha256:{}", hex(64)),
        format!("sha384:{}", hex(96)),
        format!("sha512:{}", hex(128)),
    ] {
        accepts(
            &format!("x@{digest}"),
            &on_hub("library/x").digest(digest.clone()),
        );
        accepts(
            &format!("a.b/x:v@{digest}"),
            &on("a.b", "x").tag("v").digest(digest),
        );
    }
    for digest in [
        String::new(),
        "sha256".to_owned(),
        "sha256:".to_owned(),
        hex(64),
        // One digit less, one more, and another algorithm's number.
        format!("sha256:{}", hex(63)),
        format!("sha256:{}", hex(65)),
        format!("sha256:{}", hex(128)),
        format!("sha384:{}", hex(64)),
        format!("sha384:{}", hex(95)),
        format!("sha512:{}", hex(64)),
        format!("sha512:{}", hex(129)),
        // Upper case, in the digits and in the algorithm.
        format!("sha256:{}", hex(64).to_uppercase()),
        format!("sha256:{}", hex(64).replace('a', "A")),
        format!("SHA256:{}", hex(64)),
        // Algorithms that nobody registered.
        format!("sha1:{}", hex(40)),
        format!("md5:{}", hex(32)),
        format!("sha224:{}", hex(56)),
        format!("blake3:{}", hex(64)),
        format!("sha256+b64:{}", hex(64)),
        // Not hex, though 64 bytes long.
        format!("sha256:{}", "g".repeat(64)),
        format!("sha256:{}", "é".repeat(32)),
        format!("sha256:{} ", hex(64)),
        format!(" sha256:{}", hex(64)),
        // The tag comes first, and each comes once.
        format!("{}:tag", sha256()),
        format!("{0}@{0}", sha256()),
    ] {
        refuses(&format!("a.b/x@{digest}"), ParseError::Digest);
    }
}

#[test]
fn a_repository_has_at_most_255_bytes() {
    let longest = "a".repeat(255);
    for image in [
        format!("a.b/{longest}"),
        format!("a.b:5000/{longest}:tag"),
        // The registry does not count.
        format!("{}.example/{longest}", "r".repeat(300)),
        // `library/` does, written or not.
        "a".repeat(247),
        format!("docker.io/{}", "a".repeat(247)),
        format!("library/{}", "a".repeat(247)),
        // The first component of a repository without a registry does.
        format!("a_b.io/{}", "a".repeat(248)),
        // Tag and digest do not.
        format!("{}:{}@{}", "a".repeat(247), "t".repeat(128), sha256()),
    ] {
        let repository = Reference::parse(&image).unwrap().repository().into_owned();
        let len = repository.len();
        assert_eq!(len, 255, "{image:?}");
    }
    for image in [
        format!("a.b/{longest}a"),
        format!("a.b/{}/a", "a".repeat(254)),
        "a".repeat(248),
        longest,
        format!("docker.io/{}", "a".repeat(248)),
        format!("index.docker.io/{}:tag", "a".repeat(248)),
        format!("library/{}", "a".repeat(248)),
        format!("a_b.io/{}", "a".repeat(249)),
    ] {
        refuses(&image, ParseError::TooLong);
    }
}

#[test]
fn the_identifier_of_an_image_is_no_name() {
    for image in [hex(64), "0".repeat(64), "f".repeat(64)] {
        refuses(&image, ParseError::Identifier);
    }
    // Anything about it that makes it none makes it a name again.
    for image in [
        hex(63),
        hex(65),
        "g".repeat(64),
        format!("{}:1", hex(64)),
        format!("library/{}", hex(64)),
        format!("{}@{}", hex(64), sha256()),
    ] {
        assert!(Reference::parse(&image).is_ok(), "{image:?}");
    }
    refuses(&hex(64).to_uppercase(), ParseError::Uppercase);
}

#[test]
fn printed_it_is_the_canonical_form() {
    for (image, printed) in [
        ("nginx", "docker.io/library/nginx".to_owned()),
        ("nginx:1", "docker.io/library/nginx:1".to_owned()),
        ("index.docker.io/a/b", "docker.io/a/b".to_owned()),
        ("Upper/x", "Upper/x".to_owned()),
        ("[::1]:5000/a:b", "[::1]:5000/a:b".to_owned()),
        ("a_b.io/x", "a_b.io/x".to_owned()),
        (
            &*format!("x:1@{}", sha256()),
            format!("docker.io/library/x:1@{}", sha256()),
        ),
    ] {
        let reference = Reference::parse(image).unwrap();
        assert_eq!(reference.to_string(), printed);
        assert_eq!(Reference::parse(&printed), Ok(reference), "{image:?}");
    }
}

#[test]
fn errors_say_what_was_expected() {
    for (error, words) in [
        (ParseError::Identifier, "64 hex digits"),
        (ParseError::Registry, "before the first `/`"),
        (ParseError::Uppercase, "lower case"),
        (ParseError::Repository, "joined by one `.`, one or two `_`"),
        (ParseError::TooLong, "longer than 255 bytes"),
        (ParseError::Tag, "1 to 128"),
        (ParseError::Digest, "`sha256:`, `sha384:` or `sha512:`"),
    ] {
        let message = error.to_string();
        assert!(message.contains(words), "{message:?}");
    }
}
