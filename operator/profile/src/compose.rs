//! One profile of several: what any of them allows.

use std::collections::BTreeSet;

use crate::{
    Arch, Profile, Rule,
    combine::{Case, Combination, Failure, Part, names, replace},
    compare::{self, Answer, Budget, Side, call_name, meet},
    evaluate::{Outcome, Passage, Refusal, Runtime, Table, check_everywhere, written_rules},
    program::MAX_INSTRUCTIONS,
};

/// Rules for single calls of all profiles together: 36 profiles of 450 calls each.
const MAX_UNION_RULES: usize = 4 * MAX_INSTRUCTIONS;

/// A profile and what to call it in errors.
#[derive(Clone, Copy, Debug)]
pub struct NamedProfile<'a> {
    /// For people: `SeccompProfile shop/web`.
    pub name: &'a str,
    /// The profile.
    pub profile: &'a Profile,
}

/// Why profiles can't be composed. Both sides are named, the one that comes first in the list first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnionError {
    /// Nothing to compose.
    #[error("no profile is given to compose")]
    Nothing,
    /// A profile that no runtime starts a container with.
    #[error("{profile}: {refusal}")]
    Refused {
        /// The profile.
        profile: String,
        /// The reason.
        refusal: Refusal,
    },
    /// More rules than one profile can have by far.
    #[error(
        "together the {profiles} profiles have {rules} rules once each call has its own, over {MAX_UNION_RULES}: compose fewer or smaller \
         ones"
    )]
    TooManyRules {
        /// How many profiles.
        profiles: usize,
        /// How many rules.
        rules: usize,
    },
    /// A profile's default lets calls through, so that another one's denials would have no effect.
    #[error(
        "{profile}: defaultAction: {default} doesn't deny, so nothing can be added to it: compose profiles that deny by default"
    )]
    PermissiveDefault {
        /// The profile.
        profile: String,
        /// Its default.
        default: Outcome,
    },
    /// A field differs.
    #[error(transparent)]
    Field(#[from] Box<FieldConflict>),
    /// One profile denies by a rule what another decides otherwise by a rule.
    #[error(transparent)]
    Rules(Box<RuleConflict>),
    /// It is unsure what a profile does.
    #[error(
        "{profile}: the rules for {call} leave open what happens on {arch}: give it rules that don't overlap, with EQ \
         and MASKED_EQ alone or one condition each"
    )]
    Contested {
        /// The profile.
        profile: String,
        /// The call.
        call: String,
        /// The architecture.
        arch: Arch,
    },
    /// No rules for a call do what they should.
    #[error(
        "{call}: {first} and {second} allow it with conditions that no rules express together: simplify them"
    )]
    Inexpressible {
        /// The call.
        call: String,
        /// One profile.
        first: String,
        /// The other.
        second: String,
    },
}

/// A field that two profiles state differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {first} has {first_value}, {second} has {second_value}: make them equal")]
pub struct FieldConflict {
    /// The field in both documents; for a default's errno `defaultAction`, with the errno in the values.
    pub path: &'static str,
    /// One profile.
    pub first: String,
    /// Its value.
    pub first_value: String,
    /// The other.
    pub second: String,
    /// Its value.
    pub second_value: String,
}

/// One profile denies by a rule what another decides otherwise by a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{call} on {arch} with {condition}: {first} has {first_outcome} in syscalls[{first_rule}], {second} has \
     {second_outcome} in syscalls[{second_rule}]: take the call out of one of the rules"
)]
pub struct RuleConflict {
    /// The call.
    pub call: String,
    /// The architecture.
    pub arch: Arch,
    /// The arguments, in words.
    pub condition: String,
    /// One profile.
    pub first: String,
    /// Its rule's index.
    pub first_rule: usize,
    /// What it does.
    pub first_outcome: Outcome,
    /// The other.
    pub second: String,
    /// Its rule's index.
    pub second_rule: usize,
    /// What it does.
    pub second_outcome: Outcome,
}

/// What any of some profiles lets through, with the argument rules of all.
///
/// - Defaults must be equal, errno included, and deny.
/// - A call and arguments that any profile lets through are let through, by the least strict of their actions; what
///   rules deny and no profile lets through is denied so; all else is denied by default.
/// - A rule that denies what another profile's rule decides otherwise is a conflict. A rule that denies what another profile
///   merely doesn't name is none.
/// - `architectures`, `flags`, `listenerPath` and `listenerMetadata` must be equal in those profiles that state them.
///
/// Rules that are already in the first profile keep their place.
///
/// # Errors
/// Conflicts, named with both sides and the path; see [`UnionError`].
pub fn union(profiles: &[NamedProfile<'_>]) -> Result<Profile, UnionError> {
    union_within(profiles, &Budget::patient())
}

/// [`union`], for at most so much work.
///
/// # Errors
/// As [`union`]; what is too hard to show is not expressible.
pub fn union_within(profiles: &[NamedProfile<'_>], budget: &Budget) -> Result<Profile, UnionError> {
    let (first, rest) = profiles.split_first().ok_or(UnionError::Nothing)?;
    if rest.is_empty() {
        return Ok(first.profile.clone());
    }
    for one in profiles {
        check_everywhere(one.profile)
            .map_err(|refusal| UnionError::Refused { profile: one.name.to_owned(), refusal })?;
        let default = Outcome::of_default(one.profile);
        if default.passage() != Passage::Denied {
            return Err(UnionError::PermissiveDefault { profile: one.name.to_owned(), default });
        }
    }
    let rules = profiles.iter().map(|one| written_rules(one.profile)).sum();
    if rules > MAX_UNION_RULES {
        return Err(UnionError::TooManyRules { profiles: profiles.len(), rules });
    }
    let mut union = fields(profiles)?;
    // A node's own architecture is filtered whether it is listed or not.
    let mut arches = union.architectures.clone();
    arches
        .extend([Arch::X86_64, Arch::Aarch64].into_iter().filter(|arch| !union.architectures.contains(arch)));
    conflicts(profiles, &arches, budget)?;
    union.syscalls.clone_from(&first.profile.syscalls);
    for (at, next) in rest.iter().enumerate() {
        union.syscalls = add(first, &union, next, at == 0, &arches, budget)?;
    }
    Ok(union)
}

/// The fields other than the rules.
fn fields(profiles: &[NamedProfile<'_>]) -> Result<Profile, Box<FieldConflict>> {
    let default =
        agreed(profiles, "defaultAction", |profile| Some(Outcome::of_default(profile).to_string()))?;
    let arches = agreed(profiles, "architectures", |profile| set(&profile.architectures))?;
    let unordered = unordered(profiles)?;
    Ok(Profile {
        default_action: default.default_action,
        default_errno_ret: default.default_errno_ret,
        architectures: arches.architectures.clone(),
        ..unordered
    })
}

/// A profile without rules that has the fields in which none is looser than another: flags and the listener's.
pub(crate) fn unordered(profiles: &[NamedProfile<'_>]) -> Result<Profile, Box<FieldConflict>> {
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let flags = agreed(profiles, "flags", |profile| set(&profile.flags))?;
    let path =
        agreed(profiles, "listenerPath", |profile| profile.listener_path.as_ref().map(|path| text(path)))?;
    let metadata = agreed(profiles, "listenerMetadata", |profile| {
        profile.listener_metadata.as_ref().map(|data| text(data))
    })?;
    Ok(Profile {
        flags: flags.flags.clone(),
        listener_path: path.listener_path.clone(),
        listener_metadata: metadata.listener_metadata.clone(),
        syscalls: Vec::new(),
        architectures: Vec::new(),
        ..flags.clone()
    })
}

/// A list's values in one order; `None` where it is empty.
fn set<T: Copy + Ord + ToString>(list: &[T]) -> Option<String> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    let names: Vec<String> = list.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The first profile that states a field, if all that state it agree; any one where none does.
fn agreed<'a>(
    profiles: &[NamedProfile<'a>],
    path: &'static str,
    value: impl Fn(&Profile) -> Option<String>,
) -> Result<&'a Profile, Box<FieldConflict>> {
    let mut stated = profiles.iter().filter_map(|one| Some((one, value(one.profile)?)));
    let Some((first, first_value)) = stated.next() else { return Ok(profiles[0].profile) };
    match stated.find(|(_, other)| *other != first_value) {
        None => Ok(first.profile),
        Some((second, second_value)) => Err(Box::new(FieldConflict {
            path,
            first: first.name.to_owned(),
            first_value,
            second: second.name.to_owned(),
            second_value,
        })),
    }
}

/// Finds a call that one profile denies by a rule and another's rule decides otherwise.
fn conflicts(profiles: &[NamedProfile<'_>], arches: &[Arch], budget: &Budget) -> Result<(), UnionError> {
    for &arch in arches {
        let tables: Vec<Table> =
            profiles.iter().map(|one| Table::new(one.profile, Runtime::Crun, arch)).collect();
        let numbers: BTreeSet<u32> = tables.iter().flat_map(Table::numbers).collect();
        for number in numbers {
            let sides: Vec<Vec<compare::Case<'_>>> =
                tables.iter().map(|table| Side::of(table, number).cases()).collect();
            if !may_conflict(&sides) {
                continue;
            }
            for (at, mine) in sides.iter().enumerate() {
                for (other, theirs) in sides.iter().enumerate().skip(at + 1) {
                    if let Some(conflict) = conflict(mine, theirs, arch, budget) {
                        return Err(conflict.named(
                            call_name(arch, number),
                            arch,
                            &profiles[at],
                            &profiles[other],
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Whether rules deny what other rules do otherwise with: of most calls no rule denies anything.
fn may_conflict(sides: &[Vec<compare::Case<'_>>]) -> bool {
    let mut ruled = sides.iter().flatten().filter(|case| case.rule.is_some()).map(|case| case.outcome);
    let Some(first) = ruled.next() else { return false };
    let (mut same, mut denies) = (true, first.passage() == Passage::Denied);
    for outcome in ruled {
        same &= outcome == first;
        denies |= outcome.passage() == Passage::Denied;
    }
    denies && !same
}

/// Two rules that are at odds, each with its index and what it does.
struct Conflict {
    condition: String,
    first: (usize, Outcome),
    second: (usize, Outcome),
}

fn conflict(
    mine: &[compare::Case<'_>],
    theirs: &[compare::Case<'_>],
    arch: Arch,
    budget: &Budget,
) -> Option<Conflict> {
    for case in mine {
        for against in theirs {
            let (Some(first_rule), Some(second_rule)) = (case.rule, against.rule) else { continue };
            let denies = [case, against].iter().any(|one| one.outcome.passage() == Passage::Denied);
            if case.outcome == against.outcome || !denies {
                continue;
            }
            let condition = match meet(&[case, against], arch, budget) {
                Answer::Nothing => continue,
                Answer::Found(region) => region.to_string(),
                Answer::TooHard => "arguments that are too hard to find".to_owned(),
            };
            return Some(Conflict {
                condition,
                first: (first_rule, case.outcome),
                second: (second_rule, against.outcome),
            });
        }
    }
    None
}

impl Conflict {
    fn named(
        self,
        call: String,
        arch: Arch,
        first: &NamedProfile<'_>,
        second: &NamedProfile<'_>,
    ) -> UnionError {
        let Self { condition, first: (first_rule, first_outcome), second: (second_rule, second_outcome) } =
            self;
        UnionError::Rules(Box::new(RuleConflict {
            call,
            arch,
            condition,
            first: first.name.to_owned(),
            first_rule,
            first_outcome,
            second: second.name.to_owned(),
            second_rule,
            second_outcome,
        }))
    }
}

/// The rules of a union so far and of one profile more.
fn add(
    first: &NamedProfile<'_>,
    union: &Profile,
    next: &NamedProfile<'_>,
    is_first: bool,
    arches: &[Arch],
    budget: &Budget,
) -> Result<Vec<Rule>, UnionError> {
    let default = Outcome::of_default(union);
    let parts = [union, next.profile].map(Part::new);
    let combine = |cases: &[Case]| any(cases, default);
    let combination = Combination {
        parts: &parts,
        arches,
        lists: &|_, _| true,
        combine: &combine,
        tolerates: &|_, _| false,
        carriers: &[],
        default,
        budget,
    };
    let failed = |failure| match failure {
        Failure::Contested { profile, call, arch } => {
            let name = if profile == 0 { first.name } else { next.name };
            UnionError::Contested { profile: name.to_owned(), call, arch }
        }
        Failure::Inexpressible { call, .. } | Failure::TooMany { call } => {
            UnionError::Inexpressible { call, first: first.name.to_owned(), second: next.name.to_owned() }
        }
    };
    // What was united before is no question any more.
    combination.check_inputs(usize::from(!is_first)).map_err(failed)?;
    let mut replaced = Vec::new();
    for name in names(&[next.profile]) {
        let [mine, theirs] = [&parts[0], &parts[1]].map(|part| part.rules_alone(name));
        // Parts often have rules of one origin, such as a runtime's default; nothing needs to be searched for then.
        if mine == theirs {
            continue;
        }
        let rules = match combination.constants(name) {
            // One of the two does it already.
            Some(cases) if any(&cases, default) == cases[0].outcome => continue,
            Some(_) => theirs,
            None => {
                let both = [mine.clone(), theirs.clone()].concat();
                combination.rules(name, vec![mine.clone(), theirs, both]).map_err(failed)?
            }
        };
        if rules != mine {
            replaced.push((name.to_owned(), rules));
        }
    }
    if replaced.is_empty() {
        return Ok(union.syscalls.clone());
    }
    let result = Profile { syscalls: replace(&union.syscalls, &replaced), ..union.clone() };
    combination.check_result(&result).map_err(failed)?;
    Ok(result.syscalls)
}

/// What several profiles' outcomes make: the least strict that lets the call through, else a rule's denial, else the
/// default.
fn any(cases: &[Case], default: Outcome) -> Outcome {
    let through =
        cases.iter().map(|case| case.outcome).filter(|outcome| outcome.passage() != Passage::Denied);
    let denied = cases.iter().find(|case| case.rule.is_some()).map(|case| case.outcome);
    through.min_by_key(|outcome| outcome.strictness()).or(denied).unwrap_or(default)
}
