//! The nodes on which pods of a recording run, and ran meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
};

use anyhow::Result;
use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, ResourceExt as _,
    core::Selector,
    runtime::{WatchStreamExt as _, watcher},
};
use portcullis_api::SeccompRecording;

use crate::cluster::{Cluster, failure::Attempt};

type Events = Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<Pod>>> + Send>>;

/// What is known of them.
pub(super) struct Nodes {
    namespace: String,
    events: Result<Events, String>,
    /// By pod.
    running: BTreeMap<String, String>,
    running_nodes: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Nodes {
    /// Begins to look.
    pub(super) fn watch(cluster: &Cluster, recording: &SeccompRecording) -> Self {
        let namespace = recording.namespace().unwrap_or_else(|| cluster.namespace.clone());
        let selector = Selector::try_from(LabelSelector::from(&recording.spec.pod_selector));
        let api: Api<Pod> = Api::namespaced(cluster.watching.clone(), &namespace);
        let events = selector.map_err(|error| format!("spec.podSelector: {error}")).map(|selector| {
            let config = watcher::Config::default().labels_from(&selector);
            Box::pin(watcher(api, config).default_backoff()) as Events
        });
        Self {
            namespace,
            events,
            running: BTreeMap::new(),
            running_nodes: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Waits until all pods are known that there are. Gives the reason where they may not be read.
    pub(super) async fn listed(&mut self) -> Option<anyhow::Error> {
        loop {
            match self.next().await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(error) => {
                    self.events = Err(error.to_string());
                    return Some(error);
                }
            }
        }
    }

    /// Takes in what comes, without end.
    pub(super) async fn follow(&mut self) {
        while self.next().await.is_ok() {}
        std::future::pending::<()>().await;
    }

    /// Takes in one event, and says whether the list is complete by it.
    async fn next(&mut self) -> Result<bool> {
        let events = match &mut self.events {
            Ok(events) => events,
            Err(why) => anyhow::bail!("{why}"),
        };
        match events.next().await {
            Some(Ok(watcher::Event::InitApply(pod))) => {
                // One that had ended before does nothing in the run.
                if runs(&pod) {
                    self.take(&pod);
                }
            }
            Some(Ok(watcher::Event::Apply(pod))) => self.take(&pod),
            Some(Ok(watcher::Event::Delete(pod))) => drop(self.running.remove(&pod.name_any())),
            Some(Ok(watcher::Event::InitDone)) => {
                self.running_nodes = self.running.values().cloned().collect();
                return Ok(true);
            }
            Some(Err(watcher::Error::InitialListFailed(error @ kube::Error::Api(_)))) => {
                return Err(Attempt::new::<Pod>("list", Some(&self.namespace)).failed(&error));
            }
            // The watch is taken up again.
            Some(Ok(watcher::Event::Init) | Err(_)) => {}
            None => anyhow::bail!("the watch of pods has ended"),
        }
        Ok(false)
    }

    fn take(&mut self, pod: &Pod) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let Some(node) = node.filter(|_| statuses(pod).any(has_run)) else { return };
        self.seen.insert(node.clone());
        if runs(pod) {
            self.running.insert(pod.name_any(), node);
        } else {
            self.running.remove(&pod.name_any());
        }
    }

    /// Nodes on which pods ran when the list was complete.
    pub(super) const fn running(&self) -> &BTreeSet<String> {
        &self.running_nodes
    }

    /// Nodes on which pods ran at any time since.
    pub(super) const fn seen(&self) -> &BTreeSet<String> {
        &self.seen
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let lists = pod.status.iter().flat_map(|status| {
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses]
    });
    lists.flatten().flatten()
}

fn has_run(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        || status.restart_count > 0
}

/// Whether a container of it runs.
fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let running =
        |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    !matches!(phase, Some("Succeeded" | "Failed")) && statuses(pod).any(running)
}
