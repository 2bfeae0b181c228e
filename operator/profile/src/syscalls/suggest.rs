//! The name that was probably meant.

use super::names;
use crate::Arch;

/// The known name nearest to one that no table has, where one is near enough to be worth saying.
///
/// Near is a Damerau-Levenshtein distance of 1 for names up to four characters, 2 for longer ones; of equally
/// near names the first in alphabetical order. Case doesn't count.
#[must_use]
pub fn suggest(unknown: &str) -> Option<&'static str> {
    // No known name is longer; a text out of a hostile document must not cost quadratic time.
    const LONGEST: usize = 40;
    let unknown = unknown.trim().to_ascii_lowercase();
    if unknown.is_empty() || unknown.len() > LONGEST {
        return None;
    }
    if let Some(name) = numbered(&unknown) {
        return Some(name);
    }
    // The prefixes of the C library's and the kernel's own symbols.
    let bare = ["sys_", "__nr_", "syscall_"].iter().find_map(|prefix| unknown.strip_prefix(prefix));
    let meant = bare.unwrap_or(&unknown);
    if let Some(name) = renamed(meant) {
        return Some(name);
    }
    let limit = if meant.len() <= 4 { 1 } else { 2 };
    names()
        .map(|name| (strsim::damerau_levenshtein(meant, name), name))
        .filter(|&(distance, _)| distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// The call that a tool wrote the number of because its own table lacks it: `unknown_syscall_467` and `syscall_1d3` of Inspektor
/// Gadget, `syscall_0x1d3` of strace.
///
/// Calls from 424 on have one number on all architectures but for what MIPS and x32 add, and older ones every tool knows. Sources:
/// scripts/syscall.tbl of Linux 6.17; inspektor-gadget's `gadgets/advise_seccomp/go/program.go`.
fn numbered(name: &str) -> Option<&'static str> {
    const FIRST_COMMON: u32 = 424;
    let hexadecimal = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let number = match name.strip_prefix("unknown_syscall_") {
        Some(digits) => digits.parse().ok(),
        None => hexadecimal(name.strip_prefix("syscall_")?.trim_start_matches("0x")),
    };
    super::name(Arch::X86_64, number.filter(|&number| number >= FIRST_COMMON)?)
}

/// Functions of the C library and old names, with the call that they make today.
///
/// Sources: the sections 'C library/kernel differences' and 'NOTES' of man-pages 6.03, and strace's `syscallent.h` up to 4.8.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("_exit", "exit"),
    ("aio_read", "pread64"),
    ("aio_write", "pwrite64"),
    ("eaccess", "faccessat2"),
    ("execl", "execve"),
    ("execlp", "execve"),
    ("execv", "execve"),
    ("execvp", "execve"),
    ("execvpe", "execve"),
    ("fexecve", "execveat"),
    ("fstatat", "newfstatat"),
    ("fstatvfs", "fstatfs"),
    ("futimens", "utimensat"),
    ("futimes", "utimensat"),
    ("getdirentries", "getdents64"),
    ("getentropy", "getrandom"),
    ("isatty", "ioctl"),
    ("killpg", "kill"),
    ("lockf", "fcntl"),
    ("lutimes", "utimensat"),
    ("mkfifo", "mknodat"),
    ("mkfifoat", "mknodat"),
    ("old_mmap", "mmap"),
    ("old_select", "select"),
    ("opendir", "openat"),
    ("perf_counter_open", "perf_event_open"),
    ("posix_fadvise", "fadvise64"),
    ("posix_fallocate", "fallocate"),
    ("posix_spawn", "clone3"),
    ("pread", "pread64"),
    ("pselect", "pselect6"),
    ("pthread_create", "clone3"),
    ("pwrite", "pwrite64"),
    ("raise", "tgkill"),
    ("readdir", "getdents64"),
    ("recv", "recvfrom"),
    ("sbrk", "brk"),
    ("sem_wait", "futex"),
    ("send", "sendto"),
    ("setegid", "setresgid"),
    ("seteuid", "setresuid"),
    ("shm_open", "openat"),
    ("sigaction", "rt_sigaction"),
    ("sigpending", "rt_sigpending"),
    ("sigprocmask", "rt_sigprocmask"),
    ("sigqueue", "rt_sigqueueinfo"),
    ("sigreturn", "rt_sigreturn"),
    ("sigsuspend", "rt_sigsuspend"),
    ("sigtimedwait", "rt_sigtimedwait"),
    ("sigwait", "rt_sigtimedwait"),
    ("sleep", "clock_nanosleep"),
    ("statvfs", "statfs"),
    ("system", "execve"),
    ("tcgetattr", "ioctl"),
    ("tcsetattr", "ioctl"),
    ("ulimit", "prlimit64"),
    ("umount", "umount2"),
    ("usleep", "clock_nanosleep"),
    ("wait", "wait4"),
    ("wait3", "wait4"),
];

/// What a function of the C library, or an old name, is called as a system call. Some architectures have a call of the same name
/// (`umount`).
#[must_use]
pub fn renamed(name: &str) -> Option<&'static str> {
    let at = RENAMED.binary_search_by_key(&name, |(old, _)| old).ok()?;
    Some(RENAMED[at].1)
}

/// The two calls whose names stand in one word, as a lost comma leaves them: `setsidaccept4`, `read,write`. The longer first name
/// counts where there are several ways.
#[must_use]
pub fn glued(word: &str) -> Option<(&'static str, &'static str)> {
    // Twice the longest name.
    const LONGEST: usize = 80;
    if word.len() > LONGEST || !word.is_ascii() {
        return None;
    }
    let separators = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ';' | '"' | '\'');
    let known = |name: &str| names().find(|known| *known == name);
    (1..word.len()).rev().find_map(|at| {
        let (first, second) = word.split_at(at);
        Some((known(first.trim_matches(separators))?, known(second.trim_matches(separators))?))
    })
}
