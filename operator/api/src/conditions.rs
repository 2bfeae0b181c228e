//! The conditions of a profile's status, after kstatus:
//! <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>.

use std::fmt;

use crate::MAX_MESSAGE_LENGTH;

/// Types of condition on a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// This generation's content is on every node that counts.
    Ready,
    /// The rollout of this generation goes on; present only while `True`.
    Reconciling,
    /// Nothing will happen until somebody changes something; present only while `True`.
    Stalled,
}

impl ConditionType {
    /// The `type` in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// Reasons of conditions; also the bounded label of reconcile errors and Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Every node that counts has the content.
    Distributed,
    /// The content's revision is being written to the API server.
    Publishing,
    /// Nodes are still to write the content.
    Distributing,
    /// Nodes failed to write the content.
    NodesFailing,
    /// No node counts at all.
    NoNodes,
    /// The document or the linter refuses the profile.
    InvalidProfile,
    /// The profile is looser than the baseline, which is the runtime default if no administrator chose another, and its namespace has no permission for that.
    LooserThanRuntimeDefault,
    /// A container under the profile keeps privileges that its pod gave up, and the profile's namespace has no permission for that.
    KeepsPrivileges,
    /// The cluster has nodes of an architecture on which the baseline is not known, and the profile's namespace has no permission to be
    /// looser.
    NoRuntimeDefault,
    /// The ClusterSeccompProfile that profiles are held against in the runtime default's place can't be used.
    BaselineInvalid,
    /// The profile has a listener, and its namespace has no permission for that.
    ListenerNotPermitted,
    /// A base does not exist.
    BaseNotFound,
    /// A base has an error of its own.
    BaseInvalid,
    /// The bases lead back to the profile.
    BaseCycle,
    /// The chain of bases is too long.
    BaseTooDeep,
    /// The profile and its bases are too large together.
    BasesTooLarge,
    /// The profile and its bases contradict each other.
    BaseConflict,
    /// Working the profile out took too long.
    TooMuchWork,
    /// `spec.pin` names a revision that is not kept.
    PinNotFound,
    /// An administrator revoked the revision that has the profile's content.
    Revoked,
    /// The namespace has as many profiles or revisions as it may.
    NamespaceLimit,
    /// The cluster has as many revisions as its agents have memory for.
    TooMany,
    /// The profile is being deleted and pods still name its path.
    InUse,
    /// The profile is being deleted.
    Deleting,
}

impl Reason {
    /// The `reason` in a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Distributed => "Distributed",
            Self::Publishing => "Publishing",
            Self::Distributing => "Distributing",
            Self::NodesFailing => "NodesFailing",
            Self::NoNodes => "NoNodes",
            Self::InvalidProfile => "InvalidProfile",
            Self::LooserThanRuntimeDefault => "LooserThanRuntimeDefault",
            Self::KeepsPrivileges => "KeepsPrivileges",
            Self::NoRuntimeDefault => "NoRuntimeDefault",
            Self::BaselineInvalid => "BaselineInvalid",
            Self::ListenerNotPermitted => "ListenerNotPermitted",
            Self::BaseNotFound => "BaseNotFound",
            Self::BaseInvalid => "BaseInvalid",
            Self::BaseCycle => "BaseCycle",
            Self::BaseTooDeep => "BaseTooDeep",
            Self::BasesTooLarge => "BasesTooLarge",
            Self::BaseConflict => "BaseConflict",
            Self::TooMuchWork => "TooMuchWork",
            Self::PinNotFound => "PinNotFound",
            Self::Revoked => "Revoked",
            Self::NamespaceLimit => "NamespaceLimit",
            Self::TooMany => "TooMany",
            Self::InUse => "InUse",
            Self::Deleting => "Deleting",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message that fits a status: cut at [`crate::MAX_MESSAGE_LENGTH`] characters, because the API server would refuse the whole
/// status for one that is longer.
#[must_use]
pub fn bounded_message(message: impl Into<String>) -> String {
    let mut message = message.into();
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_LENGTH) {
        message.truncate(end);
        message.pop();
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_by_characters() {
        let longest = "é".repeat(MAX_MESSAGE_LENGTH);
        assert_eq!(bounded_message(longest.as_str()), longest);
        let cut = bounded_message(format!("{longest}é"));
        assert_eq!(cut.chars().count(), MAX_MESSAGE_LENGTH);
        assert!(cut.ends_with("é…"));
    }
}
