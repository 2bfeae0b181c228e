//! Parts of the cluster that fail, and nodes that come and go.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::{Api, ResourceExt as _};
use portcullis_api::{SeccompNode, SeccompProfile};
use portcullis_e2e::{
    Cluster, Component, NodeOptions, Operator,
    testing::{
        Seen,
        agents::AgentProcess,
        await_gone, await_object, eventually,
        profiles::{
            PATIENCE, await_ready, current_content, ensure_served, is_ready_now, local_operator, numbered,
            profile,
        },
    },
};
use serde_json::json;

use crate::support::{owner, undisturbed};

const NODE: &str = "node1";

/// Spoils a file and waits until it is whole again.
async fn ensure_guarded(what: &str, file: &Path, content: &str) -> Result<()> {
    fs::write(file, "spoilt").with_context(|| file.display().to_string())?;
    eventually(&format!("a file is repaired {what}"), PATIENCE, async || {
        let found = fs::read_to_string(file).unwrap_or_else(|error| error.to_string());
        Ok(if found == content { Seen::Done(()) } else { Seen::NotYet(found) })
    })
    .await
}

/// Runs a test without a component, and starts it again whatever came of the test.
async fn without(
    cluster: &Cluster,
    component: Component,
    kill: bool,
    test: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    if kill {
        cluster.kill(&component)?
    } else {
        cluster.stop(&component)?
    }
    let outcome = test().await;
    cluster.start(&component).await?;
    outcome
}

/// An edit reaches every node again.
async fn ensure_works(
    operator: &Operator,
    namespace: &portcullis_e2e::testing::TestNamespace,
    number: u32,
) -> Result<()> {
    let web = owner(namespace, "web")?;
    let spec = json!({ "profile": numbered(number) });
    eventually("the API server takes an edit", PATIENCE, async || {
        Ok(namespace
            .apply(&profile("web", &spec))
            .map_or_else(|error| Seen::NotYet(error.to_string()), |_| Seen::Done(())))
    })
    .await?;
    await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
    let content = current_content(operator.cluster(), &web).await?;
    ensure!(content.contains(&format!("\"value\":{number},")), "{content}");
    ensure_served(operator, &web.current_path(), &content)
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn files_are_guarded_while_the_api_server_is_down_even_by_an_agent_that_starts_meanwhile() -> Result<()>
{
    let operator = local_operator().await?;
    undisturbed(&operator, "api", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let web = owner(&namespace, "web")?;
        let content = current_content(operator.cluster(), &web).await?;
        let file = operator.file(NODE, &web.current_path())?;
        without(operator.cluster(), Component::ApiServer, false, async || {
            ensure_guarded("while the API server is down", &file, &content).await?;
            AgentProcess::on(&operator, NODE)?.kill()?;
            // Spoilt before the next agent starts, and again while it runs.
            ensure_guarded("by an agent that starts without an API server", &file, &content).await?;
            ensure_guarded("by an agent that never met an API server", &file, &content).await
        })
        .await?;
        ensure_works(&operator, &namespace, 2).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_killed_etcd_stops_nothing_but_changes() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "etcd", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let web = owner(&namespace, "web")?;
        let content = current_content(operator.cluster(), &web).await?;
        let file = operator.file(NODE, &web.current_path())?;
        without(operator.cluster(), Component::Etcd, true, async || {
            ensure_guarded("while etcd is down", &file, &content).await
        })
        .await?;
        ensure_works(&operator, &namespace, 2).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn an_api_server_that_hangs_is_left_for_one_that_answers() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "hang", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let web = owner(&namespace, "web")?;
        let content = current_content(operator.cluster(), &web).await?;
        let file = operator.file(NODE, &web.current_path())?;
        operator.cluster().freeze(&Component::ApiServer)?;
        let guarded = ensure_guarded("while the API server hangs", &file, &content).await;
        operator.cluster().thaw(&Component::ApiServer)?;
        guarded?;
        ensure_works(&operator, &namespace, 2).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_node_that_joins_gets_every_file_and_counts_until_it_leaves() -> Result<()> {
    const JOINING: Duration = Duration::from_secs(120);
    let operator = local_operator().await?;
    undisturbed(&operator, "joining", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        for number in 0..20 {
            namespace.apply(&profile(&format!("p{number}"), &json!({ "profile": numbered(number) })))?;
        }
        let mut contents = Vec::new();
        let mut versions = Vec::new();
        for number in 0..20 {
            let name = format!("p{number}");
            await_ready(&profiles, &name).await?;
            let owner = owner(&namespace, &name)?;
            contents.push((owner.current_path(), current_content(operator.cluster(), &owner).await?));
            versions.push(profiles.get(&name).await?.resource_version());
        }
        let before = profiles.get("p0").await?.status.and_then(|status| status.nodes).context("no counts")?;

        let added = operator.cluster().add_node("node3", &NodeOptions::default()).await?;
        let nodes: Api<SeccompNode> = Api::all(namespace.client());
        eventually("the new node has an object", JOINING, async || {
            Ok(nodes.get_opt("node3").await?.map_or(Seen::NotYet("none".to_owned()), |_| Seen::Done(())))
        })
        .await?;
        let counts = |desired: u32| {
            move |profile: &SeccompProfile| {
                let counts = profile.status.as_ref().and_then(|status| status.nodes.as_ref());
                is_ready_now(profile)
                    && counts.is_some_and(|nodes| (nodes.ready, nodes.desired) == (desired, desired))
            }
        };
        // What the others have may still change: files of an earlier test's profiles go.
        eventually("the new node reports what the others have", JOINING, async || {
            let digest =
                async |name| anyhow::Ok(nodes.get(name).await?.status.and_then(|status| status.digest));
            let (new, other) = (digest("node3").await?, digest(NODE).await?);
            Ok(if new.is_some() && new == other {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("{new:?} and not {other:?}"))
            })
        })
        .await?;
        for (path, content) in &contents {
            let file = operator.file("node3", path)?;
            let found = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            ensure!(found == *content, "{}: {found}", file.display());
        }
        // The others' counts may wait. A profile whose status is written anyway counts it.
        namespace.apply(&profile("after", &json!({ "profile": numbered(100) })))?;
        await_object(&profiles, "after", "on the new node", JOINING, counts(before.desired + 1)).await?;
        added.remove().await?;
        await_gone(&nodes, "node3", JOINING).await?;
        namespace.apply(&profile("later", &json!({ "profile": numbered(101) })))?;
        await_object(&profiles, "later", "without the node", JOINING, counts(before.desired)).await?;
        for (number, version) in versions.into_iter().enumerate() {
            let name = format!("p{number}");
            let now = profiles.get(&name).await?.resource_version();
            ensure!(now == version, "the node was a write for {name}");
        }
        Ok(())
    })
    .await
}
