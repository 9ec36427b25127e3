//! The least that a webhook in Rust costs: hyper reads the whole body and answers a constant
//! AdmissionReview. What `bench/load` and `bench/start` measure the program next to.
//!
//! It has the program's TLS, HTTP/1.1, runtime and build flags, and none of its features: no
//! review is read, nothing is bounded, counted or logged, no certificate is followed. It takes
//! `LISTEN_ADDR`, `TLS_CERT_FILE` and `TLS_KEY_FILE`, as the program does.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use image_swapper::server::bind;
use image_swapper::settings::TlsFiles;
use image_swapper::tls::Credentials;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"92fff189-776c-4116-9677-d428267c6309","allowed":true}}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::var("LISTEN_ADDR")?.parse()?;
    let credentials = Credentials::load(&TlsFiles {
        cert: env::var("TLS_CERT_FILE")?.into(),
        key: env::var("TLS_KEY_FILE")?.into(),
        client_ca: None,
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(addr, TlsAcceptor::from(credentials.config)))
}

async fn serve(addr: SocketAddr, tls: TlsAcceptor) -> Result<(), Box<dyn Error>> {
    let listener = bind(addr)?;
    let tls = Arc::new(tls);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, Arc::clone(&tls)));
    }
}

/// Serves a connection until its client closes it, or until anything is wrong with it.
async fn connection(stream: TcpStream, tls: Arc<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let http = http1::Builder::new();
    let _ = http
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
