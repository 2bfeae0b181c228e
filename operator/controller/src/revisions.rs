//! The revisions that exist, as the watch shows them and as the controller has just written them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use portcullis_api::{Owner, RevisionMeta};
use portcullis_profile::Digest;
use tokio::time::Instant;

use crate::{changelog::ChangeLog, plan::Known};

/// For how long a revision counts as written before the watch shows it. After that somebody has taken it away again.
const AHEAD: Duration = Duration::from_secs(10);

/// The revisions that exist.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    log: ChangeLog,
    ids: HashMap<Owner, BTreeMap<Digest, Ids>>,
    /// What was written and not yet seen in the watch: one for each owner, whose writes come one after another.
    ahead: HashMap<Owner, (Known, Instant)>,
}

#[derive(Clone, Debug)]
struct Ids {
    owner_uid: String,
    /// UID of the revision object, for a deletion that hits this object only.
    object_uid: Option<String>,
}

/// A revision to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) owner: Owner,
    pub(crate) digest: Digest,
    pub(crate) object_uid: Option<String>,
}

impl Doomed {
    /// The object's name.
    pub(crate) fn name(&self) -> String {
        self.owner.revision_name(&self.digest)
    }
}

impl Revisions {
    /// The watch showed a revision. Says whether what nodes serve has changed.
    pub(crate) fn apply(&mut self, meta: &RevisionMeta, object_uid: Option<String>) -> bool {
        let ids = Ids { owner_uid: meta.owner_uid.clone(), object_uid };
        self.ids.entry(meta.owner.clone()).or_default().insert(meta.digest, ids);
        let caught_up = |(known, _): &(Known, Instant)| {
            known.digest == meta.digest
                && known.sequence <= meta.sequence
                && known.owner_uid == meta.owner_uid
        };
        if self.ahead.get(&meta.owner).is_some_and(caught_up) {
            self.ahead.remove(&meta.owner);
        }
        self.log.apply(meta)
    }

    /// The watch showed that a revision is gone. Says whether what nodes serve has changed.
    pub(crate) fn remove(&mut self, owner: &Owner, digest: &Digest) -> bool {
        if let Some(ids) = self.ids.get_mut(owner) {
            ids.remove(digest);
            if ids.is_empty() {
                self.ids.remove(owner);
            }
        }
        if self.ahead.get(owner).is_some_and(|(known, _)| known.digest == *digest) {
            self.ahead.remove(owner);
        }
        self.log.remove(owner, digest)
    }

    /// The first list is complete.
    pub(crate) fn first_list_done(&mut self) {
        self.log.first_list_done();
    }

    /// The controller has written a revision.
    pub(crate) fn wrote(&mut self, owner: &Owner, known: Known, now: Instant) {
        let seen = self.watched(owner).any(|seen| {
            seen.digest == known.digest
                && seen.sequence >= known.sequence
                && seen.owner_uid == known.owner_uid
        });
        if !seen {
            self.ahead.insert(owner.clone(), (known, now));
        }
    }

    /// An owner's revisions, with what was just written. Forgets what the watch should have shown by now.
    pub(crate) fn known(&mut self, owner: &Owner, now: Instant) -> Vec<Known> {
        if self.ahead.get(owner).is_some_and(|(_, at)| now.duration_since(*at) >= AHEAD) {
            self.ahead.remove(owner);
        }
        let ahead = self.ahead.get(owner).map(|(known, _)| known);
        self.watched(owner)
            .filter(|known| ahead.is_none_or(|ahead| ahead.digest != known.digest))
            .chain(ahead.cloned())
            .collect()
    }

    /// When to look again whether the watch has shown what was written.
    pub(crate) fn ahead_until(&self, owner: &Owner) -> Option<Instant> {
        self.ahead.get(owner).map(|(_, at)| *at + AHEAD)
    }

    /// All revisions of an owner, to delete them.
    pub(crate) fn all(&self, owner: &Owner) -> Vec<Doomed> {
        self.log.set().revisions(owner).map(|(digest, _)| self.doomed(owner, digest)).collect()
    }

    /// One revision, to delete it.
    pub(crate) fn doomed(&self, owner: &Owner, digest: &Digest) -> Doomed {
        let ids = self.ids.get(owner).and_then(|ids| ids.get(digest));
        Doomed {
            owner: owner.clone(),
            digest: *digest,
            object_uid: ids.and_then(|ids| ids.object_uid.clone()),
        }
    }

    /// The history of what nodes serve.
    pub(crate) const fn log(&self) -> &ChangeLog {
        &self.log
    }

    fn watched(&self, owner: &Owner) -> impl Iterator<Item = Known> {
        let ids = self.ids.get(owner);
        self.log.set().revisions(owner).map(move |(digest, sequence)| Known {
            digest: *digest,
            sequence,
            owner_uid: ids
                .and_then(|ids| ids.get(digest))
                .map(|ids| ids.owner_uid.clone())
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner::cluster("web").unwrap()
    }

    fn known(content: &str, sequence: i64) -> Known {
        Known { digest: Digest::of(content.as_bytes()), sequence, owner_uid: "u".to_owned() }
    }

    fn meta(known: &Known) -> RevisionMeta {
        RevisionMeta {
            owner: owner(),
            owner_uid: known.owner_uid.clone(),
            digest: known.digest,
            sequence: known.sequence,
        }
    }

    #[test]
    fn what_was_written_counts_until_the_watch_shows_it() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.first_list_done();
        revisions.wrote(&owner(), known("a", 1), now);
        assert_eq!(revisions.known(&owner(), now), [known("a", 1)]);
        assert_eq!(revisions.log().set().current(&owner()), None, "nodes are judged by the watch alone");
        assert!(revisions.apply(&meta(&known("a", 1)), None));
        assert_eq!(revisions.ahead_until(&owner()), None);
        assert_eq!(revisions.known(&owner(), now), [known("a", 1)]);
    }

    #[test]
    fn what_the_watch_never_shows_is_forgotten() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.wrote(&owner(), known("a", 1), now);
        assert_eq!(revisions.known(&owner(), now + AHEAD), []);
    }

    #[test]
    fn a_raised_sequence_replaces_the_one_that_the_watch_shows() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.apply(&meta(&known("a", 1)), None);
        revisions.wrote(&owner(), known("a", 3), now);
        assert_eq!(revisions.known(&owner(), now), [known("a", 3)]);
    }

    #[test]
    fn a_watch_that_was_faster_than_the_response_leaves_nothing_ahead() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.apply(&meta(&known("a", 1)), None);
        revisions.wrote(&owner(), known("a", 1), now);
        assert_eq!(revisions.ahead_until(&owner()), None);
    }

    #[test]
    fn a_deletion_names_the_object_that_was_seen() {
        let mut revisions = Revisions::default();
        revisions.apply(&meta(&known("a", 1)), Some("object".to_owned()));
        let doomed = revisions.all(&owner());
        assert_eq!(doomed.len(), 1);
        assert_eq!(doomed[0].object_uid.as_deref(), Some("object"));
        assert!(revisions.remove(&owner(), &doomed[0].digest));
        assert_eq!(revisions.all(&owner()), []);
    }
}
