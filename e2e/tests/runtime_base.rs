//! `kubectl seccomp runtime-base`, proven: pods start under profiles of exactly its calls and an application's, and don't
//! without them.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use portcullis_api::{ALLOW_LOOSER_LABEL, SeccompProfile};
use portcullis_e2e::{
    Operator,
    cli::kubectl_seccomp,
    testing::{
        NamespaceOptions, TestNamespace, await_object, busybox, is_running,
        profiles::{PATIENCE, allowing, await_ready, profile},
        with_namespace_options,
    },
};
use serde_json::{Value, json};

/// How long a pod may take to start, or to fail to, on a busy machine.
const START: Duration = Duration::from_secs(90);

/// What busybox's `sleep` and `true` call from the first instruction on, as strace shows it; a shell is not among it.
const APPLICATION: &[&str] = &[
    "arch_prctl",
    "brk",
    "clock_nanosleep",
    "exit_group",
    "getrandom",
    "getuid",
    "mprotect",
    "nanosleep",
    "prctl",
    "prlimit64",
    "readlink",
    "rseq",
    "set_robust_list",
    "set_tid_address",
];

/// What the command prints.
fn seccomp(arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(kubectl_seccomp()?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("kubectl-seccomp can't be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl-seccomp {arguments:?}: {said}");
    Ok(output.stdout)
}

/// A profile of exactly a runtime's base and the application's calls, made as a user makes it.
fn exactly(runtime: &str, no_new_privs: bool) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let [base, application] = ["base.json", "application.json"].map(|name| folder.path().join(name));
    let mut arguments = vec!["runtime-base", "--runtime", runtime];
    arguments.extend(no_new_privs.then_some("--no-new-privs"));
    fs::write(&base, seccomp(&arguments)?)?;
    fs::write(&application, allowing(APPLICATION).to_string())?;
    let [base, application] = [&base, &application].map(|path| path.to_str().context("a path is no text"));
    Ok(serde_json::from_slice(&seccomp(&["merge", application?, base?])?)?)
}

/// Makes a profile of a document, and a pod that runs under it.
async fn start(
    namespace: &TestNamespace,
    name: &str,
    runtime: &str,
    escalation: bool,
    document: &Value,
) -> Result<()> {
    namespace.apply(&profile(name, &json!({ "profile": document })))?;
    let status = await_ready(&namespace.api::<SeccompProfile>(), name).await?;
    let path = status.localhost_profile.context("a Ready profile has a path")?;
    let mut spec = json!({
        "securityContext": { "seccompProfile": { "type": "Localhost", "localhostProfile": path } },
        "containers": [{
            "name": "busybox",
            "image": portcullis_e2e::image::BUSYBOX,
            "command": ["sleep", "infinity"],
            "securityContext": { "allowPrivilegeEscalation": escalation },
        }],
    });
    if runtime == "crun" {
        spec["runtimeClassName"] = json!("crun");
    }
    namespace.create_object(&busybox(name, &spec)?).await.map(drop)
}

async fn pods_start_under_exactly_the_base(runtime: &'static str) -> Result<()> {
    let operator = Operator::from_env().await?;
    // Elsewhere no container under a namespace's profile may gain privileges.
    let labels = BTreeMap::from([(ALLOW_LOOSER_LABEL.to_owned(), "true".to_owned())]);
    let options = NamespaceOptions { labels, ..NamespaceOptions::default() };
    with_namespace_options(operator.cluster(), "runtime-base", options, async |namespace| {
        for (name, escalation) in [("confined", false), ("escalating", true)] {
            start(&namespace, name, runtime, escalation, &exactly(runtime, !escalation)?).await?;
            await_object(&namespace.api::<Pod>(), name, "running", START, is_running).await?;
            // What `kubectl exec` makes the runtime call is part of the base too.
            namespace.exec(name, &["true"])?;
        }
        // The base of no_new_privs is not enough where the filter is loaded before privileges are dropped.
        start(&namespace, "too-small", runtime, true, &exactly(runtime, true)?).await?;
        await_object(&namespace.api::<Pod>(), "too-small", "failed to start", PATIENCE, fails_to_start)
            .await?;
        Ok(())
    })
    .await
}

/// Whether the runtime gave up on a pod's container: as `StartError` where it dies after it is made.
fn fails_to_start(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.into_iter().flatten().any(|status| {
        let states = [status.state.as_ref(), status.last_state.as_ref()];
        let terminated = states.into_iter().flatten().filter_map(|state| state.terminated.as_ref());
        let mut reasons = terminated.filter_map(|state| state.reason.as_deref());
        let waits = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        reasons.any(|reason| reason == "StartError")
            || waits
                .and_then(|state| state.reason.as_deref())
                .is_some_and(|reason| ["CreateContainerError", "RunContainerError"].contains(&reason))
    })
}

#[tokio::test]
async fn runc_needs_exactly_its_base() -> Result<()> {
    pods_start_under_exactly_the_base("runc").await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the runtime class crun of the local cluster: unset KUBECONFIG")]
async fn crun_needs_exactly_its_base() -> Result<()> {
    pods_start_under_exactly_the_base("crun").await
}
