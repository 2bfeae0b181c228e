//! Nodes that come and go, and the cluster's objects about them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{
    core::v1::{Node as NodeObject, ServiceAccount},
    node::v1::RuntimeClass,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{FIRST_NODES, LocalCluster, NODE_PATIENCE, absolute};
use crate::{
    control_plane::CONTROLLER_MANAGER,
    health, image,
    node::{Node, NodeOptions},
    pki::Authority,
    progress::{self, step_async},
    wait,
};

impl LocalCluster {
    /// A client with all rights.
    ///
    /// # Errors
    /// Where the cluster is not up.
    pub async fn client(&self) -> Result<Client> {
        health::client(&self.paths.kubeconfig()).await.context("is the cluster up?")
    }

    /// Adds a node and waits until it is Ready.
    ///
    /// # Errors
    /// Where the name is taken or can't be one, or the node does not come up.
    pub async fn add_node(&self, name: &str, options: &NodeOptions) -> Result<()> {
        let _lock = self.lock()?;
        self.record().context("is the cluster up?")?;
        step_async(format_args!("add the node {name}"), async {
            let authority = Authority::load(&self.paths)?;
            let node = Node::reserve(&self.paths, name, options)?;
            let joined = async {
                node.prepare(&authority)?;
                let mut archives = image::ensure_base_images(&self.paths)?;
                archives.extend(self.loaded_images()?);
                node.start_containerd(&self.supervisor, &archives).await?;
                node.start_kubelet(&self.supervisor, &self.binaries)?;
                self.wait_for_nodes(&[name], NODE_PATIENCE).await
            };
            if let Err(error) = joined.await {
                node.destroy(&self.supervisor)
                    .context("the node that did not come up can't be taken away")?;
                return Err(error);
            }
            Ok(())
        })
        .await
    }

    /// Removes a node with all that runs on it, and its object.
    ///
    /// # Errors
    /// Where there is no such node or it is the first one, which kube-proxy names as its own.
    pub async fn remove_node(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        if name == FIRST_NODES[0] {
            bail!("{name} can't be removed: the cluster's kube-proxy runs in its name; remove another node");
        }
        let node = Node::find(&self.paths, name)?;
        step_async(format_args!("remove the node {name}"), async {
            node.destroy(&self.supervisor)?;
            let nodes: Api<NodeObject> = Api::all(self.client().await?);
            match nodes.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
                deleted => {
                    deleted.map(drop).with_context(|| format!("can't delete the object of node {name}"))
                }
            }
        })
        .await
    }

    /// The names of the nodes.
    ///
    /// # Errors
    /// Where their records can't be read.
    pub fn node_names(&self) -> Result<Vec<String>> {
        Ok(Node::all(&self.paths)?.iter().map(|node| node.name().to_owned()).collect())
    }

    /// Where a path of a node is on this machine, such as `/var/lib/kubelet/seccomp`.
    ///
    /// # Errors
    /// Where there is no such node.
    pub fn node_path(&self, node: &str, path: impl AsRef<Path>) -> Result<PathBuf> {
        Ok(Node::find(&self.paths, node)?.path(path.as_ref()))
    }

    /// A command that runs with a node's mounts: the program and its arguments are to be added.
    ///
    /// # Errors
    /// Where there is no such node, or it does not run.
    pub fn node_command(&self, node: &str) -> Result<std::process::Command> {
        Node::find(&self.paths, node)?.command(&self.supervisor)
    }

    /// Brings an OCI archive into every node's containerd, and into those of nodes that are added later.
    ///
    /// # Errors
    /// Where the archive is missing or damaged.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        let archive = absolute(archive)?;
        progress::step(format_args!("load {} on every node", archive.display()), || {
            for node in Node::all(&self.paths)? {
                node.import(&self.supervisor, &archive)?;
            }
            let mut loaded = self.loaded_images()?;
            if !loaded.contains(&archive) {
                loaded.push(archive.clone());
            }
            crate::paths::write_json(&self.loaded_images_file(), &loaded)
        })
    }

    fn loaded_images_file(&self) -> PathBuf {
        self.paths.run().join("images.json")
    }

    fn loaded_images(&self) -> Result<Vec<PathBuf>> {
        let file = self.loaded_images_file();
        if file.exists() { crate::paths::read_json(&file) } else { Ok(Vec::new()) }
    }

    /// Which nodes the API server knows, and whether they are Ready.
    pub(super) async fn ready_nodes(&self) -> Result<BTreeMap<String, bool>> {
        let nodes: Api<NodeObject> = Api::all(self.client().await?);
        // An API server whose store is gone keeps a question for a minute.
        let list = tokio::time::timeout(health::PATIENCE, nodes.list(&ListParams::default())).await;
        let list = list.context("the API server does not answer")?.context("the nodes can't be listed")?;
        let state = |node: NodeObject| Some((node.metadata.name.clone()?, is_ready(&node)));
        Ok(list.items.into_iter().filter_map(state).collect())
    }

    /// Waits until nodes are Ready.
    pub(super) async fn wait_for_nodes(&self, names: &[&str], patience: Duration) -> Result<()> {
        let mut seen = BTreeMap::new();
        let ready = async || {
            seen = self.ready_nodes().await.unwrap_or_default();
            Ok(names.iter().all(|name| seen.get(*name) == Some(&true)))
        };
        let dead = || names.iter().any(|name| !self.supervisor.is_alive(&crate::node::kubelet_of(name)));
        if wait::until(patience, ready, dead).await?.is_ok() {
            return Ok(());
        }
        let late =
            names.iter().find(|name| seen.get(**name) != Some(&true)).copied().unwrap_or(FIRST_NODES[0]);
        let state = match seen.get(late) {
            Some(_) => "registered its node, which is not Ready",
            None => "did not register its node",
        };
        Err(self.supervisor.complaint(&crate::node::kubelet_of(late), state))
    }

    /// Waits until pods are accepted in the namespace `default`: the controller manager makes the account they run as.
    pub(super) async fn wait_for_service_account(&self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(self.client().await?);
        let there = async || Ok(accounts.get_opt("default").await.is_ok_and(|account| account.is_some()));
        let dead = || !self.supervisor.is_alive(CONTROLLER_MANAGER);
        wait::until(NODE_PATIENCE, there, dead)
            .await?
            .map_err(|_| self.supervisor.complaint(CONTROLLER_MANAGER, "makes no service accounts"))
    }

    /// Offers crun beside runc, as the runtime class `crun`.
    pub(super) async fn create_runtime_class(&self) -> Result<()> {
        let classes: Api<RuntimeClass> = Api::all(self.client().await?);
        let class = json!({
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": { "name": "crun" },
            "handler": "crun",
        });
        let parameters = PatchParams::apply("portcullis-e2e");
        classes
            .patch("crun", &parameters, &Patch::Apply(class))
            .await
            .map(drop)
            .context("the runtime class crun can't be made")
    }
}

pub(crate) fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
