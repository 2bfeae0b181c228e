//! What several of these tests need.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use portcullis_api::{PhaseName, RecordingCondition, RecordingStatus, SeccompProfile, SeccompRecording};
use portcullis_e2e::{
    Operator,
    cli::kubectl_seccomp,
    image::LOAD,
    testing::{
        NamespaceOptions, Seen, TestNamespace, await_object, eventually, is_ready, profiles::await_ready,
        with_namespace_options,
    },
};
use serde_json::{Value, json};

/// How long a recording may take to show something, or a pod to start, on a busy machine: a part is written every ten seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a test in a namespace of its own, which may hold profiles that are looser than the runtime default: a recording allows what
/// was called.
pub(crate) async fn in_namespace<F, Running>(purpose: &str, test: F) -> Result<()>
where
    F: FnOnce(Operator, TestNamespace) -> Running,
    Running: Future<Output = Result<()>>,
{
    let operator = Operator::with_recorder().await?;
    let labels = [(portcullis_api::ALLOW_LOOSER_LABEL.to_owned(), "true".to_owned())].into();
    let options = NamespaceOptions { labels, ..NamespaceOptions::default() };
    let cluster = operator.cluster().clone();
    with_namespace_options(&cluster, purpose, options, async |namespace| test(operator, namespace).await)
        .await
}

/// A recording of the pods with `app: <name>`.
pub(crate) fn recording(name: &str, spec: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecording",
        "metadata": { "name": name },
        "spec": { "podSelector": { "matchLabels": { "app": name } } },
    });
    if let (Some(into), Some(spec)) = (manifest["spec"].as_object_mut(), spec.as_object()) {
        into.extend(spec.clone());
    }
    manifest
}

/// Begins a recording, and waits until the controller has taken it up. Recorders learn of it by the same watch.
pub(crate) async fn record(namespace: &TestNamespace, name: &str, spec: &Value) -> Result<()> {
    namespace.apply(&recording(name, spec))?;
    await_status(namespace, name, "taken up", |status| status.started_at.is_some()).await.map(drop)
}

/// Waits until a recording's status says something.
pub(crate) async fn await_status(
    namespace: &TestNamespace,
    name: &str,
    what: &str,
    says: impl Fn(&RecordingStatus) -> bool,
) -> Result<RecordingStatus> {
    let api: Api<SeccompRecording> = namespace.api();
    let found = await_object(&api, name, what, PATIENCE, |recording: &SeccompRecording| {
        recording.status.as_ref().is_some_and(&says)
    });
    found.await?.status.context("a status that was seen")
}

/// Whether a container's phase was seen.
pub(crate) fn has_seen(status: &RecordingStatus, container: &str, phase: PhaseName) -> bool {
    status.containers.iter().any(|found| found.name == container && found.seen.contains(&phase))
}

/// A recording's condition.
pub(crate) fn condition(
    status: &RecordingStatus,
    condition: RecordingCondition,
) -> Option<(&str, &str, &str)> {
    let found = status.conditions.iter().find(|found| found.type_ == condition.as_str())?;
    Some((found.status.as_str(), found.reason.as_str(), found.message.as_str()))
}

/// The profile that `kubectl seccomp record export` makes of a recording.
pub(crate) fn export(namespace: &TestNamespace, name: &str) -> Result<Value> {
    let mut command = Command::new(kubectl_seccomp()?);
    command.env_remove("KUBECONFIG").stdin(Stdio::null());
    command.args(["record", "export", name, "-o", "json", "--namespace", namespace.name()]);
    command.arg("--kubeconfig").arg(namespace.cluster().kubeconfig());
    let output = command.output().context("kubectl-seccomp can't be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "record export {name}: {said}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("record export {name} prints no JSON"))
}

/// The calls that an exported profile allows, by name.
pub(crate) fn allowed(profile: &Value) -> Vec<String> {
    let rules = profile["spec"]["profile"]["syscalls"].as_array().cloned().unwrap_or_default();
    let names = rules.iter().flat_map(|rule| rule["names"].as_array().cloned().unwrap_or_default());
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Applies an exported profile under a name, in Enforce mode, and gives its path for pods.
pub(crate) async fn enforce(namespace: &TestNamespace, name: &str, exported: &Value) -> Result<String> {
    let mut profile = exported.clone();
    profile["metadata"]["name"] = json!(name);
    profile["spec"]["mode"] = json!("Enforce");
    namespace.apply(&profile)?;
    let status = await_ready(&namespace.api::<SeccompProfile>(), name).await?;
    status.localhost_profile.context("a Ready profile has a path")
}

/// `securityContext.seccompProfile` of a pod under a profile, or under the runtime's default.
pub(crate) fn confinement(localhost: Option<&str>) -> Value {
    match localhost {
        Some(path) => json!({ "type": "Localhost", "localhostProfile": path }),
        None => json!({ "type": "RuntimeDefault" }),
    }
}

/// Makes a pod and waits until it is Ready.
pub(crate) async fn start(namespace: &TestNamespace, manifest: &Value) -> Result<Pod> {
    let pod: Pod = serde_json::from_value(manifest.clone())?;
    namespace.run_pod(&pod, "Ready", PATIENCE, is_ready).await
}

/// The pod from which load is made, by wrk and redis-benchmark.
pub(crate) const CLIENTS: &str = "load";

/// Starts it.
pub(crate) async fn start_clients(namespace: &TestNamespace) -> Result<()> {
    let clients = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": CLIENTS },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "load", "image": LOAD, "command": ["sleep", "infinity"] }],
        },
    });
    start(namespace, &clients).await.map(drop)
}

/// Whether a recording has seen every one of these calls.
pub(crate) fn has_called(status: &RecordingStatus, calls: &[&str]) -> bool {
    calls.iter().all(|call| status.call_names.iter().any(|name| name == call))
}

/// A pod's address.
pub(crate) fn address(pod: &Pod) -> Result<String> {
    pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("the pod has no address")
}

/// Runs a shell line in a container, again and again, until it succeeds.
pub(crate) async fn until(
    namespace: &TestNamespace,
    what: &str,
    pod: &str,
    container: &str,
    line: &str,
) -> Result<String> {
    eventually(what, PATIENCE, async || {
        Ok(match sh(namespace, pod, container, line) {
            Ok(said) => Seen::Done(said),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        })
    })
    .await
}

/// Runs a shell line in a container.
pub(crate) fn sh(namespace: &TestNamespace, pod: &str, container: &str, line: &str) -> Result<String> {
    namespace.kubectl(&["exec", pod, "-c", container, "--", "sh", "-c", line])
}

/// How a container ended, once it did.
pub(crate) async fn exit_code(namespace: &TestNamespace, pod: &str, container: &str) -> Result<i32> {
    let code = |pod: &Pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        let status = statuses.iter().find(|status| status.name == container)?;
        Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
    };
    let pods: Api<Pod> = namespace.api();
    let found = await_object(&pods, pod, "at its end", PATIENCE, |pod| code(pod).is_some()).await?;
    code(&found).context("an exit code that was seen")
}

/// The metrics of the recorder on a node.
pub(crate) async fn metrics(
    operator: &Operator,
    node: &str,
) -> Result<std::collections::BTreeMap<String, f64>> {
    let recorder = operator.pod_on(portcullis_e2e::operator::RECORDERS, node).await?;
    operator.metrics(&recorder).await
}
