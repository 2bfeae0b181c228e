//! Candidates for completion that come from the kubeconfig and the cluster.
//!
//! Somebody waits with a finger on a key, so what takes too long or fails completes nothing, and says nothing.

use std::{ffi::OsString, sync::OnceLock, time::Duration};

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompletionCandidate;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    batch::v1::CronJob,
    core::v1::Namespace,
};
use kube::{Api, Resource, api::ListParams, config::Kubeconfig, core::NamespaceResourceScope};
use portcullis_api::{ClusterSeccompProfile, ProfileKind, SeccompProfile, SeccompRecording};
use serde::de::DeserializeOwned;

use crate::{
    cli::Cli,
    cluster::{self, Cluster, Connection, profiles},
};

/// How long a key press may take.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most candidates of a kind; nobody reads more.
const MAX_CANDIDATES: u32 = 500;

/// The words of the command line so far: they may name another cluster or namespace.
static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Keeps the words of the command line.
pub(crate) fn keep_words(words: Vec<OsString>) {
    // Only one command line is completed in a process.
    let _ = WORDS.set(words);
}

fn connection() -> Connection {
    let words = WORDS.get().map(Vec::as_slice).unwrap_or_default();
    // The last word is being typed.
    connection_of(words.split_last().map(|(_, whole)| whole).unwrap_or_default())
}

/// What a command line that is not whole says of the connection.
fn connection_of(words: &[OsString]) -> Connection {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words);
    let Ok(mut matches) = matches else { return Connection::default() };
    // `record export` is two commands deep.
    while let Some((_, below)) = matches.remove_subcommand() {
        matches = below;
    }
    if matches.try_contains_id("namespace").is_err() {
        // The words end before a command that has a connection.
        return Connection::default();
    }
    Connection::from_arg_matches(&matches).unwrap_or_default()
}

/// What a cluster answers in time.
fn ask<F>(question: impl FnOnce(Cluster) -> F) -> Vec<CompletionCandidate>
where
    F: Future<Output = anyhow::Result<Vec<CompletionCandidate>>>,
{
    let answer = cluster::wait(async {
        let asked = async { question(connection().connect().await?).await };
        tokio::time::timeout(PATIENCE, asked).await?
    });
    answer.unwrap_or_default()
}

/// The contexts of the kubeconfig.
pub(crate) fn contexts() -> Vec<CompletionCandidate> {
    let connection = connection();
    let read = connection.kubeconfig.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let contexts = read.map(|kubeconfig| kubeconfig.contexts).unwrap_or_default();
    contexts.into_iter().map(|context| CompletionCandidate::new(context.name)).collect()
}

/// The cluster's namespaces.
pub(crate) fn namespaces() -> Vec<CompletionCandidate> {
    ask(async |cluster| names(&Api::<Namespace>::all(cluster.client), "").await)
}

/// The profiles of the namespace by their names, and those of the cluster as `csp/NAME`.
pub(crate) fn profiles() -> Vec<CompletionCandidate> {
    ask(async |cluster| {
        let own = Api::<SeccompProfile>::namespaced(cluster.client.clone(), &cluster.namespace);
        let mut found = names(&own, "").await?;
        let prefix = format!("{}/", profiles::short(ProfileKind::ClusterSeccompProfile));
        let clusters = names(&Api::<ClusterSeccompProfile>::all(cluster.client), &prefix).await;
        found.extend(clusters.unwrap_or_default());
        Ok(found)
    })
}

/// The namespace's recordings.
pub(crate) fn recordings() -> Vec<CompletionCandidate> {
    ask(async |cluster| {
        names(&Api::<SeccompRecording>::namespaced(cluster.client.clone(), &cluster.namespace), "").await
    })
}

/// The namespace's workloads that a profile can be put into.
pub(crate) fn workloads() -> Vec<CompletionCandidate> {
    ask(async |cluster| {
        let mut found = of::<Deployment>(&cluster, "deploy/").await?;
        found.extend(of::<StatefulSet>(&cluster, "sts/").await?);
        found.extend(of::<DaemonSet>(&cluster, "ds/").await?);
        found.extend(of::<CronJob>(&cluster, "cronjob/").await?);
        Ok(found)
    })
}

async fn of<K>(cluster: &Cluster, prefix: &str) -> anyhow::Result<Vec<CompletionCandidate>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    names(&Api::<K>::namespaced(cluster.client.clone(), &cluster.namespace), prefix).await
}

async fn names<K>(api: &Api<K>, prefix: &str) -> anyhow::Result<Vec<CompletionCandidate>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let found = api.list_metadata(&ListParams::default().limit(MAX_CANDIDATES)).await?;
    let names = found.into_iter().filter_map(|object| object.metadata.name);
    Ok(names.map(|name| CompletionCandidate::new(format!("{prefix}{name}"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_so_far_say_which_cluster_and_namespace() {
        let of = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let connection = connection_of(&words);
            (connection.namespace, connection.context)
        };
        let shop = (Some("shop".to_owned()), None);
        assert_eq!(of("kubectl-seccomp get -n shop"), shop);
        assert_eq!(of("kubectl-seccomp use web --pinned --namespace=shop"), shop);
        assert_eq!(of("kubectl-seccomp pin web --context prod -n shop"), (shop.0, Some("prod".to_owned())));
        assert_eq!(of("kubectl-seccomp record export -n shop").0.as_deref(), Some("shop"));
        assert_eq!(of("kubectl-seccomp record"), (None, None));
        assert_eq!(of("kubectl-seccomp get"), (None, None));
        assert_eq!(of("kubectl-seccomp"), (None, None));
    }
}
