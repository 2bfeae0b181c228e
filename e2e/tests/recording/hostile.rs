//! Tenants beside each other on a node: what one does, the other's recording does not feel.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_e2e::{
    FIRST_NODES,
    image::NGINX,
    testing::{Seen, TestNamespace, busybox, eventually, with_namespace},
};
use serde_json::json;

use crate::support::{PATIENCE, await_status, condition, in_namespace, record, recording};

/// `getpgrp` on x86-64, which neither Perl nor a runtime calls on its own.
const CALL: (&str, u32) = ("getpgrp", 111);
const CALLS: u64 = 10_000;

/// Every number beyond the tables, as x86-64 and as x32, and `ioctl`, `prctl` and `socket` with values that nobody has.
const FLOOD: &str = "syscall($_) for 512..4700; syscall(0x40000000 | $_) for 600..2000; syscall(16, -1, $_) for 1..200; \
                     syscall(157, $_) for 1000..1200; syscall(41, $_, 1, 0) for 100..300;";

/// Runs a script of Perl in a pod until it ends.
async fn run(namespace: &TestNamespace, name: &str, script: &str) -> Result<()> {
    let spec = json!({
        "nodeName": FIRST_NODES[0],
        "restartPolicy": "Never",
        "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{ "name": "c", "image": NGINX, "command": ["perl", "-e", script] }],
    });
    let mut pod = busybox(name, &spec)?;
    pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
    let ended = |pod: &Pod| {
        pod.status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| phase == "Succeeded")
    };
    namespace.run_pod(&pod, "ended", PATIENCE, ended).await.map(drop)
}

#[tokio::test]
async fn a_pod_that_calls_everything_takes_nothing_from_anothers_recording() -> Result<()> {
    in_namespace("recorded", async |operator, recorded| {
        with_namespace(operator.cluster(), "hostile", async |hostile| {
            record(&hostile, "web", &json!({})).await?;
            record(&recorded, "web", &json!({})).await?;
            for number in 0..4 {
                run(&hostile, &format!("flood-{number}"), FLOOD).await?;
            }
            run(&recorded, "web", &format!("syscall({}) for 1..{CALLS};", CALL.1)).await?;
            let parts = recorded.api::<SeccompRecordingPart>();
            let name = format!("web.{}", FIRST_NODES[0]);
            eventually("every call is told", PATIENCE, async || {
                let Some(part) = parts.get_opt(&name).await? else {
                    return Ok(Seen::NotYet("there is no part".to_owned()));
                };
                let seen = part.spec.ledger()?.total().total();
                ensure!(seen.losses.is_none(), "lost: {:?}", seen.losses);
                let mine = seen.calls.iter().filter(|(call, _)| call.name() == Some(CALL.0));
                let told: u64 = mine.map(|(_, seen)| seen.count).sum();
                Ok(if told == CALLS { Seen::Done(()) } else { Seen::NotYet(format!("{told} of {CALLS}")) })
            })
            .await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_flood_of_recordings_records_the_oldest_alone() -> Result<()> {
    in_namespace("many", async |_, namespace| {
        record(&namespace, "web", &json!({})).await?;
        let mut late = recording("late", &json!({}));
        late["spec"]["podSelector"]["matchLabels"]["app"] = json!("web");
        for number in 0..25 {
            late["metadata"]["name"] = json!(format!("web-{number:02}"));
            namespace.apply(&late)?;
        }
        await_status(&namespace, "web-24", "refused", |status| {
            condition(status, portcullis_api::RecordingCondition::Recording)
                .is_some_and(|(_, reason, _)| reason == "NamespaceLimit")
        })
        .await?;
        run(&namespace, "web", "1").await?;
        await_status(&namespace, "web", "told", |status| status.calls > 0).await?;
        let api = namespace.api::<SeccompRecording>();
        for recording in api.list(&kube::api::ListParams::default()).await? {
            let name = recording.metadata.name.unwrap_or_default();
            let part = namespace
                .api::<SeccompRecordingPart>()
                .get_opt(&format!("{name}.{}", FIRST_NODES[0]))
                .await?;
            let refused = recording.status.is_some_and(|status| {
                condition(&status, portcullis_api::RecordingCondition::Recording)
                    .is_some_and(|(_, reason, _)| reason == "NamespaceLimit")
            });
            ensure!(!refused || part.is_none(), "{name} is refused and has a part");
        }
        Ok(())
    })
    .await
}
