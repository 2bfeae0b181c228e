//! Which profiles of a namespace are worked on, by the order in which they were made.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use portcullis_api::{FINALIZER, Owner};

use super::{World, usize_of};
use crate::{nodes::Affected, queue::Keyed as _};

impl World {
    /// Whether a profile is worked on, or at least told that it is not. What is beyond twice the bound is only counted: a namespace may
    /// have a hundred thousand. The next list shows it again, should it have come nearer by then.
    pub(super) fn takes_up(&mut self, owner: &Owner, metadata: &ObjectMeta, created: Timestamp) -> bool {
        let most = usize_of(self.bounds.max_profiles_per_namespace).saturating_mul(2);
        // What has files is held back when it is deleted, and has to be let go.
        let has_files = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        if owner.namespace().is_none()
            || self.profiles.contains_key(owner)
            || has_files
            || self.order.is_within(owner.tenant(), created, owner, most)
        {
            self.far_beyond.remove(owner);
            return true;
        }
        let before = self.far_beyond.insert(owner.clone(), created);
        self.rank(owner, before, created);
        false
    }

    pub(super) fn rank(&mut self, owner: &Owner, before: Option<Timestamp>, created: Timestamp) {
        if let Some(before) = before {
            self.order.remove(owner.tenant(), before, owner);
        }
        self.order.insert(owner.tenant(), created, owner.clone());
        let most = usize_of(self.bounds.max_profiles_per_namespace).saturating_mul(2);
        let pushed_out = self.order.at_edge(owner.tenant(), most).nth(1).cloned();
        // Lists come by name, so that older ones may come later.
        if let Some(out) = pushed_out.filter(|out| out.namespace().is_some() && out != owner)
            && self.profiles.get(&out).is_some_and(|entry| !entry.has_files())
            && let Some(entry) = self.profiles.remove(&out)
        {
            self.far_beyond.insert(out.clone(), entry.created);
            self.note_refusal(&out, false);
            self.link(&out, Vec::new());
        }
    }

    /// The profiles that change sides of their namespace's bound when one of it comes or goes.
    pub(super) fn at_edge(&self, owner: &Owner) -> Affected {
        let limit = usize_of(self.bounds.max_profiles_per_namespace);
        if owner.namespace().is_none() || self.order.count(owner.tenant()) < limit {
            return Affected::Nothing;
        }
        Affected::owners(self.order.at_edge(owner.tenant(), limit).cloned().collect())
    }

    /// Whether a profile exists, worked on or not.
    pub(super) fn exists(&self, owner: &Owner) -> bool {
        self.profiles.contains_key(owner) || self.far_beyond.contains_key(owner)
    }

    /// Whether a profile's new revision was refused.
    pub(super) fn note_refusal(&mut self, owner: &Owner, is_refused: bool) {
        let of_namespace = self.refused.entry(owner.tenant().to_owned()).or_default();
        if is_refused {
            of_namespace.insert(owner.clone());
        } else {
            of_namespace.remove(owner);
        }
        if of_namespace.is_empty() {
            self.refused.remove(owner.tenant());
        }
    }
}
