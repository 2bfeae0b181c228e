//! `SeccompNode`: what one node's agent says of its files.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Owner, ProfileKind, SetDigest, schema};

/// One node's profiles. Named as the node; created by the controller, its status patched by that node's agent.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompNode",
    plural = "seccompnodes",
    shortname = "sn",
    category = "portcullis",
    status = "SeccompNodeStatus",
    derive = "Default",
    doc = "What one node's agent has on disk. Named as the node, created by the controller, its status written by that node's agent; only the conditions are the controller's.",
    printcolumn(
        name = "Revisions",
        type_ = "integer",
        json_path = ".status.revisions",
        description = "Revisions that the agent has processed"
    ),
    printcolumn(
        name = "Failures",
        type_ = "string",
        json_path = ".status.failures[*].reason",
        description = "Why revisions could not be written"
    ),
    printcolumn(
        name = "Foreign",
        type_ = "integer",
        json_path = ".status.foreignFileCount",
        description = "Files that Portcullis did not write and leaves alone"
    ),
    printcolumn(
        name = "Agent-Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"AgentReady\")].status",
        description = "Whether the agent runs; what it reported stays true without it"
    ),
    printcolumn(
        name = "Steady",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Steady\")].status",
        description = "Whether what is reported lasts; while it does not, the node counts for no profile"
    ),
    printcolumn(
        name = "Agent",
        type_ = "string",
        json_path = ".status.agentVersion",
        description = "The agent's version"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.digest",
        priority = 1,
        description = "Sum over every file that the agent serves"
    ),
    printcolumn(
        name = "Pod-UID",
        type_ = "string",
        json_path = ".status.agentPodUid",
        priority = 1,
        description = "UID of the agent's pod"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompNodeSpec {
    /// The machine that the status is told of, by its ID: the controller's note. What the status says stays true while the Node is that machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::MAX_MACHINE_ID_LENGTH))]
    pub machine_id: Option<String>,
    /// The boot of that machine in which the agent wrote the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::MAX_MACHINE_ID_LENGTH))]
    pub boot_id: Option<String>,
}

/// What the node's agent has on disk. Its size does not grow with the number of profiles that work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeccompNodeStatus {
    /// What the controller knows of the agent, whether it runs, and of its word: whether it lasts. A node whose report falls back more than five
    /// times within ten minutes is not `Steady`, and left out: no profile counts it, neither as ready nor among those that are to have it, until
    /// its report has lasted for ten minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// UID of the agent's pod that wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub agent_pod_uid: Option<String>,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub agent_version: Option<String>,
    /// The boot of the machine in which the agent wrote this, as the kernel and the Node name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::MAX_MACHINE_ID_LENGTH))]
    pub boot_id: Option<String>,
    /// The sub-directory of the kubelet's seccomp directory that this is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub subdirectory: Option<String>,
    /// A sum over (path, content) of every file that the agent serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub digest: Option<SetDigest>,
    /// How many revisions the agent has processed.
    #[serde(default)]
    pub revisions: u32,
    /// Revisions that the agent failed to write, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_NODE_FAILURES))]
    pub failures: Vec<NodeFailure>,
    /// More failed than `failures` holds: nothing can be said of any profile on this node.
    #[serde(default)]
    pub failures_truncated: bool,
    /// Files in the directory that Portcullis did not write and leaves alone, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_FOREIGN_FILES))]
    pub foreign_files: Vec<ForeignFile>,
    /// How many such files there are.
    #[serde(default)]
    pub foreign_file_count: u32,
}

fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::conditions_of("What the condition speaks of: AgentReady or Steady.")
}

/// Types of condition on a `SeccompNode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeConditionType {
    /// The agent's pod is Ready and has reported.
    AgentReady,
    /// What is reported of the node does not fall back again and again.
    Steady,
}

impl NodeConditionType {
    /// The `type` in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentReady => "AgentReady",
            Self::Steady => "Steady",
        }
    }
}

/// A profile that an agent failed to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFailure {
    /// The profile's kind.
    pub kind: ProfileKind,
    /// The profile's namespace; none for a cluster profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// The profile's name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The path below the sub-directory.
    #[schemars(length(max = 512))]
    pub path: String,
    /// A word for the cause.
    pub reason: FailureReason,
    /// What went wrong, in words.
    #[schemars(length(max = crate::MAX_MESSAGE_LENGTH))]
    pub message: String,
}

impl NodeFailure {
    /// Whether this speaks of that profile.
    #[must_use]
    pub fn is_of(&self, owner: &Owner) -> bool {
        self.kind == owner.kind()
            && self.namespace.as_deref() == owner.namespace()
            && self.name == owner.name()
    }
}

/// Why a file could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// No space or no inodes are left.
    NoSpace,
    /// The file system is read-only.
    ReadOnly,
    /// A permission is missing.
    PermissionDenied,
    /// Something that Portcullis did not write stands in the way.
    Foreign,
    /// The content does not have the digest that it is named by.
    DigestMismatch,
    /// The content could not be read from the API server.
    Unavailable,
    /// The revision object is not one that the controller writes.
    InvalidRevision,
    /// The agent has as many revisions as its memory is for.
    TooMany,
    /// Any other error of the file system.
    Io,
}

impl FailureReason {
    /// The word in a status and a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => "NoSpace",
            Self::ReadOnly => "ReadOnly",
            Self::PermissionDenied => "PermissionDenied",
            Self::Foreign => "Foreign",
            Self::DigestMismatch => "DigestMismatch",
            Self::Unavailable => "Unavailable",
            Self::InvalidRevision => "InvalidRevision",
            Self::TooMany => "TooMany",
            Self::Io => "Io",
        }
    }
}

/// A file that Portcullis did not write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForeignFile {
    /// The path below the sub-directory; bytes that are not UTF-8 are replaced.
    #[schemars(length(max = 4096))]
    pub path: String,
}
