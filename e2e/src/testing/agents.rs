//! Agents as processes: found on this machine to be stopped or killed, or started by a test outside of any pod.

use std::{
    fs,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::{
    Operator,
    image::{Architecture, OperatorImage},
    process::{open_pid, send, wait_exit},
};

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent's process on a node of the local cluster.
#[derive(Debug)]
pub struct AgentProcess {
    handle: OwnedFd,
    pid: i32,
}

impl AgentProcess {
    /// Finds it by its environment, which names its node.
    ///
    /// # Errors
    /// Where none runs there, or the cluster is the user's own.
    pub fn on(operator: &Operator, node: &str) -> Result<Self> {
        operator.cluster().require_local("finding a process of a pod")?;
        let wanted = format!("NODE_NAME={node}");
        for entry in fs::read_dir("/proc").context("can't list the processes")? {
            let name = entry.context("can't list the processes")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // The handle first, so that what is read is of the process that it is on.
            let Some(handle) = open_pid(pid) else { continue };
            if is_agent(pid) && variables(pid).contains(&wanted) {
                return Ok(Self { handle, pid });
            }
        }
        bail!("no agent runs on {node}")
    }

    /// Kills it as the kernel does when memory is short, and waits until it is gone. Its kubelet starts it again.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn kill(self) -> Result<()> {
        send(&self.handle, Signal::KILL)?;
        if !wait_exit(&self.handle, PATIENCE)? {
            bail!("the agent {} is killed but does not end", self.pid);
        }
        Ok(())
    }

    /// Stops it where it is, until what is given is dropped: it holds its connections and says nothing.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn freeze(self) -> Result<Frozen> {
        send(&self.handle, Signal::STOP)?;
        Ok(Frozen(self))
    }

    /// Bytes of memory that it has for itself: `RssAnon` of proc_pid_status(5), which leaves the program's own file out.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the agent is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.context("the kernel does not say how much memory the agent has")? * 1024)
    }
}

/// An agent that is stopped. It goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen(AgentProcess);

impl Drop for Frozen {
    fn drop(&mut self) {
        // It can only fail where the process is gone, which then needs no more.
        let _ = send(&self.0.handle, Signal::CONT);
    }
}

fn is_agent(pid: i32) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments.next().is_some_and(|program| program.ends_with(b"portcullis"))
        && arguments.next() == Some(b"agent")
}

fn variables(pid: i32) -> Vec<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

/// An agent outside of any pod, over a directory of its own. It reads the cluster's revisions as every agent does, but speaks for
/// no node: what it would report is refused, which it has to bear.
#[derive(Debug)]
pub struct LooseAgent {
    child: Child,
}

impl LooseAgent {
    /// Starts the binary of the operator's image.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn start(operator: &Operator, directory: &Path, log: &Path) -> Result<Self> {
        let binary = OperatorImage::new(Architecture::of_machine()?).binary();
        let log =
            fs::File::options().create(true).append(true).open(log).context("can't write the agent's log")?;
        let child = Command::new(&binary)
            .args([
                "agent",
                "--health-probe-bind-address",
                "127.0.0.1:0",
                "--metrics-bind-address",
                "127.0.0.1:0",
            ])
            .args(["--log-format", "text", "--directory"])
            .arg(directory)
            .env_clear()
            .env("KUBECONFIG", operator.cluster().kubeconfig())
            .envs([
                ("NODE_NAME", "no-node"),
                ("POD_UID", "00000000-0000-0000-0000-000000000000"),
                ("POD_NAME", "no-pod"),
                ("POD_NAMESPACE", "default"),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start {}", binary.display()))?;
        Ok(Self { child })
    }

    /// Kills it without warning, and waits until it is gone.
    ///
    /// # Errors
    /// Where it had ended before by itself.
    pub fn kill(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the agent ended by itself: {status}");
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for LooseAgent {
    fn drop(&mut self) {
        // After `kill` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
