//! Records as `ausearch -i` writes them: names for numbers, and no quotes.
//!
//! Source: auparse/interpret.c, seccomptab.h and lib/machinetab.h of audit-userspace 3.0 and 4.0.

use std::borrow::Cow;

use memchr::memmem;

use super::{Record, Seen, record};
use crate::{
    Action, Arch,
    import::{CallName, Reason},
};

/// The architecture that a name of uname(1) stands for; `None` where a value is a number.
pub(super) fn architecture(name: &[u8]) -> Option<Arch> {
    match name {
        b"x86_64" => Some(Arch::X86_64),
        b"i386" | b"i486" | b"i586" | b"i686" => Some(Arch::X86),
        b"aarch64" => Some(Arch::Aarch64),
        b"arm" | b"armeb" | b"armv5tejl" | b"armv6l" | b"armv7l" => Some(Arch::Arm),
        b"ppc64le" => Some(Arch::Ppc64le),
        b"ppc64" => Some(Arch::Ppc64),
        b"ppc" => Some(Arch::Ppc),
        b"s390x" => Some(Arch::S390x),
        b"s390" => Some(Arch::S390),
        b"riscv64" => Some(Arch::Riscv64),
        _ => None,
    }
}

/// The rest of such a record.
pub(super) fn read<'l>(
    fields: &'l [u8],
    arch: Arch,
    syscall: &[u8],
    code: &[u8],
) -> Result<Record<'l>, Reason> {
    let comm = || between(fields, b" comm=", b" exe=");
    let exe = between(fields, b" exe=", b" sig=");
    let program = record::program(exe, comm).ok_or(Reason::NoRecord)?;
    let name = CallName::find(syscall).ok_or(Reason::UnknownName)?;
    if !name.is_on(arch) {
        return Err(Reason::OtherArchitecture);
    }
    Ok(Record { program, seen: Seen { arch, name, action: Some(action(code).ok_or(Reason::NoRecord)?) } })
}

/// A value without quotes, in which spaces may be.
fn between<'l>(fields: &'l [u8], start: &[u8], end: &[u8]) -> Option<Cow<'l, str>> {
    let from = memmem::find(fields, start)? + start.len();
    let length = memmem::find(&fields[from..], end)?;
    let value = String::from_utf8_lossy(&fields[from..from + length]);
    (!value.is_empty() && value != "(null)").then_some(value)
}

fn action(code: &[u8]) -> Option<Action> {
    match code {
        b"kill-process" | b"kill_process" => Some(Action::KillProcess),
        b"kill" | b"kill-thread" | b"kill_thread" => Some(Action::KillThread),
        b"trap" => Some(Action::Trap),
        b"errno" => Some(Action::Errno),
        b"user-notify" | b"user_notify" | b"user_notif" => Some(Action::Notify),
        b"trace" => Some(Action::Trace),
        b"log" => Some(Action::Log),
        b"allow" => Some(Action::Allow),
        _ => None,
    }
}
