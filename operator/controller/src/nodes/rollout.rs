//! On which of the nodes that count a profile is.

use portcullis_api::{FailingNode, MAX_FAILING_NODES, Owner, bounded_message};
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::{Nodes, Progress, Standing, Told, View};
use crate::changelog::{ChangeLog, Index};

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
    /// Where the only thing amiss is what profiles are not told of yet, for nodes' words fell a moment ago or are not known (yet): until
    /// when a `Ready` that stands is not withdrawn for it.
    pub(crate) doubtful_until: Option<Instant>,
    /// When to look again because a node lacks what profiles were told that it has: should it have it again by then, nobody says so.
    pub(crate) look_again: Option<Instant>,
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
            let failing = failing(name, view, wanted.owner);
            if failing.is_none() && published && has(view, since, log) {
                rollout.ready += 1;
                continue;
            }
            // What was told of it stands for a moment: agents that start anew, or that have seen a revision some milliseconds before the
            // controller's own watch shows it, are back by then.
            let told = view.told.as_ref().filter(|told| told.has(wanted.owner, log));
            let stands = told.and_then(Told::fell).map(|fell| fell + self.lasting.fall());
            rollout.look_again = [rollout.look_again, stands].into_iter().flatten().min();
            let unknown = (view.progress == Progress::Unknown).then_some(leader_grace);
            if let Some(ends) = stands.max(unknown) {
                doubtful += 1;
                doubt_ends = Some(doubt_ends.map_or(ends, |earliest| earliest.min(ends)));
            }
            if let Some(failing) = failing {
                rollout.failing += 1;
                if rollout.failing_nodes.len() < MAX_FAILING_NODES {
                    rollout.failing_nodes.push(failing);
                }
            } else if rollout.waiting.len() < MAX_NAMED {
                rollout.waiting.push(format!("{name} {}", why(view, log)));
            }
        }
        rollout.doubtful_until =
            doubt_ends.filter(|_| published && rollout.ready + doubtful == rollout.desired);
        rollout
    }
}

/// Whether a node has what changed last at this index, if it does not fail.
fn has(view: &View, since: Index, log: &ChangeLog) -> bool {
    // The log may have gone on since this was seen: which changes it is behind is not known any more.
    matches!(view.progress, Progress::Known(index) if log.remembers(index) && since <= index)
}

/// Why a node is waited for.
fn why(view: &View, log: &ChangeLog) -> &'static str {
    match view.progress {
        Progress::Known(index) if !log.remembers(index) => "is further behind than changes are remembered",
        Progress::Known(_) if !view.has_agent => "has not reported it yet, and no agent runs there",
        Progress::Known(_) => "has not reported it yet",
        Progress::NoReport => "has not reported yet what it has",
        Progress::Truncated => "reports more failures than its status can list",
        Progress::Unknown => "reports a digest that is not known (yet)",
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
