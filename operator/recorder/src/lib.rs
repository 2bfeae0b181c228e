//! Records which system calls the pods of its node make.
//!
//! The kernel counts ([`portcullis_probe`]); [`follow`] learns of pods and recordings; the [`book`] knows what follows from the two; and
//! [`record`] brings them together and writes, for each recording that the controller invites this node for, its `SeccompRecordingPart`.
//! Nothing is read but counters: no `/proc`, no runtime's socket, no other namespace of the host.
//!
//! # Why a restart loses nothing of the pods that were watched before
//! Counters and targets are pinned in the kernel, which goes on counting while no recorder runs. The one that starts next reads its parts
//! back, and reports the same counters again, which changes nothing. A container that has ended is forgotten by the kernel only after
//! its last counters are in the API. A pod that starts while none runs is not watched until the next one learns of it.

mod book;
#[cfg(test)]
mod book_tests;
mod bound;
mod error;
mod follow;
mod heap;
mod installation;
mod metrics;
mod pinned;
mod pods;
mod record;
mod requests;
mod session;
mod settings;
mod track;

use std::time::Duration;

use portcullis_probe::{Capacity, Probe};
use portcullis_runtime::{Process, Reporter, watch::Watching};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::info;

use crate::{
    book::Book,
    bound::Bound,
    installation::Installation,
    metrics::Metrics,
    record::{AtWork, Recorder},
    requests::Requests,
};
pub use crate::{error::Error, settings::Settings};

/// How long an earlier recorder may hold the probe, and how often it is looked whether it still does.
const LAST_ONE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Records until shutdown.
///
/// The process is ready once it has listed pods and recordings. When it ends because its DaemonSet is gone, it takes its programs out of the
/// kernel; otherwise they go on counting for the recorder that starts next.
///
/// # Errors
/// Where the probe can't be opened or read, or nothing says how to reach an API server.
pub async fn run(process: Process, settings: Settings) -> Result<(), Error> {
    let first_sync = process.readiness.gate("first-sync");
    let client = portcullis_runtime::client().await?;
    let Settings {
        node_name,
        pod_name,
        namespace,
        daemon_set,
        pins,
        containers,
        max_recordings_per_namespace,
    } = settings;
    let metrics = Metrics::register(&process.registry)?;
    let reporter = Reporter::new(&process, client.clone(), pod_name)?;
    let mut probe = portcullis_probe::Settings::of_node(&node_name)?;
    probe.pins.clone_from(&pins);
    probe.capacity = Capacity { containers, ..Capacity::default() };
    let probe = open(&probe).await?;
    heap::trim();
    let (send, news) = mpsc::channel(follow::WAITING);
    let watching = Watching {
        reporter: reporter.clone(),
        restarts: metrics.watch_restarts.clone(),
        shutdown: process.shutdown.clone(),
    };
    follow::follow(&process, &watching, &client, &node_name, &send);
    let installation = Installation::follow(&process, &watching, &client, &namespace, &daemon_set);
    drop(send);
    let recorder = Recorder {
        book: Book::new(node_name.clone(), probe.sees_denials()),
        bound: Bound::of(usize::try_from(max_recordings_per_namespace).unwrap_or(usize::MAX)),
        probe,
        news,
        requests: Requests::new(client.clone(), node_name.clone()),
        reporter,
        metrics,
        capacity: usize::try_from(containers).unwrap_or(usize::MAX),
        first_sync,
    };
    let probe = AtWork::new(recorder).run(process.shutdown.clone()).await?;
    drop(probe);
    if installation.is_deleted().await {
        portcullis_probe::uninstall(&pins, &node_name)?;
        info!("the DaemonSet {daemon_set} is gone: the programs are detached and the counters removed");
    }
    Ok(())
}

/// Opens the node's probe. A recorder that was deleted by force may hold it for a moment more.
async fn open(settings: &portcullis_probe::Settings) -> Result<Probe, Error> {
    let until = Instant::now() + LAST_ONE;
    loop {
        match Probe::open(settings) {
            Err(portcullis_probe::Error::Busy { .. }) if Instant::now() < until => sleep(LOOK_AGAIN).await,
            opened => return Ok(opened?),
        }
    }
}
