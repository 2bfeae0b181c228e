//! How large the filter is that a runtime makes of a profile, against the kernel's limits.
//!
//! The program is libseccomp's, and its exact size depends on libseccomp's version and on how its tree of comparisons shares
//! branches. What is given here are upper bounds, from its code generator's source; `tests/program.rs` holds them against
//! the programs that libseccomp makes of random profiles, of the runtime default and of profiles near the limit.
//!
//! Source: libseccomp's `src/gen_bpf.c` (v2.5.4 to v2.6.1): for each architecture a prologue and a branch for each call, for each
//! condition a load, a mask and a branch for each half; runc's `libcontainer/seccomp/patchbpf/enosys_linux.go`.

use std::collections::BTreeMap;

use crate::{
    Arch, Operator, Profile, Rule,
    evaluate::Outcome,
    syscalls::{self, Lookup},
};

/// The most instructions of one filter: `BPF_MAXINSNS` of Linux' include/uapi/linux/bpf_common.h.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The most instructions of all filters of a task together, each counted with 4 more: `MAX_INSNS_PER_PATH` of Linux'
/// kernel/seccomp.c.
pub const MAX_STACK: usize = 32768;

/// Upper bounds for a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramBound {
    /// Instructions of the whole program.
    pub instructions: usize,
    /// Instructions that one call runs.
    pub longest_path: usize,
}

/// Instructions before the calls of an architecture, with runc's stub.
const PROLOGUE: usize = 16;
/// A call's branch, and a jump where it lies too far away.
const CALL: usize = 2;
/// A `MASKED_EQ`: two loads, masks and branches.
const CONDITION: usize = 6;

/// Bounds for the filter of some architectures together, those of [`Arch`] once each.
#[must_use]
pub fn bound(profile: &Profile, architectures: &[Arch]) -> ProgramBound {
    let default = Outcome::of_default(profile);
    let mut calls: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for rule in profile.syscalls.iter().filter(|rule| Outcome::of_rule(rule) != default) {
        for name in &rule.names {
            let rules = calls.entry(name).or_default();
            // A rule that names a call twice is one rule.
            if rules.last().is_none_or(|last| !std::ptr::eq(*last, rule)) {
                rules.push(rule);
            }
        }
    }
    let mut bound = ProgramBound { instructions: 0, longest_path: 0 };
    let mut arches = architectures.to_vec();
    arches.sort_unstable();
    arches.dedup();
    for &arch in &arches {
        let sizes: Vec<usize> = calls.iter().flat_map(|(name, rules)| sizes(arch, name, rules)).collect();
        bound.instructions += PROLOGUE + sizes.iter().sum::<usize>();
        // At worst every call's branch is passed on the way to the largest one.
        bound.longest_path += PROLOGUE + CALL * sizes.len() + sizes.iter().max().copied().unwrap_or(0);
    }
    bound.longest_path = bound.longest_path.min(bound.instructions);
    bound
}

/// The instructions for a call on an architecture: once by number, and once through the carrier, where its number
/// has to be compared too.
fn sizes(arch: Arch, name: &str, rules: &[&Rule]) -> Vec<usize> {
    let size = if rules.iter().any(|rule| rule.args.is_empty()) {
        CALL
    } else {
        CALL + rules.iter().map(|rule| rule_size(rule)).sum::<usize>()
    };
    match syscalls::lookup(arch, name) {
        Lookup::Known { number, multiplexed } => {
            let (direct, through) = (number.map(|_| size), multiplexed.map(|_| size + CONDITION));
            direct.into_iter().chain(through).collect()
        }
        Lookup::NoTable => vec![size],
        Lookup::Elsewhere | Lookup::Unknown => Vec::new(),
    }
}

fn rule_size(rule: &Rule) -> usize {
    let args = &rule.args;
    let conditions =
        args.iter().map(|arg| if arg.op == Operator::MaskedEq { CONDITION } else { CONDITION - 1 });
    // Two conditions on one argument make a rule of each.
    let repeats =
        args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|one| one.index == arg.index));
    conditions.sum::<usize>() + if repeats { args.len() } else { 1 }
}
