//! The recorder itself: what it catches, what it survives, and what it leaves behind.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use portcullis_api::{PhaseName, RUN_LABEL, RecordingCondition, SeccompRecording, SeccompRecordingPart};
use portcullis_e2e::{
    FIRST_NODES, Usage,
    operator::RECORDERS,
    testing::{Seen, Watch, await_gone, await_object, busybox, eventually},
};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, allowed, await_status, condition, confinement, enforce, export, has_called, has_seen,
    in_namespace, metrics, record, recording,
};

/// A pod that runs a shell line once, on a node.
pub(crate) fn once(name: &str, app: &str, node: &str, line: &str, profile: Option<&str>) -> Result<Pod> {
    let mut pod = busybox(
        name,
        &json!({
            "nodeName": node,
            "restartPolicy": "Never",
            "securityContext": { "seccompProfile": confinement(profile) },
        }),
    )?;
    pod.metadata.labels = Some([("app".to_owned(), app.to_owned())].into());
    if let Some(container) = pod.spec.as_mut().and_then(|spec| spec.containers.first_mut()) {
        container.command = Some(["sh", "-c", line].map(str::to_owned).into());
    }
    Ok(pod)
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_that_lives_for_a_moment_is_caught_whole_and_lives_again_under_its_profile() -> Result<()> {
    in_namespace("moment", async |_, namespace| {
        record(&namespace, "moment", &json!({})).await?;
        for node in FIRST_NODES {
            let pod = once(node, "moment", node, "true", None)?;
            namespace.run_pod(&pod, "at its end", PATIENCE, |pod| phase(pod) == "Succeeded").await?;
        }
        let status = await_status(&namespace, "moment", "a recording on both nodes", |status| {
            status.nodes == 2 && has_seen(status, "busybox", PhaseName::GracefulStop)
        })
        .await?;
        ensure!(status.lost.is_none(), "{:?}", status.lost);
        ensure!(has_seen(&status, "busybox", PhaseName::Start));
        ensure!(has_called(&status, &["execve", "exit_group"]));
        let (complete, _, message) =
            condition(&status, RecordingCondition::Complete).context("no condition Complete")?;
        ensure!(complete == "True", "{message}");
        // Each node's part is its own recorder's, and both count one container.
        let parts: Api<SeccompRecordingPart> = namespace.api();
        for node in FIRST_NODES {
            let part = parts.get(&format!("moment.{node}")).await?;
            let ledger = part.spec.ledger()?;
            ensure!(ledger.total().total().containers == 1, "{node}: {:?}", ledger.total());
        }
        let path = enforce(&namespace, "moment", &export(&namespace, "moment")?).await?;
        let again = once("again", "again", FIRST_NODES[0], "true", Some(&path))?;
        namespace.run_pod(&again, "at its end", PATIENCE, |pod| phase(pod) == "Succeeded").await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_recorder_that_is_replaced_loses_nothing() -> Result<()> {
    in_namespace("restart", async |operator, namespace| {
        record(&namespace, "restart", &json!({})).await?;
        let node = FIRST_NODES[0];
        // It goes on when a file is there, and then makes calls that nothing before it did.
        let line = "until test -e /tmp/go; do sleep 0.1; done; mkdir /tmp/x; rmdir /tmp/x; ln -s a /tmp/b; sleep infinity";
        let pod = once("busy", "restart", node, line, None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        await_status(&namespace, "restart", "a recording of the start", |status| status.calls > 0).await?;
        let recorder = operator.pod_on(RECORDERS, node).await?;
        // Killed, so that it has no time to write anything; the pod's container starts anew.
        let pods: Api<Pod> = Api::namespaced(operator.cluster().client(), &recorder.namespace().unwrap_or_default());
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(&recorder.name_any(), &at_once).await?;
        namespace.exec("busy", &["touch", "/tmp/go"])?;
        let status = await_status(&namespace, "restart", "a recording of what came meanwhile", |status| {
            has_called(status, &["mkdir", "rmdir", "symlink"])
        })
        .await?;
        ensure!(has_seen(&status, "busybox", PhaseName::Start) && status.lost.is_none(), "{status:?}");
        let part = namespace.api::<SeccompRecordingPart>().get(&format!("restart.{node}")).await?;
        let total = part.spec.ledger()?.total().total();
        ensure!(total.containers == 1, "{} containers instead of one", total.containers);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_is_attached_while_nothing_is_recorded() -> Result<()> {
    let alone = portcullis_e2e::testing::NamespaceOptions { usage: Usage::Exclusive, ..Default::default() };
    let operator = portcullis_e2e::Operator::with_recorder().await?;
    let cluster = operator.cluster().clone();
    portcullis_e2e::testing::with_namespace_options(&cluster, "attached", alone, async |namespace| {
        let attached = async |value: f64| {
            eventually(&format!("attached is {value}"), PATIENCE, async || {
                let found = metrics(&operator, FIRST_NODES[0]).await?;
                let now = found.get("portcullis_recorder_attached").copied();
                Ok(if now == Some(value) { Seen::Done(()) } else { Seen::NotYet(format!("{now:?}")) })
            })
            .await
        };
        attached(0.0).await?;
        namespace.apply(&recording("some", &json!({})))?;
        let pod = once("some", "some", FIRST_NODES[0], "sleep infinity", None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        attached(1.0).await?;
        namespace.api::<SeccompRecording>().delete("some", &DeleteParams::default()).await?;
        attached(0.0).await
    })
    .await
}

#[tokio::test]
async fn a_pod_without_a_filter_is_recorded_from_its_application_on() -> Result<()> {
    in_namespace("unfiltered", async |_, namespace| {
        record(&namespace, "open", &json!({})).await?;
        let mut pod = once("open", "open", FIRST_NODES[0], "mkdir /tmp/x; sleep infinity", None)?;
        if let Some(spec) = &mut pod.spec {
            spec.security_context =
                serde_json::from_value(json!({ "seccompProfile": { "type": "Unconfined" } }))?;
        }
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        // kubectl exec's own calls into the container are the runtime's and not the application's.
        namespace.exec("open", &["true"])?;
        let status = await_status(&namespace, "open", "a recording of the application", |status| {
            has_called(status, &["mkdir"])
        })
        .await?;
        for call in ["setns", "unshare", "mount", "pivot_root"] {
            ensure!(!has_called(&status, &[call]), "{call} is the runtime's: {:?}", status.call_names);
        }
        let part = namespace.api::<SeccompRecordingPart>().get(&format!("open.{}", FIRST_NODES[0])).await?;
        let unfiltered =
            part.spec.entries.iter().any(|entry| entry.marks.iter().any(|mark| mark == "Unfiltered"));
        ensure!(unfiltered, "{:?}", part.spec.entries);
        let path = enforce(&namespace, "open", &export(&namespace, "open")?).await?;
        let again = once("again", "again", FIRST_NODES[0], "mkdir /tmp/x", Some(&path))?;
        namespace.run_pod(&again, "at its end", PATIENCE, |pod| phase(pod) == "Succeeded").await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_pod_that_runs_already_is_recorded_from_then_on_and_its_start_was_missed() -> Result<()> {
    in_namespace("late", async |_, namespace| {
        let line = "until test -e /tmp/go; do sleep 0.1; done; mkdir /tmp/x; sleep infinity";
        let pod = once("late", "late", FIRST_NODES[0], line, None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        record(&namespace, "late", &json!({})).await?;
        await_status(&namespace, "late", "a recording of the loop", |status| status.calls > 0).await?;
        namespace.exec("late", &["touch", "/tmp/go"])?;
        let status = await_status(&namespace, "late", "a recording of what came later", |status| {
            has_called(status, &["mkdir"])
        })
        .await?;
        let (complete, reason, message) =
            condition(&status, RecordingCondition::Complete).context("no condition Complete")?;
        ensure!((complete, reason) == ("False", "StartMissed"), "{reason}: {message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn init_and_ephemeral_containers_are_recorded_under_their_names() -> Result<()> {
    in_namespace("kinds", async |_, namespace| {
        record(&namespace, "kinds", &json!({})).await?;
        let mut pod = once("kinds", "kinds", FIRST_NODES[0], "rmdir /nothing; sleep infinity", None)?;
        if let Some(spec) = &mut pod.spec {
            spec.init_containers = serde_json::from_value(json!([{
                "name": "prepare", "image": portcullis_e2e::image::BUSYBOX, "command": ["mkdir", "/tmp/x"],
            }]))?;
        }
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        let image = portcullis_e2e::image::BUSYBOX;
        let debug = [
            "debug",
            "kinds",
            "--image",
            image,
            "-c",
            "debug",
            "--profile=general",
            "--",
            "ln",
            "-s",
            "a",
            "/tmp/b",
        ];
        namespace.kubectl(&debug)?;
        let status = await_status(&namespace, "kinds", "a recording of all three", |status| {
            let names: Vec<_> = status.containers.iter().map(|found| found.name.as_str()).collect();
            names == ["busybox", "debug", "prepare"] && has_called(status, &["mkdir", "rmdir", "symlink"])
        })
        .await?;
        ensure!(
            status.containers.iter().all(|found| found.seen.contains(&PhaseName::Start)),
            "{:?}",
            status.containers
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_recordings_of_one_pod_and_two_of_one_name_don_t_meet() -> Result<()> {
    in_namespace("two", async |operator, namespace| {
        let all = json!({ "podSelector": {} });
        record(&namespace, "all", &all).await?;
        record(&namespace, "web", &json!({})).await?;
        let cluster = operator.cluster().clone();
        portcullis_e2e::testing::with_namespace(&cluster, "two-other", async |other| {
            record(&other, "web", &json!({})).await?;
            let pod = once("other", "web", FIRST_NODES[0], "ln -s a /tmp/b", None)?;
            other.run_pod(&pod, "at its end", PATIENCE, |pod| phase(pod) == "Succeeded").await?;
            let pod = once("web", "web", FIRST_NODES[0], "mkdir /tmp/x", None)?;
            namespace.run_pod(&pod, "at its end", PATIENCE, |pod| phase(pod) == "Succeeded").await?;
            let has = |call: &'static str| {
                move |status: &portcullis_api::RecordingStatus| has_called(status, &[call])
            };
            let both = [
                await_status(&namespace, "all", "a recording of mkdir", has("mkdir")).await?,
                await_status(&namespace, "web", "a recording of mkdir", has("mkdir")).await?,
            ];
            ensure!(both[0].call_names == both[1].call_names);
            ensure!(both.iter().all(|status| !has("symlink")(status)));
            let elsewhere = await_status(&other, "web", "a recording of symlink", has("symlink")).await?;
            ensure!(!has("mkdir")(&elsewhere));
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_run_on_a_running_pod_gets_the_calls_from_then_on() -> Result<()> {
    in_namespace("runs", async |_, namespace| {
        record(&namespace, "runs", &json!({})).await?;
        let line = "until test -e /tmp/go; do sleep 0.1; done; mkdir /tmp/x; touch /tmp/done; sleep infinity";
        let pod = once("runs", "runs", FIRST_NODES[0], line, None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        await_status(&namespace, "runs", "a recording of the start", |status| status.calls > 0).await?;
        namespace.kubectl(&["label", "pod", "runs", &format!("{RUN_LABEL}=smoke")])?;
        await_status(&namespace, "runs", "a recording of the run", |status| {
            status.runs.iter().any(|run| run.name == "smoke")
        })
        .await?;
        namespace.exec("runs", &["touch", "/tmp/go"])?;
        let status = await_status(&namespace, "runs", "a recording of what only the run did", |status| {
            status.runs.iter().any(|run| run.name == "smoke" && run.only_here > 0)
                && has_called(status, &["mkdir"])
        })
        .await?;
        ensure!(status.runs.len() == 2, "{:?}", status.runs);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_recording_without_pods_waits_and_one_that_is_over_ends() -> Result<()> {
    in_namespace("ends", async |_, namespace| {
        record(&namespace, "ends", &json!({ "end": { "duration": "3s" } })).await?;
        let status = await_status(&namespace, "ends", "over", |status| status.ended_at.is_some()).await?;
        let (recording, reason, _) =
            condition(&status, RecordingCondition::Recording).context("no condition Recording")?;
        ensure!((recording, reason) == ("False", "DurationOver"), "{reason}");
        let parts = namespace.api::<SeccompRecordingPart>().list(&ListParams::default()).await?;
        ensure!(parts.items.is_empty(), "nothing was recorded, and still there is {:?}", parts.items.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_watch_of_recordings_shows_each_change() -> Result<()> {
    in_namespace("watched", async |_, namespace| {
        record(&namespace, "first", &json!({})).await?;
        let all = Watch::start(&namespace, &["record", "status", "--watch"])?;
        all.await_line(&["first", "NothingRecorded"])?;
        let named = Watch::start(&namespace, &["record", "status", "first", "--watch"])?;
        named.await_line(&["first", "NothingRecorded"])?;
        namespace.apply(&recording("second", &json!({})))?;
        all.await_line(&["second", "NothingRecorded"])?;
        namespace.api::<SeccompRecording>().delete("first", &DeleteParams::default()).await?;
        all.await_line(&["first is deleted"])?;
        named.await_line(&["first is deleted"])?;
        namespace.apply(&recording("first", &json!({})))?;
        named.await_line(&["first", "NothingRecorded"])
    })
    .await
}

#[tokio::test]
async fn a_namespace_that_is_deleted_under_way_goes() -> Result<()> {
    in_namespace("doomed", async |operator, namespace| {
        record(&namespace, "doomed", &json!({})).await?;
        let pod = once("doomed", "doomed", FIRST_NODES[0], "while :; do ls >/dev/null; done", None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        await_status(&namespace, "doomed", "a recording of the loop", |status| status.calls > 0).await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(namespace.client());
        namespaces.delete(namespace.name(), &DeleteParams::default()).await?;
        await_gone(&namespaces, namespace.name(), PATIENCE).await?;
        // The recorder is as well as before.
        let recorder = operator.pod_on(RECORDERS, FIRST_NODES[0]).await?;
        let restarts = recorder.status.and_then(|status| status.container_statuses).unwrap_or_default();
        ensure!(restarts.iter().all(|status| status.ready), "{restarts:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_controller_makes_the_profile_where_it_is_asked_to_and_leaves_others_alone() -> Result<()> {
    in_namespace("output", async |_, namespace| {
        let create = json!({ "output": { "create": true } });
        record(&namespace, "made", &create).await?;
        let pod = once("made", "made", FIRST_NODES[0], "mkdir /tmp/x; sleep infinity", None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        let profiles: Api<portcullis_api::SeccompProfile> = namespace.api();
        let has_mkdir = |profile: &portcullis_api::SeccompProfile| {
            allowed(&serde_json::to_value(profile).unwrap_or(Value::Null)).iter().any(|name| name == "mkdir")
        };
        let made = await_object(&profiles, "made", "made of the recording", PATIENCE, has_mkdir).await?;
        let spec = serde_json::to_value(&made.spec)?;
        ensure!(spec["mode"] == "Audit" && spec["recordedFrom"]["recording"] == "made", "{spec}");
        Ok(())
    })
    .await
}
