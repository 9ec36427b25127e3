//! The decisions as tables that read like the specification; in words they are in `explain`, and
//! what the settings say, and what is wrong with them, is in `settings`.

mod explain;
mod settings;

use super::{Decision, Reason, Rules};

const DEFAULT: &str = "docker.io={proxy}";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Rules that load, with the proxy `example.com`, and nothing ignored.
#[track_caller]
fn rules(rewrites: &str) -> Rules {
    load("example.com", rewrites, "")
}

#[track_caller]
fn load(proxy_url: &str, rewrites: &str, ignore_images: &str) -> Rules {
    Rules::parse(proxy_url, rewrites, ignore_images).unwrap_or_else(|errors| {
        panic!("{proxy_url:?}, {rewrites:?}, {ignore_images:?}: {errors:?}")
    })
}

/// What becomes of `image`, and by the rule with which source.
#[track_caller]
fn swap(rules: &Rules, image: &str) -> (String, String) {
    match rules.decide(image, false) {
        Decision::Swap { target, rule } => {
            let source = rules.sources().nth(rule).unwrap();
            (target, source.to_owned())
        }
        Decision::Skip(reason) => panic!("{image:?} is skipped: {reason:?}"),
    }
}

#[track_caller]
fn swaps(rules: &Rules, rows: &[(&str, &str)]) {
    for (image, expected) in rows {
        assert_eq!(&swap(rules, image).0, expected, "{image:?}");
    }
}

#[track_caller]
fn skips(rules: &Rules, reason: Reason, images: &[&str]) {
    for image in images {
        let decision = rules.decide(image, false);
        assert_eq!(decision, Decision::Skip(reason), "{image:?}");
    }
}

#[test]
fn the_original_tools_own_cases() {
    let rules = rules(DEFAULT);
    swaps(
        &rules,
        &[
            ("busybox:toto", "example.com/library/busybox:toto"),
            ("busybox", "example.com/library/busybox:latest"),
            ("toto/tata:titi", "example.com/toto/tata:titi"),
            ("docker.io/toto/tata", "example.com/toto/tata:latest"),
            ("docker.io/busybox:titi", "example.com/library/busybox:titi"),
            ("toto/tata/titi:tag", "example.com/toto/tata/titi:tag"),
        ],
    );
    skips(
        &rules,
        Reason::NoRule,
        &[
            "example.org/toto/tata:titi",
            "gcr.io/busybox:titi",
            &format!("gcr.io/toto/tata:titi@{DIGEST}"),
            "gcr.io/toto/tata/titi:tag",
        ],
    );
}

#[test]
fn tag_and_digest_are_kept_and_latest_is_added_to_neither() {
    let rules = rules(DEFAULT);
    for (suffix, kept) in [
        ("", ":latest".to_owned()),
        (":v1", ":v1".to_owned()),
        (&*format!("@{DIGEST}"), format!("@{DIGEST}")),
        (&*format!(":v1@{DIGEST}"), format!(":v1@{DIGEST}")),
    ] {
        let (target, _) = swap(&rules, &format!("a/b{suffix}"));
        assert_eq!(target, format!("example.com/a/b{kept}"));
    }
}

#[test]
fn the_target_replaces_what_the_source_matched() {
    let rules = rules(
        "quay.io/prometheus={proxy}/prom, reg.corp:5000=mirror.corp/r, docker.io/library={proxy},
         gcr.io/a/b={proxy}/ab, [::1]:5000={proxy}/six, Upper/x=Target.corp",
    );
    swaps(
        &rules,
        &[
            (
                "quay.io/prometheus/node-exporter:v1",
                "example.com/prom/node-exporter:v1",
            ),
            ("quay.io/prometheus/a/b:1", "example.com/prom/a/b:1"),
            // The source may be the whole name.
            ("quay.io/prometheus:1", "example.com/prom:1"),
            ("reg.corp:5000/x:1", "mirror.corp/r/x:1"),
            ("nginx:1", "example.com/nginx:1"),
            ("gcr.io/a/b/c:1", "example.com/ab/c:1"),
            ("[::1]:5000/x:1", "example.com/six/x:1"),
            ("Upper/x/y:1", "Target.corp/y:1"),
        ],
    );
    skips(
        &rules,
        Reason::NoRule,
        &[
            // Only at the boundary of a component, the port being part of the registry.
            "quay.io/prometheus-operator/x",
            "quay.io/prometheusx",
            "quay.io/other/prometheus",
            "gcr.io/a/bc",
            "gcr.io/a",
            "reg.corp/x",
            "reg.corp:50/x",
            "reg.corp:50000/x",
            "a.reg.corp:5000/x",
            "bitnami/nginx",
            // Byte for byte, the registry as well.
            "Quay.io/prometheus/x",
            "UPPER/x/y",
            "[::1]/x",
            "[0::1]:5000/x",
        ],
    );
}

#[test]
fn the_longest_source_wins_and_order_never_matters() {
    let mut items = [
        "*=any.corp/{registry}",
        "docker.io={proxy}/hub",
        "docker.io/library={proxy}/official",
        "docker.io/library/nginx={proxy}/web",
        "docker.io/lib={proxy}/lib",
    ];
    for _ in 0..items.len() {
        items.rotate_left(1);
        for items in [
            items.join(","),
            items.iter().rev().copied().collect::<Vec<_>>().join("\n"),
        ] {
            let rules = rules(&items);
            for (image, target, source) in [
                ("nginx:1", "example.com/web:1", "docker.io/library/nginx"),
                (
                    "redis:1",
                    "example.com/official/redis:1",
                    "docker.io/library",
                ),
                ("lib/x:1", "example.com/lib/x:1", "docker.io/lib"),
                ("libs/x:1", "example.com/hub/libs/x:1", "docker.io"),
                ("quay.io/x:1", "any.corp/quay.io/x:1", "*"),
            ] {
                let expected = (target.to_owned(), source.to_owned());
                assert_eq!(swap(&rules, image), expected, "{image:?} by {items:?}");
            }
            assert_eq!(rules.sources().last(), Some("*"));
        }
    }
}

#[test]
fn the_star_replaces_the_registry() {
    swaps(
        &rules("*={proxy}/all"),
        &[
            ("nginx:1", "example.com/all/library/nginx:1"),
            ("quay.io/a/b:1", "example.com/all/a/b:1"),
            ("reg.corp:5000/a:1", "example.com/all/a:1"),
            ("[2001:db8::1]/a:1", "example.com/all/a:1"),
        ],
    );
}

#[test]
fn registry_is_the_images_registry_as_a_path_component() {
    let in_middle = rules("*={proxy}/m/x-{registry}_y/z");
    swaps(
        &in_middle,
        &[("quay.io/a:1", "example.com/m/x-quay.io_y/z/a:1")],
    );
    let rules = rules("*={proxy}/{registry}");
    for (registry, component) in [
        ("quay.io", "quay.io"),
        ("reg.corp:5000", "reg.corp-5000"),
        ("Upper.Corp:80", "upper.corp-80"),
        ("10.0.0.1:5000", "10.0.0.1-5000"),
        ("[2001:db8::1]:5000", "2001-db8--1-5000"),
        ("[2001:DB8::1]", "2001-db8--1"),
        ("[::2]", "2"),
        ("[::2]:80", "2-80"),
        ("[fe80::]", "fe80"),
        ("[fe80::]:80", "fe80---80"),
        // Not the loopback address, and all that is left is the port.
        ("[::]:5000", "5000"),
    ] {
        let (target, _) = swap(&rules, &format!("{registry}/a:1"));
        assert_eq!(target, format!("example.com/{component}/a:1"));
    }
    swaps(
        &rules,
        &[("nginx:1", "example.com/docker.io/library/nginx:1")],
    );
    skips(&rules, Reason::InvalidTarget, &["[::]/a:1", "[:]/a:1"]);
}

#[test]
fn registry_also_serves_a_source_that_is_no_star() {
    swaps(
        &rules("quay.io/a={proxy}/{registry}/b"),
        &[("quay.io/a/x:1", "example.com/quay.io/b/x:1")],
    );
}

#[test]
fn index_docker_io_is_docker_hub_in_every_setting() {
    swaps(
        &rules("index.docker.io=mirror.corp"),
        &[
            ("index.docker.io/a/b:1", "mirror.corp/a/b:1"),
            ("a/b:1", "mirror.corp/a/b:1"),
        ],
    );
    let proxied = load(
        "index.docker.io/mirror",
        "quay.io={proxy}",
        "index.docker.io/kept/",
    );
    swaps(&proxied, &[("quay.io/a:1", "docker.io/mirror/a:1")]);
    skips(&proxied, Reason::AlreadyProxied, &["mirror/a:1"]);
    skips(
        &proxied,
        Reason::Ignored,
        &["kept/a", "index.docker.io/kept/a"],
    );
}

#[test]
fn invalid_references_are_skipped() {
    let rules = rules("*={proxy}");
    skips(
        &rules,
        Reason::InvalidReference,
        &[
            "",
            "Nginx",
            "a.b/x:",
            "a___b",
            " nginx",
            "{proxy}/x",
            "x@sha256:0",
        ],
    );
    // Whatever their pull policy is.
    let decision = rules.decide("Nginx", true);
    assert_eq!(decision, Decision::Skip(Reason::InvalidReference));
}

#[test]
fn images_that_are_never_pulled_are_skipped_before_any_rule() {
    let rules = load("example.com", DEFAULT, "registry");
    for image in ["nginx", "example.com/nginx", "registry", "quay.io/x"] {
        let decision = rules.decide(image, true);
        assert_eq!(decision, Decision::Skip(Reason::NeverPulled), "{image:?}");
    }
}

#[test]
fn images_below_a_target_are_already_proxied() {
    let rules = load(
        "Proxy.corp:5000/hub",
        "docker.io={proxy}, gcr.io=mirror.corp/a-{registry}/b, k8s.io=docker.io/k8s",
        // What is proxied is no longer ignored: the reason is the earlier one.
        "Proxy.corp:5000/, mirror.corp/, docker.io/k8s/",
    );
    skips(
        &rules,
        Reason::AlreadyProxied,
        &[
            "Proxy.corp:5000/hub/library/nginx:1",
            "Proxy.corp:5000/hub",
            // The registry is a host name: its case says nothing.
            "proxy.CORP:5000/hub/x",
            // The fixed part ends before the component that holds `{registry}`.
            "mirror.corp/x",
            "mirror.corp/a-gcr.io/b/x",
            "k8s/pause:3",
            "index.docker.io/k8s/pause:3",
        ],
    );
    skips(
        &rules,
        Reason::Ignored,
        &["Proxy.corp:5000/other/x", "Proxy.corp:5000/hubs/x"],
    );
    skips(
        &rules,
        Reason::NoRule,
        &[
            "Proxy.corp/hub/x",
            "Proxy.corp:500/hub/x",
            "other.corp/hub/x",
        ],
    );
}

#[test]
fn the_star_leaves_a_targets_registry_alone() {
    let rules = rules("*={proxy}/all, a.io/x=mirror.corp:5000/m, example.com/own={proxy}/mine");
    skips(
        &rules,
        Reason::AlreadyProxied,
        &[
            "example.com/x",
            "EXAMPLE.com/x",
            "mirror.corp:5000/x",
            "example.com/owned/x",
        ],
    );
    swaps(
        &rules,
        &[
            // Another rule that matches says otherwise.
            ("example.com/own/x:1", "example.com/mine/x:1"),
            // Another port is another registry.
            ("mirror.corp/x:1", "example.com/all/x:1"),
            ("example.com:443/x:1", "example.com/all/x:1"),
        ],
    );
}

#[test]
fn ignored_images() {
    for (item, ignored, others) in [
        (
            "quay.io/",
            &["quay.io/a", "quay.io/a/b:1"][..],
            &["quay.io.corp/a", "quay.io:443/a", "quay/a"][..],
        ),
        (
            "docker.io/bitnami/",
            &["bitnami/nginx", "docker.io/bitnami/a/b"],
            // The repository itself is not below.
            &[
                "bitnami",
                "docker.io/bitnami2/x",
                "quay.io/bitnami/x",
                "a/bitnami/x",
            ],
        ),
        (
            "bitnami/",
            &["bitnami/nginx", "index.docker.io/bitnami/a"],
            &["quay.io/bitnami/x"],
        ),
        ("a/b/", &["a/b/c"], &["a/b", "a/bc/d"]),
        ("docker.io/", &["nginx", "a/b"], &["quay.io/nginx"]),
        (
            "library/",
            &["nginx", "library/a"],
            &["a/b", "quay.io/library/a"],
        ),
        (
            "reg.corp:5000/",
            &["reg.corp:5000/a"],
            &["reg.corp/a", "reg.corp:500/a"],
        ),
        ("localhost/", &["localhost/a"], &["localhost.corp/a"]),
        ("[::2]:5000/", &["[::2]:5000/a"], &["[::2]/a"]),
        // An image: that repository alone, with any tag and digest.
        (
            "registry",
            &[
                "registry",
                "registry:2",
                "docker.io/library/registry@{d}",
                "library/registry:2@{d}",
            ],
            &["registry/x", "a/registry", "quay.io/registry", "registry2"],
        ),
        (
            "quay.io/a/b",
            &["quay.io/a/b:1"],
            &["quay.io/a", "quay.io/a/b/c"],
        ),
        // With a tag, that tag; an image with neither has `latest`, one with a digest has not.
        (
            "nginx:1",
            &["nginx:1", "nginx:1@{d}"],
            &["nginx", "nginx:2", "nginx:latest", "nginx@{d}"],
        ),
        (
            "nginx:latest",
            &[
                "nginx",
                "nginx:latest",
                "docker.io/nginx",
                "nginx:latest@{d}",
            ],
            &["nginx:1", "nginx@{d}"],
        ),
        (
            "nginx@{d}",
            &["nginx@{d}", "nginx:1@{d}"],
            &["nginx", "nginx:1", "nginx@{e}"],
        ),
        (
            "nginx:1@{d}",
            &["nginx:1@{d}"],
            &["nginx:1", "nginx@{d}", "nginx:2@{d}"],
        ),
        ("a_b.io/x", &["a_b.io/x", "a_b.io/x:1"], &[]),
    ] {
        let fill = |text: &str| {
            let other = DIGEST.replace('0', "1");
            text.replace("{d}", DIGEST).replace("{e}", &other)
        };
        let rules = load("example.com", "*={proxy}/all", &fill(item));
        for image in ignored {
            let decision = rules.decide(&fill(image), false);
            assert_eq!(
                decision,
                Decision::Skip(Reason::Ignored),
                "{item:?}: {image:?}"
            );
        }
        for image in others {
            let decision = rules.decide(&fill(image), false);
            assert!(
                matches!(decision, Decision::Swap { .. }),
                "{item:?}: {image:?}: {decision:?}"
            );
        }
    }
}

#[test]
fn images_that_no_source_matches() {
    skips(
        &rules(DEFAULT),
        Reason::NoRule,
        &["quay.io/a", "localhost/a", "127.0.0.1/a", "a_b.io/x"],
    );
    // Not even `*` matches where the grammar sees no registry.
    skips(
        &rules("*={proxy}"),
        Reason::NoRule,
        &["a_b.io/x", "a__b.io/x/y:1"],
    );
}

#[test]
fn the_star_never_matches_the_nodes_own_registry() {
    let all = rules("*={proxy}");
    skips(
        &all,
        Reason::LocalRegistry,
        &[
            "localhost/a",
            "localhost:5000/a",
            "LOCALHOST/a",
            "LocalHost:5000/a",
            "127.0.0.1/a",
            "127.0.0.1:5000/a",
            "127.255.255.254/a",
            "[::1]/a",
            "[::1]:5000/a",
            "[0:0:0:0:0:0:0:1]/a",
            "[0000::0001]:80/a",
            // 127.0.0.1, mapped into IPv6.
            "[::ffff:7f00:1]:5000/a",
        ],
    );
    for image in [
        "localhost.corp/a",
        "localhost1:5000/a",
        "a.localhost/a",
        "128.0.0.1/a",
        "127.0.0.1.nip.io/a",
        // Names, not addresses.
        "127.1/a",
        "127.0.0.01/a",
        "[::2]/a",
        "[::1:1]/a",
        "[:::1]/a",
        "10.0.0.1/a",
        // On Docker Hub, as in the grammar.
        "localhost",
        "localhost:5000",
    ] {
        swap(&all, image);
    }
    // Another rule may match.
    swaps(
        &rules("*={proxy}, localhost:5000={proxy}/local"),
        &[("localhost:5000/a:1", "example.com/local/a:1")],
    );
}

#[test]
fn a_swapped_form_that_would_be_another_image_is_none() {
    for (proxy, rewrites, image) in [
        // Its result would be an image on Docker Hub.
        ("example.com", "docker.io/library/nginx={proxy}", "nginx"),
        ("example.com", "docker.io/library/nginx={proxy}", "nginx:1"),
        ("localhost:5000", "docker.io/library/nginx={proxy}", "nginx"),
        (
            "localhost:5000",
            "docker.io/library/nginx={proxy}",
            "docker.io/nginx@{d}",
        ),
        ("[::2]:5000", "quay.io/a/b={proxy}", "quay.io/a/b:1"),
        ("docker.io", "quay.io/a/b={proxy}", "quay.io/a/b:1"),
        // It would gain `library/`.
        ("docker.io/mirror", "quay.io/a={proxy}", "quay.io/a:1"),
        ("docker.io", "quay.io={proxy}", "quay.io/a:1"),
    ] {
        let rules = load(proxy, rewrites, "");
        let image = image.replace("{d}", DIGEST);
        skips(&rules, Reason::InvalidTarget, &[&image]);
    }
}

#[test]
fn a_swapped_form_that_would_be_too_long_is_none() {
    let path = |len: usize| format!("quay.io/{}:1", "a".repeat(len));
    let rules = rules("quay.io={proxy}/cache");
    swap(&rules, &path(249));
    skips(&rules, Reason::InvalidTarget, &[&path(250), &path(255)]);
    skips(&rules, Reason::InvalidReference, &[&path(256)]);
}

#[test]
fn each_reason_is_given_before_the_next() {
    // Each image gives more than one reason.
    let rules = load(
        "example.com/docker",
        "*={proxy}, quay.io/long={proxy}/longer",
        "example.com/, localhost/, a_b.io/x, quay.io/long/",
    );
    let long = format!("quay.io/long/{}", "a".repeat(245));
    for (image, never_pulled, reason) in [
        ("localhost/A", true, Reason::InvalidReference),
        ("example.com/docker/x", true, Reason::NeverPulled),
        ("example.com/docker/x", false, Reason::AlreadyProxied),
        ("example.com/x", false, Reason::AlreadyProxied),
        ("a_b.io/x", false, Reason::Ignored),
        ("localhost/x", false, Reason::Ignored),
        (&long, false, Reason::Ignored),
        ("a_b.io/y", false, Reason::NoRule),
        ("localhost:5000/x", false, Reason::LocalRegistry),
    ] {
        let decision = rules.decide(image, never_pulled);
        assert_eq!(decision, Decision::Skip(reason), "{image:?}");
    }
    // On this node, and too long as well.
    let rules = load("example.com", "*={proxy}/x", "");
    let local = format!("localhost/{}", "a".repeat(255));
    skips(&rules, Reason::LocalRegistry, &[&local]);
}

#[test]
fn a_swapped_image_is_never_swapped_again() {
    for (proxy, rewrites, image) in [
        ("example.com", DEFAULT, "nginx"),
        ("docker.io/mirror", "docker.io/library={proxy}", "nginx"),
        ("Proxy.corp", "*={proxy}/{registry}", "quay.io/a@{d}"),
        // The target is below another rule's source.
        (
            "quay.io/proxy",
            "docker.io={proxy}, quay.io=mirror.corp",
            "nginx",
        ),
        (
            "localhost:5000",
            "docker.io={proxy}, *=mirror.corp",
            "nginx",
        ),
    ] {
        let rules = load(proxy, rewrites, "");
        let (target, _) = swap(&rules, &image.replace("{d}", DIGEST));
        skips(&rules, Reason::AlreadyProxied, &[&target]);
    }
}

#[test]
fn names_of_the_reasons() {
    let names = Reason::ALL.map(Reason::as_str);
    assert_eq!(
        names,
        [
            "invalid_reference",
            "never_pulled",
            "already_proxied",
            "ignored",
            "no_rule",
            "local_registry",
            "invalid_target",
            "unchanged",
            "mirror_pod",
            "opted_out",
            "observed",
        ]
    );
}
