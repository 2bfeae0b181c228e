//! The cluster that a test uses: the local one or the user's own.

mod faults;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use kube::Client;

pub use faults::Component;

use crate::{
    clients::Clients,
    health,
    image::{Architecture, OperatorImage},
    local::LocalCluster,
    lock::{Lock, Usage},
    node::NodeOptions,
    progress,
    settings::{IMAGE_VARIABLE, Settings},
};

/// A cluster to test on.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
    clients: Clients,
    /// None where the cluster is the user's own.
    local: Option<LocalCluster>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster that `KUBECONFIG` names, or else the local one, brought up where it is not up yet.
    ///
    /// # Errors
    /// Where neither can be used.
    pub async fn from_env() -> Result<Self> {
        let local = LocalCluster::new(&Settings::from_env()?)?;
        match std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
            Some(path) if !is_same_file(Path::new(&path), &local.paths().kubeconfig()) => {
                Self::of_user(Path::new(&path)).await.context("KUBECONFIG is set")
            }
            _ => Self::local(local).await,
        }
    }

    /// A cluster of the user's own.
    ///
    /// # Errors
    /// Where the kubeconfig can't be used, or a client is neither in `PATH` nor can be built.
    pub async fn of_user(kubeconfig: &Path) -> Result<Self> {
        let client = health::client(kubeconfig).await?;
        let clients = Clients::of_user(&Settings::from_env()?)?;
        Ok(Self { client, kubeconfig: kubeconfig.to_path_buf(), clients, local: None })
    }

    /// The local cluster, brought up where it is not up yet.
    ///
    /// # Errors
    /// Where it does not come up.
    pub async fn local(local: LocalCluster) -> Result<Self> {
        local.up().await?;
        let client = local.client().await?;
        let clients = Clients::of_local(local.binaries());
        Ok(Self { client, kubeconfig: local.paths().kubeconfig(), clients, local: Some(local) })
    }

    /// A client with the rights of the kubeconfig's user: all of them on the local cluster.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig's path.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A `kubectl` for this cluster: the one built with it, or the user's own.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.command(&self.clients.kubectl)
    }

    /// A `helm` for this cluster: the one built with it, or the user's own.
    #[must_use]
    pub fn helm(&self) -> Command {
        self.command(&self.clients.helm)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        // Settings of the user's own Helm or kubectl must not reach a test.
        command.env_remove("KUBECONFIG").env_remove("HELM_NAMESPACE").env_remove("HELM_KUBECONTEXT");
        command
    }

    /// The local cluster behind this one, for what only it can do.
    ///
    /// # Errors
    /// On a cluster of the user's own, naming what was wanted.
    pub fn require_local(&self, what: &str) -> Result<&LocalCluster> {
        self.local.as_ref().with_context(|| {
            format!(
                "{what} needs the local cluster, but KUBECONFIG is {}: unset it",
                self.kubeconfig.display()
            )
        })
    }

    /// Whether this is the local cluster. Tests that need it are ignored if it is not.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// Where a path of a node is on this machine, such as `/var/lib/kubelet/seccomp`.
    ///
    /// # Errors
    /// Where there is no such node, or the cluster is the user's own.
    pub fn node_path(&self, node: &str, path: impl AsRef<Path>) -> Result<PathBuf> {
        self.require_local("reading a node's files")?.node_path(node, path)
    }

    /// Adds a node that is removed when the guard is dropped.
    ///
    /// # Errors
    /// Where the node does not come up, or the cluster is the user's own.
    pub async fn add_node(&self, name: &str, options: &NodeOptions) -> Result<TemporaryNode> {
        let local = self.require_local("adding a node")?;
        local.add_node(name, options).await?;
        Ok(TemporaryNode { local: local.clone(), name: name.to_owned() })
    }

    /// Brings an OCI archive to every node.
    ///
    /// # Errors
    /// Where the archive can't be taken, or the cluster is the user's own.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        self.require_local("loading an image")?.load_image(archive)
    }

    /// Builds the operator's image, brings it to every node and gives its name. On a cluster of the user's own the name comes
    /// from the environment, and the image must be reachable there.
    ///
    /// # Errors
    /// Where the image can't be built or is not named.
    pub fn operator_image(&self) -> Result<String> {
        let Some(local) = &self.local else {
            return match std::env::var(IMAGE_VARIABLE) {
                Ok(reference) if !reference.is_empty() => Ok(reference),
                _ => bail!(
                    "KUBECONFIG names a cluster of yours: set {IMAGE_VARIABLE} to the operator's image that it can pull"
                ),
            };
        };
        let image = OperatorImage::new(Architecture::of_machine()?);
        let binary = progress::step("build the operator", || image.build_binary())?;
        let archive = local.paths().dir().join("images/portcullis.tar");
        image.image(&binary)?.write_archive(&archive)?;
        local.load_image(&archive)?;
        Ok(OperatorImage::reference())
    }

    /// [`Self::usage`] beside other tests.
    ///
    /// # Errors
    /// Where the lock can't be taken.
    pub async fn shared(&self) -> Result<Option<Lock>> {
        self.usage(Usage::Shared).await
    }

    /// [`Self::usage`] alone, for a test that stops or changes parts of the cluster.
    ///
    /// # Errors
    /// Where the lock can't be taken.
    pub async fn exclusive(&self) -> Result<Option<Lock>> {
        self.usage(Usage::Exclusive).await
    }

    /// Waits for the right to use the cluster in a way; it is held while the guard lives. A cluster of the user's own has no
    /// such guard.
    ///
    /// # Errors
    /// Where the lock can't be taken.
    pub async fn usage(&self, usage: Usage) -> Result<Option<Lock>> {
        match &self.local {
            Some(local) => local.usage(usage).await.map(Some),
            None => Ok(None),
        }
    }
}

/// A node that is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryNode {
    local: LocalCluster,
    name: String,
}

impl TemporaryNode {
    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes the node now.
    ///
    /// # Errors
    /// Where it can't be removed.
    pub async fn remove(self) -> Result<()> {
        let (local, name) = (self.local.clone(), self.name.clone());
        std::mem::forget(self);
        local.remove_node(&name).await
    }
}

impl Drop for TemporaryNode {
    fn drop(&mut self) {
        let (local, name) = (self.local.clone(), self.name.clone());
        // Dropping can't wait for the test's runtime, so the removal has a runtime and a thread of its own.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(local.remove_node(&name))
        });
        match removed.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                progress::say(format_args!("the node {} can't be removed: {error:#}", self.name))
            }
            Err(_) => progress::say(format_args!("removing the node {} panicked", self.name)),
        }
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
