//! TLS: from PEM files to what new connections are served with, once it is proven.
//!
//! The provider is `ring`: next to `aws-lc-rs` it makes a static binary 2 MB smaller and serves warm
//! requests and handshakes at the same cost, within 5 %. What it lacks is X25519MLKEM768, which
//! current Go clients prefer; with `ring` they take X25519 without another round trip.

#[cfg(feature = "dev")]
pub mod dev;
mod pem;
pub mod watch;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use pem::Pem;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::rustls;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode};

use crate::settings::TlsFiles;

/// Why the files cannot serve.
#[derive(Debug)]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a file.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be read, or is not PEM.
    Read(io::Error),
    /// It has no certificate in it.
    NoCertificate,
    /// It has no private key in it.
    NoKey,
    /// Its first certificate is not understood.
    Certificate(der::Error),
    /// Its first certificate and the key do not go together, or are of a kind that is not
    /// understood.
    Pair(rustls::Error),
    /// A CA certificate in it is not understood.
    ClientCa(rustls::Error),
    /// Its CA certificates cannot verify clients.
    Verifier(VerifierBuilderError),
    /// Its first certificate is not valid at this time.
    NotValidNow {
        /// When it becomes valid.
        not_before: SystemTime,
        /// When it expires.
        not_after: SystemTime,
    },
}

/// What new connections are served with.
#[derive(Debug)]
pub struct Credentials {
    /// The certificate, its key, and what is asked of clients.
    pub config: Arc<ServerConfig>,
    /// When the certificate becomes valid.
    pub not_before: SystemTime,
    /// When the certificate expires.
    pub not_after: SystemTime,
}

impl Credentials {
    /// Reads the files and proves that they can serve; whether the certificate is valid at this
    /// time is another matter.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Self::parse(files, &Pem::read(files)?)
    }

    /// Proves that what was read of the files can serve.
    fn parse(files: &TlsFiles, pem: &Pem) -> Result<Self, TlsError> {
        let chain = pem.chain(files)?;
        let key = pem.key(files)?;
        let client_roots = pem.client_roots(files)?;
        Self::new(chain, key, client_roots).map_err(|problem| problem.of(&files.cert))
    }

    /// TLS 1.2 and 1.3, HTTP/1.1 only, and no resumption, which API servers do not use. Clients must
    /// show a certificate if there are roots for it.
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        client_roots: Option<RootCertStore>,
    ) -> Result<Self, Problem> {
        let leaf = chain.first().ok_or(Problem::NoCertificate)?;
        let leaf = Certificate::from_der(leaf).map_err(Problem::Certificate)?;
        let validity = leaf.tbs_certificate().validity();
        let (not_before, not_after) = (validity.not_before, validity.not_after);

        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(Problem::Pair)?;
        let builder = match client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(Problem::Verifier)?)
            }
        };
        // Fails unless the key is that of the leaf.
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(Problem::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            not_before: not_before.to_system_time(),
            not_after: not_after.to_system_time(),
        })
    }

    /// Whether the certificate is valid at this time.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.check_validity().is_ok()
    }

    fn check_validity(&self) -> Result<(), Problem> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        if (not_before..=not_after).contains(&SystemTime::now()) {
            return Ok(());
        }
        Err(Problem::NotValidNow {
            not_before,
            not_after,
        })
    }
}

impl Problem {
    fn of(self, file: &Path) -> TlsError {
        TlsError {
            file: file.to_owned(),
            problem: self,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.problem {
            Problem::Read(error) => write!(f, "{error}"),
            Problem::NoCertificate => f.write_str("expected a PEM certificate, and there is none"),
            Problem::NoKey => f.write_str("expected a PEM private key, and there is none"),
            Problem::Certificate(error) => write!(f, "expected an X.509 certificate: {error}"),
            Problem::Pair(error) => {
                write!(
                    f,
                    "expected a certificate that the private key belongs to: {error}"
                )
            }
            Problem::ClientCa(error) => write!(f, "expected CA certificates: {error}"),
            Problem::Verifier(error) => write!(f, "expected CA certificates: {error}"),
            Problem::NotValidNow {
                not_before,
                not_after,
            } => write!(
                f,
                "expected a certificate that is valid now, and this one is from {} to {}",
                format_rfc3339_seconds(*not_before),
                format_rfc3339_seconds(*not_after),
            ),
        }
    }
}

impl std::error::Error for TlsError {}
