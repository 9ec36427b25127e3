//! A certificate authority and what it issues, made anew for each test.

use std::ops::Range;
use std::path::PathBuf;

use image_swapper::settings::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Directory;

/// Issues certificates.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let params = ca_params(name);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let params = ca_params(name);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    /// A certificate for a server on this machine, or for a client, that is valid.
    pub(crate) fn issue(&self) -> Pair {
        self.issue_for(1975..4096)
    }

    /// The same, valid from the beginning of one year to that of another.
    pub(crate) fn issue_for(&self, years: Range<i32>) -> Pair {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            key,
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A store that trusts this authority alone.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }
}

impl Pair {
    /// Writes both to files, the chain with the certificates of `above` after this one.
    pub(crate) fn write(&self, directory: &Directory, above: &[&Authority]) -> TlsFiles {
        let above = above.iter().map(|authority| authority.pem());
        let chain: String = std::iter::once(self.certificate.pem())
            .chain(above)
            .collect();
        TlsFiles {
            cert: directory.write("tls.crt", chain),
            key: directory.write("tls.key", self.key.serialize_pem()),
            client_ca: None::<PathBuf>,
        }
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
