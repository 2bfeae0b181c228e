//! One node: a containerd and a kubelet in a mount namespace of their own, where the usual host directories are the node's.

mod configuration;
mod mounts;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    binaries::Binaries,
    bpffs, cgroup,
    command::{command, output},
    kubeconfig, machine, network,
    paths::{self, Paths},
    pki::{Authority, Identity},
    process::{self, Program, Supervisor},
    wait,
};

/// How long containerd may take to answer.
const CONTAINERD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a process may take to stop by itself.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What a new node is born with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOptions {
    /// Taints as `key=value:Effect` or `key:Effect`, set by the kubelet when it registers the node.
    pub taints: Vec<String>,
}

/// A node, which may run or not.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    paths: Paths,
    record: Record,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    index: u8,
    #[serde(default)]
    options: NodeOptions,
}

impl Node {
    /// All nodes that were made, by number.
    pub(crate) fn all(paths: &Paths) -> Result<Vec<Self>> {
        let mut nodes = Vec::new();
        for entry in process::list(&paths.nodes())? {
            let file = entry.path().join("node.json");
            if file.exists() {
                nodes.push(Self { paths: paths.clone(), record: paths::read_json(&file)? });
            }
        }
        nodes.sort_by_key(|node| node.record.index);
        Ok(nodes)
    }

    /// The node of a name.
    pub(crate) fn find(paths: &Paths, name: &str) -> Result<Self> {
        let mut all = Self::all(paths)?;
        let names: Vec<String> = all.iter().map(|node| node.name().to_owned()).collect();
        let at = names.iter().position(|known| known == name);
        let at =
            at.with_context(|| format!("there is no node {name:?}; the nodes are {}", names.join(", ")))?;
        Ok(all.swap_remove(at))
    }

    /// Takes a name and a number for a new node; nothing else is made yet.
    pub(crate) fn reserve(paths: &Paths, name: &str, options: &NodeOptions) -> Result<Self> {
        check_name(name)?;
        let all = Self::all(paths)?;
        if all.iter().any(|node| node.name() == name) {
            bail!("there is a node {name:?} already");
        }
        let free = (1..=network::MAX_NODES).find(|&index| all.iter().all(|node| node.record.index != index));
        let index = free.context("the local cluster has all the nodes it can have")?;
        let record = Record { name: name.to_owned(), index, options: options.clone() };
        let node = Self { paths: paths.clone(), record };
        paths::write_json(&node.folder().join("node.json"), &node.record)?;
        Ok(node)
    }

    /// Makes the node's address, control group, certificate and configuration; nothing runs yet.
    pub(crate) fn prepare(&self, authority: &Authority) -> Result<()> {
        let address = network::node_address(self.record.index);
        self.write_configuration()?;
        network::add_address(address)?;
        cgroup::create(&self.paths, self.name())?;
        authority.issue(&Identity {
            name: self.name(),
            common_name: &format!("system:node:{}", self.name()),
            organization: Some("system:nodes"),
            dns: vec![self.name().to_owned()],
            addresses: vec![IpAddr::V4(address)],
        })?;
        kubeconfig::write(&self.paths, self.name(), &self.paths.component_kubeconfig(self.name()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    fn folder(&self) -> PathBuf {
        self.paths.node(self.name())
    }

    /// The record's name of the process that holds the mount namespace open.
    pub(crate) fn mounts(&self) -> String {
        format!("mounts-{}", self.name())
    }

    pub(crate) fn containerd(&self) -> String {
        containerd_of(self.name())
    }

    pub(crate) fn kubelet(&self) -> String {
        kubelet_of(self.name())
    }

    /// The names of the node's processes.
    pub(crate) fn processes(&self) -> [String; 3] {
        [self.mounts(), self.containerd(), self.kubelet()]
    }

    /// The URL that answers when the kubelet is healthy.
    pub(crate) fn health_url(&self) -> String {
        format!("http://{}:10248/healthz", network::node_address(self.record.index))
    }

    /// Where one of the node's paths is on the machine; paths that the nodes share stay what they are.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        mounts::of(&self.folder())
            .into_iter()
            .find_map(|mount| Some(mount.source.join(path.strip_prefix(mount.target).ok()?)))
            .unwrap_or_else(|| path.to_path_buf())
    }

    /// Starts containerd and brings the images in.
    pub(crate) async fn start_containerd(&self, supervisor: &Supervisor, archives: &[PathBuf]) -> Result<()> {
        mounts::create(&self.paths, supervisor, &self.mounts(), &self.folder()).await?;
        let program = Program {
            name: self.containerd(),
            arguments: vec!["containerd".to_owned(), "--config".to_owned(), self.file("containerd.toml")],
            mounts_of: Some(self.mounts()),
        };
        supervisor.start(&program)?;
        self.wait_for_containerd(supervisor).await?;
        archives.iter().try_for_each(|archive| self.import(supervisor, archive))
    }

    /// Waits until containerd answers.
    pub(crate) async fn wait_for_containerd(&self, supervisor: &Supervisor) -> Result<()> {
        let answers = async || Ok(self.ctr(supervisor, &["version"]).is_ok());
        let dies = || !supervisor.is_alive(&self.containerd());
        wait::until(CONTAINERD_PATIENCE, answers, dies)
            .await?
            .map_err(|state| supervisor.complaint(&self.containerd(), state))
    }

    /// Starts the kubelet.
    pub(crate) fn start_kubelet(&self, supervisor: &Supervisor, binaries: &Binaries) -> Result<()> {
        let kubeconfig = self.paths.component_kubeconfig(self.name());
        let program = Program {
            name: self.kubelet(),
            arguments: vec![
                binaries.path("kubelet").display().to_string(),
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--config={}", self.file("kubelet.json")),
                format!("--hostname-override={}", self.name()),
                format!("--node-ip={}", network::node_address(self.record.index)),
            ],
            mounts_of: Some(self.mounts()),
        };
        supervisor.start(&program)
    }

    /// Brings an OCI archive into the node's containerd, for pods to use.
    pub(crate) fn import(&self, supervisor: &Supervisor, archive: &Path) -> Result<()> {
        self.ctr(supervisor, &["--namespace", "k8s.io", "images", "import", &archive.to_string_lossy()])
            .with_context(|| format!("{} can't take {}", self.name(), archive.display()))
    }

    fn ctr(&self, supervisor: &Supervisor, arguments: &[&str]) -> Result<()> {
        let mut ctr = self.command(supervisor)?;
        output(ctr.arg("ctr").args(arguments)).map(drop)
    }

    /// A command that runs in the node's mount namespace: the program and its arguments are to be added.
    pub(crate) fn command(&self, supervisor: &Supervisor) -> Result<std::process::Command> {
        Ok(enter(&supervisor.mount_namespace(&self.mounts())?))
    }

    /// Stops everything that runs on the node and takes away all that it is made of, except its object in the cluster.
    pub(crate) fn destroy(&self, supervisor: &Supervisor) -> Result<()> {
        supervisor.stop(&self.kubelet(), Signal::TERM, STOP_PATIENCE)?;
        supervisor.stop(&self.containerd(), Signal::TERM, STOP_PATIENCE)?;
        let group = cgroup::of_node(&self.paths, self.name());
        let namespace = supervisor.mount_namespace(&self.mounts()).ok();
        let namespace = namespace.and_then(|link| std::fs::read_link(link).ok());
        let namespace = namespace.map(|link| link.display().to_string());
        machine::kill_node(&self.paths, &group, namespace.as_deref())?;
        network::remove_node(self.record.index)?;
        cgroup::remove(&group)?;
        bpffs::forget(self.name())?;
        for name in self.processes() {
            supervisor.forget(&name)?;
        }
        paths::remove(&self.paths.component_kubeconfig(self.name()))?;
        paths::remove(&self.folder())
    }

    fn file(&self, name: &str) -> String {
        self.folder().join(name).display().to_string()
    }
}

pub(crate) fn containerd_of(node: &str) -> String {
    format!("containerd-{node}")
}

pub(crate) fn kubelet_of(node: &str) -> String {
    format!("kubelet-{node}")
}

/// A command that runs in a mount namespace.
fn enter(namespace: &str) -> std::process::Command {
    command("nsenter", [&format!("--mount={namespace}"), "--"])
}

/// Refuses names that no node can have: they become file names, host names and certificates' names.
fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = name.as_bytes();
    if bytes.len() > 40 || !bytes.iter().copied().all(allowed) || !edge(bytes.first()) || !edge(bytes.last())
    {
        bail!("{name:?} can't be a node's name: use up to 40 lower-case letters, digits and inner hyphens");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let record = Record { name: "node2".to_owned(), index: 2, options: NodeOptions::default() };
        Node { paths: Paths::new("/state"), record }
    }

    #[test]
    fn a_nodes_own_paths_are_found_on_the_machine() {
        let path = |path: &str| node().path(Path::new(path)).display().to_string();
        assert_eq!(path("/var/lib/kubelet/seccomp/x.json"), "/state/run/nodes/node2/kubelet/seccomp/x.json");
        assert_eq!(path("/var/log/pods"), "/state/run/nodes/node2/pod-logs/");
        assert_eq!(path("/etc/hosts"), "/etc/hosts");
        assert_eq!(path("/var/lib/kubelets"), "/var/lib/kubelets");
    }

    #[test]
    fn a_name_that_would_leave_its_folder_is_refused() {
        assert!(check_name("node-3").is_ok());
        for wrong in ["", "../x", "a/b", "-a", "a-", "A", "a.b", "ä", &"a".repeat(41)] {
            assert!(check_name(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
