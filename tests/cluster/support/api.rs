//! The API server, asked for what kubectl would hide or take long for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig, parse_pem};

const JSON: &str = "application/json";

/// A client of the API server, with an administrator's rights. Clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    agent: Agent,
    server: String,
    token: String,
}

/// What the API server answered instead of doing it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl Api {
    /// Reads how to reach it from a kubeconfig as tests/go/cluster/controlplane writes it.
    pub(crate) fn new(kubeconfig: &str) -> Self {
        let value = |key: &str| {
            let (_, rest) = kubeconfig.split_once(key).unwrap();
            rest.split(['\n', '}']).next().unwrap().trim().to_owned()
        };
        let pem = STANDARD
            .decode(value("certificate-authority-data:"))
            .unwrap();
        let roots: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item.unwrap() {
                ureq::tls::PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            })
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Self {
            agent: config.into(),
            server: value("server:"),
            token: value("token:"),
        }
    }

    /// The object at a path, which must be there.
    pub(crate) fn get(&self, path: &str) -> Value {
        let found = self.send("GET", path, JSON, "");
        found.unwrap_or_else(|refused| panic!("GET {path}: {refused:?}"))
    }

    /// The object at a path, if it is there.
    pub(crate) fn find(&self, path: &str) -> Option<Value> {
        match self.send("GET", path, JSON, "") {
            Ok(found) => Some(found),
            Err(refused) if refused.code == 404 => None,
            Err(refused) => panic!("GET {path}: {refused:?}"),
        }
    }

    /// A text, such as the metrics.
    pub(crate) fn text(&self, path: &str) -> String {
        let (code, text) = self.ask("GET", path, JSON, "");
        assert_eq!(code, 200, "GET {path}: {text}");
        text
    }

    /// Creates an object, and returns it as it was stored.
    pub(crate) fn create(&self, path: &str, object: &Value) -> Result<Value, Refused> {
        self.send("POST", path, JSON, &object.to_string())
    }

    /// Replaces an object.
    pub(crate) fn replace(&self, path: &str, object: &Value) -> Result<Value, Refused> {
        self.send("PUT", path, JSON, &object.to_string())
    }

    /// Merges a patch (RFC 7386) into an object.
    pub(crate) fn merge(&self, path: &str, change: &Value) -> Result<Value, Refused> {
        self.send(
            "PATCH",
            path,
            "application/merge-patch+json",
            &change.to_string(),
        )
    }

    /// Merges a patch into an object as kubectl does: lists by their items' names.
    pub(crate) fn strategic(&self, path: &str, change: &Value) -> Result<Value, Refused> {
        self.send(
            "PATCH",
            path,
            "application/strategic-merge-patch+json",
            &change.to_string(),
        )
    }

    /// Deletes an object at once.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.send("DELETE", &format!("{path}?gracePeriodSeconds=0"), JSON, "")
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &str,
    ) -> Result<Value, Refused> {
        let (code, text) = self.ask(method, path, media_type, body);
        if (200..300).contains(&code) {
            return Ok(serde_json::from_str(&text).unwrap());
        }
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let message = status["message"].as_str().map_or(text, str::to_owned);
        Err(Refused { code, message })
    }

    fn ask(&self, method: &str, path: &str, media_type: &str, body: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", media_type)
            .body(body.to_owned())
            .unwrap();
        let mut response = self.agent.run(request).unwrap();
        let text = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string();
        (response.status().as_u16(), text.unwrap())
    }
}
