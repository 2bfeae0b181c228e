//! A recorder that is away while pods live, and commands that only an exec probe runs.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use portcullis_api::{PhaseName, RecordingCondition};
use portcullis_e2e::{
    FIRST_NODES, Operator, Usage,
    operator::{RECORDERS, SYSTEM_NAMESPACE},
    testing::{NamespaceOptions, Seen, await_gone, eventually, is_ready, with_namespace_options},
};
use serde_json::{Value, json};

use crate::{
    recorder::{once, phase},
    support::{PATIENCE, await_status, condition, has_called, has_seen, in_namespace, record},
};

/// Sends the recorders to nodes with a label that none has, or to all again, and waits until so many are Ready.
async fn send_recorders(operator: &Operator, label: Value, ready: usize) -> Result<()> {
    let daemon_sets: Api<DaemonSet> = Api::namespaced(operator.cluster().client(), SYSTEM_NAMESPACE);
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"portcullis.dev/absent": label}}}}});
    daemon_sets.patch("portcullis-recorder", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    eventually(&format!("{ready} recorders are Ready"), PATIENCE, async || {
        let pods = operator.pods(RECORDERS).await?;
        let now = pods.iter().filter(|pod| is_ready(pod)).count();
        let done = now == ready && pods.len() == ready;
        Ok(if done { Seen::Done(()) } else { Seen::NotYet(format!("{now} of {} Ready", pods.len())) })
    })
    .await
}

#[tokio::test]
async fn a_pod_that_lives_while_the_recorder_is_away_leaves_the_recording_incomplete() -> Result<()> {
    let operator = Operator::with_recorder().await?;
    let cluster = operator.cluster().clone();
    let alone = NamespaceOptions { usage: Usage::Exclusive, ..NamespaceOptions::default() };
    with_namespace_options(&cluster, "away", alone, async |namespace| {
        let node = FIRST_NODES[0];
        record(&namespace, "away", &json!({})).await?;
        let first = once("first", "away", node, "true", None)?;
        namespace.run_pod(&first, "at its end", PATIENCE, |pod| phase(pod) == "Succeeded").await?;
        await_status(&namespace, "away", "complete", |status| {
            condition(status, RecordingCondition::Complete).is_some_and(|(state, ..)| state == "True")
        })
        .await?;
        let before = operator.pods(RECORDERS).await?.len();
        let away = async {
            send_recorders(&operator, json!("yes"), 0).await?;
            let missed = once("missed", "away", node, "mkdir /tmp/x; sleep 20", None)?;
            namespace.run_pod(&missed, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
            await_status(&namespace, "away", "told of a pod that nobody records", |status| {
                status.unrecorded.iter().any(|one| one.node == node && one.until.is_none())
            })
            .await?;
            // Nothing of it is in the API when the recorder is back.
            let pods: Api<Pod> = namespace.api();
            pods.delete("missed", &DeleteParams { grace_period_seconds: Some(0), ..Default::default() })
                .await?;
            await_gone(&pods, "missed", PATIENCE).await
        };
        let lived = away.await;
        send_recorders(&operator, Value::Null, before).await?;
        lived?;
        let status = await_status(&namespace, "away", "told of a recorder that is back", |status| {
            status.unrecorded.iter().any(|one| one.node == node && one.until.is_some())
        })
        .await?;
        let (complete, reason, message) =
            condition(&status, RecordingCondition::Complete).context("no condition Complete")?;
        ensure!((complete, reason) == ("False", "RecorderAway"), "{reason}: {message}");
        let since = status.unrecorded[0].since.0.to_string();
        for word in [node, "missed", &since] {
            ensure!(message.contains(word), "{word:?} is missing: {message}");
        }
        ensure!(!has_called(&status, &["mkdir"]), "what nobody recorded is there: {:?}", status.call_names);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_command_that_only_an_exec_probe_runs_is_recorded_as_one() -> Result<()> {
    in_namespace("probed", async |_, namespace| {
        record(&namespace, "probed", &json!({})).await?;
        let mut pod = once("probed", "probed", FIRST_NODES[0], "sleep infinity", None)?;
        if let Some(container) = pod.spec.as_mut().and_then(|spec| spec.containers.first_mut()) {
            let command = ["sh", "-c", "mkdir /tmp/probed; rmdir /tmp/probed"];
            container.readiness_probe = serde_json::from_value(
                json!({"exec": {"command": command}, "periodSeconds": 1, "timeoutSeconds": 30}),
            )?;
        }
        namespace.run_pod(&pod, "Ready", PATIENCE, is_ready).await?;
        let status = await_status(&namespace, "probed", "a recording of the probe", |status| {
            has_seen(status, "busybox", PhaseName::Exec) && has_called(status, &["mkdir", "rmdir"])
        })
        .await?;
        // What the runtime calls on its way into the container is none of the container's.
        for call in ["setns", "mount", "pivot_root"] {
            ensure!(!has_called(&status, &[call]), "{call} is the runtime's: {:?}", status.call_names);
        }
        Ok(())
    })
    .await
}
