//! Drives the keeper: brings it what comes in and carries away what it leaves to others.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, OnceLock},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};
use portcullis_api::{SeccompNode, SeccompNodeSpec, SeccompNodeStatus};
use portcullis_runtime::{ReadinessGate, Report, Reporter};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    error::Error,
    keeper::{Keeper, Notice, Outcome, Start, Wanted, Work},
};

/// Work that is taken in at once; more waits, so that a repair waits no longer than for the writing of this.
pub(crate) const BATCH: usize = 32;
/// Between two attempts at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Where Events go: the node's own object.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    name: String,
    /// Known once the API server has answered the first report.
    uid: Arc<OnceLock<String>>,
}

impl Node {
    pub(crate) fn new(name: String) -> Self {
        Self { name, uid: Arc::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Remembers the object's UID, by which `kubectl describe` finds its Events.
    pub(crate) fn learn(&self, object: &SeccompNode) {
        if let Some(uid) = object.uid() {
            self.uid.get_or_init(|| uid);
        }
    }

    fn reference(&self) -> ObjectReference {
        let mut reference = SeccompNode::new(&self.name, SeccompNodeSpec::default()).object_ref(&());
        reference.uid = self.uid.get().cloned();
        reference
    }
}

/// Where the keeper's outcomes go.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) wanted: mpsc::UnboundedSender<Wanted>,
    pub(crate) status: watch::Sender<Option<SeccompNodeStatus>>,
    pub(crate) reporter: Reporter,
    pub(crate) node: Node,
    pub(crate) first_sync: ReadinessGate,
}

impl Outlets {
    fn dispatch(&self, outcome: Outcome) {
        let Outcome { wanted, notices, status } = outcome;
        for Notice { level, reason, action, message } in notices {
            let object = Some(self.node.reference());
            self.reporter.report(Report { level, reason, action, message, object });
        }
        for wanted in wanted {
            // Closed only while the process ends.
            let _ = self.wanted.send(wanted);
        }
        if let Some(status) = status {
            self.status.send_replace(Some(status));
            self.first_sync.open();
        }
    }
}

/// Waits for the directory's lock, then keeps the files until shutdown.
///
/// # Errors
/// Where the mounted directory is gone, so that only a new container helps.
pub(crate) async fn keep(
    keeper: Keeper,
    mut work: mpsc::Receiver<Work>,
    outlets: Outlets,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let Some(mut keeper) = begin(keeper, &shutdown).await? else { return Ok(()) };
    let changes = keeper.watches().as_fd().try_clone_to_owned().map_err(Error::Watch)?;
    let changes = readiness_of(changes)?;
    let mut batch = Vec::with_capacity(BATCH);
    // What was found at the start is said at once, too.
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            ready = changes.readable() => ready.map_err(Error::Watch)?.clear_ready(),
            taken = work.recv_many(&mut batch, BATCH) => if taken == 0 { return Ok(()) },
            () = sleep_until(due) => {}
        }
        // Whatever woke it, what else has come goes along.
        while batch.len() < BATCH
            && let Ok(more) = work.try_recv()
        {
            batch.push(more);
        }
        let (items, now) = (std::mem::replace(&mut batch, Vec::with_capacity(BATCH)), Instant::now());
        let (back, outcome) = blocking(keeper, move |keeper| keeper.handle(items, now.into_std())).await?;
        keeper = back;
        due = Instant::from_std(keeper.due());
        outlets.dispatch(outcome?);
    }
}

/// Tells when the kernel has something to say of the directories.
#[expect(unsafe_code, reason = "tokio leaves it to the caller that the descriptor stays the same")]
fn readiness_of(changes: OwnedFd) -> Result<AsyncFd<OwnedFd>, Error> {
    // SAFETY: an `OwnedFd` is one open descriptor for as long as it lives, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(changes, Interest::READABLE) }
        .map_err(|error| Error::Watch(error.into()))
}

async fn begin(mut keeper: Keeper, shutdown: &CancellationToken) -> Result<Option<Keeper>, Error> {
    let mut waits = false;
    loop {
        let now = Instant::now().into_std();
        let (back, start) = blocking(keeper, move |keeper| keeper.start(now)).await?;
        keeper = back;
        match start? {
            Start::Guarding => return Ok(Some(keeper)),
            Start::Locked if !waits => {
                info!("another agent has the lock of the directory; waits for it to end");
                waits = true;
            }
            Start::Locked => {}
        }
        tokio::select! {
            () = sleep(LOCK_PAUSE) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// Runs a step of the keeper where it may block on the disk while the rest of the process goes on.
async fn blocking<T: Send + 'static>(
    mut keeper: Keeper,
    step: impl FnOnce(&mut Keeper) -> T + Send + 'static,
) -> Result<(Keeper, T), Error> {
    tokio::task::spawn_blocking(move || {
        let result = step(&mut keeper);
        (keeper, result)
    })
    .await
    .map_err(|_| Error::Ended("keeper"))
}
