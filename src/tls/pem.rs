//! The files as they are read, and what stands in them.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Problem, TlsError};
use crate::settings::TlsFiles;

/// The contents of the files at one time. They are equal when no file has changed.
#[derive(PartialEq, Eq)]
pub(super) struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Pem {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |file: &Path| fs::read(file).map_err(|error| Problem::Read(error).of(file));
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    pub(super) fn chain(&self, files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.cert).map_err(|problem| problem.of(&files.cert))
    }

    pub(super) fn key(&self, files: &TlsFiles) -> Result<PrivateKeyDer<'static>, TlsError> {
        let key = rustls_pemfile::private_key(&mut self.key.as_slice());
        let key = key
            .map_err(Problem::Read)
            .and_then(|key| key.ok_or(Problem::NoKey));
        key.map_err(|problem| problem.of(&files.key))
    }

    pub(super) fn client_roots(&self, files: &TlsFiles) -> Result<Option<RootCertStore>, TlsError> {
        let (Some(pem), Some(file)) = (&self.client_ca, &files.client_ca) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem).map_err(|problem| problem.of(file))? {
            let added = roots.add(certificate);
            added.map_err(|error| Problem::ClientCa(error).of(file))?;
        }
        Ok(Some(roots))
    }
}

fn certificates(mut pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let chain = rustls_pemfile::certs(&mut pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(Problem::Read)?;
    if chain.is_empty() {
        return Err(Problem::NoCertificate);
    }
    Ok(chain)
}
