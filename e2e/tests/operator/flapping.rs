//! Somebody who has an agent's token and lies with it: the node is left out, and no profile pays for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Event};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, WatchEvent, WatchParams},
};
use portcullis_api::{SeccompNode, SeccompProfile};
use portcullis_e2e::{
    Operator,
    operator::{CONTROLLERS, SYSTEM_NAMESPACE},
    testing::{
        Seen, await_object, eventually, is_ready,
        profiles::{PATIENCE, await_ready, is_ready_now, local_operator, numbered, profile},
        with_token,
    },
};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::support::{await_event, undisturbed};

const NODE: &str = "node2";
/// For how long the token lies, and how often.
const LYING: Duration = Duration::from_secs(60);
const FLIP: Duration = Duration::from_millis(100);
/// For how long the node's word has to last here.
const STEADY: u32 = 20;

/// Runs a test with controllers that take a node back sooner, and brings the usual ones back whatever came of it.
async fn with_less_patience(operator: &Operator, test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    set_environment(operator, json!({ "name": "PORTCULLIS_STEADY_SECONDS", "value": STEADY.to_string() }))
        .await?;
    let outcome = test().await;
    set_environment(operator, json!({ "name": "PORTCULLIS_STEADY_SECONDS", "$patch": "delete" })).await?;
    outcome
}

async fn set_environment(operator: &Operator, variable: Value) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(operator.cluster().client(), SYSTEM_NAMESPACE);
    let name = "portcullis-controller";
    let containers = json!([{ "name": "controller", "env": [variable] }]);
    let patch = Patch::Strategic(json!({ "spec": { "template": { "spec": { "containers": containers } } } }));
    let generation = deployments.patch(name, &PatchParams::default(), &patch).await?.metadata.generation;
    await_object(&deployments, name, "rolled out", PATIENCE * 2, |deployment: &Deployment| {
        deployment.status.as_ref().is_some_and(|status| {
            status.observed_generation >= generation
                && status.replicas == status.updated_replicas
                && status.replicas == status.available_replicas
        })
    })
    .await?;
    eventually("no older controller is left", PATIENCE, async || {
        let pods = operator.pods(CONTROLLERS).await?;
        let so = pods.iter().all(is_ready);
        Ok(if so { Seen::Done(()) } else { Seen::NotYet(format!("{} pods", pods.len())) })
    })
    .await
}

/// How often a profile's status was written while something else went on, and how often its Ready fell.
async fn writes_during(
    profiles: &Api<SeccompProfile>,
    name: &str,
    during: impl Future<Output = Result<()>>,
) -> Result<(usize, usize)> {
    let before = profiles.get(name).await?;
    let version = before.resource_version().context("no version")?;
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(290);
    let mut events = profiles.watch(&params, &version).await?.boxed();
    let (mut writes, mut falls) = (0, 0);
    let mut was_ready = is_ready_now(&before);
    tokio::pin!(during);
    loop {
        tokio::select! {
            ended = &mut during => return ended.map(|()| (writes, falls)),
            event = events.try_next() => match event?.context("the watch ended")? {
                WatchEvent::Modified(profile) => {
                    writes += 1;
                    let ready = is_ready_now(&profile);
                    falls += usize::from(was_ready && !ready);
                    was_ready = ready;
                }
                WatchEvent::Bookmark(_) => {}
                other => anyhow::bail!("{other:?}"),
            },
        }
    }
}

/// Has the node's token say in turn that nothing is known of its files, and what is so.
async fn lie(node: &Api<SeccompNode>, truth: &Value) -> Result<()> {
    let lie = json!(format!("sha256:{}", "0".repeat(64)));
    let until = Instant::now() + LYING;
    let mut flips = interval(FLIP);
    let mut is_lie = false;
    while Instant::now() < until || is_lie {
        flips.tick().await;
        is_lie = !is_lie;
        let digest = if is_lie { &lie } else { truth };
        let patch = Patch::Merge(json!({ "status": { "digest": digest } }));
        node.patch_status(NODE, &PatchParams::default(), &patch).await.context("the token's lie")?;
    }
    Ok(())
}

/// The condition `Steady` of a node, at this status.
fn steady(status: &'static str) -> impl Fn(&SeccompNode) -> bool {
    move |node| {
        let conditions = node.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == "Steady" && condition.status == status)
    }
}

fn counted(profile: &SeccompProfile) -> Option<u32> {
    profile.status.as_ref().and_then(|status| status.nodes.as_ref()).map(|nodes| nodes.desired)
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_token_that_flips_its_nodes_report_has_the_node_left_out_and_nothing_else() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "flapping", async |namespace| {
        with_less_patience(&operator, async || {
            let profiles: Api<SeccompProfile> = namespace.api();
            namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
            await_ready(&profiles, "web").await?;
            let all = counted(&profiles.get("web").await?).context("no counts")?;

            let agent = operator.agent_on(NODE).await?;
            let token: Api<SeccompNode> =
                Api::all(with_token(operator.cluster(), "portcullis-agent", Some(&agent)).await?);
            let nodes: Api<SeccompNode> = Api::all(namespace.client());
            let truth =
                nodes.get(NODE).await?.status.and_then(|status| status.digest).context("no digest")?;
            let lying = async {
                lie(&token, &json!(truth)).await?;
                await_object(&nodes, NODE, "left out", PATIENCE, steady("False")).await.map(drop)
            };
            let (writes, falls) = writes_during(&profiles, "web", lying).await?;
            ensure!(falls <= 1, "Ready fell {falls} times");
            ensure!(writes <= 3, "{writes} writes in a minute");
            let events: Api<Event> = Api::namespaced(namespace.client(), "default");
            await_event(&events, "NodeLeftOut", "SeccompNode", &[NODE]).await?;

            // Profiles are Ready without it, and don't claim that it has them.
            namespace.apply(&profile("new", &json!({ "profile": numbered(2) })))?;
            await_ready(&profiles, "new").await?;
            let of_new = counted(&profiles.get("new").await?);
            let node = nodes.get(NODE).await?;
            ensure!(steady("True")(&node) || of_new == Some(all - 1), "{of_new:?} of {all} nodes count");

            let patience = PATIENCE + Duration::from_secs(STEADY.into());
            await_object(&nodes, NODE, "steady again", patience, steady("True")).await?;
            await_event(&events, "NodeSteady", "SeccompNode", &[NODE]).await?;
            namespace.apply(&profile("newer", &json!({ "profile": numbered(3) })))?;
            await_ready(&profiles, "newer").await?;
            let of_newer = counted(&profiles.get("newer").await?);
            ensure!(of_newer == Some(all), "{of_newer:?} of {all} nodes count");
            ensure!(is_ready_now(&profiles.get("web").await?), "web is not Ready");
            Ok(())
        })
        .await
    })
    .await
}
