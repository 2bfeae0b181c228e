//! The calls that a container runtime itself makes after it has loaded the filter, and so needs of every profile.
//!
//! # How they were found
//! Measured with strace -f: every call of the process that loads the filter, from `seccomp(SECCOMP_SET_MODE_FILTER)` to
//! the successful `execve`, of `run`, of `create` and `start` (as Kubernetes has it) and of `exec --process`, as root and as another user with two more groups,
//! with and without `no_new_privs`, 6 to 8 times each, on x86-64 and Linux 6.18. Then each call was denied with
//! `EPERM` and with `ENOSYS` in a filter that allows all others, to see whether a container still starts. Calls that the Go
//! runtime makes now and then come from its source.
//!
//! Newer versions (runc 1.2.9, 1.3.6, 1.4.3 and 1.5.2, crun 1.21) were started, and executed in, under exactly these calls and an
//! application's. What they lacked was found by leaving out one call at a time. [`BaseCall::since`] tells it.
//!
//! `e2e/tests/runtime_base.rs` starts pods under profiles of exactly these calls and an application's.

use crate::{Action, Profile, Rule, evaluate::Runtime};

/// Calls that a run may not show, and no program can do without.
pub const ALWAYS: &[&str] = &["exit", "exit_group", "restart_syscall", "rt_sigreturn"];

/// Calls without which a runtime starts no container, however they are denied.
///
/// Measured with runc 1.1.5 and crun 1.8.1, each call denied alone: without `execve` neither starts one, without `write` runc does not.
pub const INDISPENSABLE: &[&str] = &["execve", "write"];

/// `ENOSYS`, which callers take as a reason to fall back.
const ENOSYS: u32 = 38;

/// Whether a container starts where the call alone is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It doesn't.
    Fails,
    /// It does: the runtime ignores the failure.
    Starts,
    /// It does, but nothing can be executed in it: `kubectl exec` and exec probes fail.
    ExecFails,
    /// Not tried: the runtime makes the call in newer versions, or now and then.
    Untried,
}

/// Where it is known from that a runtime makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It was measured.
    Measured,
    /// It stands in the source named.
    Source(&'static str),
}

/// A call that a runtime makes under the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseCall {
    /// The call.
    pub name: &'static str,
    /// What happens without it.
    pub denied: Denied,
    /// Where it is known from.
    pub evidence: Evidence,
    /// Whether it is made without `no_new_privs` alone, where the filter is loaded before privileges are dropped.
    pub escalation: bool,
    /// The first version that makes it whatever `no_new_privs` is; `None` where every version does.
    pub since: Option<&'static str>,
}

const fn measured(name: &'static str, denied: Denied) -> BaseCall {
    BaseCall { name, denied, evidence: Evidence::Measured, escalation: false, since: None }
}

const fn source(name: &'static str, source: &'static str) -> BaseCall {
    BaseCall {
        name,
        denied: Denied::Untried,
        evidence: Evidence::Source(source),
        escalation: false,
        since: None,
    }
}

const fn since(version: &'static str, call: BaseCall) -> BaseCall {
    BaseCall { since: Some(version), ..call }
}

const fn early(name: &'static str, denied: Denied) -> BaseCall {
    BaseCall { name, denied, evidence: Evidence::Measured, escalation: true, since: None }
}

const SECUREJOIN: &str = "libcontainer/utils/utils_unix.go, by filepath-securejoin";
/// The first versions that open `/proc` by github.com/cyphar/filepath-securejoin when they reopen the exec fifo.
const SAFE_PROC: &str = "1.2.8 and 1.3.3";
/// The first version that drops privileges after the filter at `exec`, whatever `no_new_privs` is.
const LATE_EXEC: &str = "1.21, at exec";
const GO: &str = "Go's runtime: src/runtime/os_linux.go, netpoll_epoll.go, sys_linux_amd64.s";

use Denied::{ExecFails, Fails, Starts, Untried};

const RUNC: &[BaseCall] = &[
    measured("close", Fails),
    measured("epoll_ctl", Starts),
    source("epoll_pwait", GO),
    measured("execve", Fails),
    since(SAFE_PROC, measured("fcntl", Starts)),
    since(SAFE_PROC, measured("fstat", Fails)),
    measured("fstatfs", Fails),
    measured("futex", Fails),
    measured("getdents64", Fails),
    measured("getpid", Starts),
    source("mmap", GO),
    source("nanosleep", GO),
    since(SAFE_PROC, source("newfstatat", SECUREJOIN)),
    measured("openat", Fails),
    since(SAFE_PROC, source("openat2", SECUREJOIN)),
    measured("rt_sigreturn", Untried),
    since(SAFE_PROC, source("statx", SECUREJOIN)),
    source("tgkill", GO),
    measured("write", Fails),
    early("capget", Fails),
    early("capset", Fails),
    early("chdir", Fails),
    BaseCall {
        name: "close_range",
        denied: Untried,
        evidence: Evidence::Source("libcontainer/utils/utils_unix.go"),
        escalation: true,
        since: Some("1.2"),
    },
    early("faccessat2", Starts),
    early("fchown", Fails),
    early("getcwd", Fails),
    early("getppid", Fails),
    early("prctl", Fails),
    early("read", Fails),
    early("setgid", Fails),
    early("setgroups", Fails),
    early("setuid", Fails),
];

const CRUN: &[BaseCall] = &[
    since(LATE_EXEC, measured("capset", Fails)),
    measured("close", Starts),
    measured("execve", Fails),
    since(LATE_EXEC, measured("fchown", ExecFails)),
    since(LATE_EXEC, measured("openat", ExecFails)),
    since(LATE_EXEC, measured("read", ExecFails)),
    since(LATE_EXEC, measured("setgroups", ExecFails)),
    since(LATE_EXEC, measured("setresgid", Fails)),
    since(LATE_EXEC, measured("setresuid", Fails)),
    since(LATE_EXEC, measured("statx", ExecFails)),
    measured("umask", Untried),
    measured("write", Untried),
    since("1.28, at exec", early("close_range", Untried)),
    since("1.28, at exec", early("fstat", ExecFails)),
    early("ioctl", Untried),
    early("prctl", Fails),
    early("pselect6", Fails),
    early("rt_sigaction", Fails),
    early("rt_sigprocmask", Fails),
];

/// The calls of a runtime, by name; those that it makes without `no_new_privs` alone come last.
#[must_use]
pub const fn calls(runtime: Runtime) -> &'static [BaseCall] {
    match runtime {
        Runtime::Runc => RUNC,
        Runtime::Crun => CRUN,
    }
}

/// The versions that a runtime's list holds for.
#[must_use]
pub const fn versions(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Runc => {
            "measured with runc 1.1.5 (Go 1.19.8, libseccomp 2.5.4); tried with 1.1.15, 1.2.9, 1.3.6, 1.4.3 and 1.5.2"
        }
        Runtime::Crun => "measured with crun 1.8.1 (libseccomp 2.5.4); tried with 1.21 and 1.28",
    }
}

/// The names that a profile needs for a runtime, sorted: the runtime's own calls, and those that no program can do
/// without.
///
/// `no_new_privs` is what `allowPrivilegeEscalation: false` sets.
#[must_use]
pub fn names(runtime: Runtime, no_new_privs: bool) -> Vec<&'static str> {
    let own = calls(runtime).iter().filter(|call| !(call.escalation && no_new_privs)).map(|call| call.name);
    let mut names: Vec<&str> = own.chain(ALWAYS.iter().copied()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A profile that allows the runtime's own calls alone, to be merged with an application's. It lists no architecture, so that
/// it says nothing about them: the runtime's calls are the node's own.
#[must_use]
pub fn profile(runtime: Runtime, no_new_privs: bool) -> Profile {
    let names = names(runtime, no_new_privs).into_iter().map(str::to_owned).collect();
    Profile {
        default_action: Action::Errno,
        default_errno_ret: Some(ENOSYS),
        architectures: Vec::new(),
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: vec![Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, syscalls};

    const RUNTIMES: [Runtime; 2] = [Runtime::Runc, Runtime::Crun];

    #[test]
    fn every_call_exists_and_is_listed_once() {
        for runtime in RUNTIMES {
            let mut all: Vec<&str> = calls(runtime).iter().map(|call| call.name).collect();
            assert!(all.iter().all(|name| syscalls::number(Arch::X86_64, name).is_some()), "{all:?}");
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }

    #[test]
    fn no_new_privs_needs_less() {
        for runtime in RUNTIMES {
            let (with, without) = (names(runtime, true), names(runtime, false));
            assert!(with.iter().all(|name| without.contains(name)) && with.len() < without.len());
            for name in ALWAYS.iter().chain(&["execve", "write"]) {
                assert!(with.contains(name), "{name}");
            }
        }
    }

    /// runc 1.2.9, 1.3.6, 1.4.3 and 1.5.2 end with `reopen exec fifo: ... fstat ...: function not implemented` without it.
    #[test]
    fn runc_opens_its_fifo_under_the_filter_whatever_no_new_privs_is() {
        let call = |name: &str| calls(Runtime::Runc).iter().find(|call| call.name == name).expect("a call");
        for (name, denied) in [("fstat", Denied::Fails), ("fcntl", Denied::Starts)] {
            assert!(names(Runtime::Runc, true).contains(&name), "{name}");
            assert_eq!((call(name).denied, call(name).since), (denied, Some("1.2.8 and 1.3.3")));
        }
    }

    /// crun 1.21 ends `exec` with `error opening file /proc/self/setgroups` without them.
    #[test]
    fn crun_drops_privileges_under_the_filter_at_exec() {
        assert_eq!(
            names(Runtime::Crun, true),
            [
                "capset",
                "close",
                "execve",
                "exit",
                "exit_group",
                "fchown",
                "openat",
                "read",
                "restart_syscall",
                "rt_sigreturn",
                "setgroups",
                "setresgid",
                "setresuid",
                "statx",
                "umask",
                "write"
            ]
        );
    }
}
