//! Calls of which it is unsure what a filter does with them.

use super::{Answer, Budget, Side, meet};
use crate::{
    Arch, Profile,
    evaluate::{Evaluator, Refusal, Runtime, X32_BIT},
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
        let Some(table) = evaluator.table(arch) else { continue };
        for number in table.numbers() {
            if let Some((rules, cause)) = Side::of(table, number).dispute(arch, &mut budget) {
                all.push(Dispute { arch, call: call_name(arch, number), rules, cause });
            }
        }
    }
    Ok(all)
}

impl Side<'_> {
    /// The first reason for doubt, and the rules.
    pub(crate) fn dispute(&self, arch: Arch, budget: &mut Budget) -> Option<(Vec<usize>, DisputeCause)> {
        let Side::Depends(group) = self else { return None };
        if !group.exact {
            let mut rules: Vec<usize> = group.rows.iter().map(|row| row.rule).collect();
            rules.dedup();
            return Some((rules, DisputeCause::Merge));
        }
        let cases = self.cases();
        let rows = &cases[..group.rows.len()];
        for (at, one) in rows.iter().enumerate() {
            for other in rows[..at].iter().filter(|other| other.outcome != one.outcome) {
                let condition = match meet(&[one, other], arch, budget) {
                    Answer::Nothing => continue,
                    Answer::Found(region) => region.to_string(),
                    Answer::TooHard => "arguments that are too hard to find".to_owned(),
                };
                let rules = [other.rule, one.rule].into_iter().flatten().collect();
                return Some((rules, DisputeCause::Overlap { condition }));
            }
        }
        None
    }
}

/// `number` is without x32's bit.
pub(crate) fn call_name(arch: Arch, number: u32) -> String {
    let listed = if arch == Arch::X32 { number | X32_BIT } else { number };
    syscalls::name(arch, listed).map_or_else(|| format!("call {number}"), str::to_owned)
}
