//! Agents and controllers that come and go: a Ready is never a claim that nobody can make.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use portcullis_api::{ConditionType, SeccompNode, SeccompProfile, SeccompRevision};
use portcullis_e2e::{
    Component, Operator,
    operator::{CONTROLLERS, SYSTEM_NAMESPACE},
    testing::{
        Seen, TestNamespace,
        agents::AgentProcess,
        await_object, eventually,
        profiles::{
            PATIENCE, await_ready, await_removed, await_served, condition, current_content, ensure_served,
            is_ready_now, local_operator, numbered, profile, revisions,
        },
    },
};
use serde_json::json;

use crate::support::{as_controller, owner, undisturbed};

const NODE: &str = "node2";

/// A profile's Ready, with its message, at any generation.
fn ready(profile: &SeccompProfile) -> Option<(bool, &str)> {
    condition(profile, ConditionType::Ready).map(|ready| (ready.status == "True", ready.message.as_str()))
}

/// Rolls the agents out anew, as an upgrade does, and waits until every node has its new one.
async fn roll_out(operator: &Operator) -> Result<()> {
    let daemon_sets: Api<DaemonSet> = Api::namespaced(operator.cluster().client(), SYSTEM_NAMESPACE);
    let name = "portcullis-agent";
    let before = daemon_sets.get(name).await?.metadata.generation;
    let restarted = json!({ "kubectl.kubernetes.io/restartedAt": Timestamp::now().to_string() });
    let patch = Patch::Merge(json!({ "spec": { "template": { "metadata": { "annotations": restarted } } } }));
    let generation = daemon_sets.patch(name, &PatchParams::default(), &patch).await?.metadata.generation;
    ensure!(generation > before, "nothing is to be rolled out");
    await_object(&daemon_sets, name, "rolled out", PATIENCE * 2, |daemon_set: &DaemonSet| {
        daemon_set.status.as_ref().is_some_and(|status| {
            let wanted = status.desired_number_scheduled;
            status.observed_generation == generation
                && status.updated_number_scheduled == Some(wanted)
                && status.number_available == Some(wanted)
        })
    })
    .await
    .map(drop)
}

/// Whether nothing has written to a profile since. Whoever leads has looked at everything once it has brought a new profile to every node.
async fn ensure_untouched(namespace: &TestNamespace, before: &SeccompProfile) -> Result<()> {
    let profiles: Api<SeccompProfile> = namespace.api();
    namespace.apply(&profile("new", &json!({ "profile": numbered(2) })))?;
    await_ready(&profiles, "new").await?;
    let after = profiles.get(&before.name_any()).await?;
    assert_eq!(
        after.resource_version(),
        before.resource_version(),
        "{:?} became {:?}",
        before.status,
        after.status
    );
    Ok(())
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_roll_out_of_the_agents_withdraws_no_ready() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "rollout", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready(&profiles, "web").await?;
        let before = profiles.get("web").await?;
        let old = operator.agent_on(NODE).await?;
        roll_out(&operator).await?;
        let new = operator.agent_on(NODE).await?;
        ensure!(new.uid() != old.uid(), "the agent was not replaced");
        let nodes: Api<SeccompNode> = Api::all(namespace.client());
        let told =
            |node: &SeccompNode| node.status.as_ref().is_some_and(|status| status.agent_pod_uid == new.uid());
        await_object(&nodes, NODE, "told of by its new agent", PATIENCE, told).await?;
        let metrics = operator.metrics(&new).await?;
        let written = metrics.get("portcullis_agent_files_written_total").context("no such metric")?;
        ensure!(*written == 0.0, "the new agent wrote {written} files that were there");
        ensure_untouched(&namespace, &before).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn what_a_node_reported_outlives_its_agent_and_a_new_revision_waits_for_the_next() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "agent", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        for name in ["web", "db"] {
            namespace.apply(&profile(name, &json!({ "profile": numbered(1) })))?;
            await_ready(&profiles, name).await?;
        }
        let since = |profile: &SeccompProfile| {
            condition(profile, ConditionType::Ready).map(|ready| ready.last_transition_time.clone())
        };
        let before = since(&profiles.get("db").await?);
        let kubelet = Component::Kubelet(NODE.to_owned());
        operator.cluster().stop(&kubelet)?;
        let waits = |profile: &SeccompProfile| {
            ready(profile).is_some_and(|(ready, message)| !ready && message.contains(NODE))
                && profile.status.as_ref().is_some_and(|status| status.observed_generation == Some(2))
        };
        // Without a kubelet the node counts for some seconds only, so whoever looks afterwards may be late.
        let seen = await_object(&profiles, "web", "waiting for the node", PATIENCE, waits);
        let edit = async {
            AgentProcess::on(&operator, NODE)?.kill()?;
            namespace.apply(&profile("web", &json!({ "profile": numbered(2) })))
        };
        let away = tokio::try_join!(seen, edit);
        operator.cluster().start(&kubelet).await?;
        away?;
        await_ready(&profiles, "web").await?;
        let db = profiles.get("db").await?;
        ensure!(is_ready_now(&db) && since(&db) == before, "Ready was withdrawn meanwhile: {:?}", db.status);
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_node_that_lost_its_files_while_no_agent_ran_gets_them_again() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "lost", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let mut contents = Vec::new();
        for name in ["web", "db"] {
            namespace.apply(&profile(name, &json!({ "profile": numbered(1) })))?;
            await_ready(&profiles, name).await?;
            let owner = owner(&namespace, name)?;
            contents.push((owner.current_path(), current_content(operator.cluster(), &owner).await?));
        }
        // The agent is away, and nothing but the node's object tells of its files.
        let kubelet = Component::Kubelet(NODE.to_owned());
        operator.cluster().stop(&kubelet)?;
        let wiped = async {
            AgentProcess::on(&operator, NODE)?.kill()?;
            let directory = operator.file(NODE, "")?;
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
            }
            anyhow::Ok(())
        }
        .await;
        operator.cluster().start(&kubelet).await?;
        wiped?;
        for (path, content) in &contents {
            await_served(&operator, path, content).await?;
        }
        Ok(())
    })
    .await
}

/// Runs a test without any controller, and brings them back whatever came of it.
async fn without_controllers(operator: &Operator, test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(operator.cluster().client(), SYSTEM_NAMESPACE);
    let name = "portcullis-controller";
    let before = deployments.get(name).await?.spec.and_then(|spec| spec.replicas).context("no replicas")?;
    let scale = async |replicas: i32| {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        deployments.patch(name, &PatchParams::default(), &patch).await?;
        let wanted = usize::try_from(replicas)?;
        eventually(&format!("{replicas} controllers run"), PATIENCE, async || {
            let pods = Api::<Pod>::namespaced(operator.cluster().client(), SYSTEM_NAMESPACE);
            let all = pods.list(&kube::api::ListParams::default().labels(CONTROLLERS)).await?.items;
            let ready = all.iter().filter(|pod| portcullis_e2e::testing::is_ready(pod)).count();
            let so = all.len() == wanted && ready == wanted;
            Ok(if so { Seen::Done(()) } else { Seen::NotYet(format!("{} pods, {ready} Ready", all.len())) })
        })
        .await
    };
    scale(0).await?;
    let outcome = test().await;
    scale(before).await?;
    outcome
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_controller_that_starts_in_the_midst_of_a_rollout_claims_nothing_too_early() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "takeover", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        for name in ["web", "other"] {
            namespace.apply(&profile(name, &json!({ "profile": numbered(1) })))?;
            await_ready(&profiles, name).await?;
        }
        let frozen = AgentProcess::on(&operator, NODE)?.freeze()?;
        namespace.apply(&profile("web", &json!({ "profile": numbered(2) })))?;
        let waits = |profile: &SeccompProfile| {
            ready(profile).is_some_and(|(ready, message)| !ready && message.contains(NODE))
                && profile.status.as_ref().is_some_and(|status| status.observed_generation == Some(2))
        };
        await_object(&profiles, "web", "waiting for the frozen agent", PATIENCE, waits).await?;
        for pod in operator.pods(CONTROLLERS).await? {
            let pods: Api<Pod> = Api::namespaced(namespace.client(), SYSTEM_NAMESPACE);
            pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        }
        // A leader is at work again when it has taken in a new profile. Neither node can have it all.
        namespace.apply(&profile("new", &json!({ "profile": numbered(3) })))?;
        await_object(&profiles, "new", "taken in", PATIENCE, |new| ready(new).is_some()).await?;
        let seen = profiles.get("web").await?;
        ensure!(!is_ready_now(&seen), "Ready while an agent that has not written it is frozen");
        drop(frozen);
        await_ready(&profiles, "web").await?;
        let content = current_content(operator.cluster(), &web).await?;
        ensure_served(&operator, &web.current_path(), &content)?;
        for name in ["other", "new"] {
            await_ready(&profiles, name).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_ready_that_stands_is_not_withdrawn_by_a_change_of_controllers() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "standing", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready(&profiles, "web").await?;
        let before = profiles.get("web").await?;
        without_controllers(&operator, async || Ok(())).await?;
        ensure_untouched(&namespace, &before).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn revisions_restored_from_a_backup_are_served_and_gone_beyond() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "backup", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        for number in 1..=2 {
            namespace.apply(&profile("web", &json!({ "profile": numbered(number) })))?;
            await_ready(&profiles, "web").await?;
        }
        let backup = revisions(operator.cluster(), &web).await?;
        let content = current_content(operator.cluster(), &web).await?;
        // The profile goes on while its revisions are of an older day.
        namespace.apply(&profile("web", &json!({ "profile": numbered(3) })))?;
        let newest = await_ready(&profiles, "web").await?;
        let lost = current_content(operator.cluster(), &web).await?;
        let api: Api<SeccompRevision> = Api::all(as_controller(operator.cluster()).await?);
        without_controllers(&operator, async || {
            for (_, revision) in revisions(operator.cluster(), &web).await? {
                api.delete(&revision.name_any(), &DeleteParams::default()).await?;
            }
            await_removed(&operator, &web.current_path()).await?;
            for (_, revision) in &backup {
                let mut copy = revision.clone();
                copy.metadata.resource_version = None;
                copy.metadata.uid = None;
                api.create(&PostParams::default(), &copy).await?;
            }
            await_served(&operator, &web.current_path(), &content).await
        })
        .await?;
        await_served(&operator, &web.current_path(), &lost).await?;
        let status = await_ready(&profiles, "web").await?;
        assert_eq!(status.digest, newest.digest);
        ensure_served(&operator, &web.current_path(), &lost)?;
        let sequences: Vec<_> =
            revisions(operator.cluster(), &web).await?.iter().map(|(meta, _)| meta.sequence).collect();
        assert_eq!(sequences, [3, 2, 1]);
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_killed_agent_is_back_soon_and_takes_up_what_it_missed() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "killed", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready(&profiles, "web").await?;
        let old = operator.agent_on(NODE).await?;
        AgentProcess::on(&operator, NODE)?.kill()?;
        namespace.apply(&profile("web", &json!({ "profile": numbered(2) })))?;
        await_ready(&profiles, "web").await?;
        let content = current_content(operator.cluster(), &web).await?;
        ensure_served(&operator, &web.current_path(), &content)?;
        let pods: Api<Pod> = Api::namespaced(namespace.client(), SYSTEM_NAMESPACE);
        let pod = pods.get(&old.name_any()).await?;
        let restarts = pod.status.and_then(|status| Some(status.container_statuses?.first()?.restart_count));
        if restarts.is_none_or(|restarts| restarts == 0) {
            bail!("the agent's container was not started again: {restarts:?}");
        }
        // The pod is Ready again before the next test takes it for gone.
        let patience = Duration::from_secs(60);
        await_object(&pods, &old.name_any(), "Ready", patience, portcullis_e2e::testing::is_ready)
            .await
            .map(drop)
    })
    .await
}
