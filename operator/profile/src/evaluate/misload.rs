//! Filters that never look at the number of a call.

use super::{Outcome, Table, table::is_merged_without_number};
use crate::{Arch, Profile};

/// Marks the tables of architectures where libseccomp forgets to load the number of the call, so that no rule ever
/// matches.
///
/// libseccomp sorts the calls of an architecture, those with the fewest comparisons first, and lets the first one
/// load the number. A call that the architecture doesn't have has a place in that order but no instructions. Where
/// it comes first, nothing loads the number: so in a profile that names such a call and has no unconditional rule
/// for any other. x86-64 alone is safe, because its check for x32's calls loads the number; with x32 it is not.
/// Architectures with `socketcall` and `ipc` put only those calls in the order that are made through these alone.
///
/// Source: `_gen_bpf_syscalls` in libseccomp's `src/gen_bpf.c` and `abi_rule_add` in `src/syscalls.c`, v2.5.4; runc
/// avoids it from 33 calls on by another layout, which isn't relied on here.
pub(super) fn distrust(tables: &mut [(Arch, Table)], profile: &Profile) {
    let mixed = [Arch::X86_64, Arch::X32].iter().all(|abi| tables.iter().any(|(arch, _)| arch == abi));
    let shares = |arch: Arch| mixed && matches!(arch, Arch::X86_64 | Arch::X32);
    let arches: Vec<Arch> = tables.iter().map(|(arch, _)| *arch).collect();
    for arch in arches {
        let together = |other: Arch| other == arch || (shares(arch) && shares(other));
        let loads_itself = matches!(arch, Arch::X86_64 | Arch::X32) && !mixed;
        let sure = tables.iter().any(|(other, table)| together(*other) && table.has_unconditional());
        if loads_itself || sure {
            continue;
        }
        let absent = tables
            .iter()
            .filter(|(other, _)| together(*other))
            .find_map(|(other, _)| call_without_number(profile, *other));
        if let Some((_, table)) = tables.iter_mut().find(|(other, _)| *other == arch)
            && let Some(name) = absent
        {
            table.distrust(name);
        }
    }
}

/// A call that has a place in the order and no number, in a rule that isn't dropped.
fn call_without_number(profile: &Profile, arch: Arch) -> Option<&str> {
    let default = Outcome::of_default(profile);
    let counting = profile.syscalls.iter().filter(|rule| Outcome::of_rule(rule) != default);
    counting
        .flat_map(|rule| &rule.names)
        .map(String::as_str)
        .find(|name| is_merged_without_number(arch, name))
}
