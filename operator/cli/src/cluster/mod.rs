//! A cluster: how it is reached, and what commands read of it.

pub(crate) mod age;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod follow;
pub(crate) mod pages;
pub(crate) mod paths;
pub(crate) mod pod;
pub(crate) mod profiles;
pub(crate) mod recordings;
pub(crate) mod revisions;
pub(crate) mod sandbox;
pub(crate) mod usage;
pub(crate) mod workload;

#[cfg(test)]
pub(crate) mod fake;

use anyhow::{Context as _, Result};
use clap::Args;
use kube::Client;

pub(crate) use connection::Connection;

/// A cluster, as whoever the kubeconfig says.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Without a limit on how long an answer may take.
    pub(crate) watching: Client,
    /// The namespace of the flags or of the context.
    pub(crate) namespace: String,
    /// The API server's address.
    pub(crate) server: String,
}

impl Cluster {
    /// A command's own namespace or all.
    pub(crate) fn scope(&self, everywhere: Everywhere) -> Scope {
        if everywhere.all_namespaces { Scope::All } else { Scope::Namespace(self.namespace.clone()) }
    }
}

/// For commands that can read every namespace.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Everywhere {
    /// Every namespace.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
}

/// Which namespaces a command reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every one.
    All,
    /// One.
    Namespace(String),
}

impl Scope {
    /// The namespace where it is one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::All => "the cluster".to_owned(),
            Self::Namespace(namespace) => format!("the namespace {namespace}"),
        }
    }
}

/// Runs what a command does with the cluster that its flags name; where that can't be reached, the error says which it is.
pub(crate) fn with<T, F>(connection: &Connection, work: impl FnOnce(Cluster) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    wait(async {
        let cluster = connection.connect().await?;
        let server = cluster.server.clone();
        work(cluster).await.map_err(|error| match failure::FailureKind::of_attempt(&error) {
            failure::FailureKind::Unreachable => error.context(server),
            _ => error,
        })
    })
}

/// Runs what waits for a cluster's answers.
pub(crate) fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime for network connections can't be started")?;
    runtime.block_on(work)
}
