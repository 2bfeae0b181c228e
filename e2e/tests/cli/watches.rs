//! What `-w` shows of changes.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result};
use kube::api::DeleteParams;
use portcullis_api::{SeccompProfile, SeccompRecording};
use portcullis_e2e::testing::{
    TestNamespace,
    profiles::{PATIENCE, await_ready, local_operator, numbered, profile},
    with_namespace,
};
use serde_json::{Value, json};

use crate::tool::command;

#[tokio::test]
async fn a_watch_of_profiles_shows_each_change() -> Result<()> {
    let Some(operator) = local_operator().await? else { return Ok(()) };
    with_namespace(operator.cluster(), "cli-watch", async |namespace| {
        namespace.apply(&profile("first", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "first").await?;
        let watch = Watch::start(&namespace, &["status", "--watch"])?;
        watch.await_line(&["sp/first", "True", "2/2"])?;
        namespace.apply(&profile("second", &json!({ "profile": numbered(2) })))?;
        watch.await_line(&["sp/second", "True", "2/2"])?;
        namespace.api::<SeccompProfile>().delete("first", &DeleteParams::default()).await?;
        watch.await_line(&["sp/first is deleted"])
    })
    .await
}

#[tokio::test]
async fn a_watch_of_recordings_shows_each_change() -> Result<()> {
    let Some(operator) = local_operator().await? else { return Ok(()) };
    with_namespace(operator.cluster(), "cli-record-watch", async |namespace| {
        namespace.apply(&recording("first"))?;
        let watch = Watch::start(&namespace, &["record", "status", "--watch"])?;
        watch.await_line(&["first"])?;
        let named = Watch::start(&namespace, &["record", "status", "first", "--watch"])?;
        named.await_line(&["first", "WaitingForPods"])?;
        namespace.apply(&recording("second"))?;
        watch.await_line(&["second", "WaitingForPods"])?;
        namespace.api::<SeccompRecording>().delete("first", &DeleteParams::default()).await?;
        watch.await_line(&["first is deleted"])?;
        named.await_line(&["first is deleted"])?;
        namespace.apply(&recording("first"))?;
        named.await_line(&["first", "WaitingForPods"])
    })
    .await
}

fn recording(name: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecording",
        "metadata": { "name": name },
        "spec": { "podSelector": {} },
    })
}

/// A command that shows changes until this is dropped.
struct Watch {
    command: Child,
    lines: mpsc::Receiver<String>,
}

impl Watch {
    fn start(namespace: &TestNamespace, arguments: &[&str]) -> Result<Self> {
        let mut command = command(namespace, arguments)?
            .args(["--namespace", namespace.name()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, lines) = mpsc::channel();
        pass_on(command.stdout.take().context("the output is not connected")?, sender.clone());
        pass_on(command.stderr.take().context("the error output is not connected")?, sender);
        Ok(Self { command, lines })
    }

    /// Waits for a line that begins with the first of some words and has the others.
    fn await_line(&self, words: &[&str]) -> Result<()> {
        let mut seen = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .with_context(|| format!("no line with {words:?} came, but:\n{}", seen.join("\n")))?;
            if line.starts_with(words[0]) && words.iter().all(|word| line.contains(word)) {
                return Ok(());
            }
            seen.push(line);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

fn pass_on(output: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The test may have seen enough.
            let _ = lines.send(line);
        }
    });
}
