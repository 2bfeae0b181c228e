//! Health, readiness and metrics of both roles.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::Request};
use portcullis_api::SeccompProfile;
use portcullis_e2e::{
    Operator,
    operator::{AGENTS, CONTROLLERS, SYSTEM_NAMESPACE},
    promtool,
    testing::{
        Seen, eventually,
        profiles::{PATIENCE, await_ready, numbered, profile},
        with_namespace,
    },
};
use serde_json::json;

/// What a pod of the operator answers at a path of a port.
async fn ask(operator: &Operator, pod: &Pod, port: &str, path: &str) -> Result<String> {
    let root = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{}:{port}/proxy", pod.name_any());
    let request = Request::new(root).get(path, &kube::api::GetParams::default())?;
    operator
        .cluster()
        .client()
        .request_text(request)
        .await
        .with_context(|| format!("{}: /{path}", pod.name_any()))
}

/// What every pod shows of itself.
const BOTH: [&str; 3] =
    ["portcullis_build_info", "process_resident_memory_bytes", "portcullis_events_dropped_total"];
/// What each agent shows.
const OF_AGENTS: [&str; 8] = [
    "portcullis_agent_files_written_total",
    "portcullis_agent_files_repaired_total",
    "portcullis_agent_files_failed_total",
    "portcullis_agent_files_served",
    "portcullis_agent_revision_to_file_seconds",
    "portcullis_agent_event_to_file_seconds",
    "portcullis_agent_watch_restarts_total",
    "portcullis_agent_api_reachable",
];
/// What the controllers show together: one that does not lead knows nothing of profiles.
const OF_CONTROLLERS: [&str; 8] = [
    "portcullis_profiles",
    "portcullis_revisions",
    "portcullis_nodes",
    "portcullis_reconcile_errors_total",
    "portcullis_reconcile_duration_seconds",
    "portcullis_profile_ready_seconds",
    "portcullis_watch_restarts_total",
    "portcullis_leader",
];

#[tokio::test]
async fn both_roles_answer_and_show_every_metric_in_good_form() -> Result<()> {
    let operator = Operator::from_env().await?;
    let _usage = operator.cluster().shared().await?;
    for pod in [operator.pods(AGENTS).await?, operator.pods(CONTROLLERS).await?].concat() {
        // The kubelet's port: a network that enforces the NetworkPolicies lets nobody else in.
        if operator.cluster().is_local() {
            assert_eq!(ask(&operator, &pod, "8081", "livez").await?.trim(), "ok");
            assert_eq!(ask(&operator, &pod, "8081", "readyz").await?.trim(), "ok");
        }
        let text = ask(&operator, &pod, "8080", "metrics").await?;
        has_all(&BOTH, &text).with_context(|| pod.name_any())?;
        check_form(&text).with_context(|| pod.name_any())?;
    }
    for pod in operator.pods(AGENTS).await? {
        has_all(&OF_AGENTS, &ask(&operator, &pod, "8080", "metrics").await?)
            .with_context(|| pod.name_any())?;
    }
    let mut controllers = String::new();
    for pod in operator.pods(CONTROLLERS).await? {
        controllers.push_str(&ask(&operator, &pod, "8080", "metrics").await?);
    }
    has_all(&OF_CONTROLLERS, &controllers).context("the controllers")
}

fn has_all(names: &[&str], text: &str) -> Result<()> {
    match names.iter().find(|name| !text.contains(&format!("# TYPE {name} "))) {
        Some(name) => bail!("there is no metric {name}:\n{text}"),
        None => Ok(()),
    }
}

/// What Prometheus's own tool says of metrics.
fn check_form(text: &str) -> Result<()> {
    let mut tool = promtool()?
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool can't be started")?;
    tool.stdin.take().context("promtool's input is not connected")?.write_all(text.as_bytes())?;
    let output = tool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // The process's own metrics are the client library's.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("portcullis_")).collect();
    if !ours.is_empty() {
        bail!("promtool says:\n{}", ours.join("\n"));
    }
    Ok(())
}

/// The sum of a metric over all pods with a label.
async fn sum(operator: &Operator, label: &str, metric: &str) -> Result<f64> {
    let mut sum = 0.0;
    for pod in operator.pods(label).await? {
        let metrics = operator.metrics(&pod).await?;
        sum += metrics
            .iter()
            .filter(|(name, _)| name.split('{').next() == Some(metric))
            .map(|(_, value)| value)
            .sum::<f64>();
    }
    Ok(sum)
}

#[tokio::test]
async fn the_metrics_count_what_happens() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "metrics", async |namespace| {
        let written = sum(&operator, AGENTS, "portcullis_agent_files_written_total").await?;
        let timed = sum(&operator, AGENTS, "portcullis_agent_event_to_file_seconds_count").await?;
        let published = sum(&operator, CONTROLLERS, "portcullis_revisions_written_total").await?;
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        let agents = f64::from(u32::try_from(operator.pods(AGENTS).await?.len())?);
        eventually("the new profile is counted", PATIENCE, async || {
            let now = sum(&operator, AGENTS, "portcullis_agent_files_written_total").await?;
            let timed_now = sum(&operator, AGENTS, "portcullis_agent_event_to_file_seconds_count").await?;
            let published_now = sum(&operator, CONTROLLERS, "portcullis_revisions_written_total").await?;
            // Two files of each revision on each node; other tests add more.
            let so = now >= 2.0f64.mul_add(agents, written)
                && timed_now >= timed + agents
                && published_now > published;
            let seen = format!("{written} -> {now}, {timed} -> {timed_now}, {published} -> {published_now}");
            Ok(if so { Seen::Done(()) } else { Seen::NotYet(seen) })
        })
        .await?;
        assert!(
            (sum(&operator, CONTROLLERS, "portcullis_leader").await? - 1.0).abs() < f64::EPSILON,
            "one leads"
        );
        assert!(
            (sum(&operator, AGENTS, "portcullis_agent_api_reachable").await? - agents).abs() < f64::EPSILON
        );
        assert!(sum(&operator, CONTROLLERS, "portcullis_nodes").await? >= agents);
        assert!(sum(&operator, AGENTS, "portcullis_agent_files_served").await? >= agents * 2.0);
        let profiles =
            Api::<SeccompProfile>::all(namespace.client()).list(&Default::default()).await?.items.len();
        ensure!(profiles > 0, "no profiles");
        Ok(())
    })
    .await
}
