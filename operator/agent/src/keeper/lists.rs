//! Lists of every revision, a page at a time: what is known already is not held a second time.

use std::{collections::BTreeSet, time::Instant};

use portcullis_api::{Owner, RevisionMeta, Served, ServedSet};
use portcullis_profile::Digest;
use tracing::info;

use super::{Keeper, refused::Room};

impl Keeper {
    /// Takes a page in. A list that comes to no end has taken nothing away, and says nothing of what it did not come to.
    pub(super) fn page(
        &mut self,
        revisions: Vec<RevisionMeta>,
        (is_first, is_last): (bool, bool),
        touched: &mut BTreeSet<String>,
        now: Instant,
    ) {
        if is_first {
            self.list = self.list.wrapping_add(1);
            self.listing = true;
            self.named = 0;
            self.revoked.clear();
            for (owner, digest) in self.refused.list_begins() {
                self.set.remove(&owner, &digest);
            }
        }
        self.named += revisions.len();
        for meta in revisions {
            if meta.revoked.is_some() {
                self.list_revoked(meta);
                continue;
            }
            if self.admit(&meta) == Room::None {
                continue;
            }
            self.set.apply(&meta);
            let (path, digest) = (meta.owner.revision_path(&meta.digest), meta.digest);
            self.want_all(vec![Served { path: path.clone(), digest }], touched);
            if let Some(file) = self.files.get_mut(&path) {
                file.listed = self.list;
            }
        }
        if is_last {
            self.list_ends(touched, now);
        }
    }

    /// Whatever is on disk and was not named goes after the grace; a list of nothing takes nothing away.
    fn list_ends(&mut self, touched: &mut BTreeSet<String>, now: Instant) {
        self.listing = false;
        let empty = self.named == 0;
        if empty {
            self.set = ServedSet::default();
        }
        for (owner, digest) in self.unlisted() {
            self.set.remove(&owner, &digest);
        }
        let owners: Vec<Owner> = self.set.owners().cloned().collect();
        for owner in owners {
            let (path, Some(digest)) = (owner.current_path(), self.set.current(&owner)) else { continue };
            self.want_all(vec![Served { path: path.clone(), digest }], touched);
            if let Some(file) = self.files.get_mut(&path) {
                file.listed = self.list;
            }
        }
        let goes = now + self.timing.grace;
        let mut leaving = 0_usize;
        for file in self.files.values_mut() {
            if empty || file.listed == self.list {
                // An explicit deletion that could not be carried out yet stands; the others are called back.
                file.leaving = file.leaving.filter(|at| empty && *at <= now);
            } else {
                file.leaving.get_or_insert(goes);
                leaving += 1;
            }
        }
        self.remove_revoked(now);
        touched.extend(self.failures.keys().cloned());
        if !self.synced {
            info!(
                revisions = self.set.len(),
                leaving, "the first list is here; files on disk without a revision go after the grace"
            );
        } else if leaving > 0 {
            info!(files = leaving, "the list names no revision for files on disk; they go after the grace");
        }
        self.synced = true;
    }

    /// What is known and the list did not name.
    fn unlisted(&self) -> Vec<(Owner, Digest)> {
        let is_listed = |owner: &Owner, digest: &Digest| {
            let file = self.files.get(&owner.revision_path(digest));
            file.is_some_and(|file| file.listed == self.list) || self.refused.contains(owner, digest)
        };
        let of_owner = |owner: &Owner| -> Vec<(Owner, Digest)> {
            let unlisted = self.set.revisions(owner).filter(|(digest, _)| !is_listed(owner, digest));
            let revoked = self.set.revoked(owner).map(|(digest, _)| digest);
            let no_longer = revoked.filter(|digest| !self.revoked.contains(&(owner.clone(), **digest)));
            unlisted
                .map(|(digest, _)| digest)
                .chain(no_longer)
                .map(|digest| (owner.clone(), *digest))
                .collect()
        };
        self.set.owners().flat_map(of_owner).collect()
    }
}
