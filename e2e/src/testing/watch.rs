//! Commands that show changes as they come.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result};

use super::{TestNamespace, profiles::PATIENCE};
use crate::cli::kubectl_seccomp;

/// A command that shows changes until this is dropped.
#[derive(Debug)]
pub struct Watch {
    command: Child,
    lines: mpsc::Receiver<String>,
}

impl Watch {
    /// Starts `kubectl-seccomp` in a test's namespace.
    ///
    /// # Errors
    /// Where it can't be built or started.
    pub fn start(namespace: &TestNamespace, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(kubectl_seccomp()?)
            .args(arguments)
            .args(["--namespace", namespace.name(), "--kubeconfig"])
            .arg(namespace.cluster().kubeconfig())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, lines) = mpsc::channel();
        pass_on(command.stdout.take().context("the output is not connected")?, sender.clone());
        pass_on(command.stderr.take().context("the error output is not connected")?, sender);
        Ok(Self { command, lines })
    }

    /// Waits for a line that begins with the first of some words and has the others.
    ///
    /// # Errors
    /// Where none comes in time, with the lines that did.
    pub fn await_line(&self, words: &[&str]) -> Result<()> {
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
