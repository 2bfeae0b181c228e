//! What a profile's status says: pure, from what was made of the profile and where it is.

mod conditions;
mod pace;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{
    MAX_LISTED_REVISIONS, MAX_WARNINGS, Mode, NodeCounts, Owner, ProfileStatus, ProfileWarning, Reason,
    RevisionSummary,
};
use portcullis_profile::Digest;
use tokio::time::Instant;

use self::conditions::{Verdict, bounded, conditions, ready};
pub(crate) use self::{
    conditions::{is_ready, is_stalled, whole_seconds},
    pace::{Change, Times, content, share_of},
};
use crate::nodes::Rollout;

/// Why a profile goes no further until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The condition's reason.
    pub(crate) reason: Reason,
    /// In words, naming objects and fields, and what to do.
    pub(crate) message: String,
}

/// What was made of this generation of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// The content to serve.
    Resolved {
        /// Its digest.
        digest: &'a Digest,
        /// Its mode; none for a pinned one, whose mode nobody wrote down.
        mode: Option<Mode>,
        /// What the linter warns about.
        warnings: &'a [ProfileWarning],
    },
    /// Nothing; what is served goes on being served.
    Stalled(&'a Stall),
    /// The profile is being deleted, and why it is still there.
    Deleting {
        /// `Deleting` or `InUse`.
        reason: Reason,
        /// In words.
        message: &'a str,
    },
}

/// What is worth an Event: somebody has to look at the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// All that a status follows from.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    /// Whose status.
    pub(crate) owner: &'a Owner,
    /// The generation of the spec that the outcome is of.
    pub(crate) generation: i64,
    /// What was made of it.
    pub(crate) outcome: Outcome<'a>,
    /// The content that the profile's path serves now.
    pub(crate) served: Option<Digest>,
    /// Every revision that is kept, in any order.
    pub(crate) revisions: Vec<(Digest, i64)>,
    /// Where the content to serve is; for a stalled profile, the content that is served.
    pub(crate) rollout: &'a Rollout,
    /// What the last attempt to write something for this profile failed with.
    pub(crate) trouble: Option<&'a str>,
    /// Portcullis's sub-directory of the kubelet's seccomp directory.
    pub(crate) subdirectory: &'a str,
    /// The status as it is.
    pub(crate) previous: Option<&'a ProfileStatus>,
    /// Now, by two clocks.
    pub(crate) now: (Instant, Timestamp),
}

impl Facts<'_> {
    /// The status that follows.
    pub(crate) fn status(&self) -> ProfileStatus {
        let (digest, mode, warnings) = match &self.outcome {
            Outcome::Resolved { digest, mode, warnings } => {
                (Some(**digest), *mode, warnings.iter().take(MAX_WARNINGS).cloned().collect())
            }
            Outcome::Stalled(_) | Outcome::Deleting { .. } => self.as_before(),
        };
        let path = |path: String| format!("{}/{path}", self.subdirectory);
        ProfileStatus {
            observed_generation: Some(self.generation),
            conditions: conditions(&self.verdict(), self.generation, self.previous, self.now.1),
            localhost_profile: digest.map(|_| path(self.owner.current_path())),
            pinned_localhost_profile: digest.map(|digest| path(self.owner.revision_path(&digest))),
            digest,
            mode,
            revisions: self.revision_summaries(path),
            nodes: digest.map(|_| self.counts()),
            failing_nodes: self.rollout.failing_nodes.clone(),
            warnings,
        }
    }

    /// What a new status says that the previous one did not, where it is worth an Event.
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        let (reason, message, words_matter) = match self.verdict() {
            Verdict::Stalled { reason, message } => (reason, message, true),
            Verdict::Reconciling { reason: reason @ (Reason::NodesFailing | Reason::InUse), message } => {
                (reason, message, false)
            }
            Verdict::Ready { .. } | Verdict::Reconciling { .. } => return None,
        };
        let said = self.previous.and_then(ready).is_some_and(|ready| {
            ready.reason == reason.as_str() && (!words_matter || ready.message == bounded(&message))
        });
        (!said).then_some(Announcement { reason, message })
    }

    /// Of a profile that goes no further: what is served, of which more is known only where nothing else is served since.
    fn as_before(&self) -> (Option<Digest>, Option<Mode>, Vec<ProfileWarning>) {
        let before = self.previous.filter(|previous| previous.digest == self.served);
        (
            self.served,
            before.filter(|_| self.served.is_some()).and_then(|previous| previous.mode),
            before.map(|previous| previous.warnings.clone()).unwrap_or_default(),
        )
    }

    fn revision_summaries(&self, path: impl Fn(String) -> String) -> Vec<RevisionSummary> {
        let mut revisions = self.revisions.clone();
        revisions.sort_by_key(|(digest, sequence)| std::cmp::Reverse((*sequence, *digest)));
        revisions
            .into_iter()
            .take(MAX_LISTED_REVISIONS)
            .map(|(digest, sequence)| RevisionSummary {
                digest,
                sequence,
                localhost_profile: path(self.owner.revision_path(&digest)),
            })
            .collect()
    }

    fn counts(&self) -> NodeCounts {
        // What is in doubt is not said of the counts either.
        let standing = match &self.outcome {
            Outcome::Resolved { digest, .. } if self.stands_in_doubt(digest) => self.previous,
            _ => None,
        };
        if let Some(standing) = standing.and_then(|previous| previous.nodes.clone()) {
            return standing;
        }
        let Rollout { ready, desired, failing, .. } = *self.rollout;
        NodeCounts { summary: format!("{ready}/{desired}"), ready, desired, failing }
    }

    fn verdict(&self) -> Verdict {
        match &self.outcome {
            Outcome::Stalled(Stall { reason, message }) => {
                let message = match self.served {
                    Some(served) => format!(
                        "{message}. Nodes go on serving the last revision that was accepted, {}",
                        served.short()
                    ),
                    None => message.clone(),
                };
                Verdict::Stalled { reason: *reason, message }
            }
            Outcome::Deleting { reason, message } => {
                Verdict::Reconciling { reason: *reason, message: (*message).to_owned() }
            }
            Outcome::Resolved { digest, .. } => self.distribution(digest),
        }
    }

    fn distribution(&self, digest: &Digest) -> Verdict {
        let rollout = self.rollout;
        if rollout.complete() || self.stands_in_doubt(digest) {
            let message = format!("Every node that counts has revision {}", digest.short());
            return Verdict::Ready { message };
        }
        let (reason, mut message) = if self.served.as_ref() != Some(digest) {
            (Reason::Publishing, format!("Revision {} is being written", digest.short()))
        } else if rollout.desired == 0 {
            let message = "No node counts: none is Ready, runs Linux, matches the agents' DaemonSet, has reported and is not left out";
            (Reason::NoNodes, message.to_owned())
        } else if let Some(first) = rollout.failing_nodes.first() {
            let Rollout { failing, desired, .. } = rollout;
            let message = format!("{failing} of {desired} nodes failed; {}: {}", first.node, first.message);
            (Reason::NodesFailing, message)
        } else {
            let Rollout { ready, desired, waiting, .. } = rollout;
            let waiting = waiting.join("; ");
            (Reason::Distributing, format!("{ready} of {desired} nodes have it; {waiting}"))
        };
        if let Some(trouble) = self.trouble {
            message = format!("{message}. The last attempt failed: {trouble}");
        }
        Verdict::Reconciling { reason, message }
    }

    /// Whether a `Ready` of this very content stands that is not to be withdrawn yet for what nodes reported a moment ago.
    fn stands_in_doubt(&self, digest: &Digest) -> bool {
        self.rollout.doubtful_until.is_some_and(|until| self.now.0 < until)
            && self.previous.is_some_and(|previous| {
                is_ready(previous)
                    && previous.digest.as_ref() == Some(digest)
                    && previous.observed_generation == Some(self.generation)
            })
    }
}

#[cfg(test)]
mod tests;
