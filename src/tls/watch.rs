//! Keeps the credentials those of the files, as cert-manager renews them and the kubelet projects
//! them.
//!
//! The kubelet renews a mounted Secret by replacing the symlink `..data` beside the files, of which
//! a watch on the files sees the first time and then nothing; so it is their directories that are
//! watched. A watch can be lost, so that the files are read now and then all the same.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use humantime::format_rfc3339_seconds;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Credentials, Pem, TlsError};
use crate::metrics::Metrics;
use crate::settings::TlsFiles;

/// How long it must be quiet after a change before the files are read, since several come at once.
const QUIET: Duration = Duration::from_millis(100);

/// The longest that changes without a pause may put off the reading.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// How long to wait before reading again what did not prove right: it may have been read half-way
/// through a change.
const RETRY: Duration = Duration::from_secs(1);

/// How often the files are read though nothing said that they changed.
pub const PERIOD: Duration = Duration::from_mins(1);

/// Reads the files when they change, and replaces what new connections are served with once it is
/// proven.
pub struct Reloader {
    files: TlsFiles,
    period: Duration,
    metrics: Arc<Metrics>,
    credentials: watch::Sender<Arc<Credentials>>,
    served: Pem,
    refused: Option<Refused>,
}

/// What was read and may not serve; kept so that it is counted and logged once.
#[derive(PartialEq, Eq)]
struct Refused {
    pem: Option<Pem>,
    error: String,
}

/// The watch on the directories of the files.
struct Directories {
    paths: Vec<PathBuf>,
    /// Where a change is reported.
    changes: mpsc::Sender<()>,
    watcher: Option<RecommendedWatcher>,
    /// Which directories they were when the watch began.
    identities: Vec<Option<Identity>>,
    warned: bool,
}

/// Device and inode of a directory.
type Identity = (u64, u64);

impl Reloader {
    /// Reads the files for the first time. A certificate that is not valid at this time is taken:
    /// its renewal may only be late.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn start(
        files: TlsFiles,
        period: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, watch::Receiver<Arc<Credentials>>), TlsError> {
        let served = Pem::read(&files)?;
        let credentials = Credentials::parse(&files, &served)?;
        if let Err(problem) = credentials.check_validity() {
            tracing::warn!("not ready: {}", problem.of(&files.cert));
        }
        metrics.tls_certificate(credentials.not_after);
        let (sender, receiver) = watch::channel(Arc::new(credentials));
        let reloader = Self {
            files,
            period,
            metrics,
            credentials: sender,
            served,
            refused: None,
        };
        Ok((reloader, receiver))
    }

    /// Follows the files for ever.
    pub async fn run(mut self) {
        let (sender, mut changes) = mpsc::channel(1);
        let mut directories = Directories::new(&self.files, sender);
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = changes.recv() => settle(&mut changes).await,
            }
            directories.ensure_watched();
            self.reload().await;
        }
    }

    async fn reload(&mut self) {
        match self.try_reload() {
            Err(refused) if self.refused.as_ref() != Some(&refused) => {}
            _ => return,
        }
        sleep(RETRY).await;
        if let Err(refused) = self.try_reload() {
            self.metrics.tls_reloaded(false);
            tracing::warn!("the last good certificate stays: {}", refused.error);
            self.refused = Some(refused);
        }
    }

    fn try_reload(&mut self) -> Result<(), Refused> {
        let pem = match Pem::read(&self.files) {
            Ok(pem) => pem,
            Err(error) => {
                let error = error.to_string();
                return Err(Refused { pem: None, error });
            }
        };
        if pem == self.served {
            self.refused = None;
            return Ok(());
        }
        let proven = Credentials::parse(&self.files, &pem).and_then(|credentials| {
            let valid = credentials.check_validity();
            valid.map_err(|problem| problem.of(&self.files.cert))?;
            Ok(credentials)
        });
        match proven {
            Ok(credentials) => {
                self.metrics.tls_reloaded(true);
                self.metrics.tls_certificate(credentials.not_after);
                let not_after = format_rfc3339_seconds(credentials.not_after);
                tracing::info!(%not_after, "certificate renewed");
                self.credentials.send_replace(Arc::new(credentials));
                self.served = pem;
                self.refused = None;
                Ok(())
            }
            Err(error) => Err(Refused {
                pem: Some(pem),
                error: error.to_string(),
            }),
        }
    }
}

impl Directories {
    fn new(files: &TlsFiles, changes: mpsc::Sender<()>) -> Self {
        let files = [
            Some(&files.cert),
            Some(&files.key),
            files.client_ca.as_ref(),
        ];
        let parents = files.into_iter().flatten().filter_map(|file| file.parent());
        // A relative path without a directory is in the working directory.
        let mut paths: Vec<_> = parents.map(|parent| Path::new(".").join(parent)).collect();
        paths.sort();
        paths.dedup();
        Self {
            paths,
            changes,
            watcher: None,
            identities: Vec::new(),
            warned: false,
        }
    }

    /// Begins the watch, again if a directory is no longer the one that is watched.
    fn ensure_watched(&mut self) {
        let identities: Vec<_> = self.paths.iter().map(|path| identity(path)).collect();
        if self.watcher.is_some() && identities == self.identities {
            return;
        }
        self.identities = identities;
        match self.watch() {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.warned = false;
            }
            Err(error) => {
                self.watcher = None;
                if !self.warned {
                    tracing::warn!(
                        "cannot watch the certificates, re-reading them instead: {error}"
                    );
                    self.warned = true;
                }
            }
        }
    }

    fn watch(&self) -> notify::Result<RecommendedWatcher> {
        let changes = self.changes.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_read(event.kind)) {
                return;
            }
            // If it is full, the news is on its way already.
            let _ = changes.try_send(());
        })?;
        for path in &self.paths {
            watcher.watch(path, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }
}

/// Whether somebody, we ourselves most of all, only looked.
fn is_read(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access != AccessKind::Close(AccessMode::Write),
        _ => false,
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Waits until no more changes come.
async fn settle(changes: &mut mpsc::Receiver<()>) {
    let latest = Instant::now() + QUIET_MAX;
    while Instant::now() < latest && timeout(QUIET, changes.recv()).await.is_ok() {}
}
