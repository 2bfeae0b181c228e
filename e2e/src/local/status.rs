//! How the cluster is.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::LocalCluster;
use crate::{Component, control_plane, health, machine, node::Node, wait};

/// How long a kubelet that was started again may take to answer.
const KUBELET_PATIENCE: Duration = Duration::from_secs(30);
/// How long a process that runs may be silent before it counts as broken.
const SILENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One process of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessStatus {
    /// It runs and answers.
    Well,
    /// It runs but does not answer.
    Silent,
    /// It does not run.
    Dead,
}

/// How the cluster is at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Every process that should run, by name.
    pub processes: BTreeMap<String, ProcessStatus>,
    /// Every node that the API server knows and whether it is Ready.
    pub nodes: BTreeMap<String, bool>,
    /// The nodes that the harness made.
    pub expected_nodes: Vec<String>,
}

impl Status {
    /// Whether every process runs and answers.
    #[must_use]
    pub fn processes_are_well(&self) -> bool {
        !self.processes.is_empty() && self.processes.values().all(|&status| status == ProcessStatus::Well)
    }

    /// Whether every process runs, though some do not answer.
    #[must_use]
    pub fn is_only_silent(&self) -> bool {
        let silent = self.processes.values().any(|&status| status == ProcessStatus::Silent);
        silent && self.processes.values().all(|&status| status != ProcessStatus::Dead)
    }

    /// Whether every node is Ready.
    #[must_use]
    pub fn nodes_are_ready(&self) -> bool {
        self.expected_nodes.iter().all(|name| self.nodes.get(name) == Some(&true))
    }

    /// What is not well, in words.
    #[must_use]
    pub fn complaint(&self) -> String {
        let words = |status: &ProcessStatus| match status {
            ProcessStatus::Well => None,
            ProcessStatus::Silent => Some("does not answer"),
            ProcessStatus::Dead => Some("does not run"),
        };
        let processes =
            self.processes.iter().filter_map(|(name, status)| Some(format!("{name} {}", words(status)?)));
        let late = self.expected_nodes.iter().filter(|name| self.nodes.get(*name) != Some(&true));
        processes.chain(late.map(|name| format!("{name} is not Ready"))).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.processes.is_empty() {
            return writeln!(f, "the cluster is down");
        }
        for (name, status) in &self.processes {
            let words = match status {
                ProcessStatus::Well => "runs",
                ProcessStatus::Silent => "runs but does not answer",
                ProcessStatus::Dead => "does not run",
            };
            writeln!(f, "{name:<28} {words}")?;
        }
        for name in &self.expected_nodes {
            let ready = if self.nodes.get(name) == Some(&true) { "Ready" } else { "not Ready" };
            writeln!(f, "{:<28} {ready}", format!("node {name}"))?;
        }
        Ok(())
    }
}

impl LocalCluster {
    /// How the cluster is now. A cluster that is down has no processes.
    ///
    /// # Errors
    /// Where the records can't be read.
    pub async fn status(&self) -> Result<Status> {
        let alive = self.supervisor.all()?;
        if alive.is_empty() {
            return Ok(Status::default());
        }
        let nodes = Node::all(&self.paths)?;
        let expected = control_plane::ALL.map(str::to_owned).into_iter();
        let expected = expected.chain(nodes.iter().flat_map(Node::processes));
        let health: BTreeMap<String, String> =
            nodes.iter().map(|node| (node.kubelet(), node.health_url())).collect();
        let asked = expected.map(|name| async {
            let status = if alive.get(&name) != Some(&true) {
                ProcessStatus::Dead
            } else if self.answers(&name, &health).await {
                ProcessStatus::Well
            } else {
                ProcessStatus::Silent
            };
            (name, status)
        });
        let processes = futures::future::join_all(asked).await.into_iter().collect();
        Ok(Status {
            processes,
            nodes: self.ready_nodes().await.unwrap_or_default(),
            expected_nodes: nodes.iter().map(|node| node.name().to_owned()).collect(),
        })
    }

    async fn answers(&self, name: &str, kubelets: &BTreeMap<String, String>) -> bool {
        if control_plane::ALL.contains(&name) {
            return control_plane::is_ready(name, &self.paths).await;
        }
        match kubelets.get(name) {
            Some(url) => health::answers(url).await,
            // A containerd that does not answer shows as a node that is not Ready.
            None => true,
        }
    }

    /// How the cluster is, once it answers, or has not for some time: a busy machine answers late, and a cluster that others use must
    /// not be started anew for that.
    pub(crate) async fn lasting_status(&self) -> Result<Status> {
        let mut last = self.status().await?;
        let end = Instant::now() + SILENCE;
        while last.is_only_silent() && Instant::now() < end {
            sleep(LOOK_AGAIN).await;
            last = self.status().await?;
        }
        Ok(last)
    }

    /// Waits until a part that was started answers.
    pub(crate) async fn wait_for(&self, component: &Component) -> Result<()> {
        match component {
            Component::Containerd(name) => {
                Node::find(&self.paths, name)?.wait_for_containerd(&self.supervisor).await
            }
            Component::Kubelet(name) => {
                let node = Node::find(&self.paths, name)?;
                let answers = async || Ok(health::answers(&node.health_url()).await);
                wait::until(KUBELET_PATIENCE, answers, || !self.supervisor.is_alive(&node.kubelet()))
                    .await?
                    .map_err(|state| self.supervisor.complaint(&node.kubelet(), state))
            }
            other => control_plane::wait_for(&other.name(), &self.paths, &self.supervisor).await,
        }
    }

    /// What the cluster has on the machine outside its folder, in words: nothing after [`Self::down`].
    ///
    /// # Errors
    /// Where the machine can't be examined.
    pub fn traces(&self) -> Result<Vec<String>> {
        machine::traces(&self.paths)
    }
}
