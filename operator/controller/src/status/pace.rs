//! When a status is written: what people and tools wait for at once, mere counts now and then, nothing where nothing changed.

use std::time::Duration;

use portcullis_api::{ConditionType, ProfileStatus, Reason};

use super::conditions::find;

/// How often mere counts are written.
pub(crate) const COUNTS_EVERY: Duration = Duration::from_secs(30);
/// For how long a new profile may become ready before its status says that it is not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Ages that the pace depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// Since the controller first saw this generation.
    pub(crate) seen: Duration,
    /// Since the status was last written by this process; none where it was not.
    pub(crate) written: Option<Duration>,
}

/// What to do with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It says what is to be said.
    Same,
    /// Write it.
    Now,
    /// Look again after this time.
    After(Duration),
}

/// Compares what the status says with what it should.
pub(crate) fn pace(previous: Option<&ProfileStatus>, next: &ProfileStatus, since: Since) -> Pace {
    let Some(previous) = previous.filter(|previous| previous.observed_generation.is_some()) else {
        // A base may come in the very next request of one `kubectl apply`.
        let hasty = ready_reason(next) == Some(Reason::BaseNotFound.as_str());
        let settled = find(next, ConditionType::Reconciling).is_none() && !hasty;
        return if settled { Pace::Now } else { later(PATIENCE, since.seen) };
    };
    if same(previous, next) {
        return Pace::Same;
    }
    if same(&without_counts(previous), &without_counts(next)) {
        return later(COUNTS_EVERY, since.written.unwrap_or(since.seen));
    }
    let unsettled = |status| find(status, ConditionType::Reconciling).is_some();
    if unsettled(previous) && unsettled(next) && ready_reason(previous) == ready_reason(next) {
        // One rollout after another, neither seen to end.
        return later(PATIENCE, since.seen);
    }
    Pace::Now
}

fn later(due: Duration, age: Duration) -> Pace {
    match due.saturating_sub(age) {
        Duration::ZERO => Pace::Now,
        rest => Pace::After(rest),
    }
}

fn ready_reason(status: &ProfileStatus) -> Option<&str> {
    find(status, ConditionType::Ready).map(|condition| condition.reason.as_str())
}

/// Whether two statuses say the same in everything that is the controller's to say.
fn same(one: &ProfileStatus, other: &ProfileStatus) -> bool {
    fn ours(status: &ProfileStatus) -> ProfileStatus {
        let mut ours = status.clone();
        ours.conditions = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
            .into_iter()
            .filter_map(|kind| find(status, kind).cloned())
            .collect();
        ours
    }
    ours(one) == ours(other)
}

/// A status without what changes with every node: counts, and while a rollout goes on, the words about it. The reason stays.
fn without_counts(status: &ProfileStatus) -> ProfileStatus {
    let mut status = status.clone();
    status.nodes = None;
    status.failing_nodes.clear();
    if find(&status, ConditionType::Reconciling).is_some() {
        status.conditions.iter_mut().for_each(|condition| condition.message.clear());
    }
    status
}
