//! Clients: one that sends exactly the bytes it is told to, and hyper's, which stands for an API
//! server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Pair, within};

/// A connection of which the test writes the bytes, and reads answers.
#[derive(Debug)]
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What a client offers that trusts `roots` and asks for no protocol.
pub(crate) fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The same, of a client that shows a certificate.
pub(crate) fn showing(roots: RootCertStore, pair: &Pair) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(pair.chain(), pair.private_key())
        .unwrap()
}

/// Asks the admin port for a path, and returns the status and the text.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let stream = within("a connection", TcpStream::connect(admin)).await;
    let mut client = Client::new(stream.unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send(request).await;
    let answer = client.answer().await;
    (answer.status, answer.text().to_owned())
}

/// Connects over TLS.
pub(crate) async fn connect(
    addr: SocketAddr,
    roots: RootCertStore,
) -> Client<TlsStream<TcpStream>> {
    let client = connect_with(addr, trusting(roots)).await;
    client.expect("a handshake")
}

/// Tries to connect over TLS as `config` says.
pub(crate) async fn connect_with(
    addr: SocketAddr,
    config: ClientConfig,
) -> io::Result<Client<TlsStream<TcpStream>>> {
    let stream = within("a connection", TcpStream::connect(addr)).await?;
    handshake(stream, config).await
}

/// Does the handshake on a connection.
pub(crate) async fn handshake(
    stream: TcpStream,
    config: ClientConfig,
) -> io::Result<Client<TlsStream<TcpStream>>> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Client::new(within("a handshake", connecting).await?))
}

/// A review as bytes to send.
pub(crate) fn raw_post(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST /mutate?timeout=5s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Sends a review on a new connection as an API server does, and returns what it is answered,
/// which must be a review.
pub(crate) async fn post(addr: SocketAddr, roots: RootCertStore, body: String) -> Vec<u8> {
    let stream = TokioIo::new(connect(addr, roots).await.stream);
    let answering = async {
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post("/mutate?timeout=5s")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(body))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        drop(sender);
        connection.await.unwrap().unwrap();
        answer.to_vec()
    };
    within("an answer to an honest client", answering).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes, which the server must take.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the server reads");
    }

    /// Sends bytes, if the server takes them.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let sending = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        within("sending", sending).await
    }

    /// Sends a review and reads the answer, which must be one.
    pub(crate) async fn review(&mut self, body: impl AsRef<[u8]>) -> Answer {
        self.send(raw_post(body)).await;
        let answer = self.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    /// Sends a review and reads the answer, if the server lets the client in.
    pub(crate) async fn try_review(&mut self, body: impl AsRef<[u8]>) -> Option<Answer> {
        self.try_send(raw_post(body)).await.ok()?;
        let reading = self.stream.read_buf(&mut self.received);
        let read = within("an answer or the end", reading).await;
        if !read.is_ok_and(|read| read > 0) {
            return None;
        }
        Some(self.answer().await)
    }

    /// Reads the next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.answer_to_head().await;
        let length = answer.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            assert!(self.receive().await, "a body of {length} bytes: {answer:?}");
        }
        answer.body = self.received.drain(..length).collect();
        answer
    }

    /// Reads the next answer, which must have no body whatever its head says.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                break end + 4;
            }
            let so_far = String::from_utf8_lossy(&self.received).into_owned();
            assert!(self.receive().await, "an answer, not {so_far:?}");
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let status = head.strip_prefix("HTTP/1.").unwrap()[2..5].parse().unwrap();
        Answer {
            status,
            head,
            body: Vec::new(),
        }
    }

    /// Waits until the server closes the connection, which it must do without another byte.
    pub(crate) async fn closed(&mut self) {
        let open = self.receive().await;
        let received = String::from_utf8_lossy(&self.received);
        assert!(!open && received.is_empty(), "{received:?}");
    }

    /// Reads what there is; whether there was something.
    async fn receive(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.received);
        match within("an answer or the end", reading).await {
            Ok(read) => read > 0,
            // What a socket says that the other end has closed, in a hurry or without TLS' goodbye.
            Err(error) => {
                let closed = [
                    io::ErrorKind::UnexpectedEof,
                    io::ErrorKind::ConnectionReset,
                    io::ErrorKind::BrokenPipe,
                ];
                assert!(closed.contains(&error.kind()), "{error}");
                false
            }
        }
    }
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(one, value)| one.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Whether it says that the connection is about to be closed.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
