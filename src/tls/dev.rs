//! A self-signed certificate made in memory, for `serve --dev` alone.

use std::error::Error;

use rcgen::CertifiedKey;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{Credentials, TlsError};

/// Credentials for the names of this machine itself.
///
/// # Errors
/// What the generator says.
pub fn self_signed() -> Result<Credentials, Box<dyn Error>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let credentials = Credentials::new(vec![cert.der().clone()], key, None);
    credentials.map_err(|problem| {
        let file = "(in memory)".into();
        TlsError { file, problem }.into()
    })
}
