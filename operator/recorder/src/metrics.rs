//! The recorder's metrics. No label is made of an object's name.

use portcullis_probe::{Attachment, Losses, Snapshot};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Handles on every metric; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Watches that were begun anew.
    pub(crate) watch_restarts: IntCounterVec,
    /// Recordings that are under way.
    pub(crate) recordings: IntGauge,
    /// Pods and containers that the kernel is told to watch.
    pub(crate) targets: IntGauge,
    containers: IntGauge,
    attached: IntGauge,
    lost: IntGaugeVec,
    /// How long it takes to read the kernel's counters and to take them in.
    pub(crate) round: Histogram,
    /// Parts that the API server took.
    pub(crate) written: IntCounter,
    /// Requests for parts that failed.
    pub(crate) failed: IntCounter,
    /// Recordings for which the controller did not invite this node.
    pub(crate) refused: IntCounter,
}

impl Metrics {
    /// Registers every metric.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            watch_restarts: IntCounterVec::new(
                Opts::new(
                    "portcullis_watch_restarts_total",
                    "Watches that were begun anew, by resource and cause (error, relist)",
                ),
                &["resource", "cause"],
            )?,
            recordings: gauge("recordings", "SeccompRecordings that are under way")?,
            targets: gauge("targets", "Pods and containers that the kernel is told to watch")?,
            containers: gauge(
                "containers",
                "Containers that the kernel counts, those that ended and are not told yet included",
            )?,
            attached: gauge(
                "attached",
                "1 while eBPF programs are attached, else 0; they are while something is watched",
            )?,
            lost: IntGaugeVec::new(
                Opts::new(
                    name("lost"),
                    "What the kernel could count for no container since its maps were made, by kind: no_room and unpaired \
                     are calls, unmarked are tasks, too_deep are cgroups, uncached only costs time",
                ),
                &["kind"],
            )?,
            round: Histogram::with_opts(
                HistogramOpts::new(
                    name("round_seconds"),
                    "Seconds to read the kernel's counters and to take them in",
                )
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]),
            )?,
            written: IntCounter::new(
                name("parts_written_total"),
                "SeccompRecordingParts that the API server took",
            )?,
            failed: IntCounter::new(
                name("part_requests_failed_total"),
                "Requests for SeccompRecordingParts that failed and are tried again",
            )?,
            refused: IntCounter::new(
                name("parts_refused_total"),
                "SeccompRecordingParts that the controller deleted because it saw no pod of the recording on the node",
            )?,
        };
        let Self {
            watch_restarts,
            recordings,
            targets,
            containers,
            attached,
            lost,
            round,
            written,
            failed,
            refused,
        } = metrics.clone();
        registry.register(Box::new(watch_restarts))?;
        for gauge in [recordings, targets, containers, attached] {
            registry.register(Box::new(gauge))?;
        }
        registry.register(Box::new(lost))?;
        registry.register(Box::new(round))?;
        registry.register(Box::new(written))?;
        registry.register(Box::new(failed))?;
        registry.register(Box::new(refused))?;
        Ok(metrics)
    }

    /// Shows what a snapshot says.
    pub(crate) fn show(&self, snapshot: &Snapshot) {
        self.containers.set(i64::try_from(snapshot.containers.len()).unwrap_or(i64::MAX));
        let Losses { no_room, no_room_in: _, too_deep, uncached, unpaired, unmarked } = &snapshot.losses;
        for (kind, count) in [
            ("no_room", no_room),
            ("too_deep", too_deep),
            ("uncached", uncached),
            ("unpaired", unpaired),
            ("unmarked", unmarked),
        ] {
            self.lost.with_label_values(&[kind]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// Shows whether anything is attached.
    pub(crate) fn show_attachment(&self, attachment: &Attachment) {
        self.attached.set(i64::from(*attachment != Attachment::None));
    }
}

fn name(name: &str) -> String {
    format!("portcullis_recorder_{name}")
}

fn gauge(metric: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    IntGauge::new(name(metric), help)
}
