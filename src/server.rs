//! The webhook's port: accepts connections, serves HTTP/1.1 over TLS on each, and drains.
//!
//! An API server never sends a review again, so that a connection is only ever closed when none can
//! be on its way: after an answer that said so, or when its client has been silent for long.

pub(crate) mod connections;
mod listen;
mod stream;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::server::TlsStream;

use crate::http::Webhook;
use crate::logging::Throttle;
use crate::metrics::Metrics;
use crate::settings::Limits;
use crate::shutdown::{Phase, stopping};
use crate::tls::Credentials;
use connections::{Connection, Connections, Entry};
pub(crate) use listen::ACCEPT_PAUSE;
pub use listen::bind;
use stream::Stream;

/// The most that is read of a connection before it is looked at, in bytes; heads must fit.
const READ_BUFFER: usize = 16 * 1024;

/// How long a connection waits for its client.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From being accepted to the end of the first head, the handshake included.
    pub first_head: Duration,
    /// From an answer to the end of the next head. API servers close a connection after 90 s.
    pub next_head: Duration,
    /// From an answer that does not fit the socket until the client has read it.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_head: Duration::from_secs(10),
            next_head: Duration::from_mins(2),
            write: Duration::from_secs(10),
        }
    }
}

/// Serves the webhook.
#[derive(Debug)]
pub struct Server {
    webhook: Webhook,
    metrics: Arc<Metrics>,
    tls: watch::Receiver<Arc<Credentials>>,
    phase: watch::Receiver<Phase>,
    connections: Arc<Connections>,
    connection_age: Duration,
    timeouts: Timeouts,
    jitter: RandomState,
    accept_warnings: Throttle,
}

impl Server {
    /// A server that answers with `webhook`, serves each new connection with what `tls` then holds,
    /// and ends as `phase` says.
    #[must_use]
    pub fn new(
        webhook: Webhook,
        limits: &Limits,
        timeouts: Timeouts,
        metrics: Arc<Metrics>,
        tls: watch::Receiver<Arc<Credentials>>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            webhook,
            connections: Connections::new(limits.connections, metrics.connections()),
            metrics,
            tls,
            phase,
            connection_age: limits.connection_age,
            timeouts,
            jitter: RandomState::new(),
            accept_warnings: Throttle::default(),
        }
    }

    /// Accepts connections until the phase is [`Phase::Stopping`], then returns when the last one
    /// has ended.
    pub async fn run(self, listener: TcpListener) {
        let server = Arc::new(self);
        let mut phase = server.phase.clone();
        loop {
            tokio::select! {
                biased;
                () = stopping(&mut phase) => break,
                accepted = listener.accept() => server.accepted(accepted).await,
            }
        }
        // What the kernel has accepted for us by now would be lost with the socket.
        if let Ok(listener) = listener.into_std() {
            while let Ok((stream, _)) = listener.accept() {
                let stream = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    server.enter(stream);
                }
            }
        }
        server.connections.none_open().await;
    }

    /// Serves an accepted connection in a task of its own, or makes the best of an error.
    async fn accepted(self: &Arc<Self>, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, _)) => self.enter(stream),
            // The client gave up before it was accepted.
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if let Some(suppressed) = self.accept_warnings.pass() {
                    tracing::warn!(suppressed, "cannot accept a connection: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Serves a connection in a task of its own, if there is a place for it.
    fn enter(self: &Arc<Self>, stream: TcpStream) {
        if let Some(entry) = self.connections.enter() {
            tokio::spawn(Arc::clone(self).serve(stream, entry));
        }
    }

    /// Serves one connection until it ends, or until its place is needed.
    async fn serve(self: Arc<Self>, stream: TcpStream, entry: Entry) {
        let connection = entry.connection();
        tokio::select! {
            () = self.serve_tls(stream, connection) => {}
            () = connection.evicted() => {}
        }
    }

    async fn serve_tls(&self, stream: TcpStream, connection: &Arc<Connection>) {
        let first_head = Instant::now() + self.timeouts.first_head;
        // An answer is written at once, so that waiting for more to send only delays it.
        let _ = stream.set_nodelay(true);
        let tls = TlsAcceptor::from(Arc::clone(&self.tls.borrow().config));
        match timeout_at(first_head, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream, connection, first_head).await,
            Ok(Err(error)) => {
                tracing::debug!("handshake failed: {error}");
                self.metrics.handshake_failed(handshake_failure(&error));
            }
            Err(_) => self.metrics.handshake_failed("timeout"),
        }
    }

    async fn serve_http(
        &self,
        stream: TlsStream<TcpStream>,
        connection: &Arc<Connection>,
        first_head: Instant,
    ) {
        let stream = Stream::new(stream, Arc::clone(connection), self.timeouts.write);
        let service = service_fn(|request| self.answer(request, connection));
        let mut http = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.timeouts.next_head)
                .max_buf_size(READ_BUFFER)
                .serve_connection(TokioIo::new(stream), service)
        );
        let mut first_head = pin!(sleep_until(first_head));
        let mut phase = self.phase.clone();
        let (mut may_be_silent, mut is_stopping) = (false, false);
        loop {
            tokio::select! {
                result = http.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!("connection ended: {error}");
                    }
                    return;
                }
                () = first_head.as_mut(), if !may_be_silent => {
                    if !connection.has_requested() {
                        return;
                    }
                    may_be_silent = true;
                }
                () = stopping(&mut phase), if !is_stopping => {
                    is_stopping = true;
                    // Otherwise the answer that is due closes it.
                    if !connection.expects_answer() {
                        http.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        connection.head_received();
        let received = self.webhook.receive(request).await;
        connection.request_received();
        // A body that is not read ends the connection, which a client must know before it sends on.
        let closes = received.is_err()
            || *self.phase.borrow() != Phase::Serving
            || connection.age() > self.max_age(connection);
        let mut response = self.webhook.answer(received);
        if closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        connection.answered();
        Ok(response)
    }

    /// The age at which a connection is retired: up to a tenth less than the limit, so that those
    /// that were opened together are not retired together.
    fn max_age(&self, connection: &Connection) -> Duration {
        let [jitter, ..] = self.jitter.hash_one(connection.id()).to_ne_bytes();
        let tenth = self.connection_age / 10;
        tenth * 9 + tenth / u32::from(u8::MAX) * u32::from(jitter)
    }
}

/// Whether accepting failed because of the one connection, and not of the listening socket.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Why a handshake failed, as one of the values of that label.
fn handshake_failure(error: &io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    match tls {
        None => "disconnected",
        Some(TlsError::InvalidMessage(_)) => "not_tls",
        Some(TlsError::NoCertificatesPresented | TlsError::InvalidCertificate(_)) => {
            "client_certificate"
        }
        Some(TlsError::AlertReceived(_)) => "alert",
        Some(_) => "protocol",
    }
}
