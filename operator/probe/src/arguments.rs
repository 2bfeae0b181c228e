//! Which arguments' values are kept.

use portcullis_profile::{Arch, syscalls};

use crate::layout::NATIVE_CALLS;

/// An argument whose values are worth a rule of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptArgument {
    /// The call.
    pub call: &'static str,
    /// The argument's index, from 0.
    pub index: u8,
}

/// How many values are kept of one argument in one container: `MAX_VALUES` in `bpf/maps.h`. More is 'too many'.
pub const MAX_VALUES: usize = 32;

const fn kept(call: &'static str, index: u8) -> KeptArgument {
    KeptArgument { call, index }
}

/// The arguments whose values are kept: those that choose what a call does, and that a filter can compare. What lies behind a
/// pointer (`clone3`, `openat2`) no filter can see.
pub const KEPT_ARGUMENTS: &[KeptArgument] = &[
    kept("arch_prctl", 0),
    kept("bpf", 0),
    kept("clone", 0),
    kept("fcntl", 1),
    kept("ioctl", 1),
    kept("keyctl", 0),
    kept("personality", 0),
    kept("prctl", 0),
    kept("ptrace", 0),
    kept("seccomp", 0),
    kept("setns", 1),
    kept("setsockopt", 1),
    kept("setsockopt", 2),
    kept("socket", 0),
    kept("socket", 1),
    kept("socket", 2),
    kept("socketpair", 0),
    kept("socketpair", 1),
    kept("unshare", 0),
];

/// How many arguments a container may have values of: each is kept of calls that were made and of denied ones.
pub(crate) const ARGUMENTS: u32 = 2 * KEPT_ARGUMENTS.len() as u32;

/// The architecture that this program was compiled for.
pub(crate) const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

/// The other architecture that this machine's programs may be of.
pub(crate) const COMPAT: Arch = if cfg!(target_arch = "aarch64") { Arch::Arm } else { Arch::X86 };

/// A bit for each kept argument, by native number: `kept_arguments` in `bpf/maps.h`.
pub(crate) fn mask() -> [u8; NATIVE_CALLS] {
    let mut mask = [0; NATIVE_CALLS];
    for kept in KEPT_ARGUMENTS {
        let number = syscalls::number(NATIVE, kept.call).and_then(|number| usize::try_from(number).ok());
        if let Some(bits) = number.and_then(|number| mask.get_mut(number)) {
            *bits |= 1 << kept.index;
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kept_argument_has_a_bit() {
        let kept: u32 = mask().iter().map(|bits| bits.count_ones()).sum();
        // aarch64 has no arch_prctl.
        let there =
            KEPT_ARGUMENTS.iter().filter(|kept| syscalls::number(NATIVE, kept.call).is_some()).count();
        assert_eq!(usize::try_from(kept), Ok(there));
        assert!(there >= KEPT_ARGUMENTS.len() - 1);
    }
}
