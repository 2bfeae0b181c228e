//! What a node serves, given the revisions that exist, and a digest of it that both sides compute.
//!
//! The controller and every agent keep a [`ServedSet`] over the same watch, so equal digests mean equal files, without a
//! resource version being compared.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    str::FromStr,
};

use portcullis_profile::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha512};

use crate::{Owner, RevisionMeta};

/// One file that a node serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Served {
    /// Below Portcullis's sub-directory.
    pub path: String,
    /// The content's digest.
    pub digest: Digest,
}

/// What one event of the watch changes on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedChange {
    /// Files to write, or to point to other content.
    pub write: Vec<Served>,
    /// Paths to remove.
    pub remove: Vec<String>,
}

impl ServedChange {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.remove.is_empty()
    }
}

/// The revisions that exist, and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct ServedSet {
    owners: BTreeMap<Owner, BTreeMap<Digest, Place>>,
    count: usize,
    sum: Sum,
}

/// What is known of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    sequence: i64,
    revoked: bool,
}

impl ServedSet {
    /// Takes a revision in, or its new sequence, or that it was revoked, or is no more.
    ///
    /// A revoked revision has no files. Where it is the current one, the owner's path has none either: what was revoked is replaced by what
    /// the profile says next, and not by an earlier revision that nobody asked for.
    pub fn apply(&mut self, meta: &RevisionMeta) -> ServedChange {
        let revisions = self.owners.entry(meta.owner.clone()).or_default();
        let before = current_of(revisions);
        let place = Place { sequence: meta.sequence, revoked: meta.revoked.is_some() };
        let was_served = revisions.insert(meta.digest, place).is_some_and(|place| !place.revoked);
        let after = current_of(revisions);
        let mut change = ServedChange::default();
        match (was_served, place.revoked) {
            (false, false) => self.serve(&meta.owner, meta.digest, &mut change),
            (true, true) => self.withdraw(&meta.owner, &meta.digest, &mut change),
            (true, false) | (false, true) => {}
        }
        self.point(&meta.owner, before, after, &mut change);
        change
    }

    /// Takes a revision out. Where it was the current one, the next lower sequence becomes current.
    pub fn remove(&mut self, owner: &Owner, digest: &Digest) -> ServedChange {
        let mut change = ServedChange::default();
        let Entry::Occupied(mut entry) = self.owners.entry(owner.clone()) else { return change };
        let before = current_of(entry.get());
        let Some(place) = entry.get_mut().remove(digest) else { return change };
        let after = current_of(entry.get());
        if entry.get().is_empty() {
            entry.remove();
        }
        if !place.revoked {
            self.withdraw(owner, digest, &mut change);
        }
        self.point(owner, before, after, &mut change);
        change
    }

    /// A revision has a file of its own.
    fn serve(&mut self, owner: &Owner, digest: Digest, change: &mut ServedChange) {
        let path = owner.revision_path(&digest);
        self.count += 1;
        self.sum.add(&path, &digest);
        change.write.push(Served { path, digest });
    }

    /// A revision has no file any more.
    fn withdraw(&mut self, owner: &Owner, digest: &Digest, change: &mut ServedChange) {
        let path = owner.revision_path(digest);
        self.count -= 1;
        self.sum.subtract(&path, digest);
        change.remove.push(path);
    }

    /// An owner's path serves something else, or nothing any more.
    fn point(
        &mut self,
        owner: &Owner,
        before: Option<Digest>,
        after: Option<Digest>,
        change: &mut ServedChange,
    ) {
        if before == after {
            return;
        }
        let path = owner.current_path();
        if let Some(before) = before {
            self.sum.subtract(&path, &before);
        }
        match after {
            Some(digest) => {
                self.sum.add(&path, &digest);
                change.write.push(Served { path, digest });
            }
            None => change.remove.push(path),
        }
    }

    /// The digest of everything that is served.
    #[must_use]
    pub fn digest(&self) -> SetDigest {
        self.sum.digest()
    }

    /// The content that an owner's path serves.
    #[must_use]
    pub fn current(&self, owner: &Owner) -> Option<Digest> {
        self.owners.get(owner).and_then(current_of)
    }

    /// An owner's revisions that have files, with their sequences.
    pub fn revisions(&self, owner: &Owner) -> impl Iterator<Item = (&Digest, i64)> {
        self.places(owner, false)
    }

    /// An owner's revisions that were revoked, with their sequences.
    pub fn revoked(&self, owner: &Owner) -> impl Iterator<Item = (&Digest, i64)> {
        self.places(owner, true)
    }

    fn places(&self, owner: &Owner, revoked: bool) -> impl Iterator<Item = (&Digest, i64)> {
        let places = self.owners.get(owner).into_iter().flatten();
        places
            .filter(move |(_, place)| place.revoked == revoked)
            .map(|(digest, place)| (digest, place.sequence))
    }

    /// Whether this content of this owner is known, and has files.
    #[must_use]
    pub fn contains(&self, owner: &Owner, digest: &Digest) -> bool {
        let place = self.owners.get(owner).and_then(|revisions| revisions.get(digest));
        place.is_some_and(|place| !place.revoked)
    }

    /// Every owner that has a revision, be it a revoked one.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.keys()
    }

    /// How many revisions have files.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether no revision has files.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every file that is served.
    pub fn served(&self) -> impl Iterator<Item = Served> {
        self.owners.keys().flat_map(|owner| {
            let current = self.current(owner).map(|digest| Served { path: owner.current_path(), digest });
            let own = self.revisions(owner);
            own.map(|(digest, _)| Served { path: owner.revision_path(digest), digest: *digest })
                .chain(current)
        })
    }
}

/// The highest sequence, unless it was revoked; of equal ones, which only a foreign hand could write, the highest digest, so that all agree.
fn current_of(revisions: &BTreeMap<Digest, Place>) -> Option<Digest> {
    let highest = revisions.iter().max_by_key(|(digest, place)| (place.sequence, **digest));
    highest.filter(|(_, place)| !place.revoked).map(|(digest, _)| *digest)
}

/// A digest of a set of files: `sha256:<hex>` over an additive multiset hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SetDigest(#[schemars(with = "String")] Digest);

impl fmt::Display for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SetDigest {
    type Err = portcullis_profile::InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The sum itself: SHA-512 of each element, added lane by lane modulo 2^64. Order does not matter, and taking an element out
/// costs as little as putting it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum([u64; 8]);

impl Sum {
    fn add(&mut self, path: &str, digest: &Digest) {
        for (lane, term) in self.0.iter_mut().zip(Self::element(path, digest)) {
            *lane = lane.wrapping_add(term);
        }
    }

    fn subtract(&mut self, path: &str, digest: &Digest) {
        for (lane, term) in self.0.iter_mut().zip(Self::element(path, digest)) {
            *lane = lane.wrapping_sub(term);
        }
    }

    fn element(path: &str, digest: &Digest) -> [u64; 8] {
        let hash: [u8; 64] = Sha512::new()
            .chain_update(path)
            .chain_update([0])
            .chain_update(digest.as_bytes())
            .finalize()
            .into();
        let mut lanes = [0; 8];
        for (lane, bytes) in lanes.iter_mut().zip(hash.as_chunks::<8>().0) {
            *lane = u64::from_le_bytes(*bytes);
        }
        lanes
    }

    fn digest(&self) -> SetDigest {
        let bytes: Vec<u8> = self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        let text = Digest::of(&bytes);
        SetDigest(text)
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

    fn revoked(meta: RevisionMeta) -> RevisionMeta {
        RevisionMeta { revoked: Some("too loose".to_owned()), ..meta }
    }

    /// The digest from nothing, of what is said to be served.
    fn recomputed(set: &ServedSet) -> SetDigest {
        let mut sum = Sum::default();
        for Served { path, digest } in set.served() {
            sum.add(&path, &digest);
        }
        sum.digest()
    }

    #[test]
    fn going_back_to_an_earlier_content_changes_the_digest_twice() {
        let mut set = ServedSet::default();
        set.apply(&meta("web", "a", 1));
        let first = set.digest();
        set.apply(&meta("web", "b", 2));
        let second = set.digest();
        let change = set.apply(&meta("web", "a", 3));
        assert_eq!(change.write, [Served { path: "shop/web.json".to_owned(), digest: Digest::of(b"a") }]);
        assert_ne!(first, second);
        assert_ne!(second, set.digest());
        assert_eq!(set.digest(), recomputed(&set));
    }

    #[test]
    fn order_of_arrival_does_not_matter() {
        let metas = [meta("web", "a", 1), meta("web", "b", 2), meta("db", "a", 1), meta("db", "c", 9)];
        let mut forward = ServedSet::default();
        let mut backward = ServedSet::default();
        metas.iter().for_each(|meta| drop(forward.apply(meta)));
        metas.iter().rev().for_each(|meta| drop(backward.apply(meta)));
        assert_eq!(forward.digest(), backward.digest());
        assert_eq!(forward.digest(), recomputed(&forward));
        assert_eq!((forward.len(), backward.len()), (4, 4));
    }

    #[test]
    fn removing_everything_leaves_the_digest_of_nothing() {
        let mut set = ServedSet::default();
        let (a, b) = (meta("web", "a", 1), meta("web", "b", 2));
        set.apply(&a);
        set.apply(&b);
        let change = set.remove(&b.owner, &b.digest);
        assert_eq!(change.remove, [b.owner.revision_path(&b.digest)]);
        assert_eq!(change.write, [Served { path: "shop/web.json".to_owned(), digest: a.digest }]);
        assert_eq!(set.digest(), recomputed(&set));
        let change = set.remove(&a.owner, &a.digest);
        assert_eq!(change.remove, [a.owner.revision_path(&a.digest), "shop/web.json".to_owned()]);
        assert_eq!(set.digest(), ServedSet::default().digest());
        assert!(set.remove(&a.owner, &a.digest).is_empty());
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn a_revoked_revision_has_no_file_and_an_earlier_one_does_not_take_its_place() {
        let mut set = ServedSet::default();
        let (a, b, c) = (meta("web", "a", 1), meta("web", "b", 2), meta("web", "c", 3));
        for meta in [&a, &b] {
            set.apply(meta);
        }
        let both = set.digest();
        let change = set.apply(&revoked(a.clone()));
        assert_eq!((change.write, change.remove), (vec![], vec![a.owner.revision_path(&a.digest)]));
        assert_eq!((set.len(), set.digest()), (1, recomputed(&set)));
        let change = set.apply(&revoked(b.clone()));
        let gone = vec![b.owner.revision_path(&b.digest), "shop/web.json".to_owned()];
        assert_eq!((change.write, change.remove), (vec![], gone));
        assert_eq!((set.current(&b.owner), set.digest()), (None, ServedSet::default().digest()));
        assert!(set.is_empty() && !set.contains(&b.owner, &b.digest));
        assert!(set.apply(&revoked(b.clone())).is_empty(), "a repeated event changes nothing");
        // What comes next is above it, and what was revoked comes back by an administrator's word alone.
        set.apply(&c);
        assert_eq!((set.current(&c.owner), set.digest()), (Some(c.digest), recomputed(&set)));
        set.remove(&c.owner, &c.digest);
        assert_eq!(set.current(&c.owner), None);
        set.apply(&a);
        let change = set.apply(&b);
        assert_eq!(change.write.len(), 2, "its own file, and the owner's");
        assert_eq!(set.digest(), both);
    }

    #[test]
    fn a_repeated_event_changes_nothing() {
        let mut set = ServedSet::default();
        assert!(!set.apply(&meta("web", "a", 1)).is_empty());
        assert!(set.apply(&meta("web", "a", 1)).is_empty());
    }
}
