//! Profiles that a runtime doesn't start a container with.

use rustc_hash::FxHashSet;

use super::{Outcome, Runtime, arch::is_big_endian, row::ARGUMENTS};
use crate::{Action, Arch, Arg, Profile, Rule, program::MAX_INSTRUCTIONS, syscalls};

/// Why a runtime fails to start a container with a profile, so that there is no filter to speak of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `SCMP_ACT_NOTIFY` by default.
    ///
    /// Source: `InitSeccomp` in runc's `libcontainer/seccomp/seccomp_linux.go`.
    #[error("defaultAction: runc refuses SCMP_ACT_NOTIFY as the default: give the calls a rule each")]
    NotifyByDefault,
    /// `SCMP_ACT_NOTIFY` for `write`, which runc itself needs to hand the listener over.
    ///
    /// Source: as above.
    #[error("syscalls[{rule}]: runc refuses SCMP_ACT_NOTIFY for write: leave write out of the rule")]
    NotifyOnWrite {
        /// The index in `syscalls`.
        rule: usize,
    },
    /// An argument that no call has.
    #[error("syscalls[{rule}].args[{arg}].index: {index} is no argument of a system call: write 0 to 5")]
    ArgumentIndex {
        /// The index in `syscalls`.
        rule: usize,
        /// The index in `args`.
        arg: usize,
        /// The argument's index.
        index: u8,
    },
    /// An architecture with the other byte order than the node's; libseccomp answers `EDOM`.
    ///
    /// Source: `db_col_db_add` in libseccomp's `src/db.c`.
    #[error(
        "architectures: {listed} and the node's {native} differ in byte order, which libseccomp refuses: \
         leave {listed} out"
    )]
    ByteOrder {
        /// The architecture in the profile.
        listed: Arch,
        /// The node's.
        native: Arch,
    },
    /// An architecture that the runtimes' libseccomp has no calls of.
    #[error("architectures: nothing is known of {arch}'s system calls: leave it out")]
    Architecture {
        /// The architecture.
        arch: Arch,
    },
    /// More rules for single calls than a filter has instructions. Each takes one at least, but for a call's that one without
    /// conditions follows, and libseccomp's time grows with the square of those.
    ///
    /// Source: `BPF_MAXINSNS` in Linux' `include/uapi/linux/bpf_common.h`.
    #[error(
        "syscalls: more than {MAX_INSTRUCTIONS} rules once each call and each alternative has its own, and the kernel \
         takes {MAX_INSTRUCTIONS} instructions: name fewer calls and conditions"
    )]
    TooManyRules,
    /// An errno on an action that has none.
    ///
    /// Source: `seccomp_action_supports_errno` in crun's `src/libcrun/seccomp.c`.
    #[error("{path}: crun refuses an errno for {action}: leave it out")]
    Errno {
        /// The field.
        path: String,
        /// The action.
        action: Action,
    },
}

/// Finds the first reason.
pub(super) fn check(profile: &Profile, runtime: Runtime, native: Arch) -> Result<(), Refusal> {
    check_everywhere(profile)?;
    if !syscalls::has_table(native) {
        return Err(Refusal::Architecture { arch: native });
    }
    let foreign = profile.architectures.iter().find(|&&arch| is_big_endian(arch) != is_big_endian(native));
    if let Some(&listed) = foreign {
        return Err(Refusal::ByteOrder { listed, native });
    }
    match runtime {
        Runtime::Runc => notify(profile),
        Runtime::Crun => errno(profile),
    }
}

/// Finds the first reason that holds for every runtime and node.
pub(crate) fn check_everywhere(profile: &Profile) -> Result<(), Refusal> {
    if let Some(&arch) = profile.architectures.iter().find(|&&arch| !syscalls::has_table(arch)) {
        return Err(Refusal::Architecture { arch });
    }
    for (rule, entry) in profile.syscalls.iter().enumerate() {
        if let Some(arg) = entry.args.iter().position(|arg| usize::from(arg.index) >= ARGUMENTS) {
            return Err(Refusal::ArgumentIndex { rule, arg, index: entry.args[arg].index });
        }
    }
    if written_rules(profile) > MAX_INSTRUCTIONS { Err(Refusal::TooManyRules) } else { Ok(()) }
}

/// How many rules for single calls a runtime hands to libseccomp, each once where they
/// might be more than a filter can have.
pub(crate) fn written_rules(profile: &Profile) -> usize {
    // Nearly every profile is far from it: then no set is made.
    let lists = |rule: &Rule| if rule.args.len() > 1 { rule.args.len() } else { 1 };
    let written: usize =
        profile.syscalls.iter().map(|rule| rule.names.len().saturating_mul(lists(rule))).sum();
    if written <= MAX_INSTRUCTIONS {
        return written;
    }
    let default = Outcome::of_default(profile);
    let mut distinct: FxHashSet<(&str, Outcome, &[Arg])> = FxHashSet::default();
    let mut count = 0;
    for rule in &profile.syscalls {
        let outcome = Outcome::of_rule(rule);
        if outcome == default {
            continue;
        }
        // A runtime skips a name that no libseccomp knows.
        for name in rule.names.iter().filter(|name| syscalls::is_known_anywhere(name)) {
            if distinct.insert((name, outcome, &rule.args)) {
                count += lists(rule);
            }
        }
    }
    count
}

fn notify(profile: &Profile) -> Result<(), Refusal> {
    if profile.default_action == Action::Notify {
        return Err(Refusal::NotifyByDefault);
    }
    let on_write = profile
        .syscalls
        .iter()
        .position(|rule| rule.action == Action::Notify && rule.names.iter().any(|name| name == "write"));
    on_write.map_or(Ok(()), |rule| Err(Refusal::NotifyOnWrite { rule }))
}

fn errno(profile: &Profile) -> Result<(), Refusal> {
    let refused = |action| !matches!(action, Action::Errno | Action::Trace);
    if profile.default_errno_ret.is_some() && refused(profile.default_action) {
        return Err(Refusal::Errno { path: "defaultErrnoRet".to_owned(), action: profile.default_action });
    }
    for (at, rule) in profile.syscalls.iter().enumerate() {
        if rule.errno_ret.is_some() && refused(rule.action) {
            return Err(Refusal::Errno { path: format!("syscalls[{at}].errnoRet"), action: rule.action });
        }
    }
    Ok(())
}
