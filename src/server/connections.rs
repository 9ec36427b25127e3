//! The open connections: how many there are, and which has waited longest for its client.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::metrics::Counted;

/// Every open connection.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    counted: Counted,
    started: Instant,
    open: Mutex<Open>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Arc<Connection>>,
}

/// One connection, as the server sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    opened: Instant,
    started: Instant,
    /// Since when it is the client's turn, in nanoseconds from `started`; [`OUR_TURN`] while a
    /// complete request is being answered.
    waiting_since: AtomicU64,
    /// Whether the client has begun a request, or not yet had an answer at all.
    expects_answer: AtomicBool,
    requested: AtomicBool,
    evicted: Notify,
}

/// Takes its connection out of the list when the connection's task ends, however it ends.
#[derive(Debug)]
pub(crate) struct Entry {
    list: Arc<Connections>,
    connection: Arc<Connection>,
}

const OUR_TURN: u64 = u64::MAX;

impl Connections {
    /// At most `max` of them.
    pub(crate) fn new(max: usize, counted: Counted) -> Arc<Self> {
        Arc::new(Self {
            max,
            counted,
            started: Instant::now(),
            open: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Enters a new connection. If there are too many, the one that has waited longest for its
    /// client is closed; if every one is being answered, the new one gets no place.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entry> {
        if self.lock().by_id.len() >= self.max && !self.evict() {
            self.counted.refused.increment(1);
            return None;
        }
        let mut open = self.lock();
        let id = open.next_id;
        open.next_id += 1;
        let connection = Arc::new(Connection {
            id,
            opened: Instant::now(),
            started: self.started,
            waiting_since: AtomicU64::new(elapsed(self.started)),
            expects_answer: AtomicBool::new(true),
            requested: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        open.by_id.insert(id, Arc::clone(&connection));
        self.counted.open.increment(1);
        Some(Entry {
            list: Arc::clone(self),
            connection,
        })
    }

    /// Closes the connection that has waited longest for its client, and says whether there was
    /// one.
    fn evict(&self) -> bool {
        let mut open = self.lock();
        let since = |connection: &Connection| connection.waiting_since.load(Ordering::Relaxed);
        let waiting = open.by_id.iter().filter(|(_, one)| since(one) != OUR_TURN);
        let Some(id) = waiting.min_by_key(|(_, one)| since(one)).map(|(id, _)| *id) else {
            return false;
        };
        // Its place is free at once; its task ends when it is next scheduled.
        if let Some(connection) = open.by_id.remove(&id) {
            connection.evicted.notify_one();
            self.counted.evicted.increment(1);
        }
        true
    }

    /// Waits until none is open.
    pub(crate) async fn none_open(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lock().by_id.is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // No code panics with the lock held; and the map is right after any of its operations.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The client has sent a whole head.
    pub(crate) fn head_received(&self) {
        self.requested.store(true, Ordering::Relaxed);
        self.wait_from_now();
    }

    /// The client has sent a whole request: it waits for us.
    pub(crate) fn request_received(&self) {
        self.waiting_since.store(OUR_TURN, Ordering::Relaxed);
    }

    /// The answer is on its way: from now on we wait for the client.
    pub(crate) fn answered(&self) {
        self.expects_answer.store(false, Ordering::Relaxed);
        self.wait_from_now();
    }

    /// It is the client's turn.
    fn wait_from_now(&self) {
        let now = elapsed(self.started);
        self.waiting_since.store(now, Ordering::Relaxed);
    }

    /// Bytes of a request have come.
    pub(crate) fn bytes_received(&self) {
        self.expects_answer.store(true, Ordering::Relaxed);
    }

    /// Whether it had at least one whole head.
    pub(crate) fn has_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Whether closing it now could lose a request: it has begun one, or it is so new that its
    /// first may be on its way.
    pub(crate) fn expects_answer(&self) -> bool {
        self.expects_answer.load(Ordering::Relaxed)
    }

    /// Different from that of every other connection.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Waits until its place is needed for another.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Entry {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.list.lock().by_id.remove(&self.connection.id);
        self.list.counted.open.decrement(1);
        self.list.changed.notify_waiters();
    }
}

fn elapsed(started: Instant) -> u64 {
    // 584 years.
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(OUR_TURN - 1)
}
