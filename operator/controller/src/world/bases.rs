//! Who builds on whom: a change of a base concerns everything above it.

use std::collections::BTreeSet;

use portcullis_api::Owner;
use tokio::time::Instant;

use super::{Spec, World};
use crate::{nodes::Affected, resolve::owner_of_base};

/// What a spec builds on directly, as far as it can exist.
pub(super) fn of(owner: &Owner, spec: &Spec) -> Vec<Owner> {
    let bases = spec.source.as_ref().map(|source| source.bases.as_slice()).unwrap_or_default();
    bases.iter().filter_map(|base| owner_of_base(owner, base).ok()).collect()
}

impl World {
    /// From now on a profile builds on these.
    pub(super) fn link(&mut self, owner: &Owner, bases: Vec<Owner>) {
        for base in self.bases.remove(owner).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(&base) {
                dependents.remove(owner);
                if dependents.is_empty() {
                    self.dependents.remove(&base);
                }
            }
        }
        for base in &bases {
            self.dependents.entry(base.clone()).or_default().insert(owner.clone());
        }
        if !bases.is_empty() {
            self.bases.insert(owner.clone(), bases);
        }
    }

    /// All that build on a profile, directly or not, have to be worked out again, each in its turn.
    pub(super) fn invalidate_dependents(&mut self, base: &Owner, now: Instant) -> Affected {
        let mut concerned = BTreeSet::new();
        let mut next = vec![base.clone()];
        while let Some(base) = next.pop() {
            for dependent in self.dependents.get(&base).into_iter().flatten() {
                if concerned.insert(dependent.clone()) {
                    next.push(dependent.clone());
                }
            }
        }
        let mut in_turn = Vec::new();
        for dependent in &concerned {
            let Some(entry) = self.profiles.get_mut(dependent) else { continue };
            // Who waits for a turn already has it, and takes what the base is by then.
            if entry.turn.is_none_or(|turn| turn <= now) {
                in_turn.push(dependent.clone());
            }
            entry.invalidate();
        }
        // After a start everything is worked out anew anyway, and hardly anything of it is another revision.
        if self.synced {
            for (dependent, turn) in self.fan_out.turns(base, in_turn.into_iter(), now) {
                if let Some(entry) = self.profiles.get_mut(&dependent) {
                    entry.turn = Some(turn);
                }
            }
        }
        Affected::owners(concerned)
    }
}
