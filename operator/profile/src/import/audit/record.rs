//! One record.

use memchr::memmem;

use super::Seen;
use crate::{
    Action, Arch,
    import::{CallName, Reason},
    syscalls,
};

/// The longest name of a program that is kept, in bytes: a path may have `PATH_MAX` (4096).
const MAX_NAME: usize = 4096;

/// What follows the record's type, where a line is a record of seccomp.
pub(super) fn payload(line: &[u8]) -> Option<&[u8]> {
    // auditd; the kernel log, also by way of syslog or journald; journald's own reading of the audit socket.
    const MARKS: &[&[u8]] = &[b"type=SECCOMP ", b"type=1326 ", b"SECCOMP auid="];
    let (at, mark) = MARKS.iter().find_map(|mark| Some((memmem::find(line, mark)?, mark)))?;
    let own = *mark == MARKS[2];
    // journald's word must be the message's first: `audit[1]: SECCOMP auid=`, or nothing before it.
    if own && at > 0 && !line[..at].ends_with(b": ") && !line[..at].ends_with(b"]: ") {
        return None;
    }
    let payload = &line[at + if own { b"SECCOMP ".len() } else { mark.len() }..];
    // auditd's log_format = ENRICHED appends names after a group separator.
    Some(payload.split(|&byte| byte == 0x1d).next().unwrap_or(payload))
}

/// The fields that matter.
#[derive(Default)]
struct Fields<'r> {
    comm: Option<&'r [u8]>,
    exe: Option<&'r [u8]>,
    arch: Option<&'r [u8]>,
    syscall: Option<&'r [u8]>,
    code: Option<&'r [u8]>,
}

/// Which program made which call, and what the kernel did.
pub(super) fn read(payload: &[u8]) -> Result<(String, Seen), Reason> {
    let mut fields = Fields::default();
    for word in payload.split(|&byte| byte == b' ') {
        let Some(at) = memchr::memchr(b'=', word) else { continue };
        let value = &word[at + 1..];
        match &word[..at] {
            b"comm" => fields.comm = Some(value),
            b"exe" => fields.exe = Some(value),
            b"arch" => fields.arch = Some(value),
            b"syscall" => fields.syscall = Some(value),
            b"code" => fields.code = Some(value),
            _ => {}
        }
    }
    // A record that was cut off lacks its last field.
    let (Some(arch), Some(syscall), Some(code)) = (fields.arch, fields.syscall, fields.code) else {
        return Err(Reason::NoRecord);
    };
    let program = fields.exe.and_then(name).or_else(|| fields.comm.and_then(name)).ok_or(Reason::NoRecord)?;
    let arch = architecture(hexadecimal(arch).ok_or(Reason::NoRecord)?).ok_or(Reason::UnknownNumber)?;
    let number: i64 = text(syscall).and_then(|digits| digits.parse().ok()).ok_or(Reason::NoRecord)?;
    let number = u32::try_from(number).map_err(|_| Reason::UnknownNumber)?;
    let arch = if arch == Arch::X86_64 && number & X32_BIT != 0 { Arch::X32 } else { arch };
    let name = syscalls::name(arch, number).and_then(|name| CallName::find(name.as_bytes()));
    let code = code.strip_prefix(b"0x").and_then(hexadecimal).ok_or(Reason::NoRecord)?;
    Ok((
        program,
        Seen {
            arch,
            name: name.ok_or(Reason::UnknownNumber)?,
            action: action(code).ok_or(Reason::NoRecord)?,
        },
    ))
}

/// `__X32_SYSCALL_BIT` of arch/x86/include/uapi/asm/unistd.h.
const X32_BIT: u32 = 0x4000_0000;

/// A name in quotes, or in hexadecimal; `(null)` is none.
fn name(value: &[u8]) -> Option<String> {
    if let Some(quoted) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        return Some(String::from_utf8_lossy(&quoted[..quoted.len().min(MAX_NAME)]).into_owned());
    }
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> = value[..value.len().min(2 * MAX_NAME)]
        .chunks(2)
        .map(|pair| {
            text(pair)
                .filter(|pair| !pair.starts_with('+'))
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digits = text(digits)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// `SECCOMP_RET_*` of include/uapi/linux/seccomp.h; the low word is data.
fn action(code: u32) -> Option<Action> {
    match code & 0xffff_0000 {
        0x8000_0000 => Some(Action::KillProcess),
        0x0000_0000 => Some(Action::KillThread),
        0x0003_0000 => Some(Action::Trap),
        0x0005_0000 => Some(Action::Errno),
        0x7fc0_0000 => Some(Action::Notify),
        0x7ff0_0000 => Some(Action::Trace),
        0x7ffc_0000 => Some(Action::Log),
        0x7fff_0000 => Some(Action::Allow),
        _ => None,
    }
}

/// `AUDIT_ARCH_*` of include/uapi/linux/audit.h: the ELF machine, a bit for 64 bits, one for little-endian, and MIPS's
/// for n32.
fn architecture(token: u32) -> Option<Arch> {
    let arch = match token {
        0xc000_003e => Arch::X86_64,
        0x4000_0003 => Arch::X86,
        0xc000_00b7 => Arch::Aarch64,
        0x4000_0028 => Arch::Arm,
        0x0000_0008 => Arch::Mips,
        0x8000_0008 => Arch::Mips64,
        0xa000_0008 => Arch::Mips64n32,
        0x4000_0008 => Arch::Mipsel,
        0xc000_0008 => Arch::Mipsel64,
        0xe000_0008 => Arch::Mipsel64n32,
        0x0000_0014 => Arch::Ppc,
        0x8000_0015 => Arch::Ppc64,
        0xc000_0015 => Arch::Ppc64le,
        0x0000_0016 => Arch::S390,
        0x8000_0016 => Arch::S390x,
        0x0000_000f => Arch::Parisc,
        0x8000_000f => Arch::Parisc64,
        0xc000_00f3 => Arch::Riscv64,
        0xc000_0102 => Arch::Loongarch64,
        0x0000_0004 => Arch::M68k,
        0x4000_002a => Arch::Sh,
        0x0000_002a => Arch::Sheb,
        _ => return None,
    };
    Some(arch)
}
