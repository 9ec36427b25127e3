//! Log lines on their way to standard error. A reviewing thread never waits for whoever reads them:
//! a pipe that nobody empties would otherwise hold up the creation of Pods.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use metrics::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait; those beyond are dropped, and counted.
const WAITING: usize = 1024;

/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

enum Item {
    Line(Vec<u8>),
    /// Everything before this has been written when its channel closes.
    Flush(SyncSender<()>),
}

/// Where log lines are put.
pub(super) struct Queue {
    items: SyncSender<Item>,
    dropped: Counter,
}

/// Waits at its end, for a moment, until all lines so far are written.
#[must_use = "the last lines are lost if this is dropped early"]
#[derive(Debug)]
pub struct Flush(SyncSender<Item>);

impl Queue {
    /// A queue that a thread of its own empties into standard error. `dropped` counts the lines for
    /// which there was no place.
    pub(super) fn start(dropped: Counter) -> io::Result<(Self, Flush)> {
        let (items, waiting) = sync_channel(WAITING);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(&waiting))?;
        let flush = Flush(items.clone());
        Ok((Self { items, dropped }, flush))
    }
}

fn write(waiting: &Receiver<Item>) {
    while let Ok(item) = waiting.recv() {
        match item {
            // Nobody to tell if standard error is closed, or its disk full.
            Item::Line(line) => drop(io::stderr().write_all(&line)),
            Item::Flush(written) => drop(written),
        }
    }
}

impl Write for &Queue {
    /// Takes one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.items.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH;
        let (written, done) = sync_channel(0);
        let mut item = Item::Flush(written);
        while let Err(TrySendError::Full(back)) = self.0.try_send(item) {
            if Instant::now() > deadline {
                return;
            }
            item = back;
            thread::sleep(Duration::from_millis(10));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let _: Result<(), RecvTimeoutError> = done.recv_timeout(left);
    }
}
