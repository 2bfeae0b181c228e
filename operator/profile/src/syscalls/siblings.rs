//! Calls that do what others do.

/// Calls of which each does what the first does, or more: who denies one of them and not the others denies nothing.
///
/// Source: Linux' `fs/namei.c`, `fs/open.c`, `fs/exec.c`, `fs/xattr.c`, `fs/namespace.c`, `kernel/fork.c`, `kernel/signal.c`,
/// `kernel/sys.c`, `kernel/time/time.c`, `kernel/module/main.c` and `kernel/kexec.c`, where those of a line lead to the same function; and the
/// manual page of the first.
const FAMILIES: &[&[&str]] = &[
    &["access", "faccessat", "faccessat2"],
    &["chmod", "fchmod", "fchmodat", "fchmodat2"],
    &["chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32"],
    &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    &["adjtimex", "clock_adjtime", "clock_adjtime64"],
    &["execve", "execveat"],
    &["fork", "vfork", "clone", "clone3"],
    &["init_module", "finit_module"],
    &["kexec_load", "kexec_file_load"],
    &["kill", "tkill", "tgkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo"],
    &["link", "linkat"],
    &["mkdir", "mkdirat"],
    &["mknod", "mknodat"],
    &["open", "openat", "openat2", "creat"],
    &["readlink", "readlinkat"],
    &["rename", "renameat", "renameat2"],
    &["rmdir", "unlinkat"],
    &["setgid", "setgid32", "setregid", "setregid32", "setresgid", "setresgid32"],
    &["setgroups", "setgroups32"],
    &["setuid", "setuid32", "setreuid", "setreuid32", "setresuid", "setresuid32"],
    &["setxattr", "lsetxattr", "fsetxattr", "setxattrat"],
    &["symlink", "symlinkat"],
    &["umount", "umount2"],
    &["unlink", "unlinkat"],
    &["utime", "utimes", "futimesat", "utimensat", "utimensat_time64"],
];

/// Calls that newer architectures don't have, each with the one that C libraries make in its place there.
///
/// Source: `__ARCH_WANT_SYSCALL_NO_AT`, `__ARCH_WANT_SYSCALL_NO_FLAGS` and `__ARCH_WANT_SYSCALL_DEPRECATED` in Linux'
/// `include/uapi/asm-generic/unistd.h`, v4.19; glibc's `sysdeps/unix/sysv/linux`, the file of each call.
const REPLACED: &[(&str, &str)] = &[
    ("access", "faccessat"),
    ("alarm", "setitimer"),
    ("chmod", "fchmodat"),
    ("chown", "fchownat"),
    ("creat", "openat"),
    ("dup2", "dup3"),
    ("epoll_create", "epoll_create1"),
    ("epoll_wait", "epoll_pwait"),
    ("eventfd", "eventfd2"),
    ("fork", "clone"),
    ("futimesat", "utimensat"),
    ("getdents", "getdents64"),
    ("getpgrp", "getpgid"),
    ("inotify_init", "inotify_init1"),
    ("lchown", "fchownat"),
    ("link", "linkat"),
    ("lstat", "newfstatat"),
    ("mkdir", "mkdirat"),
    ("mknod", "mknodat"),
    ("open", "openat"),
    ("pause", "ppoll"),
    ("pipe", "pipe2"),
    ("poll", "ppoll"),
    ("readlink", "readlinkat"),
    ("rename", "renameat"),
    ("rmdir", "unlinkat"),
    ("select", "pselect6"),
    ("signalfd", "signalfd4"),
    ("stat", "newfstatat"),
    ("symlink", "symlinkat"),
    ("unlink", "unlinkat"),
    ("utime", "utimensat"),
    ("utimes", "utimensat"),
    ("vfork", "clone"),
];

/// Groups of calls that do the same.
pub(crate) fn families() -> impl Iterator<Item = &'static [&'static str]> {
    FAMILIES.iter().copied()
}

/// Calls that some architectures don't have, each with the one made in its place there.
pub(crate) fn replaced() -> impl Iterator<Item = (&'static str, &'static str)> {
    REPLACED.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, syscalls};

    #[test]
    fn every_name_is_a_call() {
        let replaced = replaced().flat_map(|(old, new)| [old, new]);
        for name in families().flatten().copied().chain(replaced) {
            assert!(syscalls::is_known_anywhere(name), "{name}");
        }
    }

    /// A call in place of another is one that aarch64 has, which lacks the other.
    #[test]
    fn what_replaces_a_call_exists_where_it_does_not() {
        for (old, new) in replaced() {
            let number = |name| syscalls::number(Arch::Aarch64, name);
            assert!(number(old).is_none() && number(new).is_some(), "{old} {new}");
        }
    }
}
