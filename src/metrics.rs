//! Every metric: its name, help, labels and buckets, and the handles that count it.
//!
//! All series exist from the start, and labels come only from closed sets, so that neither a scrape
//! nor memory grows with traffic.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use metrics_process::Collector;

use crate::mutate::{Mode, Outcome};
use crate::review::Review;
use crate::rules::{Reason, Rules};

/// The upper bounds of the durations that are told apart, in seconds.
const BUCKETS: [f64; 13] = [
    0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
];

/// The values of the label `operation`; the last stands for all others.
const OPERATIONS: [&str; 3] = ["create", "update", "other"];

/// The values of the label `result` of a review.
const RESULTS: [&str; 3] = ["patched", "unchanged", "unreadable"];

/// The values of the label `reason` of refused requests.
const REFUSALS: [&str; 10] = [
    "host",
    "path",
    "method",
    "media_type",
    "content_encoding",
    "too_large",
    "body_timeout",
    "body_incomplete",
    "no_room",
    "not_a_review",
];

/// The values of the label `reason` of failed handshakes.
const HANDSHAKE_FAILURES: [&str; 6] = [
    "timeout",
    "disconnected",
    "not_tls",
    "client_certificate",
    "alert",
    "protocol",
];

/// Everything that is counted, and what prints it.
pub struct Metrics {
    recorder: PrometheusRecorder,
    process: Collector,
    handles: Handles,
}

/// What is counted, each series ready to be incremented without a look-up by name.
struct Handles {
    swapped: Vec<Counter>,
    skipped: Family<Reason>,
    /// By operation, result and dry run.
    reviews: Family<(&'static str, &'static str, bool)>,
    review_duration: Histogram,
    annotations_omitted: Counter,
    refused: Family<&'static str>,
    tls_reloads: Family<&'static str>,
    tls_not_after: Gauge,
    handshakes_failed: Family<&'static str>,
}

/// The counters of one name, by the values of their labels.
struct Family<K>(Vec<(K, Counter)>);

/// Where the connections of a list are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    /// How many are open.
    pub(crate) open: Gauge,
    /// Those that were closed to make place for another.
    pub(crate) evicted: Counter,
    /// Those that found no place.
    pub(crate) refused: Counter,
}

impl Counted {
    /// Counts nowhere.
    pub(crate) fn nowhere() -> Self {
        Self {
            open: Gauge::noop(),
            evicted: Counter::noop(),
            refused: Counter::noop(),
        }
    }
}

impl Metrics {
    /// Registers every series, at zero, of a program that is in this mode.
    ///
    /// # Panics
    /// Never: there are buckets.
    #[must_use]
    pub fn new(rules: &Rules, mode: Mode) -> Self {
        let builder = PrometheusBuilder::new();
        #[expect(
            clippy::expect_used,
            reason = "it fails only where there are no buckets"
        )]
        let builder = builder.set_buckets(&BUCKETS).expect("there are buckets");
        let recorder = builder.build_recorder();
        let process = Collector::new("");
        let handles = with_local_recorder(&recorder, || {
            process.describe();
            Handles::register(rules, mode)
        });
        Self {
            recorder,
            process,
            handles,
        }
    }

    /// All metrics in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        with_local_recorder(&self.recorder, || self.process.collect());
        self.recorder.handle().render()
    }

    /// Folds the samples of histograms into their buckets. They pile up until this is done, or
    /// [`Self::render`], so it must be done now and then where nobody scrapes.
    pub fn run_upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }

    /// A review was answered. The images of a dry run are not counted: tools that compare would
    /// drown the others.
    pub(crate) fn review(
        &self,
        review: &Review<'_>,
        outcome: &Outcome<'_>,
        patched: bool,
        duration: Duration,
    ) {
        let operation = match &*review.operation {
            "CREATE" => "create",
            "UPDATE" => "update",
            _ => "other",
        };
        let result = match (&review.unreadable, patched) {
            (Some(_), _) => "unreadable",
            (None, true) => "patched",
            (None, false) => "unchanged",
        };
        let handles = &self.handles;
        handles.reviews.count(&(operation, result, review.dry_run));
        handles.review_duration.record(duration);
        handles
            .annotations_omitted
            .increment(outcome.annotations_omitted as u64);
        if !review.dry_run {
            for rule in outcome.swapped() {
                handles.swapped[rule].increment(1);
            }
            for reason in outcome.skipped() {
                handles.skipped.count(&reason);
            }
        }
    }

    /// A request was refused.
    pub(crate) fn request_refused(&self, reason: &'static str) {
        self.handles.refused.count(&reason);
    }

    /// A handshake failed.
    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.handles.handshakes_failed.count(&reason);
    }

    /// Changed certificates were read, and now serve or were refused.
    pub(crate) fn tls_reloaded(&self, served: bool) {
        self.handles
            .tls_reloads
            .count(if served { &"success" } else { &"error" });
    }

    /// The certificate that is served expires at this time.
    pub(crate) fn tls_certificate(&self, not_after: SystemTime) {
        let since_epoch = not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.handles.tls_not_after.set(since_epoch.as_secs_f64());
    }

    /// Counts the log lines for which there was no place.
    pub(crate) fn log_lines_dropped(&self) -> Counter {
        with_local_recorder(&self.recorder, || {
            counter!("image_swapper_log_lines_dropped_total")
        })
    }

    /// Where the webhook's connections are counted.
    pub(crate) fn connections(&self) -> Counted {
        with_local_recorder(&self.recorder, || Counted {
            open: gauge!("image_swapper_connections"),
            evicted: counter!("image_swapper_connections_evicted_total"),
            refused: counter!("image_swapper_connections_refused_total"),
        })
    }
}

impl Handles {
    fn register(rules: &Rules, mode: Mode) -> Self {
        describe_counter!(
            "image_swapper_images_swapped_total",
            "Images swapped, by the source of the rule."
        );
        describe_counter!(
            "image_swapper_images_skipped_total",
            "Images left alone, by the reason."
        );
        describe_counter!("image_swapper_reviews_total", "Reviews answered.");
        describe_histogram!(
            "image_swapper_review_duration_seconds",
            "The time from a whole request to its answer."
        );
        describe_counter!(
            "image_swapper_annotations_omitted_total",
            "Annotations of original images that did not fit the Pod."
        );
        describe_counter!(
            "image_swapper_requests_refused_total",
            "Requests answered with an HTTP error, by the reason."
        );
        describe_counter!(
            "image_swapper_tls_reloads_total",
            "Changed certificates that were read, by the result."
        );
        describe_gauge!(
            "image_swapper_tls_certificate_not_after_timestamp_seconds",
            "When the certificate that is served expires, in seconds since the epoch."
        );
        describe_counter!(
            "image_swapper_tls_handshake_failures_total",
            "TLS handshakes that failed, by the reason."
        );
        describe_gauge!("image_swapper_connections", "Open connections.");
        describe_counter!(
            "image_swapper_connections_refused_total",
            "Connections closed at once, since all places were taken by requests being answered."
        );
        describe_counter!(
            "image_swapper_connections_evicted_total",
            "Connections that waited for their client and were closed to make place."
        );
        describe_counter!(
            "image_swapper_log_lines_dropped_total",
            "Log lines that were not written, since whoever reads them was too slow."
        );
        describe_gauge!("image_swapper_build_info", "Always 1; says what runs.");

        let version = env!("CARGO_PKG_VERSION");
        gauge!("image_swapper_build_info", "version" => version, "mode" => mode.as_str()).set(1);
        let mut reviews = Vec::new();
        for operation in OPERATIONS {
            for result in RESULTS {
                for dry_run in [false, true] {
                    let counter = counter!(
                        "image_swapper_reviews_total",
                        "operation" => operation,
                        "result" => result,
                        "dry_run" => dry_run.to_string(),
                    );
                    reviews.push(((operation, result, dry_run), counter));
                }
            }
        }
        let by_rule =
            |rule: &str| counter!("image_swapper_images_swapped_total", "rule" => rule.to_owned());
        Self {
            swapped: rules.sources().map(by_rule).collect(),
            skipped: Family::new(
                Reason::ALL,
                |reason| counter!("image_swapper_images_skipped_total", "reason" => reason.as_str()),
            ),
            reviews: Family(reviews),
            review_duration: histogram!("image_swapper_review_duration_seconds"),
            annotations_omitted: counter!("image_swapper_annotations_omitted_total"),
            refused: Family::new(
                REFUSALS,
                |reason| counter!("image_swapper_requests_refused_total", "reason" => reason),
            ),
            tls_reloads: Family::new(
                ["success", "error"],
                |result| counter!("image_swapper_tls_reloads_total", "result" => result),
            ),
            tls_not_after: gauge!("image_swapper_tls_certificate_not_after_timestamp_seconds"),
            handshakes_failed: Family::new(
                HANDSHAKE_FAILURES,
                |reason| counter!("image_swapper_tls_handshake_failures_total", "reason" => reason),
            ),
        }
    }
}

impl<K: Copy + PartialEq> Family<K> {
    fn new(values: impl IntoIterator<Item = K>, register: impl Fn(K) -> Counter) -> Self {
        let series = |value| (value, register(value));
        Self(values.into_iter().map(series).collect())
    }

    fn count(&self, value: &K) {
        if let Some((_, counter)) = self.0.iter().find(|(one, _)| one == value) {
            counter.increment(1);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
