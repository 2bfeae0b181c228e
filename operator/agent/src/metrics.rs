//! The agent's metrics. No label is made of an object's name.

use portcullis_api::FailureReason;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::disk::Cause;

/// Why a watch was begun anew. Label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// The API server ended it, as it does every few minutes.
    Ended,
    /// Its resource version was too old (410 Gone).
    Expired,
    /// It failed, or could not be begun.
    Error,
    /// The regular list.
    Relist,
}

impl Restart {
    const ALL: [Self; 4] = [Self::Ended, Self::Expired, Self::Error, Self::Relist];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Error => "error",
            Self::Relist => "relist",
        }
    }
}

const REASONS: [FailureReason; 9] = [
    FailureReason::NoSpace,
    FailureReason::ReadOnly,
    FailureReason::PermissionDenied,
    FailureReason::Foreign,
    FailureReason::DigestMismatch,
    FailureReason::Unavailable,
    FailureReason::InvalidRevision,
    FailureReason::TooMany,
    FailureReason::Io,
];

/// Handles on every metric; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Files written because a revision said so.
    pub(crate) written: IntCounter,
    /// Files removed because their revision is gone.
    pub(crate) removed: IntCounter,
    repaired: IntCounterVec,
    failed: IntCounterVec,
    /// Files that are served now.
    pub(crate) served: IntGauge,
    /// Files that could not be written and wait to be.
    pub(crate) failing: IntGauge,
    /// Files in the directory that Portcullis did not write.
    pub(crate) foreign: IntGauge,
    /// Bytes of the contents in the store.
    pub(crate) store_bytes: IntGauge,
    /// From a revision's creation to its files.
    pub(crate) creation_to_file: Histogram,
    /// From the watch's event to the files, durable.
    pub(crate) event_to_file: Histogram,
    watch_restarts: IntCounterVec,
    /// Contents read from the API server one by one.
    pub(crate) fetched: IntCounter,
    /// When the last list was processed.
    pub(crate) last_sync: Gauge,
    /// Whether the API server answers.
    pub(crate) api_reachable: IntGauge,
    /// How often the kernel dropped events of the file system.
    pub(crate) overflows: IntCounter,
    /// Status patches that the API server took.
    pub(crate) reports: IntCounter,
    /// Status patches that failed.
    pub(crate) report_errors: IntCounter,
}

impl Metrics {
    /// Registers every metric.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            written: counter(registry, "files_written_total", "Files written because a revision said so")?,
            removed: counter(
                registry,
                "files_removed_total",
                "Files removed because their revision is gone",
            )?,
            repaired: counters(
                registry,
                "files_repaired_total",
                "Files put right after something else changed them, by what was wrong",
                "cause",
            )?,
            failed: counters(
                registry,
                "files_failed_total",
                "Failed attempts to write a file or to take in a revision, by reason",
                "reason",
            )?,
            served: gauge(registry, "files_served", "Files that are on disk as they should be")?,
            failing: gauge(registry, "files_failing", "Files that can't be written at present")?,
            foreign: gauge(
                registry,
                "files_foreign",
                "Files in the directory that Portcullis did not write and leaves alone",
            )?,
            store_bytes: gauge(registry, "store_bytes", "Bytes of the contents in the agent's store")?,
            creation_to_file: histogram(
                registry,
                "revision_to_file_seconds",
                "Seconds from a revision's creation to its file; creation times are whole seconds, so up to one is added",
                vec![0.5, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0],
            )?,
            event_to_file: histogram(
                registry,
                "event_to_file_seconds",
                "Seconds from the watch's event of a revision to its durable files on this node",
                vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0],
            )?,
            watch_restarts: counters(
                registry,
                "watch_restarts_total",
                "How often the watch of revisions was begun anew, by reason",
                "reason",
            )?,
            fetched: counter(
                registry,
                "contents_fetched_total",
                "Contents read from the API server one by one because the store lacked them",
            )?,
            last_sync: float_gauge(
                registry,
                "last_sync_timestamp_seconds",
                "When the last list of revisions was processed, in seconds since 1970",
            )?,
            api_reachable: gauge(registry, "api_reachable", "1 while the API server answers, else 0")?,
            overflows: counter(
                registry,
                "guard_overflows_total",
                "How often the kernel dropped file system events, so that everything was read again",
            )?,
            reports: counter(registry, "reports_written_total", "Patches of this node's status")?,
            report_errors: counter(registry, "reports_failed_total", "Failed patches of this node's status")?,
        };
        for cause in Cause::ALL {
            metrics.repaired.with_label_values(&[cause.as_str()]);
        }
        for reason in REASONS {
            metrics.failed.with_label_values(&[reason.as_str()]);
        }
        for reason in Restart::ALL {
            metrics.watch_restarts.with_label_values(&[reason.as_str()]);
        }
        Ok(metrics)
    }

    /// Counts a repair.
    pub(crate) fn repaired(&self, cause: Cause) {
        self.repaired.with_label_values(&[cause.as_str()]).inc();
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, reason: FailureReason) {
        self.failed.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a watch begun anew.
    pub(crate) fn watch_restarted(&self, reason: Restart) {
        self.watch_restarts.with_label_values(&[reason.as_str()]).inc();
    }
}

fn name(name: &str) -> String {
    format!("portcullis_agent_{name}")
}

fn counter(registry: &Registry, metric: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name(metric), help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(
    registry: &Registry,
    metric: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name(metric), help), &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn gauge(registry: &Registry, metric: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name(metric), help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn float_gauge(registry: &Registry, metric: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    let gauge = Gauge::new(name(metric), help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(
    registry: &Registry,
    metric: &str,
    help: &str,
    buckets: Vec<f64>,
) -> Result<Histogram, prometheus::Error> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name(metric), help).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
