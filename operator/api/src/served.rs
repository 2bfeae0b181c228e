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
    owners: BTreeMap<Owner, BTreeMap<Digest, i64>>,
    sum: Sum,
}

impl ServedSet {
    /// Takes a revision in, or its new sequence.
    pub fn apply(&mut self, meta: &RevisionMeta) -> ServedChange {
        let revisions = self.owners.entry(meta.owner.clone()).or_default();
        let before = current_of(revisions);
        let known = revisions.insert(meta.digest, meta.sequence).is_some();
        let after = current_of(revisions);
        let mut change = ServedChange::default();
        if !known {
            change.write.push(Served { path: meta.owner.revision_path(&meta.digest), digest: meta.digest });
        }
        if let Some(digest) = after.filter(|_| before != after) {
            change.write.push(Served { path: meta.owner.current_path(), digest });
        }
        self.account(&meta.owner, before, &change);
        change
    }

    /// Takes a revision out. Where it was the current one, the next lower sequence becomes current.
    pub fn remove(&mut self, owner: &Owner, digest: &Digest) -> ServedChange {
        let mut change = ServedChange::default();
        let Entry::Occupied(mut entry) = self.owners.entry(owner.clone()) else { return change };
        let before = current_of(entry.get());
        if entry.get_mut().remove(digest).is_none() {
            return change;
        }
        let path = owner.revision_path(digest);
        self.sum.subtract(&path, digest);
        change.remove.push(path);
        let after = current_of(entry.get());
        if entry.get().is_empty() {
            entry.remove();
        }
        match after {
            Some(digest) if before != after => {
                change.write.push(Served { path: owner.current_path(), digest });
            }
            Some(_) => {}
            None => change.remove.push(owner.current_path()),
        }
        if let Some(before) = before.filter(|_| before != after) {
            self.sum.subtract(&owner.current_path(), &before);
            if let Some(after) = after {
                self.sum.add(&owner.current_path(), &after);
            }
        }
        change
    }

    fn account(&mut self, owner: &Owner, before: Option<Digest>, change: &ServedChange) {
        let current = owner.current_path();
        for Served { path, digest } in &change.write {
            if let Some(before) = before.filter(|_| *path == current) {
                self.sum.subtract(path, &before);
            }
            self.sum.add(path, digest);
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

    /// An owner's revisions with their sequences.
    pub fn revisions(&self, owner: &Owner) -> impl Iterator<Item = (&Digest, i64)> {
        self.owners.get(owner).into_iter().flatten().map(|(digest, sequence)| (digest, *sequence))
    }

    /// Whether this content of this owner is known.
    #[must_use]
    pub fn contains(&self, owner: &Owner, digest: &Digest) -> bool {
        self.owners.get(owner).is_some_and(|revisions| revisions.contains_key(digest))
    }

    /// Every owner that has a revision.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.keys()
    }

    /// How many revisions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no revision.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Every file that is served.
    pub fn served(&self) -> impl Iterator<Item = Served> {
        self.owners.iter().flat_map(|(owner, revisions)| {
            let current = current_of(revisions).map(|digest| Served { path: owner.current_path(), digest });
            revisions
                .keys()
                .map(|digest| Served { path: owner.revision_path(digest), digest: *digest })
                .chain(current)
        })
    }
}

/// The highest sequence; of equal ones, which only a foreign hand could write, the highest digest, so that all agree.
fn current_of(revisions: &BTreeMap<Digest, i64>) -> Option<Digest> {
    revisions.iter().max_by_key(|(digest, sequence)| (**sequence, **digest)).map(|(digest, _)| *digest)
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
        }
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
    }

    #[test]
    fn a_repeated_event_changes_nothing() {
        let mut set = ServedSet::default();
        assert!(!set.apply(&meta("web", "a", 1)).is_empty());
        assert!(set.apply(&meta("web", "a", 1)).is_empty());
    }
}
