//! What profiles were told of a node. What is better they are told at once; what is worse only once it has lasted, so that a node which falls
//! and is back costs nothing.

use std::collections::BTreeSet;

use portcullis_api::{NodeFailure, Owner};
use tokio::time::Instant;

use super::{Affected, Progress, View};
use crate::changelog::{ChangeLog, Index};

/// What profiles were told of a node that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Up to which change it has everything but the failures; none where it has nothing for certain.
    upto: Option<Index>,
    failures: Vec<NodeFailure>,
    /// Since when its word is less than that.
    fell: Option<Instant>,
}

impl Told {
    /// Of a node that begins to count: profiles were Ready without it, so they were told of nothing amiss.
    pub(super) const fn nothing_amiss(newest: Index) -> Self {
        Self { upto: Some(newest), failures: Vec::new(), fell: None }
    }

    /// Takes over what is better, and what fails that nobody was told it had. Says whom that concerns.
    pub(super) fn rise(&mut self, view: &View, log: &ChangeLog, now: Instant) -> Affected {
        let before = self.clone();
        self.failures.retain(|failure| view.failures.contains(failure));
        let gone = before.failures.iter().filter(|failure| !self.failures.contains(failure));
        let mut concerned: BTreeSet<Owner> = gone.filter_map(owner_of).collect();
        let mut lost = false;
        for failure in view.failures.iter().filter(|failure| !before.failures.contains(failure)) {
            let Some(owner) = owner_of(failure) else { continue };
            if before.has(&owner, log) {
                lost = true;
            } else {
                self.failures.push(failure.clone());
                concerned.insert(owner);
            }
        }
        let upto = upto(&view.progress);
        self.upto = self.upto.max(upto);
        let is_less = lost || upto < self.upto;
        self.fell = is_less.then(|| self.fell.unwrap_or(now));
        between(before.upto, self.upto, log).and(Affected::owners(concerned))
    }

    /// Takes over all of it, for it has lasted. Says whom that concerns.
    pub(super) fn settle(&mut self, view: &View, log: &ChangeLog) -> Affected {
        let after = Self { upto: upto(&view.progress), failures: view.failures.clone(), fell: None };
        let before = std::mem::replace(self, after);
        let of_one =
            |failure: &&NodeFailure| before.failures.contains(failure) != self.failures.contains(failure);
        let all = before.failures.iter().chain(&self.failures);
        let concerned: BTreeSet<Owner> = all.filter(of_one).filter_map(owner_of).collect();
        between(before.upto, self.upto, log).and(Affected::owners(concerned))
    }

    /// Since when its word is less than what was told; none where it is not.
    pub(super) const fn fell(&self) -> Option<Instant> {
        self.fell
    }

    /// Whether it was told that the node has this owner's files.
    pub(super) fn has(&self, owner: &Owner, log: &ChangeLog) -> bool {
        self.upto.is_some_and(|upto| log.remembers(upto) && log.last_change(owner) <= upto)
            && self.failures.iter().all(|failure| !failure.is_of(owner))
    }
}

const fn upto(progress: &Progress) -> Option<Index> {
    match progress {
        Progress::Known(index) => Some(*index),
        Progress::NoReport | Progress::Unknown | Progress::Truncated => None,
    }
}

/// The owners that a node has at one of these and lacks at the other.
fn between(one: Option<Index>, other: Option<Index>, log: &ChangeLog) -> Affected {
    match (one, other) {
        (one, other) if one == other => Affected::Nothing,
        (Some(one), Some(other)) => {
            let changed = log.changed_between(one.min(other), one.max(other));
            changed.map_or(Affected::Everything, |changed| Affected::owners(changed.cloned().collect()))
        }
        _ => Affected::Everything,
    }
}

pub(super) fn owner_of(failure: &NodeFailure) -> Option<Owner> {
    match &failure.namespace {
        Some(namespace) => Owner::namespaced(namespace, &failure.name),
        None => Owner::cluster(&failure.name),
    }
    .ok()
}
