//! The name of every call, found fast: a trace of a gigabyte has ten million.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::{
    Arch,
    syscalls::{self, Lookup},
};

/// A name that some architecture's table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallName(u16);

struct Calls {
    by_name: FxHashMap<&'static [u8], CallName>,
    /// In the names' order: the name, and a bit for each architecture that has it.
    entries: Vec<(&'static str, u32)>,
    /// By architecture, the calls of the first [`MAX_DIRECT`] numbers.
    by_number: Vec<Vec<Option<CallName>>>,
}

/// More than the calls of any architecture whose numbers begin with 0.
const MAX_DIRECT: u32 = 512;

static CALLS: LazyLock<Calls> = LazyLock::new(|| {
    let entries: Vec<(&str, u32)> = syscalls::names()
        .map(|name| {
            let has = |&&arch: &&Arch| matches!(syscalls::lookup(arch, name), Lookup::Known { .. });
            (name, Arch::ALL.iter().filter(has).fold(0, |bits, &arch| bits | 1 << arch as u32))
        })
        .collect();
    let by_name: FxHashMap<&'static [u8], CallName> = entries
        .iter()
        .enumerate()
        .filter_map(|(at, (name, _))| Some((name.as_bytes(), CallName(u16::try_from(at).ok()?))))
        .collect();
    let numbered = |arch: Arch, number| by_name.get(syscalls::name(arch, number)?.as_bytes()).copied();
    let direct = |arch: &Arch| (0..MAX_DIRECT).map(|number| numbered(*arch, number)).collect();
    let by_number = Arch::ALL.iter().map(direct).collect();
    Calls { by_name, entries, by_number }
});

impl CallName {
    pub(super) fn find(name: &[u8]) -> Option<Self> {
        CALLS.by_name.get(name).copied()
    }

    /// The call of a number.
    pub(super) fn numbered(arch: Arch, number: u32) -> Option<Self> {
        let found = || Self::find(syscalls::name(arch, number)?.as_bytes());
        match CALLS.by_number[arch as usize].get(number as usize) {
            Some(name) => *name,
            // MIPS's, x32's and those of Arm's own are far beyond.
            None => found(),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        CALLS.entries[usize::from(self.0)].0
    }

    /// Whether an architecture has the call; one without a table has every call.
    pub(super) fn is_on(self, arch: Arch) -> bool {
        CALLS.entries[usize::from(self.0)].1 & 1 << arch as u32 != 0 || !syscalls::has_table(arch)
    }

    /// The name's place among all.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// How many names there are.
    pub(crate) fn count() -> usize {
        CALLS.entries.len()
    }

    /// Every name, sorted.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..CALLS.entries.len()).filter_map(|at| Some(Self(u16::try_from(at).ok()?)))
    }
}

/// The architectures that processes on an architecture's kernel may use, itself first.
///
/// Source: personalities of strace 6.1 (`src/linux/*/arch_defs_.h`), and the kernel's compat support.
pub(super) fn family(native: Arch) -> &'static [Arch] {
    use Arch::*;
    match native {
        X86_64 => &[X86_64, X86, X32],
        Aarch64 => &[Aarch64, Arm],
        Ppc64 => &[Ppc64, Ppc],
        S390x => &[S390x, S390],
        Mips64 => &[Mips64, Mips, Mips64n32],
        Mipsel64 => &[Mipsel64, Mipsel, Mipsel64n32],
        Parisc64 => &[Parisc64, Parisc],
        _ => Arch::ALL.iter().position(|&arch| arch == native).map_or(&[], |at| &Arch::ALL[at..=at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_on_its_architectures() {
        for name in syscalls::names() {
            let found = CallName::find(name.as_bytes()).expect(name);
            assert_eq!(found.as_str(), name);
            for &arch in Arch::ALL.iter().filter(|&&arch| syscalls::has_table(arch)) {
                let has = matches!(syscalls::lookup(arch, name), Lookup::Known { .. });
                assert_eq!(found.is_on(arch), has, "{name} on {arch}");
            }
        }
        for (arch, number) in
            [(Arch::X86_64, 0), (Arch::Mips, 4003), (Arch::X32, 0x4000_0000), (Arch::Arm, 0xf_0005)]
        {
            let name = syscalls::name(arch, number).expect("a call");
            assert_eq!(CallName::numbered(arch, number), CallName::find(name.as_bytes()), "{name}");
        }
        assert_eq!((CallName::numbered(Arch::X86_64, 511), CallName::numbered(Arch::M68k, 3)), (None, None));
        assert_eq!(CallName::find(b"opneat"), None);
        assert_eq!(CallName::all().count(), CallName::count());
    }

    #[test]
    fn an_architecture_is_in_its_own_family() {
        for &arch in Arch::ALL {
            assert_eq!(family(arch).first(), Some(&arch));
        }
    }
}
