//! The controller's figures. Labels are bounded: no object's name is one.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_api::ProfileKind;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::time::Instant;

use crate::{
    error::Category,
    nodes::Standing,
    pool::Pool,
    world::{State, World},
};

/// Counters and histograms, counted where things happen.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// 1 while this replica leads.
    pub(crate) leader: IntGauge,
    /// Seconds that looking at one profile took, requests included.
    pub(crate) reconcile: Histogram,
    /// Failures by category.
    pub(crate) errors: IntCounterVec,
    /// Seconds from a generation's arrival at the controller to its Ready.
    pub(crate) ready: Histogram,
    /// Restarts of watches, by resource and cause.
    pub(crate) watch_restarts: IntCounterVec,
    /// Revisions written.
    pub(crate) written: IntCounter,
    /// Revisions deleted.
    pub(crate) collected: IntCounter,
    /// Status writes.
    pub(crate) statuses: IntCounter,
    /// Passes over the cluster's pods.
    pub(crate) passes: IntCounter,
    /// Nodes that asked to write for a recording and had no pod of it.
    pub(crate) parts_refused: IntCounter,
    /// Documents that were begun to be worked on.
    pub(crate) begun: IntCounter,
    /// Documents that were given up.
    late: IntCounter,
    /// Documents that wait to be worked on.
    waiting: IntGauge,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where they are registered already.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        let metrics = Self {
            leader: IntGauge::new("portcullis_leader", "1 while this replica leads, else 0")?,
            reconcile: seconds(
                "portcullis_reconcile_duration_seconds",
                "Seconds that looking at one profile took, requests to the API server included",
                &[0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0],
            )?,
            errors: IntCounterVec::new(
                Opts::new("portcullis_reconcile_errors_total", "Requests that failed, by category"),
                &["category"],
            )?,
            ready: seconds(
                "portcullis_profile_ready_seconds",
                "Seconds from a profile's generation reaching the controller to its Ready",
                &[0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 30.0, 120.0],
            )?,
            watch_restarts: IntCounterVec::new(
                Opts::new(
                    "portcullis_watch_restarts_total",
                    "Watches begun anew, by resource and cause (error, relist)",
                ),
                &["resource", "cause"],
            )?,
            written: IntCounter::new(
                "portcullis_revisions_written_total",
                "Revisions created or made current again",
            )?,
            collected: IntCounter::new("portcullis_revisions_deleted_total", "Revisions deleted")?,
            statuses: IntCounter::new(
                "portcullis_profile_status_writes_total",
                "Writes of a profile's status",
            )?,
            passes: IntCounter::new(
                "portcullis_pod_passes_total",
                "Passes over the cluster's pods to see which profiles they name",
            )?,
            parts_refused: IntCounter::new(
                "portcullis_recording_parts_refused_total",
                "Requests of nodes' recorders to write for a recording of which no pod was there",
            )?,
            begun: IntCounter::new(
                "portcullis_resolutions_total",
                "Profiles, and recordings' profiles, that were begun to be worked out",
            )?,
            late: IntCounter::new(
                "portcullis_resolutions_given_up_total",
                "Of those, how many took too long and were given up",
            )?,
            waiting: IntGauge::new(
                "portcullis_resolutions_waiting",
                "Profiles that wait for a thread to be worked out",
            )?,
        };
        // A counter that does not exist before its first failure can't be alerted on by its increase.
        for category in Category::ALL {
            metrics.errors.with_label_values(&[category.as_str()]);
        }
        let Self {
            leader,
            reconcile,
            errors,
            ready,
            watch_restarts,
            written,
            collected,
            statuses,
            passes,
            parts_refused,
            begun,
            late,
            waiting,
        } = metrics.clone();
        registry.register(Box::new(leader))?;
        registry.register(Box::new(reconcile))?;
        registry.register(Box::new(errors))?;
        registry.register(Box::new(ready))?;
        registry.register(Box::new(watch_restarts))?;
        registry.register(Box::new(waiting))?;
        for counter in [written, collected, statuses, passes, parts_refused, begun, late] {
            registry.register(Box::new(counter))?;
        }
        Ok(metrics)
    }

    /// Threads that are counted here.
    pub(crate) fn pool(&self) -> Pool {
        Pool::new(self.begun.clone(), self.late.clone(), self.waiting.clone())
    }
}

/// Gauges that are read off what the controller knows when somebody asks.
pub(crate) struct Gauges {
    world: Arc<Mutex<World>>,
    profiles: IntGaugeVec,
    revisions: IntGauge,
    nodes: IntGaugeVec,
    lagging: IntGauge,
    without_agent: IntGauge,
    failing: IntGauge,
    beyond_bounds: IntGauge,
}

impl Gauges {
    /// Registers them.
    ///
    /// # Errors
    /// Where they are registered already.
    pub(crate) fn register(registry: &Registry, world: Arc<Mutex<World>>) -> Result<(), prometheus::Error> {
        registry.register(Box::new(Self {
            world,
            profiles: IntGaugeVec::new(
                Opts::new("portcullis_profiles", "Profiles by kind and state"),
                &["kind", "state"],
            )?,
            revisions: IntGauge::new("portcullis_revisions", "Revisions that exist")?,
            nodes: IntGaugeVec::new(
                Opts::new(
                    "portcullis_nodes",
                    "Linux nodes by standing: counting, joining, not_ready (the kubelet), not_placed (the DaemonSet), left_out (what is reported falls back again and again)",
                ),
                &["standing"],
            )?,
            lagging: IntGauge::new(
                "portcullis_nodes_lagging",
                "Nodes that count and are not known to have processed every change",
            )?,
            without_agent: IntGauge::new(
                "portcullis_nodes_without_agent",
                "Nodes that count and have no agent that is Ready: nothing changes there, and nobody guards the files",
            )?,
            failing: IntGauge::new(
                "portcullis_nodes_failing",
                "Nodes that count and could not write some profile",
            )?,
            beyond_bounds: IntGauge::new(
                "portcullis_profiles_beyond_bounds",
                "Profiles of which nothing new is served because their namespace, or the cluster, has as many as it may",
            )?,
        }))
    }
}

impl Gauges {
    const fn plain(&self) -> [&IntGauge; 5] {
        let Self {
            world: _,
            profiles: _,
            revisions,
            nodes: _,
            lagging,
            without_agent,
            failing,
            beyond_bounds,
        } = self;
        [revisions, lagging, without_agent, failing, beyond_bounds]
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        let vectors = self.profiles.desc().into_iter().chain(self.nodes.desc());
        vectors.chain(self.plain().into_iter().flat_map(Collector::desc)).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let summary = self.world.lock().unwrap_or_else(PoisonError::into_inner).summary(Instant::now());
        for kind in [ProfileKind::SeccompProfile, ProfileKind::ClusterSeccompProfile] {
            for state in State::ALL {
                let count = summary.profiles.get(&(kind, state)).copied().unwrap_or(0);
                self.profiles.with_label_values(&[kind.as_str(), state.as_str()]).set(count.into());
            }
        }
        for standing in Standing::ALL {
            let count = summary.nodes.get(&standing).copied().unwrap_or(0);
            self.nodes.with_label_values(&[standing.as_str()]).set(count.into());
        }
        self.revisions.set(i64::try_from(summary.revisions).unwrap_or(i64::MAX));
        self.lagging.set(summary.lagging.into());
        self.without_agent.set(summary.without_agent.into());
        self.failing.set(summary.failing.into());
        self.beyond_bounds.set(i64::try_from(summary.beyond_bounds).unwrap_or(i64::MAX));
        let vectors = self.profiles.collect().into_iter().chain(self.nodes.collect());
        vectors.chain(self.plain().into_iter().flat_map(Collector::collect)).collect()
    }
}
