//! The table of settings, from which `--help` and README's table are made.

/// One environment variable.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value where it is unset; none if there is no such value.
    pub default: Option<&'static str>,
    /// The same for `serve --dev`, where that differs.
    pub dev: Option<&'static str>,
    /// What it is for, in a line.
    pub help: &'static str,
}

impl Setting {
    /// Whether the value is a list, which may be empty.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.name, "REWRITES" | "IGNORE_IMAGES")
    }
}

/// Every setting, in the order in which `--help` and README show them.
pub const SETTINGS: [Setting; 21] = [
    Setting {
        name: "PROXY_URL",
        default: None,
        dev: Some("localhost:5000"),
        help: "Required. The registry to pull through, with or without a path",
    },
    Setting {
        name: "REWRITES",
        default: Some("docker.io={proxy}"),
        dev: None,
        help: "Which images are swapped for which: a list of SOURCE=TARGET",
    },
    Setting {
        name: "IGNORE_IMAGES",
        default: Some("registry"),
        dev: None,
        help: "Images, and registries or paths with a final /, that are never swapped: a list",
    },
    Setting {
        name: "MODE",
        default: Some("swap"),
        dev: None,
        help: "swap, or observe: decide, count and log, and change no Pod",
    },
    Setting {
        name: "ANNOTATE_ORIGINALS",
        default: Some("true"),
        dev: None,
        help: "Whether a Pod's annotations keep its images as they were written",
    },
    Setting {
        name: "IMAGE_PULL_SECRET",
        default: None,
        dev: None,
        help: "A Secret for the imagePullSecrets of new Pods of which an image is swapped",
    },
    Setting {
        name: "WARN",
        default: Some("false"),
        dev: None,
        help: "Whether kubectl tells people what was swapped, or would be",
    },
    Setting {
        name: "LISTEN_ADDR",
        default: Some("[::]:8443"),
        dev: Some("127.0.0.1:8443"),
        help: "Where the API server reaches the webhook, over TLS",
    },
    Setting {
        name: "ADMIN_ADDR",
        default: Some("[::]:8080"),
        dev: Some("127.0.0.1:8080"),
        help: "Where /livez, /readyz and /metrics are, over plain HTTP",
    },
    Setting {
        name: "TLS_CERT_FILE",
        default: Some("/etc/webhook/tls/tls.crt"),
        dev: None,
        help: "The certificate chain, as PEM; re-read when it changes",
    },
    Setting {
        name: "TLS_KEY_FILE",
        default: Some("/etc/webhook/tls/tls.key"),
        dev: None,
        help: "Its private key, as PEM; re-read when it changes",
    },
    Setting {
        name: "TLS_CLIENT_CA_FILE",
        default: None,
        dev: None,
        help: "The CA certificates, as PEM, that a client's certificate must come from",
    },
    Setting {
        name: "LOG",
        default: Some("info"),
        dev: None,
        help: "How much is logged: off, error, warn, info, debug or trace",
    },
    Setting {
        name: "LOG_FORMAT",
        default: Some("json"),
        dev: Some("text"),
        help: "How it is logged: json or text",
    },
    Setting {
        name: "MAX_BODY_BYTES",
        default: Some("8Mi"),
        dev: None,
        help: "The largest review that is read",
    },
    Setting {
        name: "MAX_BUFFERED_BYTES",
        default: Some("64Mi"),
        dev: None,
        help: "The most that the reviews being received may hold together",
    },
    Setting {
        name: "BODY_TIMEOUT",
        default: Some("5s"),
        dev: None,
        help: "How long a review may take to arrive",
    },
    Setting {
        name: "MAX_CONNECTIONS",
        default: Some("4096"),
        dev: None,
        help: "The most connections; beyond, the one that waited longest for its client is closed",
    },
    Setting {
        name: "MAX_CONNECTION_AGE",
        default: Some("5m"),
        dev: None,
        help: "After about this long an answer closes its connection, so that load spreads anew",
    },
    Setting {
        name: "DRAIN_DELAY",
        default: Some("5s"),
        dev: Some("0s"),
        help: "How long new connections are still accepted after SIGTERM or SIGINT",
    },
    Setting {
        name: "DRAIN_TIMEOUT",
        default: Some("25s"),
        dev: None,
        help: "When the process exits at the latest after that signal",
    },
];
