//! Figures for the metrics.

use std::collections::BTreeMap;

use portcullis_api::{ProfileKind, Reason};
use tokio::time::Instant;

use super::{Entry, World};
use crate::{
    nodes::{Progress, Standing},
    status::is_ready,
};

/// What a profile is, for a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// This generation is on every node that counts.
    Ready,
    /// It is on its way.
    Reconciling,
    /// It goes no further by itself.
    Stalled,
    /// It is being deleted.
    Deleting,
}

impl State {
    /// Every value.
    pub(crate) const ALL: [Self; 4] = [Self::Ready, Self::Reconciling, Self::Stalled, Self::Deleting];

    /// The word in a metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Reconciling => "reconciling",
            Self::Stalled => "stalled",
            Self::Deleting => "deleting",
        }
    }
}

/// Figures of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) profiles: BTreeMap<(ProfileKind, State), u32>,
    pub(crate) revisions: usize,
    pub(crate) nodes: BTreeMap<Standing, u32>,
    /// Nodes that count and are not known to have everything.
    pub(crate) lagging: u32,
    /// Nodes that count and have no agent that runs.
    pub(crate) without_agent: u32,
    /// Nodes that count and named failures.
    pub(crate) failing: u32,
    /// Profiles that a bound of their namespace, or of the cluster, refuses.
    pub(crate) beyond_bounds: usize,
}

impl World {
    /// The figures of now.
    pub(crate) fn summary(&self, now: Instant) -> Summary {
        let mut summary = Summary { revisions: self.revisions.log().set().len(), ..Summary::default() };
        for (owner, entry) in &self.profiles {
            let ready = entry.status(now).is_some_and(|status| {
                is_ready(status) && status.observed_generation == Some(entry.generation)
            });
            let state = match &entry.resolution {
                _ if entry.deleting => State::Deleting,
                _ if entry.refusal.is_some() => State::Stalled,
                Some(Err(_)) => State::Stalled,
                _ if ready => State::Ready,
                _ => State::Reconciling,
            };
            *summary.profiles.entry((owner.kind(), state)).or_default() += 1;
        }
        let is_beyond =
            |entry: &&Entry| entry.refusal.as_ref().is_some_and(|refusal| refusal.reason != Reason::Revoked);
        let refused = self.profiles.values().filter(is_beyond).count();
        summary.beyond_bounds = refused + self.far_beyond.len();
        let newest = self.revisions.log().newest();
        for (_, view) in self.nodes.views() {
            *summary.nodes.entry(view.standing).or_default() += 1;
            if view.standing == Standing::Counts {
                summary.lagging += u32::from(view.progress != Progress::Known(newest));
                summary.without_agent += u32::from(!view.has_agent);
                summary.failing += u32::from(view.has_failures());
            }
        }
        summary
    }
}
