//! What recording costs those who are recorded, and how large the recorder is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::DeleteParams};
use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_e2e::{
    FIRST_NODES, Operator,
    image::{LOAD, NGINX, REDIS},
    operator::RECORDERS,
    testing::{Seen, TestNamespace, await_gone, busybox, eventually, is_ready, with_namespace},
};
use serde_json::{Value, json};

use super::report::Report;

const PATIENCE: Duration = Duration::from_secs(300);
/// Pods of ten containers that are watched while the recorder's memory is read.
const PODS: usize = 10;
const CONTAINERS: usize = 10;
/// How often each server is measured with and without a recording, in turn.
const TURNS: usize = 20;
/// Rounds of the recorder after which its start is over.
const SETTLED: f64 = 3.0;
/// The label of pods that are recorded.
const RECORDED: &str = "recorded";
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn measure(operator: &Operator, report: &mut Report) -> Result<()> {
    with_namespace(operator.cluster(), "bench-recorder", async |namespace| {
        throughput(operator, &namespace, report).await?;
        memory(operator, &namespace, report).await
    })
    .await
}

/// Records the pods that [`recorded`] makes.
fn begin(namespace: &TestNamespace) -> Result<()> {
    let recording = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecording",
        "metadata": { "name": "all" },
        "spec": { "podSelector": { "matchLabels": { RECORDED: "yes" } } },
    });
    namespace.apply(&recording).map(drop)
}

/// A pod on the first node that a recording is about. The local cluster's nodes share a kernel, and with nothing to record on the second
/// one its recorder attaches no programs of its own there.
fn recorded(name: &str, containers: &Value) -> Result<Pod> {
    let mut pod = busybox(
        name,
        &json!({
            "nodeName": FIRST_NODES[0],
            "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": containers,
        }),
    )?;
    pod.labels_mut().insert(RECORDED.to_owned(), "yes".to_owned());
    Ok(pod)
}

async fn end(namespace: &TestNamespace) -> Result<()> {
    let recordings = namespace.api::<SeccompRecording>();
    recordings.delete("all", &DeleteParams::default()).await?;
    await_gone(&recordings, "all", PATIENCE).await?;
    // They go with it.
    await_gone(&namespace.api::<SeccompRecordingPart>(), &format!("all.{}", FIRST_NODES[0]), PATIENCE).await
}

/// Waits until the pods are recorded and the recorder has come to rest: loading its programs takes a processor for some time.
async fn await_rounds(operator: &Operator, namespace: &TestNamespace) -> Result<()> {
    let part = format!("all.{}", FIRST_NODES[0]);
    let recorder: Pod = operator.pod_on(RECORDERS, FIRST_NODES[0]).await?;
    let mut first = None;
    eventually("the pods are recorded", PATIENCE, async || {
        if namespace.api::<SeccompRecordingPart>().get_opt(&part).await?.is_none() {
            return Ok(Seen::NotYet("no part".to_owned()));
        }
        let metrics = operator.metrics(&recorder).await?;
        let rounds = metrics.get("portcullis_recorder_round_seconds_count").copied().unwrap_or_default();
        let done = rounds - *first.get_or_insert(rounds);
        Ok(if done >= SETTLED { Seen::Done(()) } else { Seen::NotYet(format!("{done} rounds")) })
    })
    .await
}

async fn server(namespace: &TestNamespace, name: &str, container: &Value) -> Result<String> {
    let mut container = container.clone();
    container["name"] = json!(name);
    let pod = recorded(name, &json!([container]))?;
    let pod = namespace.run_pod(&pod, "Ready", PATIENCE, is_ready).await?;
    pod.status.and_then(|status| status.pod_ip).context("the pod has no address")
}

async fn throughput(operator: &Operator, namespace: &TestNamespace, report: &mut Report) -> Result<()> {
    // The clients are on the other node and not recorded.
    let load = json!({ "nodeName": FIRST_NODES[1], "containers": [{ "name": "load", "image": LOAD, "command": ["sleep", "infinity"] }] });
    namespace.run_pod(&busybox("load", &load)?, "Ready", PATIENCE, is_ready).await?;
    let nginx = server(namespace, "nginx", &json!({ "image": NGINX })).await?;
    let arguments = ["--protected-mode", "no", "--bind", "0.0.0.0", "--save", ""];
    let redis = server(namespace, "redis", &json!({ "image": REDIS, "args": arguments })).await?;
    let url = format!("http://{nginx}:8080/");
    let wrk = ["wrk", "-t1", "-c16", "-d3s", &url];
    let benchmark = ["redis-benchmark", "-h", &redis, "-q", "-t", "get", "-n", "100000", "-c", "16"];
    for (name, target, command) in
        [("nginx (wrk)", ">= 95%", wrk.as_slice()), ("redis (redis-benchmark GET)", "", benchmark.as_slice())]
    {
        let once = || requests_per_second(&namespace.exec("load", command)?);
        let mut shares = Vec::new();
        for turn in 0..TURNS {
            // What a machine does besides grows and shrinks over some seconds: each pair is near in time, first one and then the other.
            let before = if turn % 2 == 0 { Some(once()?) } else { None };
            begin(namespace)?;
            await_rounds(operator, namespace).await?;
            let with = once()?;
            end(namespace).await?;
            let without = before.map_or_else(once, Ok)?;
            shares.push(with / without * 100.0);
        }
        shares.sort_by(f64::total_cmp);
        let [low, middle, high] = [1, 2, 3].map(|quarter| shares[TURNS * quarter / 4]);
        report.line(
            &format!("throughput of {name} while recorded, of that without"),
            target,
            format!("{middle:.0}% (median of {TURNS} pairs; half of them from {low:.0}% to {high:.0}%)"),
        );
    }
    Ok(())
}

/// `Requests/sec: 123.4` of wrk, `GET: 123.4 requests per second` of redis-benchmark.
fn requests_per_second(said: &str) -> Result<f64> {
    let number = said.split(['\r', '\n']).rev().find_map(|line| {
        let wrk = line.trim().strip_prefix("Requests/sec:").map(str::trim);
        let redis = line.trim().strip_prefix("GET:").and_then(|rest| rest.trim().split(' ').next());
        wrk.or_else(|| redis.filter(|_| line.contains("requests per second")))?.parse().ok()
    });
    number.with_context(|| format!("no throughput in: {said}"))
}

async fn memory(operator: &Operator, namespace: &TestNamespace, report: &mut Report) -> Result<()> {
    begin(namespace)?;
    let containers: Vec<_> = (0..CONTAINERS)
        .map(|number| json!({ "name": format!("c{number}"), "image": portcullis_e2e::image::BUSYBOX, "command": ["sleep", "infinity"] }))
        .collect();
    for number in 0..PODS {
        namespace.create_object(&recorded(&format!("many-{number}"), &json!(containers))?).await?;
    }
    let recorder: Pod = operator.pod_on(RECORDERS, FIRST_NODES[0]).await?;
    let wanted = f64::from(u32::try_from(PODS * CONTAINERS)?);
    let metrics = eventually("every container is watched", PATIENCE, async || {
        let metrics = operator.metrics(&recorder).await?;
        let found = metrics.get("portcullis_recorder_containers").copied().unwrap_or_default();
        Ok(if found >= wanted { Seen::Done(metrics) } else { Seen::NotYet(format!("{found}")) })
    })
    .await?;
    let bytes = metrics.get("process_resident_memory_bytes").context("no process_resident_memory_bytes")?;
    let rounds = metrics.get("portcullis_recorder_round_seconds_count").copied().unwrap_or_default();
    let seconds = metrics.get("portcullis_recorder_round_seconds_sum").copied().unwrap_or_default();
    report.line("recorder memory (RSS) with 100 containers", "< 20 MiB", format!("{:.1} MiB", bytes / MIB));
    report.line(
        "a round of the recorder, once a second, on average",
        "",
        format!("{:.1} ms", seconds / rounds.max(1.0) * 1e3),
    );
    Ok(())
}
