//! Calls of which it is unsure what a filter does with them.

use super::{Answer, Budget, find};
use crate::{
    Arch, Profile,
    evaluate::{Entry, Evaluator, Group, Merging, Refusal, Row, Runtime, Table, X32_BIT, width},
    syscalls,
};

/// Why it is unsure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisputeCause {
    /// libseccomp merges the rules wrongly: the filter does what none of them says. See [`crate::evaluate::Reason::Contested`].
    Merge,
    /// Two rules with different outcomes match the same arguments. libseccomp takes one by its internal order or
    /// refuses the profile (`EEXIST`), so that no container starts.
    Overlap {
        /// Arguments that both match, in words.
        condition: String,
    },
    /// libseccomp refuses the profile (`EEXIST`), because on their way into its tree rules with different outcomes meet: also where
    /// no arguments match two of them, a later rule without conditions replaces them, or the call can't be made on the architecture.
    Refused,
    /// There are so many rules for the call, or such conditions, that it was not found out.
    TooHard,
    /// libseccomp loops for ever when it merges the rules, and the runtime with it: also where a later rule without conditions replaces
    /// them, or the call can't be made on the architecture.
    Endless,
    /// The filter never looks at the number of the call, so that no rule with conditions ever matches.
    NumberNotLoaded {
        /// A call that the profile names and the architecture doesn't have, which takes the place of the one that would load it.
        absent: String,
    },
}

/// A call of which it is unsure what a filter does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// The architecture.
    pub arch: Arch,
    /// The call; `socketcall` and `ipc` where others are made through it.
    pub call: String,
    /// The indexes in `syscalls` of the rules that are at odds.
    pub rules: Vec<usize>,
    /// Why.
    pub cause: DisputeCause,
}

/// The calls of which it is unsure what a profile's filter does with them, on nodes of an architecture. Such a profile does
/// not hold what it says, and its author should rewrite it: with rules that don't overlap, of `EQ` and `MASKED_EQ` alone or of
/// one condition each.
///
/// # Errors
/// Where the runtime doesn't start a container with the profile.
pub fn disputes(profile: &Profile, runtime: Runtime, native: Arch) -> Result<Vec<Dispute>, Refusal> {
    let evaluator = Evaluator::new(profile, runtime, native)?;
    let budget = Budget::default();
    let mut all = Vec::new();
    for arch in evaluator.architectures() {
        if let Some(table) = evaluator.table(arch) {
            all.extend(disputes_in(table, arch, &budget));
        }
    }
    Ok(all)
}

/// Those of one architecture.
pub(crate) fn disputes_in<'a>(
    table: &'a Table,
    arch: Arch,
    budget: &'a Budget,
) -> impl Iterator<Item = Dispute> + 'a {
    let numbered = table.numbers().filter_map(move |number| {
        let (rules, cause) = dispute(table, number, arch, budget)?;
        Some(Dispute { arch, call: call_name(arch, number), rules, cause })
    });
    let absent = table.absent().filter_map(move |(name, group)| {
        let (rules, cause) = hindrance(group, table)?;
        Some(Dispute { arch, call: name.to_owned(), rules, cause })
    });
    numbered.chain(absent)
}

/// The first reason for doubt about a call, and the rules. `number` is without x32's bit.
pub(crate) fn dispute(
    table: &Table,
    number: u32,
    arch: Arch,
    budget: &Budget,
) -> Option<(Vec<usize>, DisputeCause)> {
    match table.rules(number)? {
        Entry::Depends(group) => doubt(group, table, arch, budget),
        Entry::Always(_) => hindrance(table.replaced(number)?, table),
    }
}

/// Why it is unsure what conditional rules do.
fn doubt(group: &Group, table: &Table, arch: Arch, budget: &Budget) -> Option<(Vec<usize>, DisputeCause)> {
    if let Some(cause) = misfortune(group.merging, table) {
        return Some((rules(group), cause));
    }
    if group.rows.iter().all(|row| row.outcome == group.rows[0].outcome) {
        return None;
    }
    pairs(group).find_map(|(other, one)| {
        if !budget.step(0) {
            return Some((vec![other.rule, one.rule], DisputeCause::TooHard));
        }
        if other.outcome == one.outcome {
            return None;
        }
        let cause = match find(&[&one.conditions, &other.conditions], &[], width(arch), budget) {
            Answer::Nothing => return None,
            Answer::Found(region) => DisputeCause::Overlap { condition: region.to_string() },
            Answer::TooHard => DisputeCause::TooHard,
        };
        Some((vec![other.rule, one.rule], cause))
    })
}

/// Why conditional rules keep a profile from being loaded that are of no account themselves: what libseccomp merges before it takes a
/// rule without conditions in their place, or for a call that can't be made.
fn hindrance(group: &Group, table: &Table) -> Option<(Vec<usize>, DisputeCause)> {
    match group.merging {
        // Nobody asks this filter for anything.
        Merging::Unfaithful => None,
        merging => Some((rules(group), misfortune(merging, table)?)),
    }
}

fn misfortune(merging: Merging, table: &Table) -> Option<DisputeCause> {
    Some(match merging {
        Merging::Faithful => return None,
        Merging::Unfaithful => DisputeCause::Merge,
        Merging::Refused => DisputeCause::Refused,
        Merging::Endless => DisputeCause::Endless,
        Merging::NumberNotLoaded => {
            DisputeCause::NumberNotLoaded { absent: table.first_without_number().to_owned() }
        }
        Merging::TooHard => DisputeCause::TooHard,
    })
}

fn rules(group: &Group) -> Vec<usize> {
    let mut rules: Vec<usize> = group.rows.iter().map(|row| row.rule).collect();
    rules.dedup();
    rules
}

/// Each row with each before it, which stands first.
fn pairs(group: &Group) -> impl Iterator<Item = (&Row, &Row)> {
    let rows = &group.rows;
    rows.iter().enumerate().flat_map(|(at, one)| rows[..at].iter().map(move |other| (other, one)))
}

/// `number` is without x32's bit.
pub(crate) fn call_name(arch: Arch, number: u32) -> String {
    let listed = if arch == Arch::X32 { number | X32_BIT } else { number };
    syscalls::name(arch, listed).map_or_else(|| format!("call {number}"), str::to_owned)
}
