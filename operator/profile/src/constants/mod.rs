//! Arguments of system calls as people and strace(1) write them: `CLONE_NEWUSER|SIGCHLD` for a number, and back.
//!
//! The constants are `data/constants.tsv`; where they come from stands in `data/README.md`. An argument that may be
//! written with names is listed in [`parts`].

mod expression;
mod table;

use crate::Arch;
use table::TABLE;

/// A part of an argument: the bits that names of one set make.
struct Part {
    set: &'static str,
    /// The argument's bits that belong to this part.
    mask: u64,
    /// Whether several names may stand for the part's bits, or one for all of them.
    several: bool,
}

const fn one(set: &'static str, mask: u64) -> Part {
    Part { set, mask, several: false }
}

const fn several(set: &'static str, mask: u64) -> Part {
    Part { set, mask, several: true }
}

const DOMAIN: &[Part] = &[one("domain", u64::MAX)];
/// `SOCK_TYPE_MASK` of include/linux/net.h.
const TYPE: &[Part] = &[one("type", 0xf), several("type", !0xf)];
const PROTOCOL: &[Part] = &[one("protocol", u64::MAX)];
/// `CSIGNAL` of include/uapi/linux/sched.h.
const CLONE: &[Part] = &[several("clone", !0xff), one("signal", 0xff)];
const NAMESPACES: &[Part] = &[several("clone", u64::MAX)];
const PRCTL: &[Part] = &[one("prctl", u64::MAX)];
const FCNTL: &[Part] = &[one("fcntl", u64::MAX)];
const IOCTL: &[Part] = &[one("ioctl", u64::MAX)];
/// `PER_MASK` of include/uapi/linux/personality.h.
const PERSONALITY: &[Part] = &[one("personality", 0xff), several("personality", !0xff)];
/// `O_ACCMODE` of include/uapi/asm-generic/fcntl.h.
const OPEN: &[Part] = &[one("open", 0b11), several("open", !0b11)];
const PIPE: &[Part] = &[several("open", !0b11)];
const PROTECTION: &[Part] = &[several("prot", u64::MAX)];
/// `MAP_TYPE` of include/uapi/linux/mman.h.
const MAP: &[Part] = &[one("map", 0xf), several("map", !0xf)];
const MOUNT: &[Part] = &[several("mount", u64::MAX)];
const PTRACE: &[Part] = &[one("ptrace", u64::MAX)];
const SIGNAL: &[Part] = &[one("signal", u64::MAX)];

/// Which constants an argument is written with; empty where only numbers are known.
///
/// Sources: the calls' pages in section 2 of man-pages 6.9.
fn parts(arch: Arch, call: &str, index: usize) -> &'static [Part] {
    match (call, index) {
        ("socket" | "socketpair", 0) => DOMAIN,
        ("socket" | "socketpair", 1) => TYPE,
        ("socket" | "socketpair", 2) => PROTOCOL,
        ("clone", index) if index == usize::from(clone_flags(arch)) => CLONE,
        ("unshare", 0) | ("setns", 1) => NAMESPACES,
        ("prctl", 0) => PRCTL,
        ("fcntl" | "fcntl64", 1) => FCNTL,
        ("ioctl", 1) => IOCTL,
        ("personality", 0) => PERSONALITY,
        ("open", 1) | ("openat", 2) => OPEN,
        ("pipe2", 1) | ("dup3", 2) => PIPE,
        ("mmap" | "mmap2" | "mprotect" | "pkey_mprotect", 2) => PROTECTION,
        ("mmap" | "mmap2", 3) => MAP,
        ("mount", 3) => MOUNT,
        ("ptrace", 0) => PTRACE,
        ("rt_sigaction" | "signal", 0) | ("kill" | "tkill", 1) | ("tgkill", 2) => SIGNAL,
        _ => &[],
    }
}

/// The index of clone's flags: the second argument on IBM Z, where the stack comes first (clone(2), 'C library/kernel
/// differences').
#[must_use]
pub fn clone_flags(arch: Arch) -> u8 {
    u8::from(matches!(arch, Arch::S390 | Arch::S390x))
}

/// The value of an argument that is written in numbers (decimal, `0x`, octal with a leading 0), names, or both:
/// `CLONE_NEWUSER|SIGCHLD`, `AF_INET`, `-1`, `AT_FDCWD`, `NULL`, `_IOC(_IOC_READ, 0x54, 0x2b, 0x4)`.
///
/// Decorations that strace adds are passed over: comments, and what a descriptor stands for (`3</dev/null>`). Of
/// several names for one value (`TCGETS or SNDCTL_TMR_TIMEBASE`) the first known counts. Negative numbers have 64
/// bits, although a call may take 32 of them. `PF_INET` is `AF_INET`, as older releases of strace wrote it. `None` where it can't be told, such as a string or an unknown name.
#[must_use]
pub fn value(arch: Arch, call: &str, index: usize, text: &str) -> Option<u64> {
    // What most arguments are.
    if let Some(number) = expression::number(text) {
        return Some(number);
    }
    if text.starts_with(NO_VALUE) || text.contains("_IOC(") && !has_generic_requests(arch) {
        return None;
    }
    let parts = parts(arch, call, index);
    let column = TABLE.of(arch);
    let known = |name: &str| parts.iter().find_map(|part| column.value(part.set, name));
    expression::value(text, &|name| {
        known(name).or_else(|| known(&format!("AF_{}", name.strip_prefix("PF_")?)))
    })
}

/// What strings, structures and lists begin with.
const NO_VALUE: [char; 3] = ['"', '{', '['];

/// Whether an ioctl request's parts lie where include/uapi/asm-generic/ioctl.h says: MIPS, PowerPC and PA-RISC have
/// three bits of direction (their own asm/ioctl.h).
fn has_generic_requests(arch: Arch) -> bool {
    use Arch::*;
    !matches!(
        arch,
        Mips | Mips64
            | Mips64n32
            | Mipsel
            | Mipsel64
            | Mipsel64n32
            | Ppc
            | Ppc64
            | Ppc64le
            | Parisc
            | Parisc64
    )
}

/// The names for a value, as strace would write it: `CLONE_NEWUSER|SIGCHLD`. `None` where no name is known for some of
/// its bits.
#[must_use]
pub fn names(arch: Arch, call: &str, index: usize, value: u64) -> Option<String> {
    let column = TABLE.of(arch);
    let mut found = Vec::new();
    for part in parts(arch, call, index) {
        let bits = value & part.mask;
        if part.several {
            found.extend(column.bits(part.set, bits)?);
        } else if let Some(name) = column.name(part.set, bits) {
            found.push(name);
        } else if bits != 0 {
            return None;
        }
    }
    (!found.is_empty()).then(|| found.join("|"))
}

#[cfg(test)]
mod tests;
