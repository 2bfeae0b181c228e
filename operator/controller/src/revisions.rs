//! The revisions that exist, as the watch shows them and as the controller has just written them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use portcullis_api::{Owner, RevisionMeta};
use portcullis_profile::Digest;
use tokio::time::Instant;

use crate::{changelog::ChangeLog, plan::Known, queue::Keyed as _};

/// For how long a revision counts as written before the watch shows it. After that somebody has taken it away again.
const AHEAD: Duration = Duration::from_secs(10);

/// The revisions that exist.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    log: ChangeLog,
    ids: HashMap<Owner, BTreeMap<Digest, Ids>>,
    /// What was written and not yet seen in the watch: one for each owner, whose writes come one after another.
    ahead: HashMap<Owner, (Known, Instant)>,
    /// What the watch has shown of each namespace.
    amounts: HashMap<String, Amount>,
    /// Revisions that are being written, or were and the watch has not shown them: they count already. With when that ends.
    underway: HashMap<Owner, (Digest, u64, Option<Instant>)>,
}

/// How many revisions there are, and of how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) number: usize,
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug)]
struct Ids {
    owner_uid: String,
    /// UID of the revision object, for a deletion that hits this object only.
    object_uid: Option<String>,
    bytes: u32,
    /// Why an administrator revoked it.
    revoked: Option<String>,
}

/// A revision to delete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Doomed {
    pub(crate) owner: Owner,
    pub(crate) digest: Digest,
    pub(crate) object_uid: Option<String>,
    /// UID of the profile that it was written for.
    pub(crate) owner_uid: String,
    /// That profile is gone for good, so that pods keep nothing of it.
    pub(crate) is_forced: bool,
}

impl Doomed {
    /// The object's name.
    pub(crate) fn name(&self) -> String {
        self.owner.revision_name(&self.digest)
    }
}

impl Revisions {
    /// The watch showed a revision. Says whether what nodes serve has changed.
    pub(crate) fn apply(&mut self, meta: &RevisionMeta, object_uid: Option<String>, bytes: u64) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let revoked = meta.revoked.clone();
        let ids = Ids { owner_uid: meta.owner_uid.clone(), object_uid, bytes, revoked };
        let before = self.ids.entry(meta.owner.clone()).or_default().insert(meta.digest, ids);
        self.discount(&meta.owner, before);
        let amount = self.amounts.entry(meta.owner.tenant().to_owned()).or_default();
        amount.number += 1;
        amount.bytes += u64::from(bytes);
        self.underway.retain(|owner, (digest, ..)| *owner != meta.owner || *digest != meta.digest);
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
            let gone = ids.remove(digest);
            if ids.is_empty() {
                self.ids.remove(owner);
            }
            self.discount(owner, gone);
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
        if let Some((digest, _, until)) = self.underway.get_mut(owner)
            && *digest == known.digest
        {
            *until = Some(now + AHEAD);
        }
        if !seen {
            self.ahead.insert(owner.clone(), (known, now));
        }
    }

    /// A revision is about to be written.
    pub(crate) fn begin(&mut self, owner: &Owner, digest: Digest, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.underway.insert(owner.clone(), (digest, bytes, None));
    }

    /// Nothing is being written for an owner any more; what was written goes on counting.
    pub(crate) fn end(&mut self, owner: &Owner) {
        if matches!(self.underway.get(owner), Some((_, _, None))) {
            self.underway.remove(owner);
        }
    }

    /// What a namespace's profiles have, with what is being written.
    pub(crate) fn amount(&mut self, namespace: &str, now: Instant) -> Amount {
        self.underway.retain(|_, (_, _, until)| until.is_none_or(|until| until > now));
        let watched = self.amounts.get(namespace).copied().unwrap_or_default();
        let of_namespace = self.underway.iter().filter(|(owner, _)| owner.tenant() == namespace);
        of_namespace.fold(watched, |all, (_, (_, bytes, _))| Amount {
            number: all.number + 1,
            bytes: all.bytes.saturating_add(*bytes),
        })
    }

    /// How many revisions there are, with those that are being written.
    pub(crate) fn number(&self) -> usize {
        self.amounts.values().map(|amount| amount.number).sum::<usize>() + self.underway.len()
    }

    fn discount(&mut self, owner: &Owner, gone: Option<Ids>) {
        let (Some(gone), Some(amount)) = (gone, self.amounts.get_mut(owner.tenant())) else { return };
        amount.number -= 1;
        amount.bytes -= u64::from(gone.bytes);
        if amount.number == 0 {
            self.amounts.remove(owner.tenant());
        }
    }

    /// An owner's revisions, with what was just written. Forgets what the watch should have shown by now.
    pub(crate) fn known(&mut self, owner: &Owner, now: Instant) -> Vec<Known> {
        if self.ahead.get(owner).is_some_and(|(_, at)| now.duration_since(*at) >= AHEAD) {
            self.ahead.remove(owner);
        }
        let ahead = self.ahead.get(owner).map(|(known, _)| known);
        let ahead_of_watch = ahead
            .map(|known| Known { revoked: self.revocation(owner, &known.digest).is_some(), ..known.clone() });
        self.watched(owner)
            .filter(|known| ahead.is_none_or(|ahead| ahead.digest != known.digest))
            .chain(ahead_of_watch)
            .collect()
    }

    /// When to look again whether the watch has shown what was written.
    pub(crate) fn ahead_until(&self, owner: &Owner) -> Option<Instant> {
        self.ahead.get(owner).map(|(_, at)| *at + AHEAD)
    }

    /// Why an administrator revoked a revision, where one did.
    pub(crate) fn revocation(&self, owner: &Owner, digest: &Digest) -> Option<&str> {
        self.ids.get(owner)?.get(digest)?.revoked.as_deref()
    }

    /// All revisions of an owner, to delete them, the oldest first. Not those that were revoked: a content stays revoked though its profile
    /// goes and is made anew.
    pub(crate) fn all(&self, owner: &Owner) -> Vec<Doomed> {
        let mut all: Vec<_> = self.log.set().revisions(owner).collect();
        all.sort_by_key(|(digest, sequence)| (*sequence, **digest));
        all.into_iter().map(|(digest, _)| self.doomed(owner, digest)).collect()
    }

    /// One revision, to delete it.
    pub(crate) fn doomed(&self, owner: &Owner, digest: &Digest) -> Doomed {
        let ids = self.ids.get(owner).and_then(|ids| ids.get(digest));
        Doomed {
            owner: owner.clone(),
            digest: *digest,
            object_uid: ids.and_then(|ids| ids.object_uid.clone()),
            owner_uid: ids.map(|ids| ids.owner_uid.clone()).unwrap_or_default(),
            is_forced: false,
        }
    }

    /// The history of what nodes serve.
    pub(crate) const fn log(&self) -> &ChangeLog {
        &self.log
    }

    fn watched(&self, owner: &Owner) -> impl Iterator<Item = Known> {
        let ids = self.ids.get(owner);
        let set = self.log.set();
        set.revisions(owner).chain(set.revoked(owner)).map(move |(digest, sequence)| {
            let ids = ids.and_then(|ids| ids.get(digest));
            Known {
                digest: *digest,
                sequence,
                owner_uid: ids.map(|ids| ids.owner_uid.clone()).unwrap_or_default(),
                revoked: ids.is_some_and(|ids| ids.revoked.is_some()),
            }
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
        let digest = Digest::of(content.as_bytes());
        Known { digest, sequence, owner_uid: "u".to_owned(), revoked: false }
    }

    fn meta(known: &Known) -> RevisionMeta {
        RevisionMeta {
            owner: owner(),
            owner_uid: known.owner_uid.clone(),
            digest: known.digest,
            sequence: known.sequence,
            revoked: known.revoked.then(String::new),
        }
    }

    #[test]
    fn what_was_written_counts_until_the_watch_shows_it() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.first_list_done();
        revisions.wrote(&owner(), known("a", 1), now);
        assert_eq!(revisions.known(&owner(), now), [known("a", 1)]);
        assert_eq!(revisions.log().set().current(&owner()), None, "nodes are judged by the watch alone");
        assert!(revisions.apply(&meta(&known("a", 1)), None, 1));
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
        revisions.apply(&meta(&known("a", 1)), None, 1);
        revisions.wrote(&owner(), known("a", 3), now);
        assert_eq!(revisions.known(&owner(), now), [known("a", 3)]);
    }

    #[test]
    fn a_watch_that_was_faster_than_the_response_leaves_nothing_ahead() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.apply(&meta(&known("a", 1)), None, 1);
        revisions.wrote(&owner(), known("a", 1), now);
        assert_eq!(revisions.ahead_until(&owner()), None);
    }

    #[test]
    fn a_deletion_names_the_object_that_was_seen() {
        let mut revisions = Revisions::default();
        revisions.apply(&meta(&known("a", 1)), Some("object".to_owned()), 1);
        let doomed = revisions.all(&owner());
        assert_eq!(doomed.len(), 1);
        assert_eq!(doomed[0].object_uid.as_deref(), Some("object"));
        assert!(revisions.remove(&owner(), &doomed[0].digest));
        assert_eq!(revisions.all(&owner()), []);
    }

    #[test]
    fn a_revoked_revision_is_known_and_never_deleted() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        revisions.first_list_done();
        revisions.apply(&meta(&known("a", 1)), None, 1);
        let revoked = Known { revoked: true, ..known("a", 1) };
        assert!(revisions.apply(&meta(&revoked), None, 1), "nodes have files to remove");
        assert_eq!(revisions.known(&owner(), now), std::slice::from_ref(&revoked));
        assert_eq!(revisions.all(&owner()), []);
        // Nor is it forgotten where it is written again at that moment.
        revisions.wrote(&owner(), known("a", 2), now);
        assert_eq!(revisions.known(&owner(), now), [Known { sequence: 2, ..revoked }]);
        assert!(revisions.apply(&meta(&known("a", 2)), None, 1));
        assert_eq!(revisions.all(&owner()).len(), 1, "taken back, it is one like any other");
    }

    #[test]
    fn what_is_being_written_counts_once_until_the_watch_shows_it_or_it_is_given_up() {
        let (mut revisions, now) = (Revisions::default(), Instant::now());
        let owner = Owner::namespaced("shop", "web").unwrap();
        let known = known("a", 1);
        let meta = RevisionMeta { owner: owner.clone(), ..meta(&known) };
        let has = |revisions: &mut Revisions, now| {
            let Amount { number, bytes } = revisions.amount("shop", now);
            (number, bytes, revisions.number())
        };
        revisions.begin(&owner, known.digest, 7);
        assert_eq!(has(&mut revisions, now), (1, 7, 1));
        revisions.end(&owner);
        assert_eq!(has(&mut revisions, now), (0, 0, 0), "it failed");
        revisions.begin(&owner, known.digest, 7);
        revisions.wrote(&owner, known.clone(), now);
        revisions.end(&owner);
        assert_eq!(has(&mut revisions, now), (1, 7, 1));
        assert_eq!(has(&mut revisions, now + AHEAD), (0, 0, 0), "the watch never showed it");
        revisions.begin(&owner, known.digest, 7);
        revisions.wrote(&owner, known.clone(), now);
        revisions.apply(&meta, None, 7);
        revisions.apply(&meta, None, 7);
        assert_eq!(has(&mut revisions, now), (1, 7, 1));
        assert_eq!(revisions.amount("other", now), Amount::default());
        revisions.remove(&owner, &known.digest);
        revisions.remove(&owner, &known.digest);
        assert_eq!(has(&mut revisions, now), (0, 0, 0));
    }
}
