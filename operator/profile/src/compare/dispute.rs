//! Calls of which it is unsure what a filter does with them.

use super::{Answer, Budget, TOO_HARD, find};
use crate::{
    Arch, Profile,
    evaluate::{Entry, Evaluator, Group, Refusal, Row, Runtime, Table, X32_BIT, width},
    syscalls,
};

/// Why it is unsure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisputeCause {
    /// libseccomp merges the rules wrongly, or may: the filter can do what none of them says, and some such rules
    /// (`arg0 != 3` and `arg1 != 8`, with `arg0 != 3` and `arg2 != 1`) make libseccomp 2.5.4 loop for ever, and the runtime
    /// with it. See [`crate::evaluate::Reason::Contested`].
    Merge,
    /// Two rules with different outcomes match the same arguments. libseccomp takes one by its internal order or
    /// refuses the profile (`EEXIST`), so that no container starts.
    Overlap {
        /// Arguments that both match, in words.
        condition: String,
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
    let mut budget = Budget::profiles();
    let mut all = Vec::new();
    for arch in evaluator.architectures() {
        if let Some(table) = evaluator.table(arch) {
            all.extend(disputes_in(table, arch, &mut budget));
        }
    }
    Ok(all)
}

/// Those of one architecture.
pub(crate) fn disputes_in(table: &Table, arch: Arch, budget: &mut Budget) -> Vec<Dispute> {
    let mut all = Vec::new();
    let mut add = |call, found: Option<_>| {
        all.extend(found.map(|(rules, cause)| Dispute { arch, call, rules, cause }));
    };
    for number in table.numbers() {
        add(call_name(arch, number), dispute(table, number, arch, budget));
    }
    for (name, group) in table.absent() {
        add(name.to_owned(), find_dispute(group, Row::is_beginning_of, arch, budget));
    }
    all
}

/// The first reason for doubt about a call, and the rules. `number` is without x32's bit.
pub(crate) fn dispute(
    table: &Table,
    number: u32,
    arch: Arch,
    budget: &mut Budget,
) -> Option<(Vec<usize>, DisputeCause)> {
    match table.rules(number)? {
        Entry::Depends(group) => find_dispute(group, |_, _| true, arch, budget),
        // What the rules before an unconditional one say is of no account; whether libseccomp takes them is.
        Entry::Always(_) => find_dispute(table.replaced(number)?, Row::is_beginning_of, arch, budget),
    }
}

/// `clash`: whether a row is in the way of an earlier one with another outcome, which may match the same arguments.
fn find_dispute(
    group: &Group,
    clash: fn(&Row, &Row) -> bool,
    arch: Arch,
    budget: &mut Budget,
) -> Option<(Vec<usize>, DisputeCause)> {
    if !group.exact {
        let mut rules: Vec<usize> = group.rows.iter().map(|row| row.rule).collect();
        rules.dedup();
        return Some((rules, DisputeCause::Merge));
    }
    for (at, one) in group.rows.iter().enumerate() {
        for other in group.rows[..at].iter().filter(|other| other.outcome != one.outcome && clash(one, other))
        {
            let condition = match find(&[&one.conditions, &other.conditions], &[], width(arch), budget) {
                // These are refused though no arguments meet them.
                Answer::Nothing if one.is_beginning_of(other) => "arguments that there are not".to_owned(),
                Answer::Nothing => continue,
                Answer::Found(region) => region.to_string(),
                Answer::TooHard => TOO_HARD.to_owned(),
            };
            return Some((vec![other.rule, one.rule], DisputeCause::Overlap { condition }));
        }
    }
    None
}

/// `number` is without x32's bit.
pub(crate) fn call_name(arch: Arch, number: u32) -> String {
    let listed = if arch == Arch::X32 { number | X32_BIT } else { number };
    syscalls::name(arch, listed).map_or_else(|| format!("call {number}"), str::to_owned)
}
