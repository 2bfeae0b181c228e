//! Calls without which no container starts, whatever the application needs.

use super::{
    Code, Findings,
    subject::{Fate, Subject},
};
use crate::{
    Action,
    syscalls::{self, Lookup},
};

const ENOSYS: u32 = 38;

/// Calls that a run may not show, and no program can do without.
const ALWAYS: &[&str] = &["rt_sigreturn", "restart_syscall", "exit", "exit_group"];

/// What runc 1.1 to 1.3 calls between loading the filter and executing the program, with no_new_privs.
///
/// Source: recorded from runc 1.1.5 under a filter that allowed everything, and what runc 1.2.8 and 1.3.3 added:
/// libcontainer/standard_init_linux.go and libcontainer/utils/utils_unix.go. `kubectl exec` repeats most of it.
const RUNC: &[&str] = &[
    "close",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "fstatfs",
    "futex",
    "getdents64",
    "mmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "openat2",
    "rt_sigreturn",
    "statx",
    "tgkill",
    "write",
];

/// What it calls besides, where it loads the filter earlier, without no_new_privs.
const RUNC_ESCALATION: &[&str] = &[
    "capget",
    "capset",
    "chdir",
    "close_range",
    "faccessat2",
    "fchown",
    "fcntl",
    "fstat",
    "getcwd",
    "getppid",
    "prctl",
    "setgid",
    "setgroups",
    "setuid",
];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    let path = || "syscalls".to_owned();
    let always = denied(subject, ALWAYS);
    if !always.is_empty() {
        findings.push(Code::AlwaysNeeded, path(), || format!("{} denied", are(&always)));
    }
    let runc = denied(subject, RUNC);
    if !runc.is_empty() {
        let kills =
            matches!(subject.profile.default_action, Action::Kill | Action::KillThread | Action::KillProcess);
        let code = if kills { Code::KillsRuntime } else { Code::RuntimeCalls };
        findings.push(code, path(), || format!("{} denied", are(&runc)));
    }
    let escalation = denied(subject, RUNC_ESCALATION);
    if !escalation.is_empty() {
        findings.push(Code::EscalationCalls, path(), || format!("{} denied", are(&escalation)));
    }
}

/// All of them: whoever reads the message wants to copy the list.
fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn denied<'n>(subject: &Subject<'_>, names: &[&'n str]) -> Vec<&'n str> {
    let architectures = subject.architectures();
    let exists = |name: &str| {
        architectures.is_empty()
            || architectures.iter().any(|&arch| matches!(syscalls::lookup(arch, name), Lookup::Known { .. }))
    };
    names
        .iter()
        .copied()
        .filter(|name| exists(name) && subject.fate(name) == Fate::Denied && !falls_back(subject, name))
        .collect()
}

/// runc does without openat2 where it fails with ENOSYS, and only then.
///
/// Source: the releases of github.com/cyphar/filepath-securejoin that runc 1.2.8 and 1.3.3 use.
fn falls_back(subject: &Subject<'_>, name: &str) -> bool {
    let profile = subject.profile;
    name == "openat2"
        && profile.default_action == Action::Errno
        && profile.default_errno_ret == Some(ENOSYS)
        && subject.calls().all(|(call, _)| call != "openat2")
}
