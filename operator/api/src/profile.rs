//! `SeccompProfile` and `ClusterSeccompProfile`: what a user writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, Resource, ResourceExt};
use portcullis_profile::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{InvalidOwner, Owner, ProfileKind, RecordedFrom, SeccompDocument, schema};

/// A seccomp profile for the pods of its namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompProfile",
    plural = "seccompprofiles",
    shortname = "sp",
    category = "portcullis",
    namespaced,
    status = "ProfileStatus",
    derive = "Default",
    doc = "A seccomp profile for the pods of its namespace. Portcullis writes it to every node; status.localhostProfile is what a pod names.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether this generation's content is on every node that counts"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Enforce or Audit"
    ),
    printcolumn(
        name = "Nodes",
        type_ = "string",
        json_path = ".status.nodes.summary",
        description = "Nodes that have the current revision, of those that count"
    ),
    printcolumn(
        name = "Path",
        type_ = "string",
        json_path = ".status.localhostProfile",
        description = "What a pod writes as localhostProfile"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1,
        description = "Why it is Ready or not"
    ),
    printcolumn(
        name = "Generation",
        type_ = "integer",
        json_path = ".metadata.generation",
        priority = 1,
        description = "The spec's generation"
    ),
    printcolumn(
        name = "Observed",
        type_ = "integer",
        json_path = ".status.observedGeneration",
        priority = 1,
        description = "The generation that the status speaks of"
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.digest",
        priority = 1,
        description = "Digest of the current revision's content"
    ),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must have at most 63 characters: it becomes a label's value and a part of a file's name"),
    validation = Rule::new("has(self.spec.profile) || (has(self.spec.bases) && self.spec.bases.size() > 0)")
        .message("needs a profile (an OCI seccomp document), bases, or both")
        .field_path(".spec"),
    validation = Rule::new("!has(self.spec.bases) || !self.spec.bases.exists(b, b.kind == 'SeccompProfile' && b.name == self.metadata.name)")
        .message("a profile can't be its own base")
        .field_path(".spec.bases"),
)]
pub struct SeccompProfileSpec {
    /// What both kinds of profile have.
    #[serde(flatten)]
    pub profile: ProfileSpec,
}

/// A seccomp profile for the pods of every namespace; an administrator's own.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "ClusterSeccompProfile",
    plural = "clusterseccompprofiles",
    shortname = "csp",
    category = "portcullis",
    status = "ProfileStatus",
    derive = "Default",
    doc = "A seccomp profile for the pods of every namespace, an administrator's own. Portcullis writes it to every node; status.localhostProfile is what a pod names.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether this generation's content is on every node that counts"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.mode",
        description = "Enforce or Audit"
    ),
    printcolumn(
        name = "Nodes",
        type_ = "string",
        json_path = ".status.nodes.summary",
        description = "Nodes that have the current revision, of those that count"
    ),
    printcolumn(
        name = "Path",
        type_ = "string",
        json_path = ".status.localhostProfile",
        description = "What a pod writes as localhostProfile"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1,
        description = "Why it is Ready or not"
    ),
    printcolumn(
        name = "Generation",
        type_ = "integer",
        json_path = ".metadata.generation",
        priority = 1,
        description = "The spec's generation"
    ),
    printcolumn(
        name = "Observed",
        type_ = "integer",
        json_path = ".status.observedGeneration",
        priority = 1,
        description = "The generation that the status speaks of"
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.digest",
        priority = 1,
        description = "Digest of the current revision's content"
    ),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must have at most 63 characters: it becomes a label's value and a part of a file's name"),
    validation = Rule::new("has(self.spec.profile) || (has(self.spec.bases) && self.spec.bases.size() > 0)")
        .message("needs a profile (an OCI seccomp document), bases, or both")
        .field_path(".spec"),
    validation = Rule::new("!has(self.spec.bases) || !self.spec.bases.exists(b, b.kind == 'ClusterSeccompProfile' && b.name == self.metadata.name)")
        .message("a profile can't be its own base")
        .field_path(".spec.bases"),
    validation = Rule::new("!has(self.spec.bases) || self.spec.bases.all(b, b.kind == 'ClusterSeccompProfile')")
        .message("a ClusterSeccompProfile's bases must be of kind ClusterSeccompProfile: a namespaced one belongs to another's namespace")
        .field_path(".spec.bases"),
)]
pub struct ClusterSeccompProfileSpec {
    /// What both kinds of profile have.
    #[serde(flatten)]
    pub profile: ProfileSpec,
}

/// What a user asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// Enforce the profile, or (Audit) let unexpected calls through where the runtime default would, and log them.
    #[serde(default)]
    pub mode: Mode,
    /// The OCI seccomp document. May be absent where `bases` are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<SeccompDocument>,
    /// Profiles to unite this one with: what any of them allows is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_BASES))]
    #[x_kube(
        validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("names a base twice"),
    )]
    pub bases: Vec<BaseReference>,
    /// Serve this earlier revision, named by its digest, whatever the rest of the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub pin: Option<String>,
    /// How many revisions to keep besides the current one, 0 to 20; 3 where it is not set. One that a pod names is kept anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = crate::MAX_HISTORY_LIMIT))]
    pub revision_history_limit: Option<u16>,
    /// What the profile was recorded from; a recording fills it in. Changes nothing of what it allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_from: Option<RecordedFrom>,
}

/// Whether a profile denies, or only logs what it would deny.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// What the profile denies is denied.
    #[default]
    Enforce,
    /// What the profile denies and the runtime default allows is logged and let through.
    Audit,
}

/// A profile to unite with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaseReference {
    /// A SeccompProfile of the same namespace, or a ClusterSeccompProfile.
    pub kind: ProfileKind,
    /// The base's name.
    #[schemars(schema_with = "schema::profile_name")]
    pub name: String,
}

/// What Portcullis made of a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled, after kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What to write into a pod's `securityContext.seccompProfile.localhostProfile` to follow the current revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub localhost_profile: Option<String>,
    /// What to write there to stay with this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub pinned_localhost_profile: Option<String>,
    /// The digest of the current revision's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::digest")]
    pub digest: Option<Digest>,
    /// The mode of the current revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The revisions that are kept, the current one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_LISTED_REVISIONS))]
    pub revisions: Vec<RevisionSummary>,
    /// On how many nodes the current revision is. Of a profile that is Ready it is refreshed at most every ten minutes where nothing but the
    /// set of nodes changed; `kubectl get seccompnodes` has the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// Nodes that failed to write it, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_FAILING_NODES))]
    pub failing_nodes: Vec<FailingNode>,
    /// What the linter warns about, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_WARNINGS))]
    pub warnings: Vec<ProfileWarning>,
}

/// A kept revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSummary {
    /// Digest of its content; what `spec.pin` takes.
    #[schemars(schema_with = "schema::digest")]
    pub digest: Digest,
    /// Its place in the profile's history: the highest is the current one.
    pub sequence: i64,
    /// What a pod writes to stay with it.
    #[schemars(length(max = 512))]
    pub localhost_profile: String,
}

/// On how many nodes a profile is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// `ready/desired`, for people.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// Nodes that count and have the current revision.
    pub ready: u32,
    /// Nodes that count: kubelet-Ready, Linux, matched by the agent's DaemonSet, and not left out because what they report falls back again and
    /// again (the condition Steady of their SeccompNode).
    pub desired: u32,
    /// Nodes that count and said that they failed.
    pub failing: u32,
}

/// A node that failed to write a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingNode {
    /// The node's name.
    #[schemars(length(max = 253))]
    pub node: String,
    /// A word for the cause.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What went wrong, in words.
    #[schemars(length(max = crate::MAX_MESSAGE_LENGTH))]
    pub message: String,
}

/// A finding of the linter that does not refuse the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileWarning {
    /// The linter's stable code, for example SP001.
    #[schemars(length(max = 16))]
    pub code: String,
    /// Where in the profile, for example `spec.profile.syscalls[3].args[0]`.
    #[schemars(length(max = 1024))]
    pub path: String,
    /// What is wrong, what a runtime would do with it, and the remedy.
    #[schemars(length(max = crate::MAX_MESSAGE_LENGTH))]
    pub message: String,
}

/// What the two kinds of profile have in common.
pub trait ProfileResource:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Which kind this is.
    const KIND: ProfileKind;

    /// What a user asks for.
    fn profile_spec(&self) -> &ProfileSpec;

    /// What Portcullis made of it.
    fn profile_status(&self) -> Option<&ProfileStatus>;

    /// The validated identity.
    ///
    /// # Errors
    /// Where no path may be made of the name.
    fn owner(&self) -> Result<Owner, InvalidOwner>;
}

impl ProfileResource for SeccompProfile {
    const KIND: ProfileKind = ProfileKind::SeccompProfile;

    fn profile_spec(&self) -> &ProfileSpec {
        &self.spec.profile
    }

    fn profile_status(&self) -> Option<&ProfileStatus> {
        self.status.as_ref()
    }

    fn owner(&self) -> Result<Owner, InvalidOwner> {
        Owner::namespaced(self.namespace().as_deref().unwrap_or_default(), &self.name_any())
    }
}

impl ProfileResource for ClusterSeccompProfile {
    const KIND: ProfileKind = ProfileKind::ClusterSeccompProfile;

    fn profile_spec(&self) -> &ProfileSpec {
        &self.spec.profile
    }

    fn profile_status(&self) -> Option<&ProfileStatus> {
        self.status.as_ref()
    }

    fn owner(&self) -> Result<Owner, InvalidOwner> {
        Owner::cluster(&self.name_any())
    }
}
