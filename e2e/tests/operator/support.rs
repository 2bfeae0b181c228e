//! What several of these tests need.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use portcullis_api::{ALLOW_LOOSER_LABEL, Owner, SeccompNode};
use portcullis_e2e::{
    Cluster, Operator, Usage,
    operator::SYSTEM_NAMESPACE,
    testing::{
        NamespaceOptions, Seen, TestNamespace, await_object, eventually, impersonating, profiles::PATIENCE,
        with_namespace_options,
    },
};
use sha2::{Digest as _, Sha256};

/// How long a node may need to be Ready after an earlier test had stopped its kubelet.
const RECOVERY: Duration = Duration::from_secs(120);

/// Runs a test that has the cluster for itself, in a namespace of its own, once the cluster is as it was installed: an earlier test may
/// have stopped a kubelet or killed an agent.
pub(crate) async fn undisturbed<Running>(
    operator: &Operator,
    purpose: &str,
    test: impl FnOnce(TestNamespace) -> Running,
) -> Result<()>
where
    Running: Future<Output = Result<()>>,
{
    let alone = NamespaceOptions { labels: BTreeMap::new(), usage: Usage::Exclusive };
    with_namespace_options(operator.cluster(), purpose, alone, async |namespace| {
        await_recovery(operator).await.context("an earlier test left the cluster disturbed")?;
        test(namespace).await
    })
    .await
}

/// Waits until every node is Ready and has an agent that runs and was never restarted: a kubelet waits twice as long before each restart.
async fn await_recovery(operator: &Operator) -> Result<()> {
    let nodes: Api<Node> = Api::all(operator.cluster().client());
    let reports: Api<SeccompNode> = Api::all(operator.cluster().client());
    for node in nodes.list(&ListParams::default()).await? {
        let node = node.name_any();
        await_object(&nodes, &node, "Ready", RECOVERY, is_node_ready).await?;
        if restarts(&operator.agent_on(&node).await?) > 0 {
            operator.replace_agent(&node).await?;
        }
        let agent = operator.agent_on(&node).await?.uid();
        let reported = |report: &SeccompNode| {
            report.status.as_ref().is_some_and(|status| {
                let running =
                    status.conditions.iter().any(|one| one.type_ == "AgentReady" && one.status == "True");
                running && status.agent_pod_uid == agent
            })
        };
        await_object(&reports, &node, "reported by its agent", RECOVERY, reported).await?;
    }
    Ok(())
}

fn is_node_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}

/// The namespace may hold profiles that are looser than the runtime default.
pub(crate) fn permitted() -> NamespaceOptions {
    let labels = BTreeMap::from([(ALLOW_LOOSER_LABEL.to_owned(), "true".to_owned())]);
    NamespaceOptions { labels, usage: Usage::Shared }
}

/// The profile of a name in a test's namespace.
pub(crate) fn owner(namespace: &TestNamespace, name: &str) -> Result<Owner> {
    Ok(Owner::namespaced(namespace.name(), name)?)
}

/// A content's digest, worked out apart from the operator's own code.
pub(crate) fn sha256(content: &str) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A client that speaks as the controller: the deliberate way for an administrator to write revisions.
pub(crate) async fn as_controller(cluster: &Cluster) -> Result<Client> {
    impersonating(cluster, &format!("system:serviceaccount:{SYSTEM_NAMESPACE}:portcullis-controller")).await
}

/// Waits until an Event on an object of some kind says all of this.
pub(crate) async fn await_event(events: &Api<Event>, reason: &str, kind: &str, words: &[&str]) -> Result<()> {
    let told = format!("an Event {reason} on a {kind} says {words:?}");
    eventually(&told, PATIENCE, async || {
        let all = events.list(&ListParams::default()).await?.items.into_iter();
        let own = all.filter(|event| {
            event.reason.as_deref() == Some(reason) && event.involved_object.kind.as_deref() == Some(kind)
        });
        let notes: Vec<String> = own.filter_map(|event| event.message).collect();
        let so = notes.iter().any(|note| words.iter().all(|word| note.contains(word)));
        Ok(if so { Seen::Done(()) } else { Seen::NotYet(format!("{notes:?}")) })
    })
    .await
}

/// A number from the API server's own metrics: the sum of all samples of `apiserver_request_total` whose labels satisfy a predicate.
pub(crate) async fn requests(operator: &Operator, counts: impl Fn(&str) -> bool) -> Result<f64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = operator.cluster().client().request_text(request).await?;
    let counted = |line: &&str| line.starts_with("apiserver_request_total{") && counts(line);
    Ok(text.lines().filter(counted).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}
