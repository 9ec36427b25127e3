//! The settings: one table of environment variables, and the typed values that they become.
//!
//! Read once, at start. Every mistake is reported, each with its variable, its value and what was
//! expected, so that one failed start names them all.

mod kind;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use crate::mutate::Mutator;
use crate::rules::Rules;
use kind::Kind;
pub use table::{SETTINGS, Setting};

/// The settings, parsed.
#[derive(Debug)]
pub struct Settings {
    /// `LISTEN_ADDR`
    pub listen_addr: SocketAddr,
    /// `ADMIN_ADDR`
    pub admin_addr: SocketAddr,
    /// `TLS_CERT_FILE`, `TLS_KEY_FILE` and `TLS_CLIENT_CA_FILE`
    pub tls: TlsFiles,
    /// `PROXY_URL`, `REWRITES`, `IGNORE_IMAGES`, `MODE`, `ANNOTATE_ORIGINALS`, `IMAGE_PULL_SECRET` and
    /// `WARN`
    pub mutator: Mutator,
    /// `LOG`
    pub log: LevelFilter,
    /// `LOG_FORMAT`
    pub log_format: LogFormat,
    /// What a client may take.
    pub limits: Limits,
    /// `DRAIN_DELAY`
    pub drain_delay: Duration,
    /// `DRAIN_TIMEOUT`
    pub drain_timeout: Duration,
}

/// Where the certificates are.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// `TLS_CERT_FILE`
    pub cert: PathBuf,
    /// `TLS_KEY_FILE`
    pub key: PathBuf,
    /// `TLS_CLIENT_CA_FILE`
    pub client_ca: Option<PathBuf>,
}

/// What a client may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `MAX_BODY_BYTES`
    pub body_bytes: usize,
    /// `MAX_BUFFERED_BYTES`
    pub buffered_bytes: usize,
    /// `BODY_TIMEOUT`
    pub body_timeout: Duration,
    /// `MAX_CONNECTIONS`
    pub connections: usize,
    /// `MAX_CONNECTION_AGE`
    pub connection_age: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for a person.
    Text,
}

/// A mistake in a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// Its variable.
    pub name: &'static str,
    /// Its value, or the item of it that is wrong.
    pub value: String,
    /// What was expected instead.
    pub expected: String,
}

/// The values as text, the defaults filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    proxy_url: String,
    rewrites: String,
    ignore_images: String,
    mode: String,
    annotate_originals: String,
    image_pull_secret: Option<String>,
    warn: String,
    listen_addr: String,
    admin_addr: String,
    tls_cert_file: String,
    tls_key_file: String,
    tls_client_ca_file: Option<String>,
    log: String,
    log_format: String,
    max_body_bytes: String,
    max_buffered_bytes: String,
    body_timeout: String,
    max_connections: String,
    max_connection_age: String,
    drain_delay: String,
    drain_timeout: String,
}

impl Settings {
    /// Reads the settings from the environment's variables, with the defaults of `serve --dev` if
    /// `dev` is set.
    ///
    /// # Errors
    /// Every mistake in any of them.
    pub fn read(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        dev: bool,
    ) -> Result<Self, Vec<SettingError>> {
        let mut check = Check::default();
        let raw = check.raw(vars, dev);

        let mode = check.parse("MODE", &raw.mode, &kind::MODE);
        let annotate_originals =
            check.parse("ANNOTATE_ORIGINALS", &raw.annotate_originals, &kind::BOOL);
        let pull_secret = raw.image_pull_secret.as_deref();
        let pull_secret =
            pull_secret.and_then(|name| check.parse("IMAGE_PULL_SECRET", name, &kind::SECRET));
        let warn = check.parse("WARN", &raw.warn, &kind::BOOL);
        let rules = check.rules(&raw);
        let listen_addr = check.parse("LISTEN_ADDR", &raw.listen_addr, &kind::ADDRESS);
        let admin_addr = check.parse("ADMIN_ADDR", &raw.admin_addr, &kind::ADDRESS);
        let cert = check.parse("TLS_CERT_FILE", &raw.tls_cert_file, &kind::PATH);
        let key = check.parse("TLS_KEY_FILE", &raw.tls_key_file, &kind::PATH);
        let log = check.parse("LOG", &raw.log, &kind::LEVEL);
        let log_format = check.parse("LOG_FORMAT", &raw.log_format, &kind::LOG_FORMAT);
        let body_bytes = check.parse("MAX_BODY_BYTES", &raw.max_body_bytes, &kind::BYTES);
        let buffered_bytes =
            check.parse("MAX_BUFFERED_BYTES", &raw.max_buffered_bytes, &kind::BYTES);
        let body_timeout = check.parse("BODY_TIMEOUT", &raw.body_timeout, &kind::DURATION);
        let connections = check.parse("MAX_CONNECTIONS", &raw.max_connections, &kind::COUNT);
        let connection_age = check.parse(
            "MAX_CONNECTION_AGE",
            &raw.max_connection_age,
            &kind::DURATION,
        );
        let drain_delay = check.parse("DRAIN_DELAY", &raw.drain_delay, &kind::DELAY);
        let drain_timeout = check.parse("DRAIN_TIMEOUT", &raw.drain_timeout, &kind::DURATION);
        check.together(
            body_bytes.zip(buffered_bytes),
            |(body, buffered)| body <= buffered / 4 * 3,
            ("MAX_BUFFERED_BYTES", &raw.max_buffered_bytes),
            "at least 4/3 of MAX_BODY_BYTES, since a quarter is kept for small reviews",
        );
        check.together(
            drain_delay.zip(drain_timeout),
            |(delay, timeout)| delay < timeout,
            ("DRAIN_TIMEOUT", &raw.drain_timeout),
            "more than DRAIN_DELAY, which it includes",
        );

        let settings = || {
            Some(Self {
                listen_addr: listen_addr?,
                admin_addr: admin_addr?,
                tls: TlsFiles {
                    cert: cert?,
                    key: key?,
                    client_ca: raw.tls_client_ca_file.map(PathBuf::from),
                },
                mutator: Mutator {
                    rules: rules?,
                    mode: mode?,
                    annotate_originals: annotate_originals?,
                    warn: warn?,
                    pull_secret,
                },
                log: log?,
                log_format: log_format?,
                limits: Limits {
                    body_bytes: body_bytes?,
                    buffered_bytes: buffered_bytes?,
                    body_timeout: body_timeout?,
                    connections: connections?,
                    connection_age: connection_age?,
                },
                drain_delay: drain_delay?,
                drain_timeout: drain_timeout?,
            })
        };
        settings()
            .filter(|_| check.errors.is_empty())
            .ok_or(check.errors)
    }

    /// Reads only `PROXY_URL`, `REWRITES` and `IGNORE_IMAGES`, whatever the other variables are.
    ///
    /// # Errors
    /// Every mistake in any of them.
    pub fn read_rules(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Rules, Vec<SettingError>> {
        let mut check = Check::default();
        let rules = ["PROXY_URL", "REWRITES", "IGNORE_IMAGES"];
        let vars = vars
            .into_iter()
            .filter(|(name, _)| rules.iter().any(|rule| name == rule));
        let raw = check.raw(vars, false);
        check.rules(&raw).ok_or(check.errors)
    }
}

/// Collects the mistakes.
#[derive(Default)]
struct Check {
    errors: Vec<SettingError>,
}

impl Check {
    fn refuse(&mut self, name: &'static str, value: &str, expected: impl Into<String>) {
        self.errors.push(SettingError {
            name,
            value: value.to_owned(),
            expected: expected.into(),
        });
    }

    /// Takes the known variables and fills in the defaults. `envy` gets only these, as strings: it
    /// would panic at any other variable that is not UTF-8, and stop at the first mistake.
    fn raw(&mut self, vars: impl IntoIterator<Item = (OsString, OsString)>, dev: bool) -> Raw {
        let mut given: HashMap<OsString, OsString> = vars.into_iter().collect();
        let mut values = Vec::new();
        for setting in &SETTINGS {
            let value = match given
                .remove(OsStr::new(setting.name))
                .map(OsString::into_string)
            {
                Some(Ok(value)) => Some(value.trim_ascii().to_owned()),
                Some(Err(value)) => {
                    self.refuse(setting.name, &value.to_string_lossy(), "UTF-8");
                    None
                }
                None => None,
            };
            // An empty list is a value; any other variable that is empty counts as unset.
            let value = value.filter(|value| setting.is_list() || !value.is_empty());
            let default = || Some(setting.dev.filter(|_| dev).or(setting.default)?.to_owned());
            values.extend(
                value
                    .or_else(default)
                    .map(|value| (setting.name.to_owned(), value)),
            );
        }
        envy::from_iter(values).unwrap_or_else(|error| {
            // Every field has a default, or is an option: not reached.
            self.refuse("PROXY_URL", "", error.to_string());
            Raw::default()
        })
    }

    fn parse<T>(&mut self, name: &'static str, value: &str, kind: &Kind<T>) -> Option<T> {
        let parsed = (kind.parse)(value);
        if parsed.is_none() {
            self.refuse(name, value, kind.expected);
        }
        parsed
    }

    fn rules(&mut self, raw: &Raw) -> Option<Rules> {
        match Rules::parse(&raw.proxy_url, &raw.rewrites, &raw.ignore_images) {
            Ok(rules) => Some(rules),
            Err(errors) => {
                for error in errors {
                    self.refuse(error.setting, &error.item, error.problem.to_string());
                }
                None
            }
        }
    }

    /// Checks values that are right one by one.
    fn together<T>(
        &mut self,
        values: Option<T>,
        right: impl FnOnce(T) -> bool,
        (name, value): (&'static str, &str),
        expected: &str,
    ) {
        if values.is_some_and(|values| !right(values)) {
            self.refuse(name, value, expected);
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.name, self.value, self.expected)
    }
}

impl std::error::Error for SettingError {}
