//! The calls that are measured.

use portcullis_profile::{Arch, syscalls};

use crate::answer::{Answer, Target};

/// Calls by which a runtime gives something up, takes something on or checks something. Those of them that a runtime doesn't make are
/// found at once.
const CALLS: &[&str] = &[
    // Identity and capabilities.
    "capget",
    "capset",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getresgid",
    "getresuid",
    "getuid",
    "prctl",
    "seccomp",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setuid",
    // Descriptors, and what is behind them.
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "getdents64",
    "ioctl",
    "lseek",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pread64",
    "read",
    "readlink",
    "readlinkat",
    "stat",
    "statfs",
    "statx",
    "write",
    // Places.
    "access",
    "chdir",
    "faccessat",
    "faccessat2",
    "fchdir",
    "getcwd",
    "umask",
    // Processes.
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getsid",
    "gettid",
    "ioprio_set",
    "kill",
    "prlimit64",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setscheduler",
    "setpgid",
    "setpriority",
    "setrlimit",
    "setsid",
    "tgkill",
];

/// Index and value of each argument.
type Arguments = &'static [(u8, u64)];

/// What the first arguments of a call can be, where a runtime makes the call for several ends.
const ARGUMENTS: &[(&str, &[Arguments])] = &[
    (
        "prctl",
        &[
            &[(0, 1)],          // PR_SET_PDEATHSIG
            &[(0, 2)],          // PR_GET_PDEATHSIG
            &[(0, 3)],          // PR_GET_DUMPABLE
            &[(0, 4)],          // PR_SET_DUMPABLE
            &[(0, 7)],          // PR_GET_KEEPCAPS
            &[(0, 8)],          // PR_SET_KEEPCAPS
            &[(0, 8), (1, 0)],  // ... off
            &[(0, 8), (1, 1)],  // ... on
            &[(0, 15)],         // PR_SET_NAME
            &[(0, 21)],         // PR_GET_SECCOMP
            &[(0, 22)],         // PR_SET_SECCOMP
            &[(0, 23)],         // PR_CAPBSET_READ
            &[(0, 24)],         // PR_CAPBSET_DROP
            &[(0, 27)],         // PR_GET_SECUREBITS
            &[(0, 28)],         // PR_SET_SECUREBITS
            &[(0, 36)],         // PR_SET_CHILD_SUBREAPER
            &[(0, 38)],         // PR_SET_NO_NEW_PRIVS
            &[(0, 39)],         // PR_GET_NO_NEW_PRIVS
            &[(0, 47)],         // PR_CAP_AMBIENT
            &[(0, 47), (1, 1)], // ... PR_CAP_AMBIENT_IS_SET
            &[(0, 47), (1, 2)], // ... PR_CAP_AMBIENT_RAISE
            &[(0, 47), (1, 3)], // ... PR_CAP_AMBIENT_LOWER
            &[(0, 47), (1, 4)], // ... PR_CAP_AMBIENT_CLEAR_ALL
        ],
    ),
    (
        "fcntl",
        &[
            &[(1, 0)],    // F_DUPFD
            &[(1, 1)],    // F_GETFD
            &[(1, 2)],    // F_SETFD
            &[(1, 3)],    // F_GETFL
            &[(1, 4)],    // F_SETFL
            &[(1, 1030)], // F_DUPFD_CLOEXEC
        ],
    ),
    (
        "seccomp",
        &[
            &[(0, 1)], // SECCOMP_SET_MODE_FILTER
            &[(0, 2)], // SECCOMP_GET_ACTION_AVAIL
        ],
    ),
];

/// Each call, and the arguments that matter, as far as an architecture has it.
pub(crate) fn all(arch: Arch) -> Vec<(Target, Vec<Target>)> {
    let of_call = |call: &&str| {
        let several = ARGUMENTS.iter().filter(|(of, _)| of == call).flat_map(|(_, several)| *several);
        (Target::whole(call), several.map(|arguments| Target::with(call, arguments)).collect())
    };
    CALLS.iter().filter(|call| syscalls::number(arch, call).is_some()).map(of_call).collect()
}

/// The last errno that a filter's author may think of, `EHWPOISON`.
const LAST: u16 = 133;

/// Errnos that somebody's source asks for: EPERM, ENOENT, ESRCH, EINTR, EIO, EBADF, EAGAIN, ENOMEM, EACCES, EBUSY, EEXIST, ENOTDIR,
/// EINVAL, ERANGE, ENAMETOOLONG, ENOSYS, ELOOP, ENODATA, EOPNOTSUPP, and one that nobody's does.
const NAMED: [u16; 21] = [0, 1, 2, 3, 4, 5, 9, 11, 12, 13, 16, 17, 20, 22, 34, 36, 38, 40, 61, 95, LAST];

/// Those of some answers that are errnos a source asks for.
pub(crate) fn named() -> Vec<Answer> {
    NAMED.map(Answer::Errno).to_vec()
}

/// Every answer, but the one that shows whether the call is made.
pub(crate) fn every() -> Vec<Answer> {
    (0..=LAST).map(Answer::Errno).chain([Answer::KillThread, Answer::Trap]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_target_is_measured_once() {
        let all = all(Arch::X86_64);
        let flat: Vec<&Target> =
            all.iter().flat_map(|(whole, several)| several.iter().chain([whole])).collect();
        let distinct: BTreeSet<&&Target> = flat.iter().collect();
        assert_eq!(flat.len(), distinct.len());
        for (call, several) in ARGUMENTS {
            assert!(
                all.iter().any(|(whole, found)| whole.call == *call && found.len() == several.len()),
                "{call}"
            );
        }
        assert!(CALLS.iter().all(|call| syscalls::names().any(|name| name == *call)));
        assert!(every().len() > 134 && named().iter().all(|answer| every().contains(answer)));
    }
}
