//! Waiting until a profile is on every node.

use std::pin::pin;

use anyhow::{Result, bail};
use futures::TryStreamExt as _;
use kube::{
    Api,
    core::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt as _, watcher},
};
use portcullis_api::{
    ClusterSeccompProfile, ConditionType, Owner, ProfileKind, ProfileStatus, SeccompProfile,
};

use crate::{
    cluster::{Cluster, connection::Limit, follow, profiles},
    console::Console,
};

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The controller has not looked at the generation.
    Unseen,
    /// It goes on, in words.
    Going(String),
    /// It is done, in words.
    Ready(String),
    /// It ended without an end: why.
    Stalled(String),
}

/// Waits for a generation, and says whether it came to be Ready.
///
/// # Errors
/// Where the time is over, or the profile is deleted meanwhile.
pub(super) async fn wait(
    cluster: &Cluster,
    owner: &Owner,
    generation: Option<i64>,
    limit: Limit,
    console: &mut Console,
) -> Result<bool> {
    let mut last = Stage::Unseen;
    let followed = follow(cluster, owner, generation, &mut last, console);
    let ended = match limit.0 {
        Some(limit) => tokio::time::timeout(limit, followed).await.ok(),
        None => Some(followed.await),
    };
    match ended {
        Some(ended) => ended,
        None => bail!("{owner} is not Ready in time: {}", last.describe()),
    }
}

async fn follow(
    cluster: &Cluster,
    owner: &Owner,
    generation: Option<i64>,
    last: &mut Stage,
    console: &mut Console,
) -> Result<bool> {
    let client = cluster.watching.clone();
    let api: Api<DynamicObject> = match (owner.kind(), owner.namespace()) {
        (ProfileKind::SeccompProfile, Some(namespace)) => {
            Api::namespaced_with(client, namespace, &ApiResource::erase::<SeccompProfile>(&()))
        }
        _ => Api::all_with(client, &ApiResource::erase::<ClusterSeccompProfile>(&())),
    };
    let config = watcher::Config::default().fields(&format!("metadata.name={}", owner.name()));
    let mut events = pin!(watcher(api, config).default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                let stage = stage(&object, generation);
                if stage == *last {
                    continue;
                }
                *last = stage;
                match &*last {
                    Stage::Unseen => {}
                    Stage::Going(words) => console.say(format_args!("{}: {words}", owner.name())),
                    Stage::Ready(words) => {
                        writeln!(console.out(), "{}: {words}", owner.name())?;
                        console.flush()?;
                        return Ok(true);
                    }
                    Stage::Stalled(words) => {
                        console.say(format_args!("{}: stalled: {words}", owner.name()));
                        return Ok(false);
                    }
                }
            }
            Ok(Some(watcher::Event::Delete(_))) => bail!("{owner} was deleted while it was waited for"),
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
            // The watch is taken up again; what does not pass ends with the time.
            Err(error) => {
                if let Some(refusal) = follow::refusal(&profiles::attempt("watch", owner), error) {
                    return Err(refusal);
                }
            }
            Ok(None) => bail!("the watch of {owner} has ended"),
        }
    }
}

fn stage(object: &DynamicObject, generation: Option<i64>) -> Stage {
    let status = object.data.get("status").cloned().unwrap_or_default();
    let Ok(status) = serde_json::from_value::<ProfileStatus>(status) else { return Stage::Unseen };
    let condition = |kind: ConditionType| {
        status
            .conditions
            .iter()
            .find(|one| one.type_ == kind.as_str() && one.observed_generation >= generation)
    };
    if let Some(stalled) = condition(ConditionType::Stalled).filter(|stalled| stalled.status == "True") {
        return Stage::Stalled(format!("{}: {}", stalled.reason, stalled.message));
    }
    let nodes = status.nodes.clone().unwrap_or_default();
    match condition(ConditionType::Ready) {
        Some(ready) if ready.status == "True" => {
            let path = status.localhost_profile.as_deref().unwrap_or_default();
            Stage::Ready(format!("Ready on {} of {} nodes, as {path}", nodes.ready, nodes.desired))
        }
        Some(ready) if nodes.failing > 0 => Stage::Going(format!(
            "nodes {}/{}, {} failed: {}",
            nodes.ready, nodes.desired, nodes.failing, ready.message
        )),
        Some(_) if nodes.desired > 0 => Stage::Going(format!("nodes {}/{}", nodes.ready, nodes.desired)),
        Some(ready) => Stage::Going(ready.message.clone()),
        None => Stage::Unseen,
    }
}

impl Stage {
    fn describe(&self) -> String {
        match self {
            Self::Unseen => "the controller has not looked at it; does it run? `kubectl get pods -A -l \
                             app.kubernetes.io/name=portcullis` shows it"
                .to_owned(),
            Self::Going(words) | Self::Ready(words) | Self::Stalled(words) => words.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: &Value) -> Stage {
        let object = json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile", "metadata": {"name": "web"}, "status": status});
        stage(&serde_json::from_value(object).unwrap(), Some(2))
    }

    fn condition(kind: &str, status: &str, generation: i64) -> Value {
        json!({
            "type": kind, "status": status, "observedGeneration": generation, "reason": "Because", "message": "words",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    #[test]
    fn only_what_is_said_of_the_present_generation_counts() {
        let nodes = json!({"summary": "3/12", "ready": 3, "desired": 12, "failing": 0});
        assert_eq!(of(&json!({})), Stage::Unseen);
        assert_eq!(of(&json!({"conditions": [condition("Ready", "True", 1)]})), Stage::Unseen);
        assert_eq!(of(&json!({"conditions": [condition("Stalled", "True", 1)]})), Stage::Unseen);
        assert_eq!(
            of(&json!({"conditions": [condition("Ready", "False", 2)], "nodes": nodes})),
            Stage::Going("nodes 3/12".to_owned())
        );
        assert_eq!(
            of(
                &json!({"conditions": [condition("Ready", "True", 2)], "nodes": nodes, "localhostProfile": "p.json"})
            ),
            Stage::Ready("Ready on 3 of 12 nodes, as p.json".to_owned())
        );
        assert_eq!(
            of(&json!({"conditions": [condition("Ready", "False", 2), condition("Stalled", "True", 2)]})),
            Stage::Stalled("Because: words".to_owned())
        );
    }
}
