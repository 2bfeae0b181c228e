//! The OCI runtime-spec's `LinuxSeccomp`, value for value.
//!
//! Source: <https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#seccomp>.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// A whole OCI seccomp document (`LinuxSeccomp`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// What happens to a call that no rule matches.
    pub default_action: Action,
    /// The errno of a default action of `ERRNO` or `TRACE`; `EPERM` (1) where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The architectures that the filter knows; a call through any other one is killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<Arch>,
    /// Flags of seccomp(2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// The socket that a runtime sends the notify file descriptor to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Opaque data that goes with the notify file descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules, in the document's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Rule>,
}

impl Profile {
    /// The same without repeated names in a rule, which say nothing new and cost whoever judges them: a rule of 256 KiB can name one call
    /// sixty thousand times.
    #[must_use]
    pub fn with_unique_names(mut self) -> Self {
        for rule in &mut self.syscalls {
            let mut seen = HashSet::new();
            let repeated: Vec<bool> = rule.names.iter().map(|name| !seen.insert(name.as_str())).collect();
            let mut repeated = repeated.into_iter();
            rule.names.retain(|_| repeated.next() != Some(true));
            rule.names.shrink_to_fit();
        }
        self
    }
}

/// One entry of `syscalls`: an action for some calls, under conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Names of system calls.
    pub names: Vec<String>,
    /// What happens to a matching call.
    pub action: Action,
    /// The errno of an action of `ERRNO` or `TRACE`; `EPERM` (1) where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions on arguments; none means every call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
}

/// A condition on one argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arg {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// What to compare with; for [`Operator::MaskedEq`] the mask.
    pub value: u64,
    /// For [`Operator::MaskedEq`] the datum; ignored by every other operator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// The comparison.
    pub op: Operator,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in the specification's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in an OCI document.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// What the kernel does with a call.
    Action {
        /// The call is made.
        Allow = "SCMP_ACT_ALLOW",
        /// The call is made and logged by the audit subsystem.
        Log = "SCMP_ACT_LOG",
        /// The call fails with an errno.
        Errno = "SCMP_ACT_ERRNO",
        /// The thread gets SIGSYS.
        Trap = "SCMP_ACT_TRAP",
        /// A tracer is told; without one the call fails with ENOSYS.
        Trace = "SCMP_ACT_TRACE",
        /// A supervisor in user space decides.
        Notify = "SCMP_ACT_NOTIFY",
        /// The thread is killed (an older name of `KILL_THREAD`).
        Kill = "SCMP_ACT_KILL",
        /// The thread is killed.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// The process is killed.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
    }
}

names! {
    /// How an argument is compared; every comparison is unsigned over 64 bits.
    Operator {
        /// Not equal.
        NotEqual = "SCMP_CMP_NE",
        /// Less than.
        LessThan = "SCMP_CMP_LT",
        /// Less than or equal.
        LessOrEqual = "SCMP_CMP_LE",
        /// Equal.
        Equal = "SCMP_CMP_EQ",
        /// Greater than or equal.
        GreaterOrEqual = "SCMP_CMP_GE",
        /// Greater than.
        GreaterThan = "SCMP_CMP_GT",
        /// `argument & value == valueTwo`.
        MaskedEq = "SCMP_CMP_MASKED_EQ",
    }
}

names! {
    /// Flags of seccomp(2).
    Flag {
        /// Log every action but ALLOW.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leave speculation mitigations off.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// Apply to every thread.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Only a fatal signal interrupts a notified call.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

names! {
    /// An architecture, as libseccomp names it.
    Arch {
        /// i386.
        X86 = "SCMP_ARCH_X86",
        /// x86-64.
        X86_64 = "SCMP_ARCH_X86_64",
        /// x32, 32-bit pointers in 64-bit mode.
        X32 = "SCMP_ARCH_X32",
        /// 32-bit Arm.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit Arm.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// MIPS, 32-bit.
        Mips = "SCMP_ARCH_MIPS",
        /// MIPS, 64-bit.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// MIPS, 64-bit with 32-bit pointers.
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        /// MIPS, 32-bit, little-endian.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// MIPS, 64-bit, little-endian.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// MIPS, 64-bit with 32-bit pointers, little-endian.
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        /// PowerPC, 32-bit.
        Ppc = "SCMP_ARCH_PPC",
        /// PowerPC, 64-bit.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// PowerPC, 64-bit, little-endian.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// IBM Z, 31-bit.
        S390 = "SCMP_ARCH_S390",
        /// IBM Z, 64-bit.
        S390x = "SCMP_ARCH_S390X",
        /// HP PA-RISC, 32-bit.
        Parisc = "SCMP_ARCH_PARISC",
        /// HP PA-RISC, 64-bit.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// RISC-V, 64-bit.
        Riscv64 = "SCMP_ARCH_RISCV64",
        /// LoongArch, 64-bit.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// Motorola 68000.
        M68k = "SCMP_ARCH_M68K",
        /// SuperH, little-endian.
        Sh = "SCMP_ARCH_SH",
        /// SuperH, big-endian.
        Sheb = "SCMP_ARCH_SHEB",
    }
}
