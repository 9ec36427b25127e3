//! Pods that are created steadily, by several clients, while a test does something to the webhook.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Api, PROXY, images, pod, until};

/// How many create Pods at a time.
const CLIENTS: usize = 4;

/// How long each waits between two.
const PAUSE: Duration = Duration::from_millis(20);

/// How many Pods there must be in a phase: fewer would prove nothing.
const ENOUGH: usize = 50;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Pods being created in the namespace `default`, until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    all: Tally,
}

struct Shared {
    api: Api,
    stopped: AtomicBool,
    tally: Mutex<Tally>,
}

/// What became of Pods.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Those that were stored.
    pub(crate) created: usize,
    /// Those among them whose image is not the proxy's.
    pub(crate) missed: Vec<String>,
    /// What people were told of those that were refused.
    pub(crate) refused: Vec<String>,
}

impl Load {
    /// Begins.
    pub(crate) fn start(api: &Api) -> Self {
        let shared = Arc::new(Shared {
            api: api.clone(),
            stopped: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let clients = (0..CLIENTS).map(|client| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.create(client))
        });
        Self {
            clients: clients.collect(),
            shared,
            all: Tally::default(),
        }
    }

    /// Does something, waits for enough Pods after its end, and returns what became of all the Pods of
    /// this time.
    pub(crate) fn during(&mut self, what: &str, act: impl FnOnce()) -> Tally {
        let started = Instant::now();
        act();
        self.enough();
        let tally = std::mem::take(&mut *self.shared.tally.lock().unwrap());
        self.all.add(&tally);
        println!("{what}: {tally}, {:.1} s", started.elapsed().as_secs_f64());
        tally
    }

    /// Waits for enough Pods from now on.
    fn enough(&self) {
        let count = || self.shared.tally.lock().unwrap().tried();
        let before = count();
        until("Pods are created", || {
            let ended = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a client has ended");
            (count() >= before + ENOUGH).then_some(())
        });
    }

    /// Ends, and returns what became of all Pods; as many are stored as were created, each with the
    /// proxy's image.
    pub(crate) fn stop(mut self) -> Tally {
        for ended in self.end() {
            ended.unwrap();
        }
        self.all.add(&self.shared.tally.lock().unwrap());
        println!("in all: {}", self.all);
        let stored = self.stored();
        let swapped = stored.iter().filter(|pod| is_swapped(pod)).count();
        assert_eq!((stored.len(), swapped), (self.all.created, stored.len()));
        std::mem::take(&mut self.all)
    }

    /// Ends the clients, and returns how each of them has ended.
    fn end(&mut self) -> Vec<thread::Result<()>> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.clients.drain(..).map(JoinHandle::join).collect()
    }

    /// The Pods that are there.
    fn stored(&self) -> Vec<Value> {
        let mut pods = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("{PODS}?limit=500&continue={next}");
            let mut page = self.shared.api.get(&path);
            pods.append(page["items"].as_array_mut().unwrap());
            match page["metadata"]["continue"].as_str() {
                Some(more) if !more.is_empty() => more.clone_into(&mut next),
                _ => return pods,
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Before the cluster does, when a test has failed.
        drop(self.end());
    }
}

impl Shared {
    fn create(&self, client: usize) {
        for number in 0.. {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("load-{client}-{number}");
            let answer = self.api.create(PODS, &pod(&name, "nginx"));
            let mut tally = self.tally.lock().unwrap();
            match answer {
                Ok(stored) => {
                    tally.created += 1;
                    if !is_swapped(&stored) {
                        tally.missed.push(name);
                    }
                }
                Err(refused) => tally.refused.push(refused.message),
            }
            drop(tally);
            thread::sleep(PAUSE);
        }
    }
}

fn is_swapped(pod: &Value) -> bool {
    images(pod, "containers") == [format!("{PROXY}/library/nginx:latest")]
}

impl Tally {
    fn tried(&self) -> usize {
        self.created + self.refused.len()
    }

    fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.missed.extend_from_slice(&other.missed);
        self.refused.extend_from_slice(&other.refused);
    }

    /// Every Pod was created, and with the proxy's image.
    pub(crate) fn assert_whole(&self) {
        assert!(self.created > 0);
        assert!(self.refused.is_empty() && self.missed.is_empty(), "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missed, refused) = (&self.missed, &self.refused);
        write!(
            f,
            "{} Pods created, {} of them not swapped, {} refused",
            self.created,
            missed.len(),
            refused.len()
        )?;
        for each in refused.iter().chain(missed).take(3) {
            write!(f, "\n  {each}")?;
        }
        Ok(())
    }
}
