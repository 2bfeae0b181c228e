//! Revisions that an administrator revoked: nothing of them stays on the node, whatever names it.

use std::{collections::BTreeSet, os::fd::AsFd as _, time::Instant};

use portcullis_api::{Owner, RevisionMeta};
use portcullis_profile::Digest;
use rustix::fs;
use tracing::{error, info};

use super::Keeper;
use crate::{disk, path::split};

impl Keeper {
    /// The watch brought that a revision was revoked.
    pub(super) fn revoke(&mut self, meta: &RevisionMeta, touched: &mut BTreeSet<String>, now: Instant) {
        let RevisionMeta { owner, digest, .. } = meta;
        self.refused.remove(owner, digest);
        let change = self.set.apply(meta);
        self.want_all(change.write, touched);
        info!(%owner, %digest, reason = meta.revoked, "was revoked");
        self.remove_files_of(owner, digest, now);
    }

    /// A list names a revoked revision. Its files go with the end of the list, which says what its owner's path serves instead.
    pub(super) fn list_revoked(&mut self, meta: RevisionMeta) {
        self.refused.remove(&meta.owner, &meta.digest);
        self.set.apply(&meta);
        self.revoked.insert((meta.owner, meta.digest));
    }

    /// Removes what is still there of the revoked revisions of a list, which came while no agent ran or watched.
    pub(super) fn remove_revoked(&mut self, now: Instant) {
        for (owner, digest) in std::mem::take(&mut self.revoked) {
            self.remove_files_of(&owner, &digest, now);
        }
    }

    fn remove_files_of(&mut self, owner: &Owner, digest: &Digest, now: Instant) {
        self.leave(&owner.revision_path(digest), now);
        if self.set.current(owner).is_none() {
            self.leave(&owner.current_path(), now);
        } else {
            self.remove_from_path(&owner.current_path(), digest);
        }
        self.remove_from_store(digest, now);
    }

    /// Removes a content from a path that is to serve another one and does not yet: that one may be on its way for long.
    fn remove_from_path(&mut self, path: &str, digest: &Digest) {
        let behind = self.files.get(path).filter(|file| file.owned && file.inode == 0);
        let (Some(_), Some(directory)) = (behind, self.directory.clone()) else { return };
        let (namespace, leaf) = split(path);
        let Ok(Some(parent)) = directory.existing(namespace) else { return };
        let holds = disk::read(parent.as_fd(), leaf).ok().flatten();
        if holds.is_some_and(|content| Digest::of(&content) == *digest) {
            let removed = disk::remove(parent.as_fd(), leaf)
                .and_then(|()| fs::fsync(parent.as_fd()).map_err(std::io::Error::from));
            if let Err(error) = removed {
                error!(path, %error, "can't remove a revoked content");
            }
        }
    }

    /// Removes a content from the store, unless something else serves it.
    fn remove_from_store(&mut self, digest: &Digest, now: Instant) {
        let stays = |at: Option<Instant>| at.is_none_or(|at| at > now);
        if !self.store.contains(digest)
            || self.files.values().any(|file| file.digest == *digest && stays(file.leaving))
        {
            return;
        }
        if let Some(directory) = self.directory.clone() {
            self.store.keep(&directory, |kept| kept != digest);
        }
    }
}
