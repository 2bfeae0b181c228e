//! The arguments whose values are recorded, because a rule on them is worth having.

/// How wide an argument is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// An `int` or `unsigned int`: the kernel ignores the register's high half, in which the C ABI lets a caller leave anything, so a
    /// rule must ignore it too.
    Int,
    /// A `long`: the whole register counts.
    Long,
}

/// An argument that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedArgument {
    /// The call.
    pub call: &'static str,
    /// Which argument, 0 to 5.
    pub index: u8,
    /// What it is, for people.
    pub what: &'static str,
    /// How wide it is.
    pub width: Width,
}

const fn argument(call: &'static str, index: u8, what: &'static str, width: Width) -> RecordedArgument {
    RecordedArgument { call, index, what, width }
}

/// Every such argument, by the call's name; one a call, so that a call's rules are one for each value.
///
/// Types are those of the kernel's own definitions (`SYSCALL_DEFINE`, v6.18): `clone` takes a long and keeps its low half
/// (`kernel/fork.c`, `lower_32_bits`). Its flags are the first argument on x86-64 and aarch64, which are all that is recorded.
pub const RECORDED_ARGUMENTS: &[RecordedArgument] = &[
    argument("bpf", 0, "command", Width::Int),
    argument("clone", 0, "flags", Width::Int),
    argument("fcntl", 1, "command", Width::Int),
    argument("ioctl", 1, "request", Width::Int),
    argument("keyctl", 0, "operation", Width::Int),
    argument("personality", 0, "persona", Width::Int),
    argument("prctl", 0, "option", Width::Int),
    argument("ptrace", 0, "request", Width::Long),
    argument("seccomp", 0, "operation", Width::Int),
    argument("setns", 1, "namespace type", Width::Int),
    argument("socket", 0, "domain", Width::Int),
    argument("socketpair", 0, "domain", Width::Int),
    argument("unshare", 0, "flags", Width::Long),
];

/// The argument of a call that is recorded, if one is.
#[must_use]
pub fn recorded_argument(call: &str) -> Option<&'static RecordedArgument> {
    RECORDED_ARGUMENTS.iter().find(|argument| argument.call == call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Arch,
        syscalls::{self, Lookup},
    };

    #[test]
    fn every_call_is_one_of_both_architectures() {
        for RecordedArgument { call, index, .. } in RECORDED_ARGUMENTS {
            assert!(*index < 6, "{call}");
            for arch in [Arch::X86_64, Arch::Aarch64] {
                assert!(matches!(syscalls::lookup(arch, call), Lookup::Known { .. }), "{call} on {arch}");
            }
        }
        assert!(RECORDED_ARGUMENTS.is_sorted_by_key(|argument| argument.call), "one a call, sorted");
    }
}
