//! On which of the nodes that count a profile is.

use portcullis_api::{FailingNode, MAX_FAILING_NODES, Owner, bounded_message};
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::{Nodes, Progress, Standing, UNKNOWN_GRACE, View};
use crate::changelog::ChangeLog;

/// Most waiting nodes that a message names.
const MAX_NAMED: usize = 3;

/// The content that a profile's path is to serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) digest: &'a Digest,
}

/// How far a profile's content has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// Nodes that count and have it.
    pub(crate) ready: u32,
    /// Nodes that count.
    pub(crate) desired: u32,
    /// Nodes that count and failed.
    pub(crate) failing: u32,
    /// Of those, by name, at most 10.
    pub(crate) failing_nodes: Vec<FailingNode>,
    /// Nodes that count and neither have it nor failed, some of them, each with why.
    pub(crate) waiting: Vec<String>,
    /// Where the only thing amiss is that nodes report digests which are not known (yet): until when a `Ready` that stands is
    /// not withdrawn for it.
    pub(crate) doubtful_until: Option<Instant>,
}

impl Rollout {
    /// Whether every node that counts has it, and at least one does.
    pub(crate) const fn complete(&self) -> bool {
        self.desired > 0 && self.ready == self.desired
    }
}

impl Nodes {
    /// How far this content has come. Until `leader_grace` a change of leader explains every unknown digest.
    pub(crate) fn rollout(&self, wanted: Wanted<'_>, log: &ChangeLog, leader_grace: Instant) -> Rollout {
        let published = log.set().current(wanted.owner) == Some(*wanted.digest);
        let since = log.last_change(wanted.owner);
        let mut rollout = Rollout::default();
        let mut doubtful = 0;
        let mut doubt_ends: Option<Instant> = None;
        for (name, view) in self.views.iter().filter(|(_, view)| view.standing == Standing::Counts) {
            rollout.desired += 1;
            if let Some(failing) = failing(name, view, wanted.owner) {
                rollout.failing += 1;
                if rollout.failing_nodes.len() < MAX_FAILING_NODES {
                    rollout.failing_nodes.push(failing);
                }
                continue;
            }
            let why = match view.progress {
                // The log may have gone on since this was seen: which changes it is behind is not known any more.
                Progress::Known(index) if !log.remembers(index) => {
                    "is further behind than changes are remembered"
                }
                Progress::Known(index) if published && index >= since => {
                    rollout.ready += 1;
                    continue;
                }
                Progress::Known(_) => "has not reported it yet",
                Progress::NoAgent => "has no agent that is Ready and reports",
                Progress::Truncated => "reports more failures than its status can list",
                Progress::Unknown { since: unknown_since, last } => {
                    let ends = match last {
                        Some(last) if log.remembers(last) && last >= since => {
                            leader_grace.max(unknown_since + UNKNOWN_GRACE)
                        }
                        Some(_) => unknown_since,
                        None => leader_grace,
                    };
                    doubtful += 1;
                    doubt_ends = Some(doubt_ends.map_or(ends, |earliest| earliest.min(ends)));
                    "reports a digest that is not known (yet)"
                }
            };
            if rollout.waiting.len() < MAX_NAMED {
                rollout.waiting.push(format!("{name} {why}"));
            }
        }
        rollout.doubtful_until =
            doubt_ends.filter(|_| published && rollout.ready + doubtful == rollout.desired);
        rollout
    }
}

fn failing(name: &str, view: &View, owner: &Owner) -> Option<FailingNode> {
    let failure = view.failures.iter().find(|failure| failure.is_of(owner))?;
    Some(FailingNode {
        node: name.to_owned(),
        reason: failure.reason.as_str().to_owned(),
        // A report's path and message fill the bound of this one together, and an agent's word is not to stop a status.
        message: bounded_message(format!("{}: {}", failure.path, failure.message)),
    })
}
