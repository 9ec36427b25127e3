//! The log: its form, and a limit on what clients can make it say.

mod queue;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, panic};

use metrics::Counter;
use tracing::level_filters::LevelFilter;

pub use queue::Flush;
use queue::Queue;

use crate::settings::LogFormat;

/// How often, at most, a line that clients can cause is written.
const INTERVAL: Duration = Duration::from_secs(10);

/// Sends log lines, panics among them, to standard error from now on; to be called once. `dropped`
/// counts the lines that are lost because nobody reads them.
///
/// # Errors
/// The thread that writes the lines cannot be started.
pub fn init(level: LevelFilter, format: LogFormat, dropped: Counter) -> io::Result<Flush> {
    let (queue, flush) = Queue::start(dropped)?;
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(queue)
        .log_internal_errors(false);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.with_ansi(false).init(),
    }
    panic::set_hook(Box::new(|info| tracing::error!("{info}")));
    Ok(flush)
}

/// Lets a line through now and then.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Whether to write the line, and if so, how many were not written since the last one.
    pub(crate) fn pass(&self) -> Option<u64> {
        // The state is right after any of its operations.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_passes_now_and_then_and_says_how_many_did_not() {
        let throttle = Throttle::default();
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!([throttle.pass(), throttle.pass()], [None, None]);
        throttle.state.lock().unwrap().last = Instant::now().checked_sub(INTERVAL);
        assert_eq!(throttle.pass(), Some(2));
        assert_eq!(throttle.pass(), None);
    }
}
