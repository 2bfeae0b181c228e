//! What the controller's tasks share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portcullis_api::Owner;
use portcullis_runtime::{Level, Report, Reporter};
use tokio::{
    sync::Notify,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, reference},
    error::Failure,
    metrics::Metrics,
    nodes::Affected,
    pool::Pool,
    queue::Queue,
    settings::Bounds,
    usage::UsageAsker,
    world::World,
};

/// How long a change that concerns every profile waits for others of its kind.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is looked whether a grace has ended. Costs no request.
const TICK: Duration = Duration::from_secs(1);

/// What the controller's tasks share.
pub(crate) struct Shared {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) queue: Queue<Owner>,
    pub(crate) cluster: Cluster,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    /// Where documents are worked on.
    pub(crate) pool: Pool,
    pub(crate) usage: UsageAsker,
    /// Nodes or their report objects came or went.
    pub(crate) nodes_changed: Notify,
    /// Revisions were revoked, or are no more.
    pub(crate) revocations_changed: Notify,
    pub(crate) bounds: Bounds,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    /// Everything that is known. Never held over an await.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A panic ends the process; until it does, what is known is no worse than before.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known and wakes the profiles that this concerns.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World, Instant) -> Affected) {
        let now = Instant::now();
        let mut world = self.world();
        match change(&mut world, now) {
            Affected::Nothing => {}
            Affected::Owners(owners) => owners.into_iter().for_each(|owner| self.queue.wake(owner, now)),
            Affected::Everything => {
                world.owners().for_each(|owner| self.queue.wake(owner.clone(), now + GATHER));
            }
        }
    }

    /// Counts and reports a failed request, as an Event too where somebody who looks at the profile can do something about it.
    pub(crate) fn report_failure(&self, failure: &Failure, owner: Option<&Owner>) {
        let category = failure.category();
        self.metrics.errors.with_label_values(&[category.as_str()]).inc();
        let object = owner
            .filter(|_| category.concerns_object())
            .map(|owner| reference(owner, self.world().uid(owner)));
        self.reporter.report(Report {
            level: Level::Error,
            reason: category.as_str(),
            action: "Request",
            message: failure.to_string(),
            object,
        });
    }

    /// Lets time pass, until shutdown.
    pub(crate) async fn tick(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                _ = ticks.tick() => self.change(World::tick),
            }
        }
    }
}
