//! What a recording says of itself. Nothing in it grows with every call: a recording that sees nothing new is not written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use portcullis_profile::recording::{Absence, Gap, MAX_ABSENCES, MAX_ABSENT_PODS, Phase};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::LostCounts;
use crate::schema;

/// What came of a recording so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Recording and Complete; ProfileCreated where the spec asks for the profile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended. A recording that has ended does not begin again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// What is missing, a sentence each with what to do about it, at most 20; nothing where it is complete. Phases that not every program has
    /// are among it where they were not seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "notes")]
    pub missing: Vec<String>,
    /// How many different system calls were made.
    #[serde(default)]
    pub calls: u32,
    /// Their names, sorted; one that has none is written as architecture:number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "call_names")]
    pub call_names: Vec<String>,
    /// Calls that the containers' present filters denied, by name, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "denied_names")]
    pub denied_calls: Vec<String>,
    /// The test runs, by the pods' label portcullis.dev/run, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_LISTED_RUNS))]
    pub runs: Vec<RunSummary>,
    /// The containers, by name, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_LISTED_CONTAINERS))]
    pub containers: Vec<ContainerSummary>,
    /// On how many nodes something was recorded, those that are gone not counted.
    #[serde(default)]
    pub nodes: u32,
    /// Nodes whose recorder asked to write for this recording while no pod of it was there, at most 10: what one called there that lived
    /// for a moment is missing. A node goes from here once it may write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "node_names")]
    pub refused_nodes: Vec<String>,
    /// Nodes that had pods of this recording and no recorder, at most 16: what those pods called may be missing. A node goes from here once its
    /// recorder is back, if the pods are still there for it to tell of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ABSENCES))]
    pub unrecorded: Vec<UnrecordedNode>,
    /// When the last call that was new then was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_new_call_time: Option<Time>,
    /// What was lost; nothing where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostCounts>,
    /// What whoever reviews the profile has to know, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "notes")]
    pub notes: Vec<String>,
}

/// A node that had pods of a recording and no recorder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnrecordedNode {
    /// The node's name.
    #[schemars(length(min = 1, max = crate::MAX_RECORDED_NODE_LENGTH))]
    pub node: String,
    /// Since when the controller has seen no recorder there that is Ready.
    pub since: Time,
    /// When it has seen one again; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The recording's pods that were there meanwhile, the first ten; once the recorder is back, those that were gone by then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_ABSENT_PODS))]
    pub pods: Vec<UnrecordedPod>,
    /// How many more there were.
    #[serde(default)]
    pub others: u32,
}

/// A pod that no recorder told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnrecordedPod {
    /// The name of the pod.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID: another pod may have the same name later.
    #[schemars(length(max = 64))]
    pub uid: String,
}

impl UnrecordedNode {
    /// The same, as a recording's verdict takes it.
    #[must_use]
    pub fn absence(&self) -> Absence {
        let seconds = |time: &Time| u64::try_from(time.0.as_second()).unwrap_or(0);
        Absence {
            node: self.node.clone(),
            since: seconds(&self.since),
            until: self.until.as_ref().map(seconds),
            pods: self.pods.iter().map(|pod| pod.name.clone()).collect(),
            others: self.others.into(),
            unnoted: false,
        }
    }
}

/// What one test run needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// The run's name; empty for pods without the label.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How many different calls it made.
    pub calls: u32,
    /// How many of them no other run made: without this run the profile would deny them.
    pub only_here: u32,
}

/// What was and was not seen of the containers of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSummary {
    /// The containers' name in their pods.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Digests of their images, at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "images")]
    pub images: Vec<String>,
    /// The phases that were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub seen: Vec<PhaseName>,
    /// The phases of which there is a hint that may be chance, such as a signal that the container sent itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub maybe: Vec<PhaseName>,
    /// The phases that were not: what a program does in them, the profile may deny.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub not_seen: Vec<PhaseName>,
    /// The signals from outside that handlers ran for, of those by which programs are told something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "signals")]
    pub signals: Vec<String>,
}

/// A phase of a container's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PhaseName {
    /// From the container's first instruction.
    Start,
    /// A minute without a new call, or an end with 0 unasked.
    Steady,
    /// The runtime ran a command in it: an exec probe's, a lifecycle hook's, `kubectl exec`'s.
    Exec,
    /// A handler ran for a signal from outside, by which programs are told something.
    SignalHandled,
    /// A file was opened again to append to it, after a handler took SIGHUP or SIGUSR1 from outside.
    LogReopened,
    /// It ended as it should.
    GracefulStop,
    /// It ended with an error.
    NonZeroExit,
}

impl From<Phase> for PhaseName {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Start => Self::Start,
            Phase::Steady => Self::Steady,
            Phase::Exec => Self::Exec,
            Phase::SignalHandled => Self::SignalHandled,
            Phase::LogReopened => Self::LogReopened,
            Phase::GracefulStop => Self::GracefulStop,
            Phase::NonZeroExit => Self::NonZeroExit,
        }
    }
}

/// Types of condition on a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingCondition {
    /// Calls are being recorded.
    Recording,
    /// Every container was seen to start, to be steady and to stop, and nothing was lost.
    Complete,
    /// The profile that the spec asks for is there and up to date.
    ProfileCreated,
}

impl RecordingCondition {
    /// The `type` in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "Recording",
            Self::Complete => "Complete",
            Self::ProfileCreated => "ProfileCreated",
        }
    }
}

/// Reasons of a recording's conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingReason {
    /// Pods that match were recorded, and it goes on.
    Active,
    /// Nothing that matches was recorded yet.
    WaitingForPods,
    /// `spec.end.duration` is over.
    DurationOver,
    /// `spec.end.noNewCallFor` is over.
    NoNewCalls,
    /// The namespace has as many recordings as it may.
    NamespaceLimit,
    /// The object can't be read.
    InvalidRecording,
    /// A part can't be read.
    InvalidPart,
    /// Nothing is missing.
    AllSeen,
    /// What is missing.
    Missing(Gap),
    /// The profile is up to date.
    Created,
    /// A profile of that name is there that the recording did not create.
    NameTaken,
    /// No profile can be made of what was recorded.
    NotMade,
    /// The profile could not be written.
    NotWritten,
}

impl RecordingReason {
    /// The `reason` in a condition.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::WaitingForPods => "WaitingForPods",
            Self::DurationOver => "DurationOver",
            Self::NoNewCalls => "NoNewCalls",
            Self::NamespaceLimit => "NamespaceLimit",
            Self::InvalidRecording => "InvalidRecording",
            Self::InvalidPart => "InvalidPart",
            Self::AllSeen => "AllSeen",
            Self::Missing(gap) => gap.reason(),
            Self::Created => "Created",
            Self::NameTaken => "NameTaken",
            Self::NotMade => "NotMade",
            Self::NotWritten => "NotWritten",
        }
    }
}

fn conditions(_: &mut SchemaGenerator) -> Schema {
    schema::conditions_of("What the condition speaks of: Recording, Complete or ProfileCreated.")
}

fn texts(max_items: usize, max_length: usize) -> Schema {
    json_schema!({"type": "array", "maxItems": max_items, "items": {"type": "string", "maxLength": max_length}})
}

fn call_names(_: &mut SchemaGenerator) -> Schema {
    texts(crate::MAX_LISTED_CALLS, crate::constants::MAX_SYSCALL_NAME_LENGTH)
}

fn denied_names(_: &mut SchemaGenerator) -> Schema {
    texts(crate::MAX_LISTED_DENIED, crate::constants::MAX_SYSCALL_NAME_LENGTH)
}

fn node_names(_: &mut SchemaGenerator) -> Schema {
    texts(crate::MAX_REFUSED_NODES, crate::MAX_RECORDED_NODE_LENGTH)
}

fn images(_: &mut SchemaGenerator) -> Schema {
    texts(crate::MAX_LISTED_IMAGES, crate::constants::MAX_IMAGE_LENGTH)
}

fn signals(_: &mut SchemaGenerator) -> Schema {
    texts(64, 16)
}

fn notes(_: &mut SchemaGenerator) -> Schema {
    texts(crate::MAX_WARNINGS, crate::MAX_MESSAGE_LENGTH)
}
