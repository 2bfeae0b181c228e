//! The container and the node that a document is resolved for.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::Arch;

/// What conditions of rules are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The capabilities of the container's bounding set, as `CAP_CHOWN`.
    pub capabilities: BTreeSet<String>,
    /// The node's architecture.
    pub arch: Arch,
    /// The node's kernel.
    pub kernel: Kernel,
}

/// A kernel's version, as far as conditions tell versions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    /// The first number: 6 of 6.12.
    pub version: u8,
    /// The second number: 12 of 6.12.
    pub patch_level: u8,
}

/// The kernel that is assumed where none is stated: a longterm release that no node of a supported Kubernetes is
/// expected to be older than. The conditions in Docker's and Podman's own profiles ask for 4.8.
pub const ASSUMED_KERNEL: Kernel = Kernel { version: 5, patch_level: 10 };

impl Kernel {
    /// The version in a kernel's release as uname(1) says it, `6.1.0-44-amd64`: its first two numbers, whatever follows them.
    ///
    /// # Errors
    /// Where it doesn't begin with two numbers.
    ///
    /// Source: `parseRelease` in moby's `profiles/seccomp/kernel_linux.go`.
    pub fn of_release(release: &str) -> Result<Self, InvalidKernel> {
        let is_in = |at: &usize| release[*at..].starts_with(|c: char| !c.is_ascii_digit());
        let begin = release.find('.').map_or(release.len(), |dot| dot + 1);
        let end = (begin..release.len()).filter(|&at| release.is_char_boundary(at)).find(is_in);
        release[..end.unwrap_or(release.len())]
            .parse()
            .map_err(|_| InvalidKernel(release.chars().take(60).collect()))
    }
}

/// A text that isn't two numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kernel version: write two numbers up to 255, for example 6.12")]
pub struct InvalidKernel(String);

impl FromStr for Kernel {
    type Err = InvalidKernel;

    /// Exactly two numbers.
    ///
    /// Source: `KernelVersion.UnmarshalJSON` in moby's `profiles/seccomp/seccomp.go`.
    fn from_str(text: &str) -> Result<Self, InvalidKernel> {
        let number = |digits: &str| {
            // u8's own parser takes a plus sign.
            digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse::<u8>().ok()).flatten()
        };
        text.split_once('.')
            .and_then(|(version, patch_level)| {
                Some(Self { version: number(version)?, patch_level: number(patch_level)? })
            })
            .ok_or_else(|| InvalidKernel(text.chars().take(60).collect()))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version, self.patch_level)
    }
}

impl Context {
    /// A container without added or dropped capabilities.
    #[must_use]
    pub fn default_capabilities(arch: Arch, kernel: Kernel) -> Self {
        let capabilities = DEFAULT_CAPABILITIES.iter().map(ToString::to_string).collect();
        Self { capabilities, arch, kernel }
    }
}

/// The capabilities of a container that asks for no others.
///
/// Source: `defaultUnixCaps` in containerd's `pkg/oci/spec.go`; Docker's `DefaultCapabilities` are the same.
pub const DEFAULT_CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Every capability, sorted.
///
/// Source: Linux' `include/uapi/linux/capability.h`, 6.18.
pub const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// The names that conditions use for architectures.
///
/// Source: `ScmpArch.String` in libseccomp-golang's `seccomp.go`; `mips3l64n32` is a slip of moby's `goToNative`
/// (`profiles/seccomp/seccomp_linux.go`), which its profiles have to follow.
const ARCHES: &[(&str, Arch)] = &[
    ("amd64", Arch::X86_64),
    ("x86", Arch::X86),
    ("x32", Arch::X32),
    ("arm64", Arch::Aarch64),
    ("arm", Arch::Arm),
    ("mips", Arch::Mips),
    ("mips64", Arch::Mips64),
    ("mips64n32", Arch::Mips64n32),
    ("mipsel", Arch::Mipsel),
    ("mipsel64", Arch::Mipsel64),
    ("mipsel64n32", Arch::Mipsel64n32),
    ("mips3l64n32", Arch::Mipsel64n32),
    ("ppc", Arch::Ppc),
    ("ppc64", Arch::Ppc64),
    ("ppc64le", Arch::Ppc64le),
    ("s390", Arch::S390),
    ("s390x", Arch::S390x),
    ("parisc", Arch::Parisc),
    ("parisc64", Arch::Parisc64),
    ("riscv64", Arch::Riscv64),
    ("loong64", Arch::Loongarch64),
    ("loongarch64", Arch::Loongarch64),
    ("m68k", Arch::M68k),
    ("sh", Arch::Sh),
    ("sheb", Arch::Sheb),
];

/// The architecture that a word of a condition means. Podman holds libseccomp's words against the node's, Docker Go's own (`386`).
///
/// Source: `setupSeccomp` in moby's `profiles/seccomp/seccomp_linux.go` takes `runtime.GOARCH` for the node's word.
#[must_use]
pub fn arch_of(name: &str) -> Option<Arch> {
    let libseccomps = || ARCHES.iter().find(|(one, _)| *one == name).map(|(_, arch)| *arch);
    libseccomps().or_else(|| Arch::from_goarch(name))
}

/// The word for an architecture, which Kubernetes and Go use too but for some of MIPS: `amd64`.
#[must_use]
pub fn arch_name(arch: Arch) -> &'static str {
    ARCHES.iter().find(|(_, one)| *one == arch).map_or(arch.as_str(), |(name, _)| name)
}
