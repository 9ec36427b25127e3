//! `serve`: every part wired together, from the settings to the exit.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use crate::admin::Admin;
use crate::http::{self, Webhook};
use crate::logging;
use crate::metrics::Metrics;
use crate::server::{Server, Timeouts, bind};
use crate::settings::Settings;
use crate::shutdown::{Phase, Signals, drain};
use crate::tls::Credentials;
use crate::tls::watch::{PERIOD, Reloader};

/// How often histograms are folded where nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// How many open files are kept for the admin port, the certificates and the runtime.
const FILES_KEPT: usize = 128;

/// Runs the webhook until a signal ends it. With `dev`, the certificate is made in memory.
///
/// # Errors
/// What keeps it from starting, or ends it early.
pub fn run(mut settings: Settings, dev: bool) -> Result<(), Box<dyn Error>> {
    let metrics = Arc::new(Metrics::new(&settings.mutator.rules, settings.mutator.mode));
    let _flush = logging::init(
        settings.log,
        settings.log_format,
        metrics.log_lines_dropped(),
    )?;
    for warning in settings.mutator.rules.warnings() {
        tracing::warn!("{warning}");
    }
    settings.limits.connections = connections_with_files(settings.limits.connections);
    // One thread: a review is a few microseconds, and a Pod's share of a processor is small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings, metrics, dev))
}

async fn serve(settings: Settings, metrics: Arc<Metrics>, dev: bool) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::handle()?;
    let credentials = if dev {
        let credentials = self_signed()?;
        metrics.tls_certificate(credentials.not_after);
        watch::channel(Arc::new(credentials)).1
    } else {
        let (reloader, credentials) = Reloader::start(settings.tls, PERIOD, Arc::clone(&metrics))?;
        tokio::spawn(reloader.run());
        credentials
    };
    let listener = listen("LISTEN_ADDR", settings.listen_addr)?;
    let admin_listener = listen("ADMIN_ADDR", settings.admin_addr)?;
    let addr = listener.local_addr()?;

    let (phase, phases) = watch::channel(Phase::Serving);
    let admin = Admin::new(Arc::clone(&metrics), credentials.clone(), phases.clone());
    let mode = settings.mutator.mode.as_str();
    let webhook = Webhook::new(settings.mutator, &settings.limits, Arc::clone(&metrics));
    let server = Server::new(
        webhook,
        &settings.limits,
        Timeouts::default(),
        Arc::clone(&metrics),
        credentials,
        phases,
    );

    tracing::info!(
        listen_addr = %addr,
        admin_addr = %admin_listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        mode,
        "serving"
    );
    if dev {
        println!("{}", example(addr));
    }
    tokio::spawn(upkeep(metrics));
    tokio::spawn(admin.run(admin_listener));
    let server = tokio::spawn(server.run(listener));

    let signal = signals.next().await;
    tracing::info!(signal, "draining");
    let drained = async {
        drain(&phase, settings.drain_delay).await;
        server.await
    };
    tokio::select! {
        drained = timeout(settings.drain_timeout, drained) => {
            let Ok(result) = drained else {
                tracing::warn!("connections were still open after DRAIN_TIMEOUT");
                return Ok(());
            };
            result?;
            tracing::info!("drained");
        }
        signal = signals.next() => return Err(format!("aborted by a second signal, {signal}").into()),
    }
    Ok(())
}

fn listen(setting: &str, addr: SocketAddr) -> Result<TcpListener, String> {
    bind(addr).map_err(|error| format!("{setting}: cannot listen on {addr}: {error}"))
}

async fn upkeep(metrics: Arc<Metrics>) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// Raises the soft limit of open files to the hard one, and keeps some for what is no connection of
/// the webhook: `max`, the most that there may be of these, or fewer.
fn connections_with_files(max: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let room = files - FILES_KEPT.min(files / 2);
    if room < max {
        tracing::warn!(
            "at most {room} connections, not MAX_CONNECTIONS: {files} files may be open"
        );
    }
    room.min(max)
}

#[cfg(feature = "dev")]
fn self_signed() -> Result<Credentials, Box<dyn Error>> {
    crate::tls::dev::self_signed()
}

#[cfg(not(feature = "dev"))]
fn self_signed() -> Result<Credentials, Box<dyn Error>> {
    Err("this build has no certificate generator".into())
}

/// A command to paste that shows a swap.
fn example(addr: SocketAddr) -> String {
    let ip = if addr.ip().is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        addr.ip()
    };
    let addr = SocketAddr::new(ip, addr.port());
    let review = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","resource":{"group":"","version":"v1","resource":"pods"},"object":{"metadata":{"name":"web"},"spec":{"containers":[{"name":"web","image":"nginx:1.27"}]}}}}"#;
    format!(
        "To see a swap, paste this; it prints the patch for a Pod with the image nginx:1.27:\n\n\
         curl -sk https://{addr}{} -H 'Content-Type: application/json' -d '{review}' \
         | sed 's/.*\"patch\":\"\\([^\"]*\\)\".*/\\1/' | base64 -d; echo\n",
        http::PATH
    )
}
