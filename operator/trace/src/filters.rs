//! The filters of a task, as the kernel keeps them.

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

use portcullis_profile::{
    filter::{INSTRUCTION_BYTES, Program, Reject},
    program::{MAX_INSTRUCTIONS, MAX_STACK},
};
use rustix::{
    io::retry_on_intr,
    process::{Pid, WaitOptions, waitpid},
};

use crate::request::{self, Resume};

/// How long a task may take to stop: one that waits for a disk does so afterwards.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a look is taken whether it has.
const TICK: Duration = Duration::from_millis(2);
/// No task has more: each counts with 4 instructions besides its own.
const MAX_FILTERS: usize = MAX_STACK / 5;

/// One filter of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its program.
    pub program: Program,
    /// Whether the kernel logs what it does but for `ALLOW` (`SECCOMP_FILTER_FLAG_LOG`); `None` where the kernel doesn't say, before
    /// Linux 4.16.
    pub logs: Option<bool>,
}

/// Why a task's filters can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// There is no such task.
    #[error("there is no task {0}")]
    NoTask(u32),
    /// It has none.
    #[error("task {0} has no seccomp filter")]
    NoFilter(u32),
    /// It is in the strict mode of seccomp(2), which has no filter.
    #[error(
        "task {0} is in seccomp's strict mode, which has no filter: it may call read, write, _exit and sigreturn"
    )]
    Strict(u32),
    /// The kernel shows filters to nobody who has one.
    #[error(
        "this process runs under a seccomp filter itself, and the kernel shows filters to nobody who has one: run this outside of \
         containers, or in one with seccomp unconfined"
    )]
    OwnFilter,
    /// A right is missing.
    #[error(
        "the kernel shows the filters of task {task} to nobody without CAP_SYS_ADMIN (in the first user namespace) and CAP_SYS_PTRACE: \
         run this as root of the machine"
    )]
    NoRight {
        /// The task.
        task: u32,
    },
    /// Another program traces it.
    #[error(
        "task {task} can't be traced ({source}): another program traces it already, or kernel.yama.ptrace_scope or a security module \
         forbids it"
    )]
    NotTraced {
        /// The task.
        task: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It doesn't stop.
    #[error("task {0} did not stop within 5 s, so it probably waits for a disk or a file server: try again")]
    NotStopped(u32),
    /// The kernel was built without what keeps filters.
    #[error(
        "this kernel keeps no copies of filters: it was built without CONFIG_CHECKPOINT_RESTORE, or is older than Linux 4.4"
    )]
    NotKept,
    /// One that is no program of classic BPF.
    #[error("the kernel has no copy of task {task}'s filter {index}")]
    NoCopy {
        /// The task.
        task: u32,
        /// The filter's index, from 0, the oldest.
        index: usize,
    },
    /// The kernel's copy is no program: it is newer than what is known here.
    #[error("task {task}'s filter {index} can't be read: {source}")]
    Program {
        /// The task.
        task: u32,
        /// The filter's index, from 0, the oldest.
        index: usize,
        /// What is wrong with it.
        source: Reject,
    },
    /// Another request failed.
    #[error("can't read task {task}'s filters: {source}")]
    Request {
        /// The task.
        task: u32,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Reads the filters of a task, a process's first thread or any other, the oldest first. The task stops for the time that takes.
///
/// # Errors
/// Where it has none, the kernel keeps none, or this process may not.
pub fn filters(task: u32) -> Result<Vec<Filter>, Unread> {
    match mode(&task.to_string()) {
        None => return Err(Unread::NoTask(task)),
        Some(0) => return Err(Unread::NoFilter(task)),
        Some(1) => return Err(Unread::Strict(task)),
        Some(_) => {}
    }
    if mode("self").is_some_and(|mode| mode != 0) {
        return Err(Unread::OwnFilter);
    }
    let stopped = Stopped::new(task)?;
    let mut found = Vec::new();
    let mut buffer = vec![0; MAX_INSTRUCTIONS * INSTRUCTION_BYTES];
    for index in 0..MAX_FILTERS {
        let length = match request::filter(stopped.pid, index, &mut buffer) {
            Ok(length) => length,
            // ENOENT: there are no more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            Err(source) => return Err(refused(task, index, source)),
        };
        let bytes = &buffer[..(length * INSTRUCTION_BYTES).min(buffer.len())];
        let program = Program::from_bytes(bytes, cfg!(target_endian = "big"))
            .map_err(|source| Unread::Program { task, index, source })?;
        found.push(Filter { program, logs: request::filter_logs(stopped.pid, index).ok() });
    }
    if found.is_empty() { Err(Unread::NoFilter(task)) } else { Ok(found) }
}

/// `Seccomp` of proc_pid_status(5): 0 is off, 1 strict, 2 filters.
fn mode(task: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{task}/status")).ok()?;
    let field = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    field.map_or(Some(0), |value| value.trim().parse().ok())
}

/// Why a request for a filter failed: `seccomp_get_filter` in Linux' kernel/seccomp.c.
fn refused(task: u32, index: usize, source: io::Error) -> Unread {
    match source.raw_os_error() {
        Some(libc::EACCES) => Unread::NoRight { task },
        Some(libc::EIO) => Unread::NotKept,
        Some(libc::EMEDIUMTYPE) => Unread::NoCopy { task, index },
        Some(libc::EINVAL) => Unread::NoFilter(task),
        Some(libc::ESRCH) => Unread::NoTask(task),
        _ => Unread::Request { task, source },
    }
}

/// A task that is traced and stands still, until this is dropped.
struct Stopped {
    pid: Pid,
    /// A signal that it was about to get.
    signal: i32,
}

impl Stopped {
    fn new(task: u32) -> Result<Self, Unread> {
        let pid = i32::try_from(task).ok().and_then(Pid::from_raw).ok_or(Unread::NoTask(task))?;
        request::seize_without_options(pid).map_err(|source| match source.raw_os_error() {
            Some(libc::ESRCH) => Unread::NoTask(task),
            Some(libc::EPERM) if !rustix::process::geteuid().is_root() => Unread::NoRight { task },
            _ => Unread::NotTraced { task, source },
        })?;
        request::interrupt(pid).map_err(|source| Unread::Request { task, source })?;
        let until = Instant::now() + PATIENCE;
        // `__WALL`: a thread as well as a process.
        let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(0x4000_0000);
        loop {
            match retry_on_intr(|| waitpid(Some(pid), options)) {
                Ok(Some((_, status))) if status.stopped() => {
                    let raw = status.as_raw();
                    // What was about to be delivered still is; an event is no signal.
                    let signal = if raw >> 16 == 0 { raw >> 8 & 0xff } else { 0 };
                    return Ok(Self { pid, signal });
                }
                Ok(Some(_)) => return Err(Unread::NoTask(task)),
                Ok(None) if Instant::now() > until => return Err(Unread::NotStopped(task)),
                Ok(None) => thread::sleep(TICK),
                Err(error) => return Err(Unread::Request { task, source: error.into() }),
            }
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // A task that is gone needs nothing more.
        let _ = request::resume(self.pid, Resume::Detach(self.signal));
    }
}
