//! The command, and signals on their way to it.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use tokio::{
    process::Command,
    signal::unix::{self, SignalKind},
};

use super::nodes::Nodes;

/// A shell's exit code of what a signal ended is this and the signal's number.
const SIGNALLED: i32 = 128;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The command did.
    Status(ExitStatus),
    /// A signal came before the command began.
    Signal(Signal),
}

impl Ended {
    /// The exit code that says so, as a shell's.
    pub(super) fn code(self) -> u8 {
        let code = match self {
            Self::Status(status) => status.code().or_else(|| Some(SIGNALLED + status.signal()?)),
            Self::Signal(signal) => Some(SIGNALLED + signal.as_raw()),
        };
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}

/// The signals by which a program is asked to stop. While this lives they end nothing by themselves.
pub(super) struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let of = |kind| unix::signal(kind).context("signals can't be received");
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            quit: of(SignalKind::quit())?,
            terminate: of(SignalKind::terminate())?,
            hangup: of(SignalKind::hangup())?,
        })
    }

    /// The next one that comes.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}

/// Runs the command to its end. Signals go to it.
pub(super) async fn run(
    program: &OsStr,
    arguments: &[OsString],
    nodes: &mut Nodes,
    signals: &mut Signals,
) -> Result<Ended> {
    let mut child = Command::new(program)
        .args(arguments)
        .spawn()
        .with_context(|| format!("can't run {}", program.to_string_lossy()))?;
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    loop {
        tokio::select! {
            status = child.wait() => return Ok(Ended::Status(status.context("the command can't be waited for")?)),
            signal = signals.next() => {
                if let Some(pid) = pid.filter(|_| !is_from_terminal(signal)) {
                    // It may have ended just now.
                    let _ = kill_process(pid, signal);
                }
            }
            () = nodes.follow() => {}
        }
    }
}

/// Whether the command has the signal already: a terminal sends those of its keys to every process in the foreground.
fn is_from_terminal(signal: Signal) -> bool {
    let by_key = signal == Signal::INT || signal == Signal::QUIT;
    let foreground =
        || std::fs::File::open("/dev/tty").ok().and_then(|tty| rustix::termios::tcgetpgrp(tty).ok());
    by_key && foreground() == Some(getpgrp())
}
