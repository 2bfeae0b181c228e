//! When a status is written: what people and tools wait for at once, what nodes alone change now and then, nothing where nothing changed.

use std::time::Duration;

use portcullis_api::{ConditionType, ProfileStatus, Reason};
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::conditions::{find, is_ready};

/// How often the counts of a rollout are written.
pub(crate) const COUNTS_EVERY: Duration = Duration::from_secs(30);
/// How often they are where the content was Ready before: slowly enough to leave room for the write that says so again.
pub(crate) const COUNTS_BY_NODES_EVERY: Duration = Duration::from_secs(60);
/// How often counts are written that changed because nodes came or went: each of these is a write for every profile.
pub(crate) const SET_EVERY: Duration = Duration::from_secs(600);
/// For how long they have to differ: a node that reboots is back before.
pub(crate) const SET_LASTS: Duration = Duration::from_secs(300);
/// For how long a new profile may become ready before its status says that it is not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How a status differs from what is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Not at all.
    Nothing,
    /// Nodes came or went; the profile is where it is to be.
    NodeSet,
    /// The counts of a rollout, and the words about it.
    Counts,
    /// A rollout that goes on, of another content, or one whose status may be another in an instant.
    Unsettled,
    /// Nodes that had the content lost it, or have it again.
    ByNodes,
    /// The counts of how many have it again, while some don't.
    CountsByNodes,
    /// Something of the profile itself.
    Own,
}

/// Times that the pace depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When the controller first saw this generation.
    pub(crate) seen: Instant,
    /// When the status was last written by this process; none where it was not.
    pub(crate) written: Option<Instant>,
    /// Since when no more than counts differ because nodes came or went.
    pub(crate) set_changed: Instant,
    /// From when on it may be written for what nodes alone changed; none where it may be at once.
    pub(crate) by_nodes: Option<Instant>,
    /// The profile's own share of [`SET_EVERY`], so that not all are written at once: from 0 to 1.
    pub(crate) share: f64,
}

impl Change {
    /// From what the status says to what it is to say. `was_ready`: the content that it was Ready with last.
    pub(crate) fn between(
        previous: Option<&ProfileStatus>,
        next: &ProfileStatus,
        was_ready: Option<(i64, Digest)>,
    ) -> Self {
        let Some(previous) = previous.filter(|previous| previous.observed_generation.is_some()) else {
            // A base may come in the very next request of one `kubectl apply`.
            let hasty = ready_reason(next) == Some(Reason::BaseNotFound.as_str());
            return if is_settled(next) && !hasty { Self::Own } else { Self::Unsettled };
        };
        if same(previous, next) {
            return Self::Nothing;
        }
        let was_ready = was_ready.is_some() && content(next) == was_ready;
        if same(&without_counts(previous), &without_counts(next)) {
            return match (is_settled(next), was_ready) {
                (true, _) => Self::NodeSet,
                (false, true) => Self::CountsByNodes,
                (false, false) => Self::Counts,
            };
        }
        if is_of_nodes(previous, next) && (was_ready || !is_ready(next)) {
            return Self::ByNodes;
        }
        if !is_settled(previous) && !is_settled(next) && hindrance(previous) == hindrance(next) {
            // One rollout after another, neither seen to end; or its revision is written now, and readers wait to hear of nodes.
            return Self::Unsettled;
        }
        Self::Own
    }

    /// When it is to be written; none where there is nothing to write.
    pub(crate) fn due(self, times: &Times, now: Instant) -> Option<Instant> {
        let Times { seen, written, set_changed, by_nodes, share } = *times;
        match self {
            Self::Nothing => None,
            Self::Own => Some(now),
            Self::Unsettled => Some(seen + PATIENCE),
            Self::Counts => Some(written.unwrap_or(seen) + COUNTS_EVERY),
            Self::NodeSet => {
                let own = set_changed + SET_LASTS + SET_EVERY.mul_f64(share);
                Some(written.map_or(own, |written| own.max(written + SET_EVERY)))
            }
            Self::ByNodes => Some(by_nodes.unwrap_or(now)),
            Self::CountsByNodes => {
                Some(by_nodes.unwrap_or(now).max(written.unwrap_or(seen) + COUNTS_BY_NODES_EVERY))
            }
        }
    }
}

/// A profile's share of a time over which all are spread: ever the same.
pub(crate) fn share_of(uid: &str) -> f64 {
    let [first, second, third, fourth, ..] = *Digest::of(uid.as_bytes()).as_bytes();
    f64::from(u32::from_be_bytes([first, second, third, fourth])) / f64::from(u32::MAX)
}

/// Of which generation a status speaks, and of which content.
pub(crate) fn content(status: &ProfileStatus) -> Option<(i64, Digest)> {
    status.observed_generation.zip(status.digest)
}

/// Whether two statuses speak of the same content of the same generation, and differ by where it is.
fn is_of_nodes(previous: &ProfileStatus, next: &ProfileStatus) -> bool {
    const BY_NODES: [Reason; 4] =
        [Reason::Distributed, Reason::Distributing, Reason::NodesFailing, Reason::NoNodes];
    let by_nodes = |status| {
        ready_reason(status).is_some_and(|reason| BY_NODES.iter().any(|by_nodes| by_nodes.as_str() == reason))
    };
    content(previous) == content(next)
        && by_nodes(previous)
        && by_nodes(next)
        && ready_reason(previous) != ready_reason(next)
}

/// Why a profile is not ready; none while its revision is written and brought to nodes.
fn hindrance(status: &ProfileStatus) -> Option<&str> {
    const ROLLOUT: [Reason; 2] = [Reason::Publishing, Reason::Distributing];
    ready_reason(status).filter(|reason| ROLLOUT.iter().all(|rollout| rollout.as_str() != *reason))
}

fn is_settled(status: &ProfileStatus) -> bool {
    find(status, ConditionType::Reconciling).is_none()
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
    if !is_settled(&status) {
        status.conditions.iter_mut().for_each(|condition| condition.message.clear());
    }
    status
}
