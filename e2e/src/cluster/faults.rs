//! Stopping, killing and starting parts of the local cluster.

use anyhow::Result;
use rustix::process::Signal;

use super::Cluster;
use crate::{
    control_plane,
    node::{self, STOP_PATIENCE},
};

/// A part of the local cluster that a test may stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// The store behind the API server.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controller manager.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// What makes ClusterIP services work.
    Proxy,
    /// A node's container runtime, by the node's name. Its containers go on.
    Containerd(String),
    /// A node's kubelet, by the node's name. Its containers go on.
    Kubelet(String),
}

impl Component {
    /// The name of its process and its log.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Etcd => control_plane::ETCD.to_owned(),
            Self::ApiServer => control_plane::API_SERVER.to_owned(),
            Self::ControllerManager => control_plane::CONTROLLER_MANAGER.to_owned(),
            Self::Scheduler => control_plane::SCHEDULER.to_owned(),
            Self::Proxy => control_plane::PROXY.to_owned(),
            Self::Containerd(name) => node::containerd_of(name),
            Self::Kubelet(name) => node::kubelet_of(name),
        }
    }
}

impl Cluster {
    /// Stops a part as a service manager would: asks it to end and waits. Hold [`Cluster::usage`] exclusively meanwhile.
    ///
    /// # Errors
    /// Where it does not end, or the cluster is the user's own.
    pub fn stop(&self, component: &Component) -> Result<()> {
        let local = self.require_local("stopping a component")?;
        local.supervisor().stop(&component.name(), Signal::TERM, STOP_PATIENCE)
    }

    /// Kills a part without warning and waits until it is gone.
    ///
    /// # Errors
    /// Where it does not end, or the cluster is the user's own.
    pub fn kill(&self, component: &Component) -> Result<()> {
        let local = self.require_local("killing a component")?;
        local.supervisor().stop(&component.name(), Signal::KILL, STOP_PATIENCE)
    }

    /// Freezes a part: it holds its connections but says nothing, as on a machine that swaps or a network that drops.
    ///
    /// # Errors
    /// Where it does not run, or the cluster is the user's own.
    pub fn freeze(&self, component: &Component) -> Result<()> {
        self.require_local("freezing a component")?.supervisor().signal(&component.name(), Signal::STOP)
    }

    /// Lets a frozen part go on.
    ///
    /// # Errors
    /// Where it does not run, or the cluster is the user's own.
    pub fn thaw(&self, component: &Component) -> Result<()> {
        self.require_local("thawing a component")?.supervisor().signal(&component.name(), Signal::CONT)
    }

    /// Starts a stopped part again, as it was, and waits until it answers.
    ///
    /// # Errors
    /// Where it runs already or does not come up, or the cluster is the user's own.
    pub async fn start(&self, component: &Component) -> Result<()> {
        let local = self.require_local("starting a component")?;
        local.supervisor().start_again(&component.name())?;
        local.wait_for(component).await
    }

    /// Stops a part and starts it again.
    ///
    /// # Errors
    /// Those of [`Self::stop`] and [`Self::start`].
    pub async fn restart(&self, component: &Component) -> Result<()> {
        self.stop(component)?;
        self.start(component).await
    }
}
