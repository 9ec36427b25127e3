//! Reviews of Pods as odd as an API server may send them, and a few that it never sends.

use image_swapper::mutate::Mutator;
use image_swapper::rules::Decision;
use serde_json::{Map, Value, json};

use crate::random::Random;

/// Under the rules of the property test: images of every fate.
const IMAGES: [&str; 47] = [
    "nginx",
    "nginx:1.27",
    "redis:7",
    "busybox@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "index.docker.io/library/redis:7@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "docker.io/nginx",
    "acme/team/web:1",
    "acme/WIDE:1",
    "quay.io/prometheus/node-exporter:v1",
    "quay.io/acme/lib",
    "ghcr.io/acme/web:2",
    "Upper/x",
    "host:5000/team/tool:1",
    "[2001:db8::1]:5000/x/y:z",
    // No rule matches
    "a_b.io/x",
    "a_b.io/x/y:1",
    "a__b.c/d",
    // Ignored
    "registry",
    "registry:2",
    "docker.io/library/registry@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "quay.io/ignored/x",
    "quay.io/ignored/x/y:1",
    // Proxied
    "proxy.example/cache/library/nginx:1",
    "PROXY.example/cache/library/nginx:1",
    "proxy.example/other:1",
    "mirror.example:5000/prom/x",
    // Local
    "localhost/x",
    "localhost:5000/x:1",
    "LOCALHOST/x",
    "127.0.0.1/x",
    "127.8.9.1:5000/x",
    "[::1]:5000/a/b",
    // Swapped into what is no image
    "long.example/LONG",
    "quay.io/prometheus/LONG",
    "quay.io/prometheus/LONG:1",
    "long.example/LONG@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    // Invalid
    "",
    " ",
    "Not A Reference!",
    "nginx:",
    "nginx:1:2",
    "https://nginx",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "quotes \" and \\ and / and ~1",
    "controls \u{0}\u{1}\u{8}\u{c}\n\r\t\u{1f}\u{7f}",
    "é雪/\u{1f600}",
    "${IMAGE}",
];

/// Keys and names that must be escaped in JSON, in a JSON Pointer or both, or look as if they were.
const ODD: [&str; 18] = [
    "",
    "/",
    "~",
    "~1",
    "~0",
    "a/b",
    "a.b",
    "A",
    "-a",
    "a-",
    "\"",
    "\\",
    "\\u0041",
    "line\nline",
    "\u{0}\u{8}\u{c}\r\t\u{1f}",
    "é雪",
    "\u{1f600}\u{10ffff}",
    "image",
];

pub(crate) struct Generator<'g> {
    pub(crate) mutator: &'g Mutator,
    pub(crate) random: &'g mut Random,
}

impl Generator<'_> {
    /// The review, and whether it was damaged.
    pub(crate) fn review(&mut self) -> (Value, bool) {
        let (operation, sub) = match self.random.below(100) {
            0..36 => ("CREATE", ""),
            36..64 => ("UPDATE", ""),
            64..85 => ("UPDATE", "ephemeralcontainers"),
            85..89 => ("DELETE", ""),
            89..93 => ("CONNECT", "exec"),
            93..95 => ("CREATE", "binding"),
            95..97 => ("UPDATE", "resize"),
            97..99 => ("UPDATE", "status"),
            _ => ("", ""),
        };
        let mut object = self.pod();
        let mut old = match operation {
            "UPDATE" if self.random.chance(98) => self.older(&object),
            _ => Value::Null,
        };
        // Not often: it takes a hundred times as long.
        if operation == "CREATE" && self.random.below(15) == 0 {
            self.fill(&mut object);
        }
        if operation == "DELETE" {
            std::mem::swap(&mut object, &mut old);
        }
        let damaged = self.random.chance(8);
        if damaged {
            let target = if self.random.chance(70) {
                &mut object
            } else {
                &mut old
            };
            self.damage(target);
        }
        let mut request = json!({
            "uid": self.random.pick(&["5346c4be-ae9c-4823-b24a-8f1566305191", "\"", "é\u{1f600}", "a/b\n", "\\"]),
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": operation,
            "object": object,
            "oldObject": old,
            "options": null,
        });
        if self.random.chance(2) {
            request["resource"] = self
                .random
                .pick(&[
                    &json!(null),
                    &json!({"group": "apps", "version": "v1", "resource": "deployments"}),
                    &json!({"group": "", "version": "v1", "resource": "podtemplates"}),
                ])
                .clone();
        }
        if !sub.is_empty() {
            request["subResource"] = json!(sub);
        } else if self.random.chance(50) {
            request["subResource"] = self.random.pick(&[&json!(""), &json!(null)]).clone();
        }
        let users = [
            "alice",
            "systemic",
            "é\"\n",
            "system:admin",
            "system:serviceaccount:a:b",
        ];
        match self.random.below(20) {
            0 => {}
            1 => request["userInfo"] = json!(null),
            2 => request["userInfo"] = json!({"groups": ["system:masters"]}),
            _ => request["userInfo"] = json!({"username": self.random.pick(&users)}),
        }
        self.clutter(&mut request);
        let version = self
            .random
            .pick(&["admission.k8s.io/v1", "admission.k8s.io/v1beta1"]);
        let review = json!({"kind": "AdmissionReview", "apiVersion": version, "request": request});
        (review, damaged)
    }

    fn pod(&mut self) -> Value {
        let mut spec = json!({});
        for (section, most) in [
            ("containers", 4),
            ("initContainers", 3),
            ("ephemeralContainers", 4),
            ("volumes", 4),
        ] {
            match self.random.below(20) {
                0 => {}
                1 => spec[section] = json!(null),
                _ => {
                    let count = self.random.below(most);
                    spec[section] = (0..count).map(|index| self.item(section, index)).collect();
                }
            }
        }
        let secret = |name: &str| json!({"name": name});
        let (own, ours) = (secret("own"), secret(super::PULL_SECRET));
        match self.random.below(10) {
            0..3 => {}
            3 => spec["imagePullSecrets"] = json!(null),
            4 => spec["imagePullSecrets"] = json!([]),
            5 => spec["imagePullSecrets"] = json!([own, {}, {"name": null}, own]),
            6..8 => spec["imagePullSecrets"] = json!([ours, own]),
            _ => spec["imagePullSecrets"] = json!([secret(self.random.pick(&ODD)), ours]),
        }
        self.clutter(&mut spec);
        let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "spec": spec});
        self.metadata(&mut pod);
        self.clutter(&mut pod);
        pod
    }

    /// A container or volume.
    fn item(&mut self, section: &str, index: usize) -> Value {
        let mut item = json!({});
        match self.random.below(20) {
            0 => item["name"] = json!(self.random.pick(&ODD)),
            1 => item["name"] = json!("x".repeat(62 + self.random.below(3))),
            2 => item["name"] = json!(self.random.pick(&["a", "b"])),
            3 if self.random.chance(20) => item["name"] = json!(null),
            4 if self.random.chance(20) => {}
            _ => item["name"] = json!(format!("{}{index}", &section[..1])),
        }
        let image = match self.random.below(30) {
            0 => None,
            1 => Some(json!(null)),
            _ => Some(json!(self.image())),
        };
        let policy = match self.random.below(12) {
            0 => Some(json!("Never")),
            1..4 => Some(json!("IfNotPresent")),
            4 => Some(json!(null)),
            _ => None,
        };
        let (image_key, policy_key) = if section == "volumes" {
            ("reference", "pullPolicy")
        } else {
            ("image", "imagePullPolicy")
        };
        let mut source = json!({});
        for (key, value) in [(image_key, image), (policy_key, policy)] {
            if let Some(value) = value {
                source[key] = value;
            }
        }
        if section != "volumes" {
            item.as_object_mut()
                .unwrap()
                .append(source.as_object_mut().unwrap());
        } else if self.random.chance(75) {
            self.clutter(&mut source);
            item["image"] = source;
        } else if self.random.chance(20) {
            item["image"] = json!(null);
        } else {
            item["emptyDir"] = json!({});
        }
        self.clutter(&mut item);
        item
    }

    fn image(&mut self) -> String {
        let image = self
            .random
            .pick(&IMAGES)
            .replace("WIDE", &"w".repeat(120))
            .replace("LONG", "long/".repeat(50).trim_end_matches('/'));
        match self.mutator.rules.decide(&image, false) {
            Decision::Swap { target, .. } if self.random.chance(10) => target,
            _ => image,
        }
    }

    fn metadata(&mut self, pod: &mut Value) {
        let mut metadata = json!({"namespace": "default", "generateName": "web-"});
        match self.random.below(20) {
            0 => return,
            1 => return pod["metadata"] = json!(null),
            2 => metadata = json!({}),
            _ => {}
        }
        match self.random.below(10) {
            0 => {}
            1 => metadata["labels"] = json!(null),
            _ => {
                let label = ["patched-image", "skip", "other", ""];
                metadata["labels"] = self.odd_map();
                match self.random.below(20) {
                    0..4 => metadata["labels"]["k8s-proxy-image-swapper"] = json!("patched-image"),
                    4..7 => {
                        metadata["labels"]["k8s-proxy-image-swapper"] =
                            json!(self.random.pick(&label));
                    }
                    7 => metadata["labels"]["k8s-proxy-image-swapper"] = json!(null),
                    _ => {}
                }
            }
        }
        match self.random.below(10) {
            0 => {}
            1 => metadata["annotations"] = json!(null),
            _ => metadata["annotations"] = self.annotations(pod),
        }
        self.clutter(&mut metadata);
        pod["metadata"] = metadata;
    }

    fn annotations(&mut self, pod: &Value) -> Value {
        let mut annotations = self.odd_map();
        if self.random.chance(5) {
            annotations["kubernetes.io/config.mirror"] = self
                .random
                .pick(&[&json!("x"), &json!(""), &json!(null)])
                .clone();
        }
        let sections = [
            ("containers", "image"),
            ("initContainers", "image"),
            ("volumes", "volume"),
            ("ephemeralContainers", "image"),
        ];
        for (section, kind) in sections {
            for item in pod["spec"][section].as_array().into_iter().flatten() {
                if self.random.chance(25) {
                    let name = item["name"].as_str().unwrap_or_default();
                    annotations[format!("original-{kind}.k8s-proxy-image-swapper/{name}")] =
                        self.original(item);
                }
            }
        }
        if self.random.chance(5) {
            let key = format!(
                "original-image.k8s-proxy-image-swapper/{}",
                self.random.pick(&ODD)
            );
            annotations[key] = json!("nginx");
        }
        annotations
    }

    /// Adds an annotation, so long that ours may just fit beside it, or just not.
    fn fill(&mut self, pod: &mut Value) {
        let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() else {
            return;
        };
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        let size: usize = annotations
            .iter()
            .map(|(key, value)| key.len() + text(value))
            .sum();
        let used = 262_144 - self.random.below(150);
        let filler = "x".repeat(used - size - "filler".len());
        annotations.insert("filler".to_owned(), json!(filler));
    }

    /// What an annotation says the image of `item` was: rightly, or not.
    fn original(&mut self, item: &Value) -> Value {
        let right = IMAGES.iter().find(|image| {
            let decision = self.mutator.rules.decide(image, false);
            matches!(decision, Decision::Swap { target, .. } if item["image"] == target)
        });
        match right {
            Some(image) if self.random.chance(70) => json!(image),
            _ if self.random.chance(5) => json!(null),
            _ => json!(self.image()),
        }
    }

    /// What `pod` may have been before.
    fn older(&mut self, pod: &Value) -> Value {
        let mut old = pod.clone();
        for section in [
            "containers",
            "initContainers",
            "ephemeralContainers",
            "volumes",
        ] {
            let Some(items) = old["spec"][section].as_array_mut() else {
                continue;
            };
            if self.random.chance(10) {
                self.random.shuffle(items);
            }
            items.retain(|_| {
                self.random.chance(if section == "ephemeralContainers" {
                    40
                } else {
                    92
                })
            });
            for item in items {
                match self.random.below(10) {
                    0..4 if section != "volumes" => item["image"] = json!(self.image()),
                    4 => item["name"] = json!("renamed"),
                    5 if self.random.chance(20) => item["image"] = json!(null),
                    _ => {}
                }
            }
        }
        if self.random.chance(30) {
            self.metadata(&mut old);
        }
        old
    }

    /// Puts something of a wrong type somewhere.
    fn damage(&mut self, value: &mut Value) {
        let children: Vec<_> = match value {
            Value::Object(members) => members.values_mut().collect(),
            Value::Array(items) => items.iter_mut().collect(),
            _ => Vec::new(),
        };
        if children.is_empty() || self.random.chance(15) {
            *value = self
                .random
                .pick(&[
                    &json!(null),
                    &json!(true),
                    &json!(-1.5e300),
                    &json!("nginx"),
                    &json!([]),
                    &json!(["nginx"]),
                    &json!([null]),
                    &json!({}),
                    &json!({"image": "nginx"}),
                    &json!({"reference": "nginx"}),
                ])
                .clone();
            return;
        }
        let index = self.random.below(children.len());
        self.damage(children.into_iter().nth(index).unwrap());
    }

    /// Adds fields that nobody knows.
    fn clutter(&mut self, object: &mut Value) {
        if self.random.chance(30) {
            let key = match self.random.pick(&ODD) {
                "image" => "imag",
                odd => odd,
            };
            object[key] = self
                .random
                .pick(&[
                    &json!(null),
                    &json!([{"image": "nginx", "name": "c0"}]),
                    &json!({"containers": [{"name": "c0", "image": "nginx"}]}),
                    &json!({"a/b": {"~": [1, 2.5, -0.0, 1e300, "\\\"\u{1f600}"]}}),
                    &json!("image"),
                ])
                .clone();
        }
    }

    fn odd_map(&mut self) -> Value {
        let mut map = Map::new();
        for _ in 0..self.random.below(4) {
            map.insert(
                self.random.pick(&ODD).to_owned(),
                json!(self.random.pick(&ODD)),
            );
        }
        Value::Object(map)
    }
}
