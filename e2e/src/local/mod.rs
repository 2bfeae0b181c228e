//! The cluster on this machine.

mod nodes;
mod status;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::{
    binaries::Binaries,
    bpffs, cgroup, control_plane, image,
    lock::{Lock, Usage},
    machine, network,
    node::{Node, NodeOptions},
    packages,
    paths::{self, Paths},
    process::{self, Supervisor},
    progress::{self, step_async},
    settings::{DIR_VARIABLE, Settings},
};

pub use status::{ProcessStatus, Status};

/// The nodes that a cluster starts with.
pub const FIRST_NODES: [&str; 2] = ["node1", "node2"];
/// How long a new node may take until it is Ready.
const NODE_PATIENCE: Duration = Duration::from_secs(60);
/// How long nodes of a running cluster may take to be Ready again, as after a restart of a kubelet.
const RECOVERY: Duration = Duration::from_secs(30);

/// The cluster on this machine, which may run or not.
#[derive(Clone, Debug)]
pub struct LocalCluster {
    paths: Paths,
    binaries: Binaries,
    supervisor: Supervisor,
    settings: Settings,
}

/// Written last when a cluster starts: without it the cluster is half-started.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    boot_id: String,
    /// What the programs were built from; another version of Kubernetes has another path.
    programs: PathBuf,
    /// The archives of the base images, named after what is in them: nodes import them when they start.
    #[serde(default)]
    images: Vec<PathBuf>,
}

impl LocalCluster {
    /// The cluster that some settings name. Nothing is started or changed.
    ///
    /// # Errors
    /// Where the module files can't be read.
    pub fn new(settings: &Settings) -> Result<Self> {
        let paths = Paths::new(&settings.dir);
        Ok(Self {
            supervisor: Supervisor::new(&paths),
            binaries: Binaries::locate(settings)?,
            settings: settings.clone(),
            paths,
        })
    }

    /// The cluster's folder.
    #[must_use]
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The programs it is made of.
    #[must_use]
    pub const fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub(crate) const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Brings the cluster up, or finds it up and well. What is left of a half-started or broken one is taken away first.
    ///
    /// # Errors
    /// Where this machine can't run it or a part of it does not come up.
    pub async fn up(&self) -> Result<()> {
        require_root()?;
        // A test that stops parts of the cluster on purpose must not look like a broken cluster. This lock comes first,
        // always: such a test holds it while it takes the other one to add a node.
        let _usage = self.usage(Usage::Shared).await?;
        let _lock = self.lock()?;
        if self.is_well().await? {
            return Ok(());
        }
        self.refuse_beside_another()?;
        packages::ensure()?;
        Binaries::ensure(&self.settings)?;
        let archives = image::ensure_base_images(&self.paths)?;
        if self.paths.run().exists() || !machine::traces(&self.paths)?.is_empty() {
            progress::step("take away what is left of an earlier cluster", || self.take_down())?;
        }
        network::check_ranges_are_free()?;
        let started = self.start(&archives).await;
        if started.is_err() {
            progress::say(format_args!("the logs are in {}", self.paths.logs().display()));
        }
        started
    }

    /// Builds the images that tests run, of this machine's Debian packages, and gives their OCI archives. No cluster is started.
    ///
    /// # Errors
    /// Where a package can't be installed or an archive not be written.
    pub fn base_images(&self) -> Result<Vec<PathBuf>> {
        let _lock = self.lock()?;
        packages::ensure_for_images()?;
        image::ensure_base_images(&self.paths)
    }

    /// Stops everything and leaves no traces. Logs, images and built programs stay for the next start.
    ///
    /// # Errors
    /// Where something can't be undone.
    pub fn down(&self) -> Result<()> {
        require_root()?;
        let _lock = self.lock()?;
        progress::step("stop the cluster", || self.take_down())
    }

    /// Removes the cluster's folder after [`Self::down`].
    ///
    /// # Errors
    /// Where the folder can't be removed.
    pub fn purge(&self) -> Result<()> {
        self.down()?;
        progress::step(format_args!("remove {}", self.paths.dir().display()), || {
            paths::remove(self.paths.dir())
        })
    }

    /// Waits for the right to use the cluster in a way; it is held while the guard lives. Who holds it exclusively must not
    /// call [`Self::up`], which would wait for it.
    ///
    /// # Errors
    /// Where the lock can't be taken.
    pub async fn usage(&self, usage: Usage) -> Result<Lock> {
        let path = self.paths.usage_lock();
        let take = move || match usage {
            Usage::Shared => Lock::shared(&path),
            Usage::Exclusive => Lock::exclusive(&path, "that uses the cluster"),
        };
        // flock(2) blocks its thread, which other tests of this process may need.
        tokio::task::spawn_blocking(take).await.context("the lock was lost")?
    }

    fn lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.paths.lock(), "that starts, changes or stops the cluster")
    }

    /// Whether everything runs and answers. Nodes that are not Ready get some time.
    async fn is_well(&self) -> Result<bool> {
        // Where a program of the images is not installed, the start installs it.
        if self.wanted_record().ok().is_none_or(|wanted| self.record().ok() != Some(wanted)) {
            return Ok(false);
        }
        let status = self.lasting_status().await?;
        if !status.processes_are_well() {
            progress::say(format_args!("the cluster is broken: {}", status.complaint()));
            return Ok(false);
        }
        if status.nodes_are_ready() {
            return Ok(true);
        }
        let nodes = Node::all(&self.paths)?;
        let names: Vec<&str> = nodes.iter().map(Node::name).collect();
        Ok(self.wait_for_nodes(&names, RECOVERY).await.is_ok())
    }

    fn record(&self) -> Result<Record> {
        paths::read_json(&self.paths.record())
    }

    fn wanted_record(&self) -> Result<Record> {
        Ok(Record {
            boot_id: process::boot_id()?,
            programs: self.binaries.path("kubelet"),
            images: image::base_archives(&self.paths)?,
        })
    }

    async fn start(&self, archives: &[PathBuf]) -> Result<()> {
        paths::remove(&self.paths.logs())?;
        machine::note_settings(&self.paths)?;
        machine::mount_bpffs(&self.paths)?;
        network::create_address_bridge()?;
        network::add_address(network::CONTROL_PLANE)?;
        check_ports()?;
        let authority = control_plane::prepare(&self.paths)?;
        let mut nodes = Vec::new();
        for name in FIRST_NODES {
            let node = Node::reserve(&self.paths, name, &NodeOptions::default())?;
            node.prepare(&authority)?;
            nodes.push(node);
        }
        let api = step_async(
            "start etcd and the API server",
            control_plane::start_api(&self.paths, &self.supervisor, &self.binaries),
        );
        let runtimes =
            try_join_all(nodes.iter().map(|node| node.start_containerd(&self.supervisor, archives)));
        let runtimes = step_async("start a containerd for each node and import the base images", runtimes);
        tokio::try_join!(api, runtimes)?;
        control_plane::start_controllers(&self.paths, &self.supervisor, &self.binaries, FIRST_NODES[0])?;
        for node in &nodes {
            node.start_kubelet(&self.supervisor, &self.binaries)?;
        }
        step_async("wait until the controllers are well and the nodes are Ready", async {
            for name in control_plane::ALL {
                control_plane::wait_for(name, &self.paths, &self.supervisor).await?;
            }
            self.wait_for_nodes(&FIRST_NODES, NODE_PATIENCE).await?;
            self.wait_for_service_account().await
        })
        .await?;
        self.create_runtime_class().await?;
        paths::write_json(&self.paths.record(), &self.wanted_record()?)
    }

    fn refuse_beside_another(&self) -> Result<()> {
        if let Some(other) = machine::elsewhere(&self.paths)?.first() {
            bail!(
                "another cluster runs on this machine, in {0}: use that one ({DIR_VARIABLE}={0}), or take it down first \
                 ({DIR_VARIABLE}={0} make clean-cluster)",
                other.display()
            );
        }
        Ok(())
    }

    fn take_down(&self) -> Result<()> {
        self.refuse_beside_another()?;
        paths::remove(&self.paths.record())?;
        let group = cgroup::parent(&self.paths);
        machine::kill_all(&self.paths, &group)?;
        machine::unmount(&self.paths)?;
        network::remove_all()?;
        cgroup::remove(&group)?;
        Node::all(&self.paths)?.iter().try_for_each(|node| bpffs::forget(node.name()))?;
        machine::restore(&self.paths)?;
        paths::remove(&self.paths.run())
    }
}

fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("the local cluster needs root: run as root, or set KUBECONFIG to a cluster of yours")
}

/// Fails before a start where another program has a port of the control plane.
fn check_ports() -> Result<()> {
    let local = |port: u16| (std::net::Ipv4Addr::LOCALHOST, port);
    let wanted = [
        local(2379),
        local(2380),
        local(10249),
        local(10256),
        local(10257),
        local(10259),
        (network::CONTROL_PLANE, network::API_SERVER_PORT),
    ];
    for (address, port) in wanted {
        drop(std::net::TcpListener::bind((address, port)).with_context(|| {
            format!("another program has the port {address}:{port}, which the local cluster needs")
        })?);
    }
    Ok(())
}

/// The archive's path as the machine sees it, for a program that runs elsewhere.
fn absolute(archive: &Path) -> Result<PathBuf> {
    archive.canonicalize().with_context(|| format!("there is no image archive {}", archive.display()))
}
