//! The end of the process: signals, and the phases they lead to.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

/// What the process is doing, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Serving,
    /// Not ready, but still accepting, since the news takes a while to spread; each answer closes
    /// its connection.
    Draining,
    /// No longer accepting; finishing what is in flight.
    Stopping,
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Handles the signals from now on. To be done early: PID 1 ignores those it does not handle.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn handle() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them, and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Leads through the phases: draining at once, stopping after `delay`.
pub async fn drain(phase: &watch::Sender<Phase>, delay: Duration) {
    phase.send_replace(Phase::Draining);
    sleep(delay).await;
    phase.send_replace(Phase::Stopping);
}

/// Waits until it is time to stop, or until nobody is left to say so.
pub(crate) async fn stopping(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}
