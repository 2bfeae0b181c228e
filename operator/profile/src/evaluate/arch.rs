//! What the filter code distinguishes about architectures.

use super::condition::Width;
use crate::Arch;

/// The bit that marks a call of x32 among those of x86-64.
///
/// Source: `__X32_SYSCALL_BIT` in Linux' `arch/x86/include/uapi/asm/unistd.h`.
pub(crate) const X32_BIT: u32 = 1 << 30;

/// Source: `.size` in libseccomp's `src/arch-*.c`.
pub(crate) const fn width(arch: Arch) -> Width {
    match arch {
        Arch::X86
        | Arch::X32
        | Arch::Arm
        | Arch::Mips
        | Arch::Mipsel
        | Arch::Mips64n32
        | Arch::Mipsel64n32
        | Arch::Ppc
        | Arch::S390
        | Arch::Parisc
        | Arch::M68k
        | Arch::Sh
        | Arch::Sheb => Width::Bits32,
        Arch::X86_64
        | Arch::Aarch64
        | Arch::Mips64
        | Arch::Mipsel64
        | Arch::Ppc64
        | Arch::Ppc64le
        | Arch::S390x
        | Arch::Parisc64
        | Arch::Riscv64
        | Arch::Loongarch64 => Width::Bits64,
    }
}

/// Source: `.endian` in libseccomp's `src/arch-*.c`.
pub(crate) const fn is_big_endian(arch: Arch) -> bool {
    matches!(
        arch,
        Arch::Mips
            | Arch::Mips64
            | Arch::Mips64n32
            | Arch::Ppc
            | Arch::Ppc64
            | Arch::S390
            | Arch::S390x
            | Arch::Parisc
            | Arch::Parisc64
            | Arch::M68k
            | Arch::Sheb
    )
}
