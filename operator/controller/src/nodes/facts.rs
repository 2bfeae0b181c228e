//! The few fields of nodes, agent pods and reports that matter.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use portcullis_api::{NodeFailure, SeccompNode, SetDigest};

use super::placement::OS_LABEL;

/// What is used of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Whether its kubelet says that it is Ready.
    pub(crate) ready: bool,
    pub(crate) linux: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
}

impl NodeFacts {
    /// Reads them off the object.
    pub(crate) fn of(node: Node) -> Self {
        let labels = node.metadata.labels.unwrap_or_default();
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        Self {
            name: node.metadata.name.unwrap_or_default(),
            uid: node.metadata.uid.unwrap_or_default(),
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            linux: labels.get(OS_LABEL).is_some_and(|os| os == "linux"),
            labels,
            taints: node.spec.and_then(|spec| spec.taints).unwrap_or_default(),
        }
    }
}

/// What is used of an agent's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentPod {
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    pub(crate) ready: bool,
}

impl AgentPod {
    /// Reads it off the object.
    pub(crate) fn of(pod: Pod) -> Self {
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        Self {
            node: pod.spec.and_then(|spec| spec.node_name),
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        }
    }
}

/// What is used of a node's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// UID of the report's own object.
    pub(crate) uid: Option<String>,
    /// UID of the node that the object belongs to.
    pub(crate) node_uid: Option<String>,
    pub(crate) agent_pod_uid: Option<String>,
    pub(crate) digest: Option<SetDigest>,
    pub(crate) failures: Vec<NodeFailure>,
    pub(crate) failures_truncated: bool,
}

impl Report {
    /// Reads it off the object.
    pub(crate) fn of(node: SeccompNode) -> Self {
        let bare = Self::of_metadata(&node.metadata);
        let status = node.status.unwrap_or_default();
        Self {
            agent_pod_uid: status.agent_pod_uid,
            digest: status.digest,
            failures: status.failures,
            failures_truncated: status.failures_truncated,
            ..bare
        }
    }

    /// What is known of an object that can't be read.
    pub(crate) fn of_metadata(metadata: &ObjectMeta) -> Self {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let is_own_node = |owner: &&OwnerReference| {
            owner.kind == "Node" && owner.api_version == "v1" && Some(&owner.name) == metadata.name.as_ref()
        };
        Self {
            uid: metadata.uid.clone(),
            node_uid: owners.iter().find(is_own_node).map(|owner| owner.uid.clone()),
            ..Self::default()
        }
    }
}
