//! `kubectl seccomp record run`: a test run on a pod that ran before it and runs on after it.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_e2e::{FIRST_NODES, cli::kubectl_seccomp};
use serde_json::json;

use crate::{
    recorder::{once, phase},
    support::{PATIENCE, await_status, in_namespace, record},
};

/// What it does in turn, each once a file is there, so that every call's run is known.
const LINE: &str = "until test -e /tmp/go; do sleep 0.1; done; mkdir /tmp/x; touch /tmp/done; \
                    until test -e /tmp/after; do sleep 0.1; done; rmdir /tmp/x; sleep infinity";

/// The calls of a run by name, as a node's part has them.
fn calls(part: &SeccompRecordingPart, run: &str) -> Result<Vec<&'static str>> {
    let tally = part.spec.ledger()?.total();
    let mine = tally.subjects.iter().filter(|(subject, _)| subject.run == run);
    Ok(mine.flat_map(|(_, seen)| seen.calls.keys().filter_map(|call| call.name())).collect())
}

#[tokio::test]
async fn a_run_has_what_was_called_while_its_command_ran_and_no_more() -> Result<()> {
    in_namespace("bracket", async |_, namespace| {
        record(&namespace, "bracket", &json!({})).await?;
        let node = FIRST_NODES[0];
        let pod = once("busy", "bracket", node, LINE, None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        await_status(&namespace, "bracket", "a recording of the start", |status| status.calls > 0).await?;

        let kubectl = namespace.cluster().kubectl();
        let mut command = Command::new(kubectl_seccomp()?);
        command.env_remove("KUBECONFIG").stdin(Stdio::null());
        command.args(["record", "run", "bracket", "--run", "suite", "--namespace", namespace.name()]);
        command.arg("--kubeconfig").arg(namespace.cluster().kubeconfig()).arg("--");
        command.arg(kubectl.get_program()).args(kubectl.get_args());
        let told = "touch /tmp/go; until test -e /tmp/done; do sleep 0.1; done; exit 3";
        command.args(["--namespace", namespace.name(), "exec", "busy", "--", "sh", "-c", told]);
        let output = command.output().context("kubectl-seccomp can't be run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(3), "the command's own status, not {}: {said}", output.status);
        ensure!(said.contains("1 node with running pods of it answered"), "{said}");
        let recording = namespace.api::<SeccompRecording>().get("bracket").await?;
        ensure!(recording.spec.run.is_none(), "{:?} is left behind", recording.spec.run);

        // The last counts were waited for, so they are there now.
        let read = async || namespace.api::<SeccompRecordingPart>().get(&format!("bracket.{node}")).await;
        let part = read().await?;
        ensure!(calls(&part, "suite")?.contains(&"mkdir"), "{part:?}");
        namespace.exec("busy", &["touch", "/tmp/after"])?;
        let has_rmdir = |name: &String| name == "rmdir";
        await_status(&namespace, "bracket", "what came after the run", |status| {
            status.call_names.iter().any(has_rmdir)
        })
        .await?;
        let part = read().await?;
        let (suite, others) = (calls(&part, "suite")?, calls(&part, "")?);
        ensure!(suite.contains(&"mkdir") && !suite.contains(&"rmdir"), "{suite:?}");
        ensure!(others.contains(&"rmdir") && !others.contains(&"mkdir"), "{others:?}");
        Ok(())
    })
    .await
}
