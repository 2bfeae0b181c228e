//! Which workload a pod belongs to.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use anyhow::Result;
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, batch::v1::Job},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, api::ListParams, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Cluster, Scope,
    failure::{Attempt, FailureKind},
    pages,
};

/// What keeps a pod running: its controller, that controller's own, or the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// As kubectl names it, without the namespace: `deploy/web`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind.as_str() {
            "Deployment" => "deploy",
            "StatefulSet" => "sts",
            "DaemonSet" => "ds",
            "ReplicaSet" => "rs",
            other => return write!(f, "{}/{}", other.to_ascii_lowercase(), self.name),
        };
        write!(f, "{kind}/{}", self.name)
    }
}

impl Workload {
    /// The controller that a pod itself names; the pod where there is none, and for the mirror of a node's static pod.
    pub(crate) fn of_pod(metadata: &ObjectMeta) -> Self {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let pod = || Self {
            namespace: namespace.clone(),
            kind: "Pod".to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        controller(metadata).filter(|(kind, _)| kind != "Node").map_or_else(pod, |(kind, name)| Self {
            namespace: namespace.clone(),
            kind,
            name,
        })
    }

    /// Whether its own controller is the workload that people know.
    fn is_between(&self) -> bool {
        matches!(self.kind.as_str(), "ReplicaSet" | "Job")
    }
}

fn controller(metadata: &ObjectMeta) -> Option<(String, String)> {
    let references = metadata.owner_references.iter().flatten();
    let controller = references.into_iter().find(|reference| reference.controller == Some(true))?;
    Some((controller.kind.clone(), controller.name.clone()))
}

/// The workloads behind the controllers that pods name: a `ReplicaSet`'s `Deployment`, a `Job`'s `CronJob`.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    above: HashMap<Workload, Workload>,
    /// In words, what could not be read.
    pub(crate) notes: Vec<String>,
}

impl Owners {
    /// Reads the metadata of the kinds that are between pods and workloads; only what `direct` needs is kept.
    pub(crate) async fn of(cluster: &Cluster, scope: &Scope, direct: &BTreeSet<Workload>) -> Result<Self> {
        let mut owners = Self::default();
        owners.read::<ReplicaSet>(cluster, scope, direct).await?;
        owners.read::<Job>(cluster, scope, direct).await?;
        Ok(owners)
    }

    async fn read<K>(&mut self, cluster: &Cluster, scope: &Scope, direct: &BTreeSet<Workload>) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + fmt::Debug,
    {
        let kind = K::kind(&()).into_owned();
        if !direct.iter().any(|workload| workload.is_between() && workload.kind == kind) {
            return Ok(());
        }
        let api: Api<K> = match scope {
            Scope::All => Api::all(cluster.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        };
        let attempt = Attempt::new::<K>("list", scope.namespace());
        let read = pages::each_metadata(&api, ListParams::default(), |object| {
            let metadata = &object.metadata;
            let namespace = metadata.namespace.clone().unwrap_or_default();
            let name = metadata.name.clone().unwrap_or_default();
            let below = Workload { namespace: namespace.clone(), kind: kind.clone(), name };
            if let Some((kind, name)) = controller(metadata).filter(|_| direct.contains(&below)) {
                self.above.insert(below, Workload { namespace, kind, name });
            }
        });
        match read.await.map_err(|error| attempt.failed(&error)) {
            Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
                self.notes.push(format!("workloads are named by their {kind}s: {error:#}"));
                Ok(())
            }
            other => other,
        }
    }

    /// The workload that people know.
    pub(crate) fn top<'w>(&'w self, direct: &'w Workload) -> &'w Workload {
        self.above.get(direct).unwrap_or(direct)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(owner: &serde_json::Value) -> String {
        let metadata = json!({"namespace": "shop", "name": "web-1", "ownerReferences": [owner]});
        Workload::of_pod(&serde_json::from_value(metadata).unwrap()).to_string()
    }

    #[test]
    fn a_pod_is_named_by_its_controller_and_by_itself_where_it_has_none() {
        let owner = |kind: &str, controller: bool| json!({"apiVersion": "x/v1", "kind": kind, "name": "web", "uid": "u", "controller": controller});
        assert_eq!(of(&owner("StatefulSet", true)), "sts/web");
        assert_eq!(of(&owner("Rollout", true)), "rollout/web");
        assert_eq!(of(&owner("StatefulSet", false)), "pod/web-1");
        assert_eq!(of(&owner("Node", true)), "pod/web-1", "a static pod's mirror");
    }
}
