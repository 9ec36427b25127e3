//! Certificate renewals and rolling restarts under steady load: not one review of all that an API
//! server sends is lost.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::load::Load;
use crate::reload::project;
use crate::support::{Authority, Program, connect, service_env, until, within};

const RENEWALS: u32 = 100;

const RESTARTS: usize = 20;

#[tokio::test]
async fn a_hundred_renewals_lose_no_review() {
    let start = Instant::now();
    let authority = Authority::new("a CA");
    let (directory, env) = service_env(&authority);
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut program = Program::start(&["serve"], &env);
    let (addr, _) = program.serving().await;
    let kept = Load::start(addr, &authority, &["-workers=8", "-pause=2ms"]);
    let fresh = Load::start(addr, &authority, &["-workers=1", "-pause=2ms", "-fresh"]);

    let mut shown = HashSet::new();
    for version in 0..RENEWALS {
        let pair = authority.issue();
        project(&directory, version, &pair);
        let expected = pair.certificate.der().to_vec();
        within("the new certificate on a new connection", async {
            loop {
                let client = connect(addr, authority.roots()).await;
                let (_, connection) = client.stream.get_ref();
                if connection.peer_certificates().unwrap()[0].as_ref() == expected {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert!(shown.insert(expected));
    }

    let (kept, fresh) = (kept.finish().await, fresh.finish().await);
    assert!(fresh.certificates > 1, "{fresh:?}");
    println!(
        "{} renewals seen by new connections in {:?}; none failed of {} reviews on {} kept \
         connections and of {} on one each, which saw {} certificates",
        shown.len(),
        start.elapsed(),
        kept.count,
        kept.connections,
        fresh.count,
        fresh.certificates
    );
}

/// A balancer of connections, as kube-proxy is one: each new connection goes to the next replica
/// that was ready when that was last looked at.
#[derive(Default)]
struct Balancer {
    /// Where each replica serves, and where it says whether it is ready.
    replicas: Mutex<[Option<(SocketAddr, SocketAddr)>; 2]>,
    ready: Mutex<Vec<SocketAddr>>,
}

impl Balancer {
    /// Follows the replicas' readiness, a little late.
    async fn follow(self: Arc<Self>) {
        loop {
            let replicas = *self.replicas.lock().unwrap();
            let mut ready = Vec::new();
            for (addr, admin) in replicas.into_iter().flatten() {
                if is_ready(admin).await {
                    ready.push(addr);
                }
            }
            *self.ready.lock().unwrap() = ready;
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn balance(self: Arc<Self>, listener: TcpListener) {
        let mut next = 0;
        loop {
            let (client, _) = listener.accept().await.unwrap();
            next += 1;
            let to = {
                let ready = self.ready.lock().unwrap();
                ready[next % ready.len()]
            };
            tokio::spawn(forward(client, to));
        }
    }

    /// Waits until exactly so many replicas are offered.
    async fn offers(&self, count: usize) {
        let what = format!("{count} ready replicas");
        until(&what, || self.ready.lock().unwrap().len() == count).await;
    }
}

/// Whether a replica says so; one that is gone does not.
async fn is_ready(admin: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await?;
        let mut status = *b"HTTP/1.1 ...";
        stream.read_exact(&mut status).await?;
        io::Result::Ok(status == *b"HTTP/1.1 200")
    };
    timeout(Duration::from_secs(1), asking)
        .await
        .is_ok_and(|ready| ready.unwrap_or(false))
}

async fn forward(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut replica = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    replica.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut replica).await?;
    Ok(())
}

#[tokio::test]
async fn twenty_rolling_restarts_lose_no_review() {
    let start = Instant::now();
    let authority = Authority::new("a CA");
    // Many times as long as the balancer takes to look again.
    let settings = [("DRAIN_DELAY", "300ms")];
    let balancer = Arc::new(Balancer::default());
    let mut programs = Vec::new();
    for replica in 0..2 {
        let (program, addr, admin) = Program::serve(&authority, &settings).await;
        balancer.replicas.lock().unwrap()[replica] = Some((addr, admin));
        programs.push(program);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(Arc::clone(&balancer).follow());
    balancer.offers(2).await;
    tokio::spawn(Arc::clone(&balancer).balance(listener));
    let load = Load::start(addr, &authority, &["-workers=8", "-pause=2ms"]);

    for restart in 0..RESTARTS {
        let replica = restart % 2;
        balancer.offers(2).await;
        programs[replica].signal(Signal::TERM);
        balancer.offers(1).await;
        let status = programs[replica].ended().await;
        assert_eq!(status.code(), Some(0), "{}", programs[replica].stderr());
        let (program, addr, admin) = Program::serve(&authority, &settings).await;
        balancer.replicas.lock().unwrap()[replica] = Some((addr, admin));
        programs[replica] = program;
    }

    let sent = load.finish().await;
    // Each restart has moved connections.
    assert!(sent.connections > RESTARTS as u64, "{sent:?}");
    println!(
        "{RESTARTS} restarts in {:?}; none failed of {} reviews on {} connections",
        start.elapsed(),
        sent.count,
        sent.connections
    );
}
