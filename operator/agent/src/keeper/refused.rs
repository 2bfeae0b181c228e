//! Revisions beyond what the agent has memory for: named in the status, instead of growing until the node ends the process.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_api::{FailureReason, MAX_NODE_FAILURES, NodeFailure, Owner};
use portcullis_profile::Digest;

/// What is not taken in.
#[derive(Debug)]
pub(super) struct Refused {
    /// How many revisions are taken in.
    most: usize,
    /// As many as a status can name. They count for the digest of the set, so that every other profile on this node is judged as ever.
    revisions: BTreeMap<Owner, BTreeSet<Digest>>,
    count: usize,
    /// There are more, of which nothing is kept: then nothing can be said of any profile on this node.
    more: bool,
}

/// What becomes of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is taken in.
    Taken,
    /// It is named as refused.
    Named,
    /// There is not even room for its name.
    None,
}

impl Refused {
    pub(super) fn new(most: usize) -> Self {
        Self { most, revisions: BTreeMap::new(), count: 0, more: false }
    }

    /// What becomes of a revision, given how many are known, the refused ones among them, and whether this one is.
    pub(super) fn room(&mut self, owner: &Owner, digest: &Digest, known: usize, is_known: bool) -> Room {
        if self.contains(owner, digest) {
            return Room::Named;
        }
        if is_known || self.has_room(known) {
            return Room::Taken;
        }
        if self.count >= MAX_NODE_FAILURES {
            self.more = true;
            return Room::None;
        }
        self.revisions.entry(owner.clone()).or_default().insert(*digest);
        self.count += 1;
        Room::Named
    }

    /// Whether another may be taken in, given how many are known.
    pub(super) const fn has_room(&self, known: usize) -> bool {
        known.saturating_sub(self.count) < self.most
    }

    pub(super) fn contains(&self, owner: &Owner, digest: &Digest) -> bool {
        self.revisions.get(owner).is_some_and(|revisions| revisions.contains(digest))
    }

    pub(super) fn remove(&mut self, owner: &Owner, digest: &Digest) {
        let Some(revisions) = self.revisions.get_mut(owner) else { return };
        self.count -= usize::from(revisions.remove(digest));
        if revisions.is_empty() {
            self.revisions.remove(owner);
        }
    }

    /// A list begins, which names all there is. Gives what was refused until now.
    pub(super) fn list_begins(&mut self) -> Vec<(Owner, Digest)> {
        let all = self.all();
        *self = Self::new(self.most);
        all
    }

    /// Every refused revision.
    pub(super) fn all(&self) -> Vec<(Owner, Digest)> {
        let of_owner = |(owner, revisions): (&Owner, &BTreeSet<Digest>)| -> Vec<(Owner, Digest)> {
            revisions.iter().map(|digest| (owner.clone(), *digest)).collect()
        };
        self.revisions.iter().flat_map(of_owner).collect()
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are more than are named.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }

    /// In words, naming the bound.
    pub(super) fn message(&self) -> String {
        format!(
            "this agent has {} revisions and takes in no more (--max-revisions): delete profiles, or raise bounds.revisions of the chart \
             together with agent.resources",
            self.most
        )
    }

    /// What a status says of them.
    pub(super) fn failures(&self) -> impl Iterator<Item = NodeFailure> {
        self.all().into_iter().map(|(owner, digest)| NodeFailure {
            kind: owner.kind(),
            namespace: owner.namespace().map(str::to_owned),
            name: owner.name().to_owned(),
            path: owner.revision_path(&digest),
            reason: FailureReason::TooMany,
            message: self.message(),
        })
    }
}
