//! The server in the test's own process, on a loopback port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use image_swapper::http::Webhook;
use image_swapper::metrics::Metrics;
use image_swapper::mutate::{Mode, Mutator};
use image_swapper::rules::Rules;
use image_swapper::server::{Server, Timeouts, bind};
use image_swapper::settings::{Limits, TlsFiles};
use image_swapper::shutdown::Phase;
use image_swapper::tls::Credentials;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use super::{
    Authority, Client, Directory, connect, images, port_refuses, post, review, until, within,
};

/// How to start a [`TestServer`]: as the program does by default, on a port of its own.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) addr: SocketAddr,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

/// A running server.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) running: JoinHandle<()>,
    _credentials: watch::Sender<Arc<Credentials>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:0".parse().unwrap(),
            limits: Limits {
                body_bytes: 8 << 20,
                buffered_bytes: 64 << 20,
                body_timeout: Duration::from_secs(5),
                connections: 4096,
                connection_age: Duration::from_mins(5),
            },
            timeouts: Timeouts::default(),
        }
    }
}

impl Setup {
    /// Starts the server with a certificate of a new authority.
    pub(crate) fn start(self) -> TestServer {
        let authority = Authority::new("server CA");
        let directory = Directory::new();
        let files = authority.issue().write(&directory, &[]);
        self.start_with(authority, &files)
    }

    /// Starts the server with these files, which a client trusts that trusts `authority`.
    pub(crate) fn start_with(self, authority: Authority, files: &TlsFiles) -> TestServer {
        let rules = Rules::parse("registry.example.com", "docker.io={proxy}", "registry");
        let rules = rules.unwrap();
        let metrics = Arc::new(Metrics::new(&rules, Mode::Swap));
        let mutator = Mutator::new(rules);
        let credentials = Credentials::load(files).unwrap();
        let (credentials_sender, credentials) = watch::channel(Arc::new(credentials));
        let (phase, phases) = watch::channel(Phase::Serving);
        let server = Server::new(
            Webhook::new(mutator, &self.limits, Arc::clone(&metrics)),
            &self.limits,
            self.timeouts,
            Arc::clone(&metrics),
            credentials,
            phases,
        );
        let listener = bind(self.addr).unwrap();
        TestServer {
            addr: listener.local_addr().unwrap(),
            authority,
            metrics,
            phase,
            running: tokio::spawn(server.run(listener)),
            _credentials: credentials_sender,
        }
    }
}

impl TestServer {
    /// A connection over TLS.
    pub(crate) async fn connect(&self) -> Client<TlsStream<TcpStream>> {
        connect(self.addr, self.authority.roots()).await
    }

    /// A connection on which nothing has been said yet, TLS neither.
    pub(crate) async fn connect_tcp(&self) -> Client<TcpStream> {
        let connecting = TcpStream::connect(self.addr);
        Client::new(within("a connection", connecting).await.unwrap())
    }

    /// Asserts that an honest client on a new connection gets its answer.
    pub(crate) async fn serves(&self) {
        let answer = post(self.addr, self.authority.roots(), review("1", "nginx")).await;
        let image = "registry.example.com/library/nginx:latest".to_owned();
        assert_eq!(
            images(&answer),
            [("/spec/containers/0/image".to_owned(), image)]
        );
    }

    /// The value of a series, as a scrape shows it: `image_swapper_` and `series`.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let scrape = self.metrics.render();
        let mut lines = scrape
            .lines()
            .filter_map(|line| line.strip_prefix("image_swapper_")?.strip_prefix(series));
        let value = lines.find_map(|value| value.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {series} in {scrape}"))
    }

    /// Waits until so many connections are open.
    pub(crate) async fn open_connections(&self, count: u64) {
        let what = format!("{count} open connections");
        until(&what, || self.metric("connections") == count).await;
    }

    /// Begins to stop, and waits until new connections are refused.
    pub(crate) async fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
        port_refuses(self.addr).await;
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) {
        within("the end of the server", self.running).await.unwrap();
    }
}
