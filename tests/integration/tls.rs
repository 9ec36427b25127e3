//! TLS as clients see it, and which files can serve.

mod files;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};

use crate::support::{
    Authority, Directory, Setup, TestServer, connect_with, review, showing, trusting,
};

/// The series that counts handshakes that failed for this reason.
fn failures(server: &TestServer, reason: &str) -> u64 {
    server.metric(&format!(
        "tls_handshake_failures_total{{reason=\"{reason}\"}}"
    ))
}

async fn negotiated(
    server: &TestServer,
    versions: &[&'static SupportedProtocolVersion],
) -> Option<ProtocolVersion> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(server.authority.roots())
        .with_no_client_auth();
    let mut client = connect_with(server.addr, config).await.unwrap();
    client.review(review("1", "nginx")).await;
    client.stream.get_ref().1.protocol_version()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_served() {
    let server = Setup::default().start();
    for (offered, chosen) in [
        (&[&TLS12][..], ProtocolVersion::TLSv1_2),
        (&[&TLS13], ProtocolVersion::TLSv1_3),
        (&[&TLS12, &TLS13], ProtocolVersion::TLSv1_3),
    ] {
        assert_eq!(negotiated(&server, offered).await, Some(chosen));
    }
}

/// A `ClientHello` of a client that speaks at most this version, `[3, 1]` being TLS 1.0.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    // ECDHE-ECDSA and -RSA with AES-128-CBC and SHA-1; no compression.
    let suites = [0, 4, 0xc0, 0x09, 0xc0, 0x13, 1, 0];
    // X25519 and P-256, points that are not compressed, ECDSA with SHA-256.
    let extensions = [
        0, 24, 0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3,
    ];
    let hello = [&version[..], &[7; 32], &[0], &suites, &extensions].concat();
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let handshake = [&[1, 0, 0, length(&hello)], &hello[..]].concat();
    [&[22, 3, 1, 0, length(&handshake)], &handshake[..]].concat()
}

#[tokio::test]
async fn tls_1_1_and_older_are_refused() {
    let server = Setup::default().start();
    for (count, version) in [[3, 2], [3, 1], [3, 0]].into_iter().enumerate() {
        let mut client = server.connect_tcp().await;
        client.send(old_hello(version)).await;
        // A fatal alert: protocol_version.
        let mut alert = [0; 7];
        tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut alert)
            .await
            .unwrap();
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 70]);
        client.closed().await;
        assert_eq!(failures(&server, "protocol"), count as u64 + 1);
    }
    server.serves().await;
}

#[tokio::test]
async fn http_1_1_is_chosen_of_the_protocols_offered() {
    let server = Setup::default().start();
    let protocol = async |offered: &[&str]| {
        let mut config = trusting(server.authority.roots());
        let offered = offered.iter().map(|protocol| protocol.as_bytes().to_vec());
        config.alpn_protocols = offered.collect();
        let mut client = connect_with(server.addr, config).await?;
        client.review(review("1", "nginx")).await;
        let chosen = client.stream.get_ref().1.alpn_protocol();
        std::io::Result::Ok(chosen.map(<[u8]>::to_vec))
    };
    let http_1_1 = Some(b"http/1.1".to_vec());
    assert_eq!(protocol(&["h2", "http/1.1"]).await.unwrap(), http_1_1);
    assert_eq!(protocol(&["http/1.1", "h2"]).await.unwrap(), http_1_1);
    assert_eq!(protocol(&[]).await.unwrap(), None);
    let error = protocol(&["h2"]).await.unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    assert_eq!(failures(&server, "protocol"), 1);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let server = Setup::default().start();
    let config = trusting(server.authority.roots());
    for _ in 0..2 {
        let mut client = connect_with(server.addr, config.clone()).await.unwrap();
        client.review(review("1", "nginx")).await;
        let kind = client.stream.get_ref().1.handshake_kind();
        assert_eq!(format!("{kind:?}"), "Some(Full)");
    }
}

#[tokio::test]
async fn every_address_is_served_over_ipv4_and_ipv6() {
    let setup = Setup {
        addr: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        ..Setup::default()
    };
    let mut server = setup.start();
    let port = server.addr.port();
    server.addr = (Ipv4Addr::LOCALHOST, port).into();
    server.serves().await;
    // A machine may have no IPv6.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        server.addr = (Ipv6Addr::LOCALHOST, port).into();
        server.serves().await;
    }
}

#[tokio::test]
async fn plain_http_is_closed_and_counted() {
    let server = Setup::default().start();
    let mut client = server.connect_tcp().await;
    client
        .send("POST /mutate HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut answer);
    // An alert, or nothing; surely no HTTP.
    let _ = crate::support::within("the end", read).await;
    assert!(answer.len() <= 7, "{answer:?}");
    assert_eq!(failures(&server, "not_tls"), 1);
    server.serves().await;
}

#[tokio::test]
async fn aborted_handshakes_are_counted_and_harm_nobody() {
    let server = Setup::default().start();
    let mut kept = server.connect().await;
    for length in [0, 1, 5, 20] {
        let mut client = server.connect_tcp().await;
        client.send(&old_hello([3, 3])[..length]).await;
    }
    crate::support::until("four failures", || failures(&server, "disconnected") == 4).await;
    // A client that does not trust the server says so.
    let untrusting = trusting(Authority::new("another CA").roots());
    let error = connect_with(server.addr, untrusting).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    crate::support::until("an alert", || failures(&server, "alert") == 1).await;
    kept.review(review("1", "nginx")).await;
    server.serves().await;
}

#[tokio::test]
async fn a_chain_is_sent_whole() {
    let root = Authority::new("root CA");
    let intermediate = root.intermediate("intermediate CA");
    let directory = Directory::new();
    let pair = intermediate.issue();
    let files = pair.write(&directory, &[&intermediate]);
    // The client trusts the root alone.
    Setup::default().start_with(root, &files).serves().await;
}

/// A server that asks for certificates of `authority`, and the authority of its own.
fn asking(authority: &Authority) -> TestServer {
    let own = Authority::new("server CA");
    let directory = Directory::new();
    let mut files = own.issue().write(&directory, &[]);
    files.client_ca = Some(directory.write("ca.crt", authority.pem()));
    Setup::default().start_with(own, &files)
}

#[tokio::test]
async fn a_client_must_show_a_certificate_where_one_is_asked_for() {
    let clients = Authority::new("client CA");
    let server = asking(&clients);
    let roots = || server.authority.roots();

    let mut client = connect_with(server.addr, showing(roots(), &clients.issue()))
        .await
        .unwrap();
    client.review(review("1", "nginx")).await;

    // Of TLS 1.3, a client learns only after its own part of the handshake that it was refused.
    let others = Authority::new("client CA");
    for (count, config) in [
        trusting(roots()),
        showing(roots(), &others.issue()),
        // The server's own certificates are no clients'.
        showing(roots(), &server.authority.issue()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = connect_with(server.addr, config).await.unwrap();
        let _ = client.try_send("POST /mutate HTTP/1.1\r\n\r\n").await;
        let mut answer = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut answer);
        let error = crate::support::within("the end", read).await.unwrap_err();
        assert!(
            error.to_string().contains("received fatal alert"),
            "{error}"
        );
        assert!(answer.is_empty());
        assert_eq!(failures(&server, "client_certificate"), count as u64 + 1);
    }
    client.review(review("2", "nginx")).await;
}
