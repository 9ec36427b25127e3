//! The admin port, plain HTTP: `/livez`, `/readyz` and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::http::{TEXT, respond};
use crate::metrics::{Counted, Metrics};
use crate::server::ACCEPT_PAUSE;
use crate::server::connections::{Connections, Entry};
use crate::shutdown::Phase;
use crate::tls::Credentials;

/// How many connections there are at most; beyond, the oldest is closed.
const CONNECTIONS: usize = 64;

/// How long a connection may last. Each has one request, and what is asked is at hand.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers probes and scrapes.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    tls: watch::Receiver<Arc<Credentials>>,
    phase: watch::Receiver<Phase>,
}

impl Admin {
    /// Ready while `tls` holds a valid certificate and `phase` is [`Phase::Serving`].
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        tls: watch::Receiver<Arc<Credentials>>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            metrics,
            tls,
            phase,
        }
    }

    /// Serves for ever.
    pub async fn run(self, listener: TcpListener) {
        let admin = Arc::new(self);
        let connections = Connections::new(CONNECTIONS, Counted::nowhere());
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(entry) = connections.enter() {
                        tokio::spawn(Arc::clone(&admin).serve(stream, entry));
                    }
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, entry: Entry) {
        let service = service_fn(|request| {
            let response = self.answer(&request);
            async { Ok::<_, Infallible>(response) }
        });
        let http = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // Whatever the client did wrong is its own affair.
            _ = timeout(TIMEOUT, http) => {}
            () = entry.connection().evicted() => {}
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return respond(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "expected the method GET\n",
            );
        }
        match request.uri().path() {
            "/livez" => respond(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => match self.unready() {
                None => respond(StatusCode::OK, TEXT, "ok\n"),
                Some(why) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
            },
            "/metrics" => respond(StatusCode::OK, METRICS, self.metrics.render()),
            _ => {
                let expected = "expected the path /livez, /readyz or /metrics\n";
                respond(StatusCode::NOT_FOUND, TEXT, expected)
            }
        }
    }

    /// Why no reviews should be sent here, if so.
    fn unready(&self) -> Option<&'static str> {
        if *self.phase.borrow() != Phase::Serving {
            Some("shutting down\n")
        } else if !self.tls.borrow().is_valid() {
            Some("the certificate is not valid at this time\n")
        } else {
            None
        }
    }
}
