//! Writes revisions as files on its node and guards them.
//!
//! Four tasks: [`sync`] follows the revisions, the keeper (driven by [`keep`]) is the only one that touches files, [`fetch`] reads
//! contents that the keeper's store lacks, [`report`] writes the node's status. Only the keeper is needed to keep files: the other
//! three may fail for as long as they like.

mod disk;
mod error;
mod fetch;
mod keep;
mod keeper;
mod metrics;
mod origin;
mod path;
mod purge;
mod report;
mod settings;
mod sync;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::{Api, Client};
use portcullis_runtime::{Process, Reporter};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::warn;

use crate::{
    disk::Base,
    keep::{BATCH, Node, Outlets},
    keeper::Keeper,
    metrics::Metrics,
    origin::{Origin, boot_id},
    sync::Revisions,
};
pub use crate::{
    error::Error,
    purge::{PurgeError, PurgeSettings, purge},
    settings::Settings,
};

/// Keeps this node's files until shutdown.
///
/// The process is alive from the start, and ready after the first list of revisions has been taken in; it guards what is on disk before
/// that, and whether or not the API server answers.
///
/// # Errors
/// Where the host's directory is not mounted or was removed, inotify is exhausted, or nothing says how to reach an API server.
pub async fn run(process: Process, settings: Settings) -> Result<(), Error> {
    let first_sync = process.readiness.gate("first-sync");
    let client = portcullis_runtime::client().await?;
    serve(process, settings, client, first_sync).await
}

async fn serve(
    process: Process,
    settings: Settings,
    client: Client,
    first_sync: portcullis_runtime::ReadinessGate,
) -> Result<(), Error> {
    let (timing, most) = (settings.timing(), settings.most());
    let Settings {
        node_name,
        pod_uid,
        pod_name,
        // Events of a cluster-scoped object stand in the namespace `default`.
        namespace: _,
        directory,
        subdirectory,
        host_directory,
        relist_seconds,
        rehash_seconds: _,
        grace_seconds: _,
        max_revisions: _,
    } = settings;
    let metrics = Metrics::register(&process.registry)?;
    let reporter = Reporter::new(&process, client.clone(), pod_name)?;
    let base = Base::open(&directory, &host_directory, &subdirectory)?;
    let boot_id = boot_id()
        .inspect_err(|error| warn!("can't read the boot's ID, so this node counts for no profile: {error}"))
        .ok();
    let origin = Origin { pod_uid, boot_id, subdirectory };
    let keeper = Keeper::new(base, origin, timing, most, metrics.clone(), Instant::now().into_std())?;
    let node = Node::new(node_name);
    let (work, incoming) = mpsc::channel(BATCH);
    let (wanted, wants) = mpsc::unbounded_channel();
    let (status, statuses) = watch::channel(None);
    let shutdown = &process.shutdown;
    let revisions = Revisions {
        api: Api::all(client.clone()),
        work: work.clone(),
        metrics: metrics.clone(),
        relist: Duration::from_secs(relist_seconds),
    };
    process.supervise("revisions", revisions.follow(shutdown.clone()));
    let contents = fetch::fetch(Api::all(client.clone()), wants, work, metrics.clone(), shutdown.clone());
    process.supervise("contents", contents);
    let reports = report::report(Api::all(client), node.clone(), statuses, metrics, shutdown.clone());
    process.supervise("status", reports);
    let outlets = Outlets { wanted, status, reporter, node, first_sync };
    keep::keep(keeper, incoming, outlets, shutdown.clone()).await
}
