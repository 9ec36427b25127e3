//! `preview`: the decisions about the images of objects, as a table and as JSON.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::thread;

use image_swapper::mutate::Mutator;
use image_swapper::review::Review;
use image_swapper::rules::Rules;
use serde_json::{Value, json};

use super::{stderr, stdout};
use crate::support::{Directory, command, memory, piped, run, test_file};

const ENV: [(&str, &str); 1] = [("PROXY_URL", "registry.example.com")];

/// The lines that `preview --json` prints.
fn lines(input: &Value) -> Vec<Value> {
    let output = run(&["preview", "--json"], &ENV, input.to_string().as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = |line| serde_json::from_str(line).unwrap();
    stdout(&output).lines().map(line).collect()
}

/// Of each image, the object, the field, the image, and what becomes of it or why nothing does.
fn decisions(input: &Value) -> Vec<[String; 4]> {
    let of_line = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let object = format!("{}/{}/{}", text("namespace"), text("kind"), text("name"));
        let outcome = text("target").to_owned() + text("reason");
        [&object, text("field"), text("image"), &outcome].map(str::to_owned)
    };
    lines(input).iter().map(of_line).collect()
}

fn container(image: &str) -> Value {
    json!({"name": "a", "image": image})
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"containers": [container(image)]}
    })
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List"})
}

#[test]
fn a_table_and_totals() {
    let path = test_file("objects/shop.json");
    let expected = "\
NAMESPACE  OBJECT          FIELD                                   IMAGE                                 OUTCOME  WHY              BECOMES
shop       Deployment/web  spec.template.spec.containers[0].image  nginx:1.27                            swap     docker.io        registry.example.com/library/nginx:1.27
shop       Deployment/web  spec.template.spec.containers[1].image  quay.io/prometheus/node-exporter:v1   skip     no_rule          -
shop       Pod/cache-0     spec.containers[0].image                registry.example.com/library/redis:7  skip     already_proxied  -

IMAGES  REGISTRY              OUTCOME  WHY
1       docker.io             swap     docker.io
1       quay.io               skip     no_rule
1       registry.example.com  skip     already_proxied

would be swapped: 1 of 3 images; without a Pod, and passed over: 1 of 3 objects
";
    for args in [
        &["preview", "-f", path.to_str().unwrap()][..],
        &["preview"],
        &["preview", "-f", "-"],
    ] {
        let output = run(args, &ENV, &fs::read(&path).unwrap());
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), expected);
    }
}

#[test]
fn json_has_an_object_for_each_image() {
    let path = test_file("objects/shop.json");
    let output = run(
        &["preview", "--json", "-f", path.to_str().unwrap()],
        &ENV,
        b"",
    );
    let expected = r#"{"namespace":"shop","kind":"Deployment","name":"web","field":"spec.template.spec.containers[0].image","image":"nginx:1.27","decision":"swap","target":"registry.example.com/library/nginx:1.27","rule":"docker.io","registry":"docker.io","repository":"library/nginx","tag":"1.27"}
{"namespace":"shop","kind":"Deployment","name":"web","field":"spec.template.spec.containers[1].image","image":"quay.io/prometheus/node-exporter:v1","decision":"skip","reason":"no_rule","registry":"quay.io","repository":"prometheus/node-exporter","tag":"v1"}
{"namespace":"shop","kind":"Pod","name":"cache-0","field":"spec.containers[0].image","image":"registry.example.com/library/redis:7","decision":"skip","reason":"already_proxied","registry":"registry.example.com","repository":"library/redis","tag":"7"}
"#;
    assert_eq!(stdout(&output), expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_image_of_a_pod() {
    let mut pod = pod("web", "a");
    pod["spec"]["initContainers"] =
        json!([container("b"), {"image": "c", "imagePullPolicy": "Never"}]);
    pod["spec"]["ephemeralContainers"] = json!([container("d")]);
    pod["spec"]["volumes"] = json!([{"name": "x"}, {"name": "y", "image": {"reference": "e"}}]);
    let row = |field: &str, image: &str, outcome: &str| {
        ["shop/Pod/web", field, image, outcome].map(str::to_owned)
    };
    let swapped = |image: &str| format!("registry.example.com/library/{image}:latest");
    assert_eq!(
        decisions(&pod),
        [
            row("spec.containers[0].image", "a", &swapped("a")),
            row("spec.initContainers[0].image", "b", &swapped("b")),
            row("spec.initContainers[1].image", "c", "never_pulled"),
            row("spec.volumes[1].image.reference", "e", &swapped("e")),
            row("spec.ephemeralContainers[0].image", "d", &swapped("d")),
        ]
    );
    pod["metadata"]["labels"] = json!({"k8s-proxy-image-swapper": "skip"});
    let outcomes = |pod: &Value| -> Vec<_> {
        let decisions = decisions(pod).into_iter();
        decisions.map(|[.., outcome]| outcome).collect()
    };
    assert_eq!(outcomes(&pod), ["opted_out"; 5]);
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert_eq!(outcomes(&pod), ["mirror_pod"; 5]);
}

#[test]
fn every_object_that_holds_a_pod() {
    let template = |labels: Value| json!({"metadata": {"labels": labels}, "spec": {"containers": [container("a")]}});
    let object = |kind: &str, spec: Value| json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec});
    let swapped = "registry.example.com/library/a:latest";
    let skip = json!({"k8s-proxy-image-swapper": "skip"});
    for (object, expected) in [
        (
            object("StatefulSet", json!({"template": template(json!({}))})),
            [
                "/StatefulSet/web",
                "spec.template.spec.containers[0].image",
                "a",
                swapped,
            ],
        ),
        // What counts is the label of the Pods that come of it.
        (
            object("DaemonSet", json!({"template": template(skip)})),
            [
                "/DaemonSet/web",
                "spec.template.spec.containers[0].image",
                "a",
                "opted_out",
            ],
        ),
        (
            object(
                "CronJob",
                json!({"jobTemplate": {"spec": {"template": template(Value::Null)}}}),
            ),
            [
                "/CronJob/web",
                "spec.jobTemplate.spec.template.spec.containers[0].image",
                "a",
                swapped,
            ],
        ),
        (
            json!({"kind": "PodTemplate", "metadata": {"name": "web"}, "template": template(json!({}))}),
            [
                "/PodTemplate/web",
                "template.spec.containers[0].image",
                "a",
                swapped,
            ],
        ),
    ] {
        assert_eq!(decisions(&object), [expected.map(str::to_owned)]);
    }
}

#[test]
fn items_that_do_not_say_their_kind_have_that_of_their_list() {
    // As `kubectl get --raw` prints them.
    let raw = r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"web"},"spec":{"containers":[{"image":"a"}]}}]}
{"kind":"DeploymentList","items":[{"metadata":{"name":"web"},"spec":{"template":{"spec":{"containers":[{"image":"a"}]}}}}]}
{"kind":"List","items":[{"metadata":{"name":"web"},"spec":{"containers":[{"image":"a"}]}}]}
{"kind":"PodList","items":null}"#;
    let output = run(&["preview", "--json"], &ENV, raw.as_bytes());
    let kind = |line: &str| serde_json::from_str::<Value>(line).unwrap()["kind"].clone();
    let kinds: Vec<_> = stdout(&output).lines().map(kind).collect();
    assert_eq!(kinds, [json!("Pod"), json!("Deployment"), Value::Null]);
}

#[test]
fn files_one_after_the_other() {
    let directory = Directory::new();
    let path = |name: &str, objects: &Value| {
        let path = directory.write(name, objects.to_string());
        path.into_os_string().into_string().unwrap()
    };
    let (one, two) = (
        path("one", &pod("one", "a")),
        path("two", &list(&[pod("two", "b")])),
    );
    let three = format!("{}{}", pod("three", "c"), json!([pod("four", "d")]));
    let args = ["preview", "--json", "-f", &one, "-f", "-", "-f", &two];
    let output = run(&args, &ENV, three.as_bytes());
    let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["name"].clone();
    let names: Vec<_> = stdout(&output).lines().map(name).collect();
    assert_eq!(names, ["one", "three", "four", "two"]);

    let missing = directory.path().join("missing").display().to_string();
    let output = run(&["preview", "-f", &missing], &ENV, b"");
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("k8s-proxy-image-swapper: {missing}: No such file or directory (os error 2)\n");
    assert_eq!(stderr(&output), expected);
}

/// What the server would patch and what `preview` says are the same, of every recorded review.
#[test]
fn reviews_are_decided_as_the_server_does() {
    let mutator = Mutator::new(Rules::parse(ENV[0].1, "docker.io={proxy}", "registry").unwrap());
    let mut swaps = 0;
    for file in fs::read_dir(test_file("reviews")).unwrap() {
        let file = file.unwrap().path();
        let Ok(review) = fs::read(&file) else {
            continue;
        };
        let patch = mutator
            .mutate(&Review::read(&review).unwrap())
            .patch
            .into_json();
        let patch: Vec<Value> = serde_json::from_str(&patch).unwrap();
        let replaced = patch
            .iter()
            .filter(|operation| operation["op"] == "replace");
        let patched: Vec<_> = replaced
            .map(|operation| {
                (
                    operation["path"].as_str().unwrap().to_owned(),
                    operation["value"].clone(),
                )
            })
            .collect();

        let said = lines(&serde_json::from_slice(&review).unwrap());
        let said = said.iter().filter(|line| line["decision"] == "swap");
        let said: Vec<_> = said
            .map(|line| {
                let field = line["field"].as_str().unwrap();
                let field = field.strip_prefix("request.object.").unwrap();
                let pointer = field.replace(['.', '['], "/").replace(']', "");
                (format!("/{pointer}"), line["target"].clone())
            })
            .collect();
        assert_eq!(said, patched, "{}", file.display());
        swaps += said.len();
    }
    assert!(swaps > 10, "only {swaps}");
}

#[test]
fn the_exit_code_tells_whether_anything_would_be_swapped() {
    let (swapped, left) = (
        pod("web", "nginx"),
        pod("web", "registry.example.com/library/nginx"),
    );
    for (args, object, code) in [
        (&["preview"][..], &swapped, 0),
        (&["preview", "--exit-code"], &swapped, 2),
        (&["preview", "--exit-code", "--json"], &swapped, 2),
        (&["preview", "--exit-code"], &left, 0),
        (&["preview", "--exit-code"], &json!({"kind": "Service"}), 0),
        (&["preview", "--exit-code"], &list(&[]), 0),
        (&["preview", "--exit-code"], &json!("nginx"), 1),
    ] {
        let output = run(args, &ENV, object.to_string().as_bytes());
        assert_eq!(output.status.code(), Some(code), "{args:?} {object}");
    }
    // A `kubectl` that fails prints nothing.
    let output = run(&["preview", "--exit-code"], &ENV, b"");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_wrong_is_named_and_what_precedes_it_is_printed() {
    let good = pod("good", "nginx");
    let bad =
        json!({"kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": [{"image": 1}]}});
    let object = "expected a JSON object, as `kubectl get -o json` prints it, and found";
    for (rest, problem) in [
        ("apiVersion: v1".to_owned(), format!("line 2: {object} `a`")),
        ("---\n".to_owned(), format!("line 2: {object} `-`")),
        ("\n[1]".to_owned(), format!("line 3: {object} `1`")),
        (
            "{\n\"kind\": \"Pod\"".to_owned(),
            "line 3: expected the rest of an object, and found the end".to_owned(),
        ),
        (
            "{\"a\":}".to_owned(),
            "object 2, from line 2: expected value at line 1 column 6".to_owned(),
        ),
        (
            bad.to_string(),
            "object 2, from line 2: the Pod in it: invalid type: integer `1`, expected a string at line 1 column 72".to_owned(),
        ),
    ] {
        let input = format!("{good}\n{rest}");
        let output = run(&["preview", "--json"], &ENV, input.as_bytes());
        assert_eq!(output.status.code(), Some(1), "{rest}");
        let expected = format!("k8s-proxy-image-swapper: standard input: {problem}\n");
        assert_eq!(stderr(&output), expected);
        assert_eq!(stdout(&output).lines().count(), 1, "{rest}");
        assert!(stdout(&output).contains("\"name\":\"good\""));
    }
}

#[test]
fn nothing_that_an_image_is_called_reaches_a_terminal() {
    let output = run(
        &["preview"],
        &ENV,
        pod("web", "a\u{1b}[2J\nb c\u{9b}").to_string().as_bytes(),
    );
    let row = stdout(&output).lines().nth(1).unwrap();
    assert!(row.contains(r#" "a\u{1b}[2J\nb c\u{9b}" "#), "{row}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!stdout(&output).contains(control));
}

#[test]
fn it_is_no_error_that_nobody_reads_on() {
    let unknown = "k8s-proxy-image-swapper: not every object was looked at: nobody read on\n";
    for (args, image, expected) in [
        (&["preview"][..], "nginx", (Some(0), "")),
        (&["preview", "--exit-code"], "nginx", (Some(2), "")),
        // None of those that it has seen, but then none of the others.
        (&["preview", "--exit-code"], "quay.io/a", (Some(1), unknown)),
    ] {
        let mut child = piped(args, &ENV);
        let mut input = child.stdin.take().unwrap();
        let output = child.stdout.take().unwrap();
        let writing = thread::spawn(move || {
            // It is not all read.
            let _ = write_pods(&mut input, image, 10_000);
        });
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert!(line.starts_with("NAMESPACE "));
        writing.join().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), expected);
    }
}

/// Writes a list of so many Pods, about as large as they are on a cluster, up to its last item.
fn write_pods(to: &mut impl Write, image: &str, count: usize) -> std::io::Result<()> {
    let mut pod = pod("web", image);
    pod["metadata"]["annotations"] = json!({"padding": "}\"]".repeat(1_000)});
    let pod = pod.to_string();
    write!(to, "{{\"apiVersion\":\"v1\",\"items\":[")?;
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        write!(to, "{comma}{pod}")?;
    }
    Ok(())
}

/// The most memory in KiB that a preview of a list of so many Pods has taken before the list ends.
fn peak(count: usize) -> u64 {
    let mut child = command(&["preview", "--json"], &ENV)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input: ChildStdin = child.stdin.take().unwrap();
    let output: ChildStdout = child.stdout.take().unwrap();
    let reading = thread::spawn(move || BufReader::new(output).lines().count());
    write_pods(&mut input, "nginx", count).unwrap();
    // It takes no more than a pipe's worth before it has done with all else.
    let peak = memory(child.id(), "VmHWM");
    input.write_all(b"],\"kind\":\"List\"}").unwrap();
    drop(input);
    assert_eq!(reading.join().unwrap(), count);
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn a_list_of_any_length_takes_the_memory_of_its_largest_item() {
    let (few, many) = (peak(1_000), peak(100_000));
    println!("at most {few} KiB for 1,000 Pods, {many} KiB for 100,000");
    assert!(many <= few + 1024, "{few} KiB and {many} KiB");
}
