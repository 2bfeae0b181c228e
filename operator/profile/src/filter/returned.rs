//! The numbers of the kernel's interface: return values and architectures.

use crate::{Action, Arch, evaluate::Outcome};

/// The part of a return value that is its action: `SECCOMP_RET_ACTION_FULL` of include/uapi/linux/seccomp.h.
pub(super) const ACTION: u32 = 0xffff_0000;

/// `SECCOMP_RET_ALLOW`.
pub(super) const ALLOW: u32 = 0x7fff_0000;

/// Actions by return value, the low word of which is data: `SECCOMP_RET_*` of include/uapi/linux/seccomp.h.
pub(crate) const fn action(value: u32) -> Option<Action> {
    match value & ACTION {
        0x8000_0000 => Some(Action::KillProcess),
        0x0000_0000 => Some(Action::KillThread),
        0x0003_0000 => Some(Action::Trap),
        0x0005_0000 => Some(Action::Errno),
        0x7fc0_0000 => Some(Action::Notify),
        0x7ff0_0000 => Some(Action::Trace),
        0x7ffc_0000 => Some(Action::Log),
        ALLOW => Some(Action::Allow),
        _ => None,
    }
}

/// What the kernel does at a return value. One that it doesn't know kills the process.
///
/// Source: `__seccomp_filter` in Linux' kernel/seccomp.c, since 4.14.
#[must_use]
pub const fn outcome(value: u32) -> Outcome {
    match action(value) {
        Some(action) => Outcome::new(action, Some(value & !ACTION)),
        None => Outcome::new(Action::KillProcess, None),
    }
}

/// `AUDIT_ARCH_*` of include/uapi/linux/audit.h: the ELF machine, a bit for 64 bits, one for little-endian, and MIPS's for n32.
const ARCHITECTURES: &[(u32, Arch)] = &[
    (0xc000_003e, Arch::X86_64),
    (0x4000_0003, Arch::X86),
    (0xc000_00b7, Arch::Aarch64),
    (0x4000_0028, Arch::Arm),
    (0x0000_0008, Arch::Mips),
    (0x8000_0008, Arch::Mips64),
    (0xa000_0008, Arch::Mips64n32),
    (0x4000_0008, Arch::Mipsel),
    (0xc000_0008, Arch::Mipsel64),
    (0xe000_0008, Arch::Mipsel64n32),
    (0x0000_0014, Arch::Ppc),
    (0x8000_0015, Arch::Ppc64),
    (0xc000_0015, Arch::Ppc64le),
    (0x0000_0016, Arch::S390),
    (0x8000_0016, Arch::S390x),
    (0x0000_000f, Arch::Parisc),
    (0x8000_000f, Arch::Parisc64),
    (0xc000_00f3, Arch::Riscv64),
    (0xc000_0102, Arch::Loongarch64),
    (0x0000_0004, Arch::M68k),
    (0x4000_002a, Arch::Sh),
    (0x0000_002a, Arch::Sheb),
];

/// The architecture of an `AUDIT_ARCH_*`. x32 has x86-64's.
pub(crate) fn architecture(token: u32) -> Option<Arch> {
    ARCHITECTURES.iter().find(|(one, _)| *one == token).map(|(_, arch)| *arch)
}

/// The `AUDIT_ARCH_*` of an architecture.
pub(crate) fn audit_architecture(arch: Arch) -> u32 {
    let arch = if arch == Arch::X32 { Arch::X86_64 } else { arch };
    // The test below holds that each has one.
    ARCHITECTURES.iter().find(|(_, one)| *one == arch).map_or(0, |(token, _)| *token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_its_token() {
        for &arch in Arch::ALL {
            let back = architecture(audit_architecture(arch));
            assert_eq!(back, Some(if arch == Arch::X32 { Arch::X86_64 } else { arch }));
        }
    }

    #[test]
    fn unknown_actions_kill() {
        assert_eq!(outcome(0x0001_0005), Outcome::new(Action::KillProcess, None));
        assert_eq!(outcome(0x0005_0026), Outcome::new(Action::Errno, Some(38)));
        assert_eq!(outcome(0x7fff_0001), Outcome::new(Action::Allow, None));
    }
}
