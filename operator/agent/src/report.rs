//! Writes the node's status: at once when nothing was written lately, else some ten times a second at most, until it sticks.

use std::time::Duration;

use kube::{
    Api, Resource as _,
    api::{Patch, PatchParams},
};
use portcullis_api::{AGENT_MANAGER, SeccompNode, SeccompNodeStatus};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{keep::Node, metrics::Metrics, settings::jittered, sync::backoff};

/// Between two patches.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The status is written again after so long, in case the object was made anew; the API server stores nothing if it is the same.
const REASSERT: Duration = Duration::from_secs(600);

/// Writes every status that comes until shutdown.
pub(crate) async fn report(
    api: Api<SeccompNode>,
    node: Node,
    mut statuses: watch::Receiver<Option<SeccompNodeStatus>>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let report = async {
        loop {
            // Closed only while the process ends, which the outer select sees.
            match timeout(jittered(REASSERT), statuses.changed()).await {
                Ok(Err(_)) => return,
                Ok(Ok(())) | Err(_) => write(&api, &node, &mut statuses, &metrics).await,
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = report => shutdown.cancelled().await,
        () = shutdown.cancelled() => {}
    }
}

/// Writes the newest status until the API server has taken it.
async fn write(
    api: &Api<SeccompNode>,
    node: &Node,
    statuses: &mut watch::Receiver<Option<SeccompNodeStatus>>,
    metrics: &Metrics,
) {
    let mut waits = false;
    for pause in backoff() {
        let Some(status) = statuses.borrow_and_update().clone() else { return };
        let params = PatchParams::apply(AGENT_MANAGER).force();
        let patch = Patch::Apply(json!({
            "apiVersion": SeccompNode::api_version(&()),
            "kind": SeccompNode::kind(&()),
            "metadata": { "name": node.name() },
            "status": status,
        }));
        match timeout(PATIENCE, api.patch_status(node.name(), &params, &patch)).await {
            Ok(Ok(object)) => {
                metrics.reports.inc();
                node.learn(&object);
                debug!(node = node.name(), "wrote the status");
                return;
            }
            // The controller makes the object when it sees the node.
            Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => {
                if !waits {
                    info!(node = node.name(), "waits for the controller to make SeccompNode {}", node.name());
                }
                waits = true;
            }
            Ok(Err(error)) => {
                metrics.report_errors.inc();
                warn!(error = &error as &dyn std::error::Error, "can't write SeccompNode {}", node.name());
            }
            Err(_) => {
                metrics.report_errors.inc();
                warn!(
                    "no answer to the status of SeccompNode {} within {} s",
                    node.name(),
                    PATIENCE.as_secs()
                );
            }
        }
        sleep(pause).await;
    }
}
