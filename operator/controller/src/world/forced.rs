//! Profiles whose finalizer somebody took off, although pods name their paths: what is left of them goes, pods or not.

use portcullis_api::Owner;

use super::{Entry, World};

impl World {
    /// A profile is gone, or another object by now. The controller itself lets go of one after its revisions.
    pub(super) fn note_forced(&mut self, owner: &Owner, entry: Option<&Entry>) {
        let Some(entry) = entry.filter(|entry| entry.deleting && entry.has_files()) else { return };
        let uid = entry.uid.clone();
        if self.revisions.all(owner).iter().any(|revision| revision.owner_uid == uid) {
            self.forced.entry(owner.clone()).or_default().insert(uid);
        }
    }

    /// A revision is gone.
    pub(super) fn forget_forced(&mut self, owner: &Owner) {
        let Some(uids) = self.forced.get_mut(owner) else { return };
        let left = self.revisions.all(owner);
        uids.retain(|uid| left.iter().any(|revision| revision.owner_uid == *uid));
        if uids.is_empty() {
            self.forced.remove(owner);
        }
    }

    /// Whether the finalizer of the profile of this UID was taken off.
    pub(super) fn was_forced(&self, owner: &Owner, uid: &str) -> bool {
        self.forced.get(owner).is_some_and(|uids| uids.contains(uid))
    }
}
