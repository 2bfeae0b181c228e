//! Architectures as Go names them, and so images, nodes' labels and Docker: GOARCH.

use crate::Arch;

/// Source: `go tool dist list` of Go 1.26, and its `internal/goarch` for the big-endian ones that it reserves; the same words stand in
/// `kubernetes.io/arch` and in an image's `platform.architecture`.
const GOARCHES: &[(&str, Arch)] = &[
    ("386", Arch::X86),
    ("amd64", Arch::X86_64),
    ("arm", Arch::Arm),
    ("arm64", Arch::Aarch64),
    ("loong64", Arch::Loongarch64),
    ("mips", Arch::Mips),
    ("mips64", Arch::Mips64),
    ("mips64le", Arch::Mipsel64),
    ("mipsle", Arch::Mipsel),
    ("ppc", Arch::Ppc),
    ("ppc64", Arch::Ppc64),
    ("ppc64le", Arch::Ppc64le),
    ("riscv64", Arch::Riscv64),
    ("s390", Arch::S390),
    ("s390x", Arch::S390x),
];

impl Arch {
    /// The architecture that Go has this name for.
    #[must_use]
    pub fn from_goarch(name: &str) -> Option<Self> {
        GOARCHES.iter().find(|(one, _)| *one == name).map(|(_, arch)| *arch)
    }

    /// Go's name for it; none where Go has none.
    #[must_use]
    pub fn goarch(self) -> Option<&'static str> {
        GOARCHES.iter().find(|(_, one)| *one == self).map(|(name, _)| *name)
    }

    /// The architecture that this program was built for; none where seccomp profiles have no name for it.
    #[must_use]
    pub fn host() -> Option<Self> {
        Self::built_for(std::env::consts::ARCH, cfg!(target_endian = "little"))
    }

    /// An architecture by Rust's name, which says nothing of the order of bytes.
    ///
    /// Source: `target_arch` in <https://doc.rust-lang.org/reference/conditional-compilation.html>.
    fn built_for(name: &str, little_endian: bool) -> Option<Self> {
        Some(match (name, little_endian) {
            ("aarch64", _) => Self::Aarch64,
            ("arm", _) => Self::Arm,
            ("loongarch64", _) => Self::Loongarch64,
            ("m68k", _) => Self::M68k,
            ("mips", false) => Self::Mips,
            ("mips", true) => Self::Mipsel,
            ("mips64", false) => Self::Mips64,
            ("mips64", true) => Self::Mipsel64,
            ("powerpc", _) => Self::Ppc,
            ("powerpc64", false) => Self::Ppc64,
            ("powerpc64", true) => Self::Ppc64le,
            ("riscv64", _) => Self::Riscv64,
            ("s390x", _) => Self::S390x,
            ("x86", _) => Self::X86,
            ("x86_64", _) => Self::X86_64,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_go_is_one_architectures() {
        for (name, arch) in GOARCHES {
            assert_eq!((Arch::from_goarch(name), arch.goarch()), (Some(*arch), Some(*name)));
        }
        for name in ["", "x86", "aarch64", "AMD64", "wasm", "mipsel"] {
            assert_eq!(Arch::from_goarch(name), None, "{name}");
        }
        assert_eq!((Arch::X32.goarch(), Arch::M68k.goarch()), (None, None));
    }

    /// Regression: PowerPC's big-endian machines were taken for little-endian ones.
    #[test]
    fn the_order_of_bytes_tells_two_architectures_of_one_name_apart() {
        for (name, big, little) in [
            ("powerpc64", Arch::Ppc64, Arch::Ppc64le),
            ("mips", Arch::Mips, Arch::Mipsel),
            ("mips64", Arch::Mips64, Arch::Mipsel64),
        ] {
            let both = (Arch::built_for(name, false), Arch::built_for(name, true));
            assert_eq!(both, (Some(big), Some(little)), "{name}");
        }
        assert_eq!(Arch::built_for("sparc64", false), None);
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn this_machine_has_a_name() {
        let expected = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        assert_eq!(Arch::host().and_then(Arch::goarch), Some(expected));
    }
}
