//! What can go wrong.

use std::{fs, io};

/// What can go wrong while a command is traced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not let this process trace.
    #[error("the kernel does not let this process trace others ({source}): {remedy}")]
    Refused {
        /// What forbids it, and what to do.
        remedy: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The child ended instead of waiting to be traced.
    #[error("the process that should run the command ended before it could be traced")]
    Gone,
    /// Another request failed.
    #[error("can't {what} process {pid}: {source}")]
    Request {
        /// What was tried.
        what: &'static str,
        /// The task.
        pid: i32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Waiting failed.
    #[error("can't wait for what is traced: {0}")]
    Wait(#[source] io::Error),
}

/// Why tracing is refused, as far as this process can find out.
pub(crate) fn remedy() -> &'static str {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let filtered = read("/proc/self/status").lines().any(|line| line == "Seccomp:\t2");
    match read("/proc/sys/kernel/yama/ptrace_scope").trim() {
        "3" => {
            "kernel.yama.ptrace_scope is 3, which forbids it to everybody until the next boot; record as root, with eBPF"
        }
        "2" => {
            "kernel.yama.ptrace_scope is 2: only root may; record as root, or run `sysctl kernel.yama.ptrace_scope=1`"
        }
        _ if filtered => {
            "this process runs under a seccomp filter, which probably denies ptrace; in a container start that with \
             `--cap-add SYS_PTRACE` or `--security-opt seccomp=unconfined`, or record outside of it"
        }
        _ => "a security module forbids it, or another program traces already; record as root, with eBPF",
    }
}
