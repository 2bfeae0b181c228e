//! Requests to the API server, apart from watches.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use portcullis_api::{InvalidPart, LostCounts, RECORDER_MANAGER, SeccompRecordingPart};
use portcullis_profile::recording::{Ledger, Losses, Platform};
use serde_json::json;
use tokio::time::timeout;

use crate::session::Key;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The API server refused it or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// No answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
}

impl Failed {
    /// Whether the recording's namespace is being deleted, or is gone: then there is nothing to write to, and nothing is wrong.
    pub(crate) fn is_of_a_namespace_that_goes(&self) -> bool {
        let Self::Api(kube::Error::Api(status)) = self else { return false };
        // `NamespaceTerminatingCause` in k8s.io/api/core/v1/types.go.
        let terminating = status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.reason == "NamespaceTerminating");
        terminating || status.code == 404
    }
}

/// What the node's part says, read at the start of a recording.
#[derive(Debug)]
pub(crate) struct Read {
    /// Empty where there is none yet.
    pub(crate) ledger: Ledger,
    /// The part is there and can't be read.
    pub(crate) invalid: Option<InvalidPart>,
    /// Where it is recorded.
    pub(crate) platform: Option<Platform>,
    /// The recording's generation that an earlier recorder took in.
    pub(crate) observed_generation: Option<i64>,
    /// What the node's counters of losses said when the recording began here.
    pub(crate) lost_before: Option<Losses>,
}

/// The API server.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    node: String,
}

impl Requests {
    pub(crate) fn new(client: Client, node: String) -> Self {
        Self { client, node }
    }

    /// Reads this node's part of a recording, and what the node runs.
    pub(crate) async fn read(&self, key: &Key, uid: &str) -> Result<Read, Failed> {
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), &key.namespace);
        let part = patient(parts.get_opt(&format!("{}.{}", key.name, self.node))).await?;
        // Of an earlier recording of that name: it goes with its owner.
        let part = part.filter(|part| part.spec.recording_uid == uid);
        let observed_generation = part.as_ref().and_then(|part| part.spec.observed_generation);
        let lost_before = part.as_ref().and_then(|part| part.spec.lost_before).map(LostCounts::losses);
        let (ledger, invalid) = match part.map(|part| part.spec.ledger()) {
            None => (Ledger::default(), None),
            Some(Ok(ledger)) => (ledger, None),
            Some(Err(invalid)) => (Ledger::default(), Some(invalid)),
        };
        Ok(Read { ledger, invalid, platform: self.platform().await?, observed_generation, lost_before })
    }

    async fn platform(&self) -> Result<Option<Platform>, Failed> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node = patient(nodes.get_opt(&self.node)).await?;
        let info = node.and_then(|node| node.status).and_then(|status| status.node_info);
        Ok(info.map(|info| Platform { kernel: info.kernel_version, runtime: info.container_runtime_version }))
    }

    /// Writes this node's part of a recording.
    pub(crate) async fn write(&self, part: &SeccompRecordingPart) -> Result<(), Failed> {
        let namespace = part.metadata.namespace.as_deref().unwrap_or_default();
        let name = part.metadata.name.as_deref().unwrap_or_default();
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), namespace);
        let body = json!(part);
        // Forced: nobody else writes it.
        let params = PatchParams::apply(RECORDER_MANAGER).force();
        patient(parts.patch(name, &params, &Patch::Apply(&body))).await.map(drop)
    }
}

async fn patient<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failed> {
    timeout(PATIENCE, request).await.map_err(|_| Failed::TimedOut)?.map_err(Failed::from)
}
