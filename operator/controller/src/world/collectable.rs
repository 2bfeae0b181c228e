//! Revisions that nothing needs any more.

use std::time::Duration;

use portcullis_api::Owner;
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::World;
use crate::{plan::plan, revisions::Doomed};

/// After how long revisions whose profile is gone are collected.
const ORPHANED_AFTER: Duration = Duration::from_secs(60);

impl World {
    /// Revisions that nothing needs: beyond the history's limit, of an earlier namesake, of a profile that is gone. Pods keep them, unless
    /// their profile went though pods name it: then somebody took its finalizer off, to that end.
    pub(crate) fn collectable(&mut self, now: Instant) -> Vec<Doomed> {
        let mut owners: Vec<Owner> = self.orphans.keys().cloned().collect();
        owners.extend(std::mem::take(&mut self.crowded));
        let mut doomed = Vec::new();
        for owner in owners {
            let surplus = self.collectable_of(&owner, now);
            if !surplus.is_empty() && self.profiles.contains_key(&owner) {
                self.crowded.insert(owner);
            }
            doomed.extend(surplus);
        }
        doomed
    }

    /// The same of one owner.
    pub(crate) fn collectable_of(&mut self, owner: &Owner, now: Instant) -> Vec<Doomed> {
        if !self.synced {
            return Vec::new();
        }
        if let Some(since) = self.orphans.get(owner) {
            // What was seen to be forced out need not wait for a profile that a restore might bring after its revisions.
            let is_old = now.saturating_duration_since(*since) >= ORPHANED_AFTER;
            let goes = |doomed: &Doomed| is_old || self.was_forced(owner, &doomed.owner_uid);
            let gone = self.revisions.all(owner).into_iter().filter(goes);
            return gone.map(|doomed| Doomed { is_forced: true, ..doomed }).collect();
        }
        let surplus = self.surplus(owner, now);
        let doomed = surplus.iter().map(|digest| self.revisions.doomed(owner, digest));
        let judged =
            doomed.map(|doomed| Doomed { is_forced: self.was_forced(owner, &doomed.owner_uid), ..doomed });
        judged.collect()
    }

    fn surplus(&mut self, owner: &Owner, now: Instant) -> Vec<Digest> {
        let Some(entry) = self.profiles.get(owner).filter(|entry| !entry.deleting) else { return Vec::new() };
        let Some(Ok(resolved)) = &entry.resolution else { return Vec::new() };
        let known = self.revisions.known(owner, now);
        let plan = plan(&known, &resolved.digest, &entry.uid, entry.wishes.history_limit);
        // What is not served yet replaces nothing.
        if plan.write.is_some() { Vec::new() } else { plan.collect }
    }

    /// An owner's revisions, or the profile itself, came or went.
    pub(super) fn note_orphan(&mut self, owner: &Owner, now: Instant) {
        let has_revisions = self.revisions.log().set().revisions(owner).next().is_some();
        if has_revisions && !self.exists(owner) {
            self.orphans.entry(owner.clone()).or_insert(now);
        } else {
            self.orphans.remove(owner);
        }
    }
}
