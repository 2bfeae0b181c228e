//! The names and numbers by which strace writes a call.

use crate::{
    Arch,
    import::{CallName, Reason},
    syscalls,
};

/// Names that only older releases of strace wrote, and what they are called now.
///
/// Source: strace's `syscallent.h` of each architecture up to 4.8, and its `NEWS`: 4.9 and later take the kernel's names.
const OLD: &[(&[u8], &str)] = &[
    (b"_exit", "exit"),
    (b"old_mmap", "mmap"),
    (b"old_select", "select"),
    (b"oldselect", "select"),
    (b"perf_counter_open", "perf_event_open"),
    (b"pread", "pread64"),
    (b"pwrite", "pwrite64"),
    (b"sysctl", "_sysctl"),
    (b"timerfd", "timerfd_create"),
    (b"umount", "umount2"),
];

/// The call by the number that strace wrote because it knew no name: `syscall_0x1c7`, `syscall_332`, `SYS_332`. The tables here
/// may be newer than strace's. `None` where the name is no number.
pub(super) fn numbered(arch: Arch, name: &[u8]) -> Option<Result<CallName, Reason>> {
    let digits = name.strip_prefix(b"syscall_").or_else(|| name.strip_prefix(b"SYS_"))?;
    let digits = std::str::from_utf8(digits).ok()?;
    let number = match digits.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let name = number.ok().and_then(|number| syscalls::name(arch, number));
    Some(name.and_then(|name| CallName::find(name.as_bytes())).ok_or(Reason::UnknownNumber))
}

/// What an older strace called so, where the architecture has it.
pub(super) fn old(arch: Arch, name: &[u8]) -> Option<CallName> {
    let (_, now) = OLD.iter().find(|(old, _)| *old == name)?;
    CallName::find(now.as_bytes()).filter(|name| name.is_on(arch))
}
