//! The long form of the recorder's tests: `make soak`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use portcullis_api::{RUN_LABEL, SeccompRecordingPart};
use portcullis_e2e::{
    FIRST_NODES, Operator,
    image::NGINX,
    progress,
    testing::{Seen, TestNamespace, busybox, eventually, with_namespace},
};
use serde_json::json;

/// Pods of a round, containers of a pod, and how often each of those makes the call: over three rounds 12 million calls.
const PODS: u64 = 20;
const CONTAINERS: u64 = 10;
const CALLS: u64 = 20_000;
const ROUNDS: u64 = 3;
/// `getpgrp` on x86-64, which neither Perl nor a runtime calls on its own.
const CALL: (&str, u32) = ("getpgrp", 111);
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::test]
#[ignore = "takes minutes: make soak"]
async fn not_one_of_twelve_million_calls_is_missing() -> Result<()> {
    let operator = Operator::with_recorder().await?;
    with_namespace(operator.cluster(), "calls", async |namespace| {
        namespace.apply(&json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "SeccompRecording",
            "metadata": { "name": "calls" },
            "spec": { "podSelector": { "matchLabels": { "app": "calls" } } },
        }))?;
        let begun = Instant::now();
        for round in 0..ROUNDS {
            one_round(&namespace, round).await?;
            let told = await_all(&namespace, round).await?;
            progress::say(format_args!("round {round}, {:.0?}: {told} calls, none missing", begun.elapsed()));
        }
        Ok(())
    })
    .await
}

/// Pods that call, and are deleted as soon as they have ended.
async fn one_round(namespace: &TestNamespace, round: u64) -> Result<()> {
    let script = format!("syscall({}) for 1..{CALLS};", CALL.1);
    let containers: Vec<_> = (0..CONTAINERS)
        .map(|number| json!({ "name": format!("c{number}"), "image": NGINX, "command": ["perl", "-e", script] }))
        .collect();
    for number in 0..PODS {
        let node = FIRST_NODES[usize::try_from(number)? % FIRST_NODES.len()];
        let spec = json!({
            "nodeName": node,
            "restartPolicy": "Never",
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": containers,
        });
        let mut pod = busybox(&format!("calls-{round}-{number}"), &spec)?;
        let labels =
            [("app".to_owned(), "calls".to_owned()), (RUN_LABEL.to_owned(), format!("round-{round}"))];
        pod.metadata.labels = Some(labels.into());
        namespace.create_object(&pod).await?;
    }
    let pods = namespace.api::<Pod>();
    eventually("every pod has ended", PATIENCE, async || {
        let all = pods.list(&ListParams::default().labels("app=calls")).await?;
        for pod in &all {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            ensure!(phase != Some("Failed"), "a pod failed: {:?}", pod.status);
            if let (Some("Succeeded"), Some(name)) = (phase, &pod.metadata.name) {
                pods.delete(name, &DeleteParams::default()).await?;
            }
        }
        Ok(if all.items.is_empty() {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{} left", all.items.len()))
        })
    })
    .await
}

/// Waits until every call of a round is told, and no more than that. Gives how many calls there are in all rounds.
async fn await_all(namespace: &TestNamespace, round: u64) -> Result<u64> {
    let truth = PODS * CONTAINERS * CALLS;
    let parts = namespace.api::<SeccompRecordingPart>();
    eventually("every call is told", PATIENCE, async || {
        let (mut calls, mut containers, mut all) = (0, 0, 0);
        for part in parts.list(&ListParams::default()).await? {
            for (subject, seen) in part.spec.ledger()?.total().subjects {
                ensure!(seen.losses.is_none(), "lost: {:?}", seen.losses);
                let told: u64 = seen
                    .calls
                    .iter()
                    .filter(|(call, _)| call.name() == Some(CALL.0))
                    .map(|(_, seen)| seen.count)
                    .sum();
                all += told;
                if subject.run == format!("round-{round}") {
                    calls += told;
                    containers += seen.containers;
                }
            }
        }
        ensure!(calls <= truth, "{calls} calls are told of {truth}");
        Ok(if (calls, containers) == (truth, PODS * CONTAINERS) {
            Seen::Done(all)
        } else {
            Seen::NotYet(format!("{calls} of {truth} calls, of {containers} containers"))
        })
    })
    .await
}
