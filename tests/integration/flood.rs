//! As many hostile clients as there are places: what the real program takes of memory, and who is
//! answered meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink, split};
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::ClientConfig;

use crate::support::{
    Authority, Client, Program, get, handshake, post, review, review_of_size, trusting, within,
};

/// The default of `MAX_CONNECTIONS`, and how many clients there are.
const CLIENTS: usize = 4096;

/// The default of `MAX_BUFFERED_BYTES`, in KiB.
const BUFFERED: u64 = 64 << 10;

/// What a connection may hold besides what is counted of its body, in KiB: seven times hyper's read
/// buffer of 16. That is a TLS record encrypted and decrypted, the read buffer, a frame of it that
/// is offered, one that waits for room, the connection itself, and what the allocator adds.
const CONNECTION: u64 = 7 * 16;

/// How soon an honest client on a new connection is answered.
const SOON: Duration = Duration::from_secs(1);

/// How often honest clients ask while a flood lasts.
const PAUSE: Duration = Duration::from_millis(100);

/// Lets this process have as many files open as it may, and says how many clients there can be.
fn clients() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    // A thousand are left to the other tests of this process.
    let files = limit
        .maximum
        .map_or(u64::MAX, |max| max.saturating_sub(1000));
    CLIENTS.min(usize::try_from(files).unwrap_or(usize::MAX))
}

/// Connects with a small buffer for what is sent, since the memory of all of them is the machine's.
async fn connect(addr: SocketAddr) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    let connecting = socket.connect(addr);
    within("a connection", connecting).await.unwrap()
}

async fn gauge(admin: SocketAddr, name: &str) -> u64 {
    let scrape = get(admin, "/metrics").await.1;
    let value = scrape.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().trim().parse().unwrap()
}

/// Sends honest reviews, each on a new connection, until `done`; returns how many were answered,
/// and the longest that one took.
async fn honest(
    addr: SocketAddr,
    authority: &Authority,
    mut done: impl FnMut() -> bool,
) -> (u32, Duration) {
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    while !done() {
        let asked = Instant::now();
        post(addr, authority.roots(), review("1", "nginx")).await;
        slowest = slowest.max(asked.elapsed());
        answered += 1;
        sleep(PAUSE).await;
    }
    (answered, slowest)
}

/// Sends as much of a body of 8 MiB as the server takes, and waits for the end.
async fn send_large(addr: SocketAddr, config: ClientConfig, body: Arc<str>, started: &AtomicUsize) {
    // An honest client may get its place at any time.
    let Ok(client) = handshake(connect(addr).await, config).await else {
        return;
    };
    let (mut read, mut write) = split(client.stream);
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    if write.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    started.fetch_add(1, Ordering::Relaxed);
    let mut answer = [0; 12];
    tokio::select! {
        // It ends when the server does not read on.
        () = async {
            let _ = write.write_all(body.as_bytes()).await;
            std::future::pending::<()>().await;
        } => {}
        answered = read.read_exact(&mut answer) => {
            if answered.is_ok() {
                let status = String::from_utf8_lossy(&answer[9..]);
                assert!(["200", "408", "503"].contains(&&*status), "{status}");
            }
            let _ = copy(&mut read, &mut sink()).await;
        }
    }
}

#[tokio::test]
async fn thousands_of_clients_that_send_8_mib_each() {
    let clients = clients();
    let authority = Authority::new("a CA");
    let (mut program, addr, admin) = Program::serve(&authority, &[]).await;
    let idle = program.memory("VmRSS");
    let start = Instant::now();
    let started = Arc::new(AtomicUsize::new(0));
    let config = trusting(authority.roots());
    let body: Arc<str> = review_of_size("1", "nginx", 8 << 20).into();
    // In a thread of its own, so that the honest client is not kept waiting by its neighbours.
    let flood = thread::spawn({
        let started = Arc::clone(&started);
        move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..clients {
                    let (body, started) = (Arc::clone(&body), Arc::clone(&started));
                    let config = config.clone();
                    tasks.spawn(async move { send_large(addr, config, body, &started).await });
                }
                tasks.join_all().await;
            });
        }
    });
    // While they come all at once, the honest client queues with them to be accepted.
    let nearly_all = || started.load(Ordering::Relaxed) >= clients * 9 / 10;
    let coming = honest(addr, &authority, || nearly_all() || flood.is_finished()).await;
    let came = start.elapsed();
    let mut peak = program.memory("VmHWM");
    let (answered, slowest) = honest(addr, &authority, || {
        peak = program.memory("VmHWM");
        flood.is_finished()
    })
    .await;
    flood.join().unwrap();
    let bound = idle + BUFFERED + clients as u64 * CONNECTION;
    println!(
        "{clients} clients, come after {came:?}, gone after {:?}; peak {peak} KiB of {bound}, {} \
         KiB afterwards; {answered} honest reviews answered, each within {slowest:?}; {} of them \
         while the others came, within {:?}",
        start.elapsed(),
        program.memory("VmRSS"),
        coming.0,
        coming.1
    );
    assert!(answered > 0 && slowest < SOON, "{slowest:?}");
    assert!(coming.1 < SOON * 5, "{coming:?}");
    assert!(peak < bound, "{peak} {bound}");
    assert_eq!(get(admin, "/readyz").await.0, 200);
    assert!(!program.has_ended());
}

#[tokio::test]
async fn thousands_of_idle_connections() {
    let clients = clients();
    let authority = Authority::new("a CA");
    let most = clients.to_string();
    let settings = [("MAX_CONNECTIONS", most.as_str())];
    let (mut program, addr, admin) = Program::serve(&authority, &settings).await;
    let start = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..clients {
        idle.push(Client::new(connect(addr).await));
    }
    within("all to be open", async {
        while gauge(admin, "image_swapper_connections ").await != clients as u64 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Those that say nothing at all are closed after ten seconds; this does not last as long.
    let mut left = 20;
    let (answered, slowest) = honest(addr, &authority, || {
        left -= 1;
        left == 0
    })
    .await;
    let evicted = gauge(admin, "image_swapper_connections_evicted_total ").await;
    println!(
        "{clients} idle connections, {:?}; {evicted} closed for {answered} honest reviews, each \
         answered within {slowest:?}",
        start.elapsed()
    );
    assert!(evicted > 0 && evicted <= u64::from(answered));
    assert!(slowest < SOON, "{slowest:?}");
    assert!(!program.has_ended());
}
