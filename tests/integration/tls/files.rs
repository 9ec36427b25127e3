//! Which certificate and key files can serve, and what is said of the others.

use std::fs;
use std::path::Path;

use image_swapper::settings::TlsFiles;
use image_swapper::tls::{Credentials, Problem};
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::RootCertStore;

use crate::support::{Authority, Directory, Setup, post, review, test_file};

/// A file that is PEM, but of nothing that is understood.
const GARBAGE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A certificate of its own for a key in one of the files that OpenSSL made.
fn self_signed(key_file: &str) -> rcgen::Certificate {
    let key = fs::read_to_string(test_file("tls").join(key_file)).unwrap();
    let key = KeyPair::from_pem(&key).unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.self_signed(&key).unwrap()
}

#[tokio::test]
async fn keys_of_every_kind_and_form_serve() {
    for (kind, forms) in [
        ("rsa", &["pkcs8", "pkcs1"][..]),
        ("p256", &["pkcs8", "sec1"]),
        ("p384", &["pkcs8", "sec1"]),
        ("ed25519", &["pkcs8"]),
    ] {
        let certificate = self_signed(&format!("{kind}-pkcs8.key"));
        let directory = Directory::new();
        let cert = directory.write("tls.crt", certificate.pem());
        for form in forms {
            let files = TlsFiles {
                cert: cert.clone(),
                key: test_file("tls").join(format!("{kind}-{form}.key")),
                client_ca: None,
            };
            let server = Setup::default().start_with(Authority::new("unused"), &files);
            let mut roots = RootCertStore::empty();
            roots.add(certificate.der().clone()).unwrap();
            post(server.addr, roots, review("1", "nginx")).await;
        }
    }
}

#[test]
fn a_key_may_stand_behind_other_text() {
    let directory = Directory::new();
    let pair = Authority::new("CA").issue();
    let mut files = pair.write(&directory, &[]);
    // As `openssl ecparam -genkey` writes it, and with certificates in the same file.
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let key = pair.key.serialize_pem();
    let both = format!("a comment\n{}{parameters}{key}", pair.certificate.pem());
    files.cert = directory.write("both.pem", both);
    files.key.clone_from(&files.cert);
    assert!(Credentials::load(&files).unwrap().is_valid());
}

/// What is wrong with the files, and how it is told, without the file's name; `file` is what must
/// be named.
fn refused(files: &TlsFiles, file: &Path) -> (Problem, String) {
    let error = Credentials::load(files).unwrap_err();
    assert_eq!(error.file, file);
    let text = error.to_string();
    let problem = text.strip_prefix(&format!("{}: ", file.display()));
    let problem = problem.unwrap_or_else(|| panic!("no {} in {text}", file.display()));
    (error.problem, problem.to_owned())
}

/// Replaces one of the files, and asserts what is then said of it.
fn assert_refused(
    file_of: impl Fn(&mut TlsFiles) -> &mut std::path::PathBuf,
    contents: Option<&str>,
    is_expected: fn(&Problem) -> bool,
    expected: &str,
) {
    let directory = Directory::new();
    let authority = Authority::new("CA");
    let mut files = authority.issue().write(&directory, &[]);
    files.client_ca = Some(directory.write("ca.crt", authority.pem()));
    Credentials::load(&files).unwrap();
    let file = match contents {
        Some(contents) => directory.write("replaced", contents),
        None => directory.path().join("missing"),
    };
    file_of(&mut files).clone_from(&file);
    let (problem, text) = refused(&files, &file);
    assert!(is_expected(&problem), "{problem:?}");
    assert_eq!(text, expected);
}

#[test]
fn a_certificate_that_cannot_serve_is_named() {
    let cert = |contents, is_expected, expected| {
        assert_refused(|files| &mut files.cert, contents, is_expected, expected);
    };
    let missing = "No such file or directory (os error 2)";
    cert(None, |it| matches!(it, Problem::Read(_)), missing);
    let none = "expected a PEM certificate, and there is none";
    let key = KeyPair::generate().unwrap().serialize_pem();
    for contents in ["", "nonsense", &key] {
        cert(
            Some(contents),
            |it| matches!(it, Problem::NoCertificate),
            none,
        );
    }
    let unfinished = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let text = "section end \"CERTIFICATE\" missing";
    cert(Some(unfinished), |it| matches!(it, Problem::Read(_)), text);
    let directory = Directory::new();
    let mut files = Authority::new("CA").issue().write(&directory, &[]);
    files.cert = directory.write("garbage", GARBAGE);
    let (problem, said) = refused(&files, &files.cert.clone());
    assert!(matches!(problem, Problem::Certificate(_)), "{problem:?}");
    assert!(
        said.starts_with("expected an X.509 certificate: "),
        "{said}"
    );
}

#[test]
fn a_key_that_cannot_serve_is_named() {
    let key = |contents, is_expected, expected| {
        assert_refused(|files| &mut files.key, contents, is_expected, expected);
    };
    let missing = "No such file or directory (os error 2)";
    key(None, |it| matches!(it, Problem::Read(_)), missing);
    let none = "expected a PEM private key, and there is none";
    let certificate = Authority::new("CA").pem();
    for contents in ["", "nonsense", &certificate] {
        key(Some(contents), |it| matches!(it, Problem::NoKey), none);
    }
}

#[test]
fn a_client_ca_that_cannot_verify_is_named() {
    let client_ca = |contents, is_expected, expected| {
        assert_refused(
            |files| files.client_ca.as_mut().unwrap(),
            contents,
            is_expected,
            expected,
        );
    };
    let missing = "No such file or directory (os error 2)";
    client_ca(None, |it| matches!(it, Problem::Read(_)), missing);
    let none = "expected a PEM certificate, and there is none";
    client_ca(Some(""), |it| matches!(it, Problem::NoCertificate), none);
    let bad = "expected CA certificates: invalid peer certificate: BadEncoding";
    client_ca(Some(GARBAGE), |it| matches!(it, Problem::ClientCa(_)), bad);
}

#[test]
fn a_pair_that_does_not_match_is_refused_with_the_certificates_name() {
    let directory = Directory::new();
    let authority = Authority::new("CA");
    let mut files = authority.issue().write(&directory, &[]);
    files.key = directory.write("other.key", authority.issue().key.serialize_pem());
    let (problem, text) = refused(&files, &files.cert.clone());
    assert!(matches!(problem, Problem::Pair(_)), "{problem:?}");
    let expected = "expected a certificate that the private key belongs to: keys may not be consistent: KeyMismatch";
    assert_eq!(text, expected);
}

/// The key of a pair is that of the first certificate, whatever follows.
#[test]
fn a_chain_in_the_wrong_order_is_refused() {
    let directory = Directory::new();
    let authority = Authority::new("CA");
    let pair = authority.issue();
    let mut files = pair.write(&directory, &[]);
    let reversed = format!("{}{}", authority.pem(), pair.certificate.pem());
    files.cert = directory.write("reversed.crt", reversed);
    let (problem, _) = refused(&files, &files.cert.clone());
    assert!(matches!(problem, Problem::Pair(_)), "{problem:?}");
}
