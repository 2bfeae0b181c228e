//! Revisions that an administrator revoked: what is to be said of them, and what of a profile that has such a content again.

use portcullis_api::{Owner, Reason, RevisionMeta};
use portcullis_profile::Digest;

use super::World;
use crate::status::Stall;

/// What is to be told of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It was revoked, and why.
    Revoked(String),
    /// It was revoked before this controller led, so that somebody may have told it already.
    FoundRevoked(String),
    /// The revocation was taken back.
    TakenBack,
}

impl World {
    /// The watch shows a revision. Before it is taken in.
    pub(super) fn note_revocation(&mut self, meta: &RevisionMeta) {
        let before = self.revisions.revocation(&meta.owner, &meta.digest);
        let news = match (before, &meta.revoked) {
            (None, Some(reason)) if self.synced => News::Revoked(reason.clone()),
            (None, Some(reason)) => News::FoundRevoked(reason.clone()),
            (Some(_), None) => News::TakenBack,
            (None, None) | (Some(_), Some(_)) => return,
        };
        self.revocations.insert((meta.owner.clone(), meta.digest), news);
    }

    /// Whether there is anything to tell of revocations.
    pub(crate) fn has_revocations_to_tell(&self) -> bool {
        !self.revocations.is_empty()
    }

    /// What is to be told of revocations, once.
    pub(crate) fn take_revocations(&mut self) -> Vec<((Owner, Digest), News)> {
        std::mem::take(&mut self.revocations).into_iter().collect()
    }

    /// It could not be told yet; what came since goes before it.
    pub(crate) fn put_revocations_back(&mut self, untold: Vec<((Owner, Digest), News)>) {
        for (revision, news) in untold {
            self.revocations.entry(revision).or_insert(news);
        }
    }

    /// Whether an owner's path serves nothing.
    pub(crate) fn is_without_path(&self, owner: &Owner) -> bool {
        self.revisions.log().set().current(owner).is_none()
    }

    /// UID of a revision's object.
    pub(crate) fn revision_uid(&self, owner: &Owner, digest: &Digest) -> Option<String> {
        self.revisions.doomed(owner, digest).object_uid
    }
}

/// Refuses a content that was revoked.
pub(super) fn revoked(digest: &Digest, reason: &str) -> Stall {
    let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    Stall {
        reason: Reason::Revoked,
        message: format!(
            "an administrator revoked the revision {} that has this content{because}: change the profile, or spec.pin; an administrator takes \
             the revocation back with kubectl seccomp revoke --undo",
            digest.short()
        ),
    }
}
