//! `SeccompRecording`: what a user wants recorded, and what came of it.

mod archive;
mod duration;
mod invitation;
mod merge;
mod origin;
mod part;
mod result;
mod selector;
mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{CustomResource, KubeSchema, Resource, ResourceExt};
use portcullis_profile::Action;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use self::{
    archive::{Archive, Pending},
    duration::parse_duration,
    invitation::is_invited,
    merge::{PartContent, merge_parts},
    origin::RecordedFrom,
    part::{
        InvalidPart, LostCounts, RecordedAbsence, RecordedEntry, RecordedSource, RecordingPlatform,
        SeccompRecordingPart, SeccompRecordingPartSpec,
    },
    result::{RecordedProfile, RecordingBase},
    selector::{PodSelector, PodSelectorOperator, PodSelectorRequirement},
    status::{
        ContainerSummary, PhaseName, RecordingCondition, RecordingReason, RecordingStatus, RunSummary,
        UnrecordedNode, UnrecordedPod,
    },
};
use crate::{BaseReference, schema};

/// `ENOSYS`: programs, C libraries and runc fall back on it as on an older kernel.
const DEFAULT_ERRNO: u32 = 38;

/// What to record in the pods of a namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompRecording",
    plural = "seccomprecordings",
    shortname = "srec",
    category = "portcullis",
    namespaced,
    status = "RecordingStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Records which system calls the pods of its namespace make, over all nodes and test runs, and says what it has not seen. Needs the recorder (recorder.enabled in the chart).",
    printcolumn(
        name = "Recording",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Recording\")].status",
        description = "Whether it goes on"
    ),
    printcolumn(
        name = "Complete",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].status",
        description = "Whether every container was seen to start, to be steady and to stop, and nothing was lost"
    ),
    printcolumn(
        name = "Calls",
        type_ = "integer",
        json_path = ".status.calls",
        description = "Different system calls that were made"
    ),
    printcolumn(
        name = "Last-New-Call",
        type_ = "date",
        json_path = ".status.lastNewCallTime",
        description = "When the last call that was new then was made"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Recording\")].reason",
        priority = 1,
        description = "Why it goes on or has ended"
    ),
    printcolumn(
        name = "Missing",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Complete\")].message",
        priority = 1,
        description = "What was not seen"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 63 characters (no dots): the parts that nodes write are named <recording>.<node>"),
    validation = Rule::new("!has(self.spec.profile) || !has(self.spec.profile.bases) || !self.spec.profile.bases.exists(b, b.kind == 'SeccompProfile' && b.name == (has(self.spec.profile.name) ? self.spec.profile.name : self.metadata.name))")
        .message("the profile that is made can't be its own base")
        .field_path(".spec.profile.bases"),
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompRecordingSpec {
    /// The pods of the recording's namespace that are recorded. An empty selector ({}) is every pod.
    pub pod_selector: PodSelector,
    /// The names of the containers that are recorded, init and ephemeral containers among them; every container where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "container_names")]
    pub containers: Vec<String>,
    /// The profile to make of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileToMake>,
    /// When the recording ends. Until it is deleted where neither is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RecordingEnd>,
    /// What becomes of the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RecordingOutput>,
    /// The test run that is under way: what every recorded pod does while this is set counts for that run, whatever the pod's label
    /// portcullis.dev/run says. `kubectl seccomp record run` sets it while a command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "run_name")]
    pub run: Option<String>,
}

/// The profile to make of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.defaultErrnoRet) || !has(self.defaultAction) || self.defaultAction == 'SCMP_ACT_ERRNO'")
        .message("an errno goes with defaultAction SCMP_ACT_ERRNO alone: remove it")
        .field_path(".defaultErrnoRet"),
)]
pub struct ProfileToMake {
    /// The profile's name; the recording's own where none is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::profile_name")]
    pub name: Option<String>,
    /// What happens to a call that was not recorded: SCMP_ACT_ERRNO where nothing is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "denying_action")]
    pub default_action: Option<String>,
    /// The errno of SCMP_ACT_ERRNO; 38 (ENOSYS) where none is set, on which programs fall back as on an older kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::errno")]
    pub default_errno_ret: Option<u32>,
    /// Calls that are allowed with the recorded values of their argument alone, such as socket with its domains; "*" alone means every
    /// call of which an argument is recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "argument_rules")]
    #[x_kube(
        validation = Rule::new("!('*' in self) || self.size() == 1")
            .message("\"*\" means every call of which an argument is recorded: name it alone"),
    )]
    pub argument_rules: Vec<String>,
    /// Profiles that the profile names as its bases: what they allow is left out of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_BASES))]
    #[x_kube(
        validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("names a base twice"),
    )]
    pub bases: Vec<BaseReference>,
}

/// When a recording ends: as soon as one of these holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.duration) || has(self.noNewCallFor)")
        .message("set duration, noNewCallFor or both; leave end out to record until the recording is deleted"),
)]
pub struct RecordingEnd {
    /// So long after it began, for example 30m or 1h30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::schema")]
    pub duration: Option<String>,
    /// When no container made a new call for so long, for example 10m. Counts from the first call that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration::schema")]
    pub no_new_call_for: Option<String>,
}

/// What becomes of the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingOutput {
    /// Create the SeccompProfile in Audit mode, and update its content while the recording goes on; mode, pin and revisionHistoryLimit stay
    /// as they are set. A profile of that name that the recording did not create is left alone. The profile stays when the recording is
    /// deleted.
    #[serde(default)]
    pub create: bool,
}

impl SeccompRecording {
    /// The name of the profile to make.
    #[must_use]
    pub fn profile_name(&self) -> String {
        let wished = self.spec.profile.as_ref().and_then(|profile| profile.name.clone());
        wished.unwrap_or_else(|| self.name_any())
    }

    /// Whether the profile is to be created.
    #[must_use]
    pub fn creates_profile(&self) -> bool {
        self.spec.output.as_ref().is_some_and(|output| output.create)
    }

    /// The test run that a pod's calls count for now, given the value of its label [`crate::RUN_LABEL`]; empty for none.
    #[must_use]
    pub fn run_of<'r>(&'r self, label: Option<&'r str>) -> &'r str {
        self.spec.run.as_deref().or(label).unwrap_or_default()
    }

    /// What an object that goes with the recording names as its owner. None where the recording has no UID yet.
    #[must_use]
    pub fn owner_reference(&self) -> Option<OwnerReference> {
        self.controller_owner_ref(&()).map(|owner| OwnerReference {
            block_owner_deletion: None,
            controller: None,
            ..owner
        })
    }
}

impl ProfileToMake {
    /// The default action.
    #[must_use]
    pub fn action(&self) -> Action {
        let wished = self.default_action.as_deref();
        Action::ALL.iter().copied().find(|action| Some(action.as_str()) == wished).unwrap_or(Action::Errno)
    }

    /// The default action's errno, where it has one.
    #[must_use]
    pub fn errno(&self) -> Option<u32> {
        (self.action() == Action::Errno).then(|| self.default_errno_ret.unwrap_or(DEFAULT_ERRNO))
    }
}

/// A label's value that is not empty, as the pods' own label would have it.
fn run_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    })
}

fn container_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
    })
}

fn denying_action(_: &mut SchemaGenerator) -> Schema {
    let actions = [Action::Errno, Action::KillProcess, Action::KillThread, Action::Trap];
    schema::one_of(actions.iter().map(|action| action.as_str()))
}

fn argument_rules(_: &mut SchemaGenerator) -> Schema {
    let recorded = portcullis_profile::recording::RECORDED_ARGUMENTS;
    let names = std::iter::once("*").chain(recorded.iter().map(|argument| argument.call));
    let items = schema::one_of(names);
    json_schema!({"type": "array", "maxItems": recorded.len() + 1, "items": items})
}
