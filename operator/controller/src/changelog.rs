//! The digests that the served set went through, so that a node's digest says which changes the node has.
//!
//! Every change of what nodes serve gets an index. A node that reports the digest of index `i` has every change up to `i`, and
//! so has a profile exactly when the last change of what the profile's path serves is at or before `i`: an old revision that goes, or
//! comes back, takes nothing from a node that is behind it. No resource version is compared: a restored etcd
//! or a relist can't make a false claim.

use std::collections::{HashMap, VecDeque};

use portcullis_api::{Owner, RevisionMeta, ServedChange, ServedSet, SetDigest};
use portcullis_profile::Digest;

/// How many changes are remembered: a node that is further behind counts as unknown, which is never ready.
const CAPACITY: usize = 8192;

/// The position of a change in the log. Higher is newer.
pub(crate) type Index = u64;

/// The served set as the controller's own watch of revisions shows it, and its history.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    set: ServedSet,
    capacity: usize,
    newest: Index,
    listed: bool,
    entries: VecDeque<Entry>,
    by_digest: HashMap<SetDigest, Index>,
    last_change: HashMap<Owner, Index>,
}

#[derive(Debug)]
struct Entry {
    index: Index,
    digest: SetDigest,
    owner: Option<Owner>,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl ChangeLog {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            set: ServedSet::default(),
            capacity,
            newest: 0,
            listed: false,
            entries: VecDeque::new(),
            by_digest: HashMap::new(),
            last_change: HashMap::new(),
        }
    }

    /// Takes in a revision that the watch showed. Says whether what nodes serve has changed.
    pub(crate) fn apply(&mut self, meta: &RevisionMeta) -> bool {
        let change = self.set.apply(meta);
        self.record(&change, &meta.owner)
    }

    /// Takes out a revision that the watch showed as deleted. Says whether what nodes serve has changed.
    pub(crate) fn remove(&mut self, owner: &Owner, digest: &Digest) -> bool {
        let change = self.set.remove(owner, digest);
        self.record(&change, owner)
    }

    /// Ends the first list: the state it left is the log's first entry. Later calls do nothing.
    pub(crate) fn first_list_done(&mut self) {
        if !self.listed {
            self.listed = true;
            self.push(None);
        }
    }

    /// What nodes serve now.
    pub(crate) const fn set(&self) -> &ServedSet {
        &self.set
    }

    /// The newest index.
    pub(crate) const fn newest(&self) -> Index {
        self.newest
    }

    /// Up to which change a node that reports this digest has come; none where the digest is not remembered.
    pub(crate) fn index_of(&self, digest: &SetDigest) -> Option<Index> {
        self.by_digest.get(digest).copied()
    }

    /// The digest of what nodes serve, as the newest entry has it.
    pub(crate) fn newest_digest(&self) -> Option<SetDigest> {
        self.entries.back().map(|entry| entry.digest)
    }

    /// Since which change an owner's path serves what it does.
    pub(crate) fn last_change(&self, owner: &Owner) -> Index {
        // What is older than the log is older than every digest in it.
        self.last_change.get(owner).copied().unwrap_or(0)
    }

    /// Whether every change after this one is in the log. What a node has that is further behind is not known.
    pub(crate) fn remembers(&self, index: Index) -> bool {
        self.entries.front().is_some_and(|oldest| oldest.index <= index)
    }

    /// The owners that changed after one index, up to another; none where that is not remembered.
    pub(crate) fn changed_between(&self, after: Index, until: Index) -> Option<impl Iterator<Item = &Owner>> {
        let start = self.entries.partition_point(|entry| entry.index <= after);
        let changed = self
            .entries
            .range(start..)
            .take_while(move |entry| entry.index <= until)
            .filter_map(|entry| entry.owner.as_ref());
        self.remembers(after).then_some(changed)
    }

    fn record(&mut self, change: &ServedChange, owner: &Owner) -> bool {
        if !change.is_empty() && self.listed {
            self.newest += 1;
            // A node that has yet to remove an old revision's file, or to write one whose revocation was taken back, serves the right content.
            let path = owner.current_path();
            if change.write.iter().any(|served| served.path == path) {
                self.last_change.insert(owner.clone(), self.newest);
            }
            self.push(Some(owner.clone()));
        }
        !change.is_empty()
    }

    fn push(&mut self, owner: Option<Owner>) {
        let digest = self.set.digest();
        // A set that came back to an earlier digest is the same files, so the node is as far as the newest such entry.
        self.by_digest.insert(digest, self.newest);
        self.entries.push_back(Entry { index: self.newest, digest, owner });
        while self.entries.len() > self.capacity {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Entry { index, digest, owner }) = self.entries.pop_front() else { return };
        if self.by_digest.get(&digest) == Some(&index) {
            self.by_digest.remove(&digest);
        }
        if let Some(owner) = owner.filter(|owner| self.last_change.get(owner) == Some(&index)) {
            self.last_change.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(name: &str, content: &str, sequence: i64) -> RevisionMeta {
        RevisionMeta {
            owner: Owner::namespaced("shop", name).unwrap(),
            owner_uid: "u".to_owned(),
            digest: Digest::of(content.as_bytes()),
            sequence,
            revoked: None,
        }
    }

    fn owner(name: &str) -> Owner {
        Owner::namespaced("shop", name).unwrap()
    }

    fn listed(metas: &[RevisionMeta]) -> ChangeLog {
        let mut log = ChangeLog::default();
        for meta in metas {
            log.apply(meta);
        }
        log.first_list_done();
        log
    }

    #[test]
    fn a_node_is_as_far_as_the_digest_that_it_reports() {
        let mut log = listed(&[meta("web", "a", 1)]);
        let first = log.set().digest();
        log.apply(&meta("db", "x", 1));
        let second = log.set().digest();
        log.apply(&meta("web", "b", 2));
        let third = log.set().digest();
        assert_eq!(log.index_of(&first), Some(0));
        assert_eq!(log.index_of(&second), Some(1));
        assert_eq!(log.index_of(&third), Some(2));
        assert_eq!(log.last_change(&owner("db")), 1);
        assert_eq!(log.last_change(&owner("web")), 2);
        let between = |after, until| log.changed_between(after, until).unwrap().collect::<Vec<_>>();
        assert_eq!(between(0, 1), [&owner("db")]);
        assert_eq!(between(1, 2), [&owner("web")]);
        assert_eq!(between(0, 2).len(), 2);
        assert_eq!(between(2, 2).len(), 0);
    }

    #[test]
    fn what_the_first_list_went_through_on_its_way_is_not_in_the_log() {
        let partial = listed(&[meta("web", "a", 1)]).set().digest();
        let log = listed(&[meta("web", "a", 1), meta("db", "x", 1)]);
        assert_eq!(log.index_of(&partial), None);
        assert_eq!(log.index_of(&log.set().digest()), Some(0));
        assert_eq!(log.last_change(&owner("web")), 0);
    }

    #[test]
    fn coming_back_to_an_earlier_digest_is_the_newest_index() {
        let mut log = listed(&[]);
        let empty = log.set().digest();
        log.apply(&meta("web", "a", 1));
        log.remove(&owner("web"), &Digest::of(b"a"));
        assert_eq!(log.set().digest(), empty);
        assert_eq!(log.index_of(&empty), Some(2));
    }

    #[test]
    fn a_removal_is_a_change_of_its_owner_only_where_it_makes_another_revision_current() {
        let mut log = listed(&[meta("web", "a", 1), meta("web", "b", 2), meta("web", "c", 3)]);
        let before = log.set().digest();
        assert!(log.remove(&owner("web"), &Digest::of(b"a")), "nodes have a file to remove");
        assert_ne!(log.set().digest(), before);
        assert_eq!((log.newest(), log.last_change(&owner("web"))), (1, 0));
        assert!(log.remove(&owner("web"), &Digest::of(b"c")));
        assert_eq!((log.newest(), log.last_change(&owner("web"))), (2, 2), "b is current now");
    }

    #[test]
    fn an_old_revision_that_is_revoked_and_comes_back_is_no_change_of_what_its_owner_serves() {
        let mut log = listed(&[meta("web", "a", 1), meta("web", "b", 2)]);
        let revoked = RevisionMeta { revoked: Some("it allows too much".to_owned()), ..meta("web", "a", 1) };
        assert!(
            log.apply(&revoked) && log.apply(&meta("web", "a", 1)),
            "nodes have files to remove and to write"
        );
        assert_eq!((log.newest(), log.last_change(&owner("web"))), (2, 0));
        let current = RevisionMeta { revoked: Some(String::new()), ..meta("web", "b", 2) };
        log.apply(&current);
        log.apply(&meta("web", "b", 2));
        assert_eq!(
            (log.newest(), log.last_change(&owner("web"))),
            (4, 4),
            "what it serves has gone and come"
        );
    }

    #[test]
    fn an_event_that_changes_no_file_is_no_change() {
        let mut log = listed(&[meta("web", "a", 1)]);
        assert!(!log.apply(&meta("web", "a", 1)));
        assert!(!log.apply(&meta("web", "a", 5)), "a higher sequence of the current revision moves no file");
        assert_eq!(log.newest(), 0);
    }

    #[test]
    fn a_digest_that_was_forgotten_is_unknown_and_its_owner_old() {
        let mut log = ChangeLog::with_capacity(3);
        log.first_list_done();
        let mut digests = vec![log.set().digest()];
        for sequence in 1..=4 {
            log.apply(&meta(&format!("p{sequence}"), "a", sequence));
            digests.push(log.set().digest());
        }
        assert_eq!(log.index_of(&digests[0]), None);
        assert_eq!(log.index_of(&digests[1]), None);
        assert_eq!(log.index_of(&digests[2]), Some(2));
        assert!(log.changed_between(1, 4).is_none());
        assert!(log.changed_between(2, 4).is_some());
        assert_eq!(log.last_change(&owner("p1")), 0);
        assert_eq!(log.last_change(&owner("p2")), 2);
    }
}
