//! Shows that a result does with every call what the profiles make together.

use super::{Wanted, calls::passes};
use crate::{
    Arch, Profile,
    compare::{Answer, Budget, Case, Side, call_name, disputes_in, meet},
    evaluate::{Condition, Outcome, Runtime, Table, tables},
};

/// How far a result and the profiles agree in an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// In every respect.
    Outcome,
    /// In the action; which profile's errno a call gets that is denied anyway is left open, where no rules say it.
    Action,
}

impl Likeness {
    fn holds(self, one: Outcome, other: Outcome) -> bool {
        match self {
            Self::Outcome => one == other,
            Self::Action => one.action() == other.action(),
        }
    }
}

/// The first call, if any, with which a result doesn't do what the profiles make together, or isn't shown to.
pub(super) fn failure(
    profiles: &[&Profile],
    result: &Profile,
    arches: &[Arch],
    wanted: Wanted,
    likeness: Likeness,
) -> Option<(String, Arch)> {
    // With its neighbours, because libseccomp can forget to load the number of the call for an architecture.
    let results = tables(result, Runtime::Crun, arches);
    results
        .iter()
        .find_map(|(arch, result_table)| {
            let parts: Vec<Table> =
                profiles.iter().map(|profile| Table::new(profile, Runtime::Crun, *arch)).collect();
            let mut proof = Proof { arch: *arch, wanted, likeness, budget: Budget::patient() };
            if let Some(dispute) = disputes_in(result_table, *arch, &proof.budget).next() {
                return Some((dispute.call, *arch));
            }
            let number = numbers(&parts, result_table)
                .into_iter()
                .find(|&number| !proof.holds(number, &parts, &Side::of(result_table, number)))?;
            Some((call_name(*arch, number), *arch))
        })
        .or_else(|| stub(profiles, result, arches, wanted))
}

/// Whether runc's stub keeps calls from a result that it lets through to the profiles: those made through `socketcall`
/// and `ipc`, whose names don't move the stub.
pub(super) fn is_cut_off(profiles: &[&Profile], result: &Profile, arches: &[Arch], wanted: Wanted) -> bool {
    stub(profiles, result, arches, wanted).is_some()
}

/// The first call that the result lets through by its rules and runc's stub otherwise than the profiles.
fn stub(profiles: &[&Profile], result: &Profile, arches: &[Arch], wanted: Wanted) -> Option<(String, Arch)> {
    arches.iter().find_map(|&arch| {
        let last = |profile: &Profile| Table::new(profile, Runtime::Runc, arch).last();
        let (own, lasts): (_, Vec<Option<u32>>) =
            (last(result), profiles.iter().map(|one| last(one)).collect());
        let table = Table::new(result, Runtime::Crun, arch);
        let tables: Vec<Table> = profiles.iter().map(|one| Table::new(one, Runtime::Crun, arch)).collect();
        let number = table.numbers().find(|&number| {
            let answers = |last: Option<u32>| last.is_some_and(|last| number > last);
            let mut parts = lasts.iter().map(|&last| answers(last));
            let denies = |table| !Side::of(table, number).cases().iter().any(|case| passes(case.outcome));
            let differs = match (wanted, answers(own)) {
                (Wanted::LeastStrict, true) => {
                    !parts.zip(&tables).all(|(stubbed, table)| stubbed || denies(table))
                }
                (Wanted::LeastStrict, false) => false,
                (Wanted::Strictest, stubbed) => parts.any(|part| part) != stubbed,
            };
            differs && Side::of(&table, number).cases().iter().any(|case| passes(case.outcome))
        })?;
        Some((call_name(arch, number), arch))
    })
}

fn numbers(parts: &[Table], result: &Table) -> Vec<u32> {
    let mut numbers: Vec<u32> = parts.iter().chain([result]).flat_map(Table::numbers).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

struct Proof {
    arch: Arch,
    wanted: Wanted,
    likeness: Likeness,
    budget: Budget,
}

impl Proof {
    /// Whether the result gives every argument vector the wanted one of the parts' outcomes.
    fn holds(&mut self, number: u32, parts: &[Table], result: &Side<'_>) -> bool {
        let parts = sides(parts, number, self.wanted);
        let parts: Vec<Vec<Case<'_>>> = parts.iter().map(Side::cases).collect();
        result
            .cases()
            .iter()
            .all(|case| self.is_reached(case, &parts) && self.is_not_passed_over(case, &parts))
    }

    /// No part has an outcome there that wins over the result's.
    fn is_not_passed_over(&mut self, result: &Case<'_>, parts: &[Vec<Case<'_>>]) -> bool {
        parts
            .iter()
            .flatten()
            .filter(|part| self.wanted.prefers(part.outcome, result.outcome))
            .filter(|part| !self.likeness.holds(part.outcome, result.outcome))
            .all(|part| matches!(meet(&[result, part], self.arch, &self.budget), Answer::Nothing))
    }

    /// Everywhere there some part has the result's outcome.
    fn is_reached(&mut self, result: &Case<'_>, parts: &[Vec<Case<'_>>]) -> bool {
        let mut others: Vec<Vec<&Case<'_>>> = parts
            .iter()
            .map(|cases| {
                cases.iter().filter(|case| !self.likeness.holds(case.outcome, result.outcome)).collect()
            })
            .collect();
        others.sort_by_key(Vec::len);
        !self.may_meet(&mut vec![result], &others)
    }

    /// Whether some arguments may lead to the chosen cases and to one of each list's.
    fn may_meet<'a>(&mut self, chosen: &mut Vec<&'a Case<'a>>, others: &[Vec<&'a Case<'a>>]) -> bool {
        if matches!(meet(chosen, self.arch, &self.budget), Answer::Nothing) {
            return false;
        }
        let Some((next, rest)) = others.split_first() else { return true };
        next.iter().any(|case| {
            chosen.push(case);
            let meets = self.may_meet(chosen, rest);
            chosen.pop();
            meets
        })
    }
}

/// What the parts do with a call, each kind once; those that do the same whatever the arguments are one.
fn sides<'a>(parts: &'a [Table], number: u32, wanted: Wanted) -> Vec<Side<'a>> {
    type Kind = (Outcome, Vec<(Vec<Condition>, Outcome)>);
    let mut kinds: Vec<Kind> = Vec::new();
    let mut constant: Option<(Outcome, Side<'a>)> = None;
    let mut sides = Vec::new();
    for part in parts {
        match Side::of(part, number) {
            Side::Always(decision) => {
                let outcome = decision.outcome;
                if constant.as_ref().is_none_or(|(so_far, _)| wanted.prefers(outcome, *so_far)) {
                    constant = Some((outcome, Side::Always(decision)));
                }
            }
            Side::Depends(group) => {
                let rows = group.rows.iter().map(|row| (row.conditions.clone(), row.outcome)).collect();
                let kind = (group.default, rows);
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                    sides.push(Side::Depends(group));
                }
            }
        }
    }
    sides.extend(constant.map(|(_, side)| side));
    sides
}
