//! The custom resources of `portcullis.dev`, their conditions, paths and constants.

#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]
#![expect(unreachable_pub, reason = "KubeSchema copies each struct, pub as it is, into a function")]

mod conditions;
mod constants;
mod convert;
mod document;
mod node;
mod oldest;
mod owner;
mod profile;
mod recording;
mod revision;
mod schema;
mod served;

pub use conditions::{ConditionType, Reason, bounded_message};
pub use constants::*;
pub use convert::{DocumentProblem, InvalidDocument};
pub use document::{ArgValue, SeccompArg, SeccompDocument, SeccompRule};
pub use node::{
    FailureReason, ForeignFile, NodeConditionType, NodeFailure, SeccompNode, SeccompNodeSpec,
    SeccompNodeStatus,
};
pub use oldest::{OldestFirst, created_at};
pub use owner::{InvalidOwner, Owner, ProfileKind};
pub use profile::{
    BaseReference, ClusterSeccompProfile, ClusterSeccompProfileSpec, FailingNode, Mode, NodeCounts,
    ProfileResource, ProfileSpec, ProfileStatus, ProfileWarning, RevisionSummary, SeccompProfile,
    SeccompProfileSpec,
};
pub use recording::{
    Archive, ContainerSummary, InvalidPart, LostCounts, PartContent, Pending, PhaseName, PodSelector,
    PodSelectorOperator, PodSelectorRequirement, ProfileToMake, RecordedAbsence, RecordedEntry, RecordedFrom,
    RecordedProfile, RecordedSource, RecordingBase, RecordingCondition, RecordingEnd, RecordingOutput,
    RecordingPlatform, RecordingReason, RecordingStatus, RunSummary, SeccompRecording, SeccompRecordingPart,
    SeccompRecordingPartSpec, SeccompRecordingSpec, UnrecordedNode, UnrecordedPod, is_invited, merge_parts,
    parse_duration,
};
pub use revision::{InvalidRevision, RevisionMeta, SeccompRevision, SeccompRevisionSpec, content_bytes};
pub use schema::crds;
pub use served::{Served, ServedChange, ServedSet, SetDigest};
