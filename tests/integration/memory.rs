//! Memory does not grow with traffic: with how many reviews, nor with how many connections, whether
//! or not somebody scrapes.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::load::Load;
use crate::support::{Authority, Program, get};

/// What resident memory may grow by, in KiB.
const GROWTH: u64 = 1024;

async fn stays_small(scraped: bool) {
    let start = Instant::now();
    let authority = Authority::new("a CA");
    let (program, addr, admin) = Program::serve(&authority, &[]).await;
    let load = async |args: &[&str]| {
        let sent = Load::start(addr, &authority, args).finish();
        tokio::pin!(sent);
        let mut ticks = interval(Duration::from_millis(200));
        let sent = loop {
            tokio::select! {
                sent = &mut sent => break sent,
                _ = ticks.tick(), if scraped => {
                    assert_eq!(get(admin, "/metrics").await.0, 200);
                }
            }
        };
        (sent, program.memory("VmRSS"))
    };
    let (warm, first) = load(&["-count=20000"]).await;
    let (reviews, after_reviews) = load(&["-count=200000"]).await;
    let (connections, after_connections) = load(&["-count=2000", "-fresh"]).await;
    assert_eq!(connections.connections, 2000);
    println!(
        "scraped: {scraped}; resident after {} reviews {first} KiB, after {} more \
         {after_reviews} KiB, after {} connections {after_connections} KiB; {:?}",
        warm.count,
        reviews.count,
        connections.connections,
        start.elapsed()
    );
    assert!(after_reviews <= first + GROWTH);
    assert!(after_connections <= first + GROWTH);
}

#[tokio::test]
async fn reviews_and_connections_leave_nothing_where_nobody_scrapes() {
    stays_small(false).await;
}

#[tokio::test]
async fn reviews_and_connections_leave_nothing_where_somebody_scrapes() {
    stays_small(true).await;
}
