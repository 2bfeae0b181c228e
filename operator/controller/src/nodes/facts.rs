//! The few fields of nodes, agent pods and reports that matter.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint},
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference},
};
use portcullis_api::{MAX_MACHINE_ID_LENGTH, NodeFailure, SeccompNode, SeccompNodeSpec, SetDigest};

use portcullis_profile::Arch;

use super::placement::OS_LABEL;

/// The label that says which architecture a node has, in Go's words:
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch>.
const ARCH_LABEL: &str = "kubernetes.io/arch";

/// A machine, and one of its boots; both empty where nobody says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) boot: String,
}

/// What is used of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) machine: Machine,
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
        let status = node.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let info = status.node_info.unwrap_or_default();
        Self {
            name: node.metadata.name.unwrap_or_default(),
            uid: node.metadata.uid.unwrap_or_default(),
            machine: Machine { id: bounded_id(info.machine_id), boot: bounded_id(info.boot_id) },
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            linux: labels.get(OS_LABEL).is_some_and(|os| os == "linux"),
            labels,
            taints: node.spec.and_then(|spec| spec.taints).unwrap_or_default(),
        }
    }

    /// Its architecture; none where it says none that is known here.
    pub(crate) fn arch(&self) -> Option<Arch> {
        Arch::from_goarch(self.labels.get(ARCH_LABEL)?)
    }
}

/// What a kubelet names its machine by: whatever its root likes, and the controller writes it down.
fn bounded_id(mut id: String) -> String {
    id.truncate(id.floor_char_boundary(MAX_MACHINE_ID_LENGTH));
    id
}

/// What is used of an agent's pod, or a recorder's.
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
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// UID of the report's own object.
    pub(crate) uid: Option<String>,
    /// UID of the node that the object belongs to.
    pub(crate) node_uid: Option<String>,
    /// The machine that an earlier report was seen to be of, as the controller wrote it down.
    pub(crate) recorded: Machine,
    /// What the controller said of the node's agent.
    pub(crate) conditions: Vec<Condition>,
    pub(crate) agent_pod_uid: Option<String>,
    /// The boot in which the agent wrote it.
    pub(crate) boot: String,
    pub(crate) subdirectory: Option<String>,
    pub(crate) digest: Option<SetDigest>,
    pub(crate) failures: Vec<NodeFailure>,
    pub(crate) failures_truncated: bool,
}

impl Report {
    /// Reads it off the object.
    pub(crate) fn of(node: SeccompNode) -> Self {
        let bare = Self::of_metadata(&node.metadata);
        let SeccompNodeSpec { machine_id, boot_id } = node.spec;
        let status = node.status.unwrap_or_default();
        Self {
            recorded: Machine { id: machine_id.unwrap_or_default(), boot: boot_id.unwrap_or_default() },
            conditions: status.conditions,
            agent_pod_uid: status.agent_pod_uid,
            boot: status.boot_id.unwrap_or_default(),
            subdirectory: status.subdirectory,
            digest: status.digest,
            failures: status.failures,
            failures_truncated: status.failures_truncated,
            ..bare
        }
    }

    /// Whether two reports say the same of a node's files.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let word = |report: &Self| (report.digest, report.failures_truncated);
        let of = |report: &Self| (report.node_uid.clone(), report.boot.clone(), report.subdirectory.clone());
        word(self) == word(other) && of(self) == of(other) && self.failures == other.failures
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

    /// Whether it speaks of this node as it is now. Files outlive a boot, so what was reported in an earlier one is still true where that is
    /// known to have been the same machine's; another machine that has taken the node's name is not spoken of.
    pub(crate) fn is_of(&self, node: &NodeFacts) -> bool {
        let was_this_machine = self.boot == self.recorded.boot && self.recorded.id == node.machine.id;
        self.node_uid.as_ref() == Some(&node.uid) && (self.boot == node.machine.boot || was_this_machine)
    }

    /// What there is to write down: the report is of this boot of this machine.
    pub(crate) fn to_record(&self, node: &NodeFacts) -> Option<Machine> {
        let is_of_this_boot = self.digest.is_some()
            && self.node_uid.as_ref() == Some(&node.uid)
            && self.boot == node.machine.boot;
        (is_of_this_boot && self.recorded != node.machine).then(|| node.machine.clone())
    }
}
