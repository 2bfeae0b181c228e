//! From start-up to shutdown: stand by until this replica leads, read everything, then work.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Namespace, Node, Pod},
};
use kube::{
    Api, Client,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::watcher,
};
use portcullis_api::{
    ALLOW_LOOSER_LABEL, ClusterSeccompProfile, SeccompNode, SeccompProfile, SeccompRevision,
};
use portcullis_runtime::{
    Process, ReadinessGate, Reporter,
    lease::{LeaseSettings, lead},
    watch::{Change, Unpaced, Watching},
};
use tokio::{
    sync::{Notify, watch::Receiver},
    time::{Instant, sleep},
};
use tracing::info;

use crate::{
    Error, Settings,
    cluster::Cluster,
    collect,
    metrics::{Gauges, Metrics},
    observe::Unread,
    queue::Queue,
    reconcile, recordings, report_objects, revocations,
    shared::Shared,
    sinks::{self, Synced},
    usage::usage,
    world::World,
};

/// After how long a replica that does not lead is ready all the same: to stand by.
const STANDING_BY: Duration = Duration::from_secs(3);
/// Objects in a page of a list, which is read at once: some 40 MB of profiles at worst, with all that the API server lets stand beside a
/// document, and 300 KB as a rule.
const PAGE: u32 = 25;

const PROFILES: &str = "seccompprofiles";
const CLUSTER_PROFILES: &str = "clusterseccompprofiles";
const REVISIONS: &str = "seccomprevisions";
const REPORTS: &str = "seccompnodes";
const NODES: &str = "nodes";
const AGENTS: &str = "pods";
const DAEMON_SET: &str = "daemonsets";
const NAMESPACES: &str = "namespaces";

/// What has to be known before a profile may be resolved.
const FIRST: [&str; 3] = [REVISIONS, NAMESPACES, NODES];
/// What has to be known before anything is said of one.
const ALL: [&str; 8] =
    [PROFILES, CLUSTER_PROFILES, REVISIONS, REPORTS, NODES, AGENTS, DAEMON_SET, NAMESPACES];

/// Runs the controller until shutdown.
///
/// # Errors
/// Where it can't start.
pub async fn run(process: Process, settings: Settings) -> Result<(), Error> {
    let Settings {
        namespace,
        pod_name,
        agent_daemonset,
        agent_selector,
        recorder_selector,
        subdirectory,
        lease_name,
        recordings,
        baseline,
        bounds,
        lasting,
    } = settings;
    if subdirectory.is_empty()
        || subdirectory.starts_with('/')
        || subdirectory.split('/').any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(Error::Subdirectory(subdirectory));
    }
    let gate = process.readiness.gate("first-sync");
    let metrics = Metrics::new(&process.registry)?;
    let client = portcullis_runtime::client().await?;
    let reporter = Reporter::new(&process, client.clone(), &pod_name)?;
    let lease = LeaseSettings::new(&namespace, lease_name, pod_name);
    let leading = lead(&process, client.clone(), lease);
    // Held to the end: dropping it gives the lease back.
    let Some(_leadership) = stand_by(&gate, leading).await else { return Ok(()) };
    metrics.leader.set(1);

    let world =
        World::new(subdirectory.clone(), bounds.clone(), lasting, Instant::now()).with_baseline(baseline);
    let world = Arc::new(Mutex::new(world));
    Gauges::register(&process.registry, world.clone())?;
    let (usage, answers) = usage(client.clone(), subdirectory, process.shutdown.clone());
    let shared = Arc::new(Shared {
        world,
        queue: Queue::new(reconcile::SHARE),
        cluster: Cluster::new(client.clone()),
        reporter,
        pool: metrics.pool(),
        metrics,
        usage,
        nodes_changed: Notify::new(),
        revocations_changed: Notify::new(),
        bounds,
        shutdown: process.shutdown.clone(),
    });
    let watches = Watches {
        process,
        shared: shared.clone(),
        client,
        namespace,
        agent_daemonset,
        agent_selector,
        recorder_selector,
        recordings,
    };
    watches.process.supervise("usage", answers);
    work(&watches, gate).await;
    info!("stopped");
    Ok(())
}

/// Waits to lead. A replica that does not lead has nothing to sync, so it is ready to stand by.
async fn stand_by<L>(gate: &ReadinessGate, leading: impl Future<Output = L>) -> L {
    tokio::pin!(leading);
    tokio::select! {
        led = &mut leading => return led,
        () = sleep(STANDING_BY) => gate.open(),
    }
    leading.await
}

async fn work(watches: &Watches, gate: ReadinessGate) {
    let Watches { process, shared, .. } = watches;
    let synced = Synced::default();
    let mut seen = synced.subscribe();
    watches.begin(&synced);
    if !until(&mut seen, &FIRST, process).await {
        return;
    }
    watches.go_on(&synced);
    // Resolves profiles while they are still being listed: the documents of the first need not be read again.
    let reconciling = reconcile::run(shared.clone());
    let begin = async {
        if until(&mut seen, &ALL, process).await {
            shared.change(|world, _| world.all_synced());
            info!("in sync");
            gate.open();
            process.supervise("tick", shared.clone().tick());
            process.supervise("collect", collect::run(shared.clone()));
            process.supervise("revocations", revocations::run(shared.clone()));
            process.supervise("report-objects", report_objects::run(shared.clone()));
            watches.record();
        }
    };
    tokio::join!(reconciling, begin);
}

/// Waits until these have shown their first lists. False where shutdown comes first.
async fn until(
    seen: &mut Receiver<HashSet<&'static str>>,
    needed: &[&'static str],
    process: &Process,
) -> bool {
    tokio::select! {
        () = process.shutdown.cancelled() => false,
        // The sender lives as long as the watches, which end after shutdown.
        met = seen.wait_for(|synced| needed.iter().all(|resource| synced.contains(resource))) => met.is_ok(),
    }
}

/// The watches.
struct Watches {
    process: Process,
    shared: Arc<Shared>,
    client: Client,
    namespace: String,
    agent_daemonset: String,
    agent_selector: String,
    recorder_selector: String,
    recordings: bool,
}

impl Watches {
    fn watching(&self) -> Watching {
        Watching {
            reporter: self.shared.reporter.clone(),
            restarts: self.shared.metrics.watch_restarts.clone(),
            shutdown: self.process.shutdown.clone(),
        }
    }

    /// Follows one kind in a supervised task of its own.
    fn follow<K>(
        &self,
        resource: &'static str,
        api: Api<K>,
        config: watcher::Config,
        sink: impl FnMut(Change<K>) + Send + 'static,
    ) where
        K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let watching = self.watching();
        self.process
            .supervise(resource, async move { watching.follow(resource, api, config, sink, Unpaced).await });
    }

    /// Looks at recordings, where that is asked for. Nodes are known by now.
    fn record(&self) {
        if self.recordings {
            let (process, shared, client) = (self.process.clone(), self.shared.clone(), self.client.clone());
            let watching = self.watching();
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
            let selected = watcher::Config::default().labels(&self.recorder_selector).page_size(PAGE);
            let recorders = (pods, selected);
            self.process
                .supervise("recordings", recordings::run(process, shared, client, watching, recorders));
        }
    }

    fn begin(&self, synced: &Synced) {
        let api: Api<PartialObjectMeta<SeccompRevision>> = Api::all(self.client.clone());
        let sink = sinks::revisions(self.shared.clone(), synced, REVISIONS);
        self.follow(REVISIONS, api, watcher::Config::default(), sink);
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let labelled = watcher::Config::default().labels(&format!("{ALLOW_LOOSER_LABEL}=true"));
        let sink = sinks::permitted(self.shared.clone(), synced, NAMESPACES);
        self.follow(NAMESPACES, api, labelled, sink);
        let api: Api<Node> = Api::all(self.client.clone());
        let sink = sinks::nodes(self.shared.clone(), synced, NODES);
        self.follow(NODES, api, watcher::Config::default().page_size(PAGE), sink);
    }

    fn go_on(&self, synced: &Synced) {
        let everything = watcher::Config::default;
        let shared = || self.shared.clone();
        let client = || self.client.clone();
        let api: Api<Unread<SeccompProfile>> = Api::all(client());
        let sink = sinks::profiles(shared(), synced, PROFILES);
        self.follow(PROFILES, api, everything().page_size(PAGE), sink);
        let api: Api<Unread<ClusterSeccompProfile>> = Api::all(client());
        let sink = sinks::profiles(shared(), synced, CLUSTER_PROFILES);
        self.follow(CLUSTER_PROFILES, api, everything().page_size(PAGE), sink);
        let api: Api<DeserializeGuard<SeccompNode>> = Api::all(client());
        self.follow(REPORTS, api, everything(), sinks::reports(shared(), synced, REPORTS));
        let api: Api<Pod> = Api::namespaced(client(), &self.namespace);
        let agents = everything().labels(&self.agent_selector).page_size(PAGE);
        self.follow(AGENTS, api, agents, sinks::agents(shared(), synced, AGENTS));
        let api: Api<DaemonSet> = Api::namespaced(client(), &self.namespace);
        let this = everything().fields(&format!("metadata.name={}", self.agent_daemonset));
        self.follow(DAEMON_SET, api, this, sinks::daemon_set(shared(), synced, DAEMON_SET));
    }
}
