//! The signals that somebody sends to the recorder, and those that say that a process ended or stopped.

use std::{fs, os::fd::AsFd as _, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// The signals by which somebody asks to end.
const ASKING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
/// `SI_KERNEL` of include/uapi/asm-generic/siginfo.h: a terminal sent it, to every process of its foreground.
const BY_THE_KERNEL: i32 = 0x80;

/// Somebody asked to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) signal: Signal,
    /// Whether the command has got it too.
    pub(super) by_terminal: bool,
}

/// The signals that came, in a file descriptor. From then on they interrupt nothing.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Begins to hold the signals back. Those that are ignored (`nohup`, a shell's `&`) stay so.
    pub(super) fn new() -> Result<Self> {
        let ignored = ignored();
        let mut held = SigSet::empty();
        held.add(Signal::SIGCHLD);
        ASKING.into_iter().filter(|signal| ignored & bit(*signal) == 0).for_each(|signal| held.add(signal));
        held.thread_block().context("can't hold signals back")?;
        SignalFd::with_flags(&held, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(Self)
            .context("can't read signals")
    }

    /// Waits for a signal, or until the time is over. A child's are not among the answer, but end the waiting.
    pub(super) fn wait(&self, limit: Duration) -> Result<Vec<Asked>> {
        let mut held = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut held, limit) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("can't wait for signals"),
        }
        let mut asked = Vec::new();
        while let Some(info) = self.0.read_signal().context("can't read signals")? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            if let Some(signal) = signal.filter(|signal| ASKING.contains(signal)) {
                asked.push(Asked { signal, by_terminal: info.ssi_code == BY_THE_KERNEL });
            }
        }
        Ok(asked)
    }
}

/// Undoes [`Signals::new`] in a copy of this process, before it becomes the command: a mask outlives execve(2).
pub(super) fn unblock() -> Result<()> {
    let held: SigSet = ASKING.into_iter().chain([Signal::SIGCHLD]).collect();
    held.thread_unblock().context("can't let signals through")
}

/// `SigIgn` of proc_pid_status(5).
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}
