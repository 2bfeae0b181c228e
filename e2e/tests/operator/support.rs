//! What several of these tests need.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};
use portcullis_api::{ALLOW_LOOSER_LABEL, Owner};
use portcullis_e2e::{
    Cluster, Operator, Usage,
    operator::SYSTEM_NAMESPACE,
    testing::{NamespaceOptions, Seen, TestNamespace, eventually, impersonating, profiles::PATIENCE},
};
use sha2::{Digest as _, Sha256};

/// The test has the cluster for itself.
pub(crate) fn alone() -> NamespaceOptions {
    NamespaceOptions { labels: BTreeMap::new(), usage: Usage::Exclusive }
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
