//! Makes one profile of several by a function of their outcomes: what composing and auditing have in common.
//!
//! For each call there are several ways to write rules, from the given rules as they are to sets of single bits.
//! The first one is taken that is shown, over all arguments and on every architecture listed, to do what the
//! function says in a filter that libseccomp compiles faithfully. So a way may be wrong for some rules without harm.

mod cube;
mod generate;

use std::{cell::RefCell, collections::HashSet};

use crate::{
    Arch, Profile, Rule,
    compare::{self, Answer, Budget, Side, call_name, dispute, disputes_in, meet},
    evaluate::{ARGUMENTS, Outcome, Row, Runtime, Table, Width, alternatives, tables},
    syscalls,
};

/// So many rules for one call are still written; each takes about six instructions of the kernel's 4,096.
pub(crate) const MAX_RULES: usize = 128;

/// The last way of writing rules, which leaves out what needs high words.
const LOW_WORDS: usize = 2;

/// What one of the profiles does with a call: by a rule, by its index, or by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) outcome: Outcome,
    pub(crate) rule: Option<usize>,
}

/// The outcome that the profiles' outcomes make together.
pub(crate) type Outcomes<'a> = dyn Fn(&[Case]) -> Outcome + 'a;

/// Why no rules for a call could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What a profile does is itself unsure: which profile, the call and the architecture.
    Contested { profile: usize, call: String, arch: Arch },
    /// No way of writing the rules holds on an architecture.
    Inexpressible { call: String, arch: Arch },
    /// The rules are too many.
    TooMany { call: String },
}

/// The rules of one profile for one call, over 64 bits.
struct Input {
    rows: Vec<Row>,
    default: Outcome,
}

impl Input {
    fn new(profile: &Profile, name: &str) -> Self {
        let default = Outcome::of_default(profile);
        let mut rows = Vec::new();
        for (at, rule) in rules_of(profile, name) {
            let outcome = Outcome::of_rule(rule);
            if outcome != default {
                let lists = alternatives(&rule.args, Runtime::Runc, Width::Bits64);
                rows.extend(lists.into_iter().map(|conditions| Row { conditions, outcome, rule: at }));
            }
        }
        if let Some(at) = rows.iter().position(|row| row.conditions.is_empty()) {
            rows = vec![rows.swap_remove(at)];
        }
        Self { rows, default }
    }

    fn at(&self, arguments: &[u64; ARGUMENTS]) -> Case {
        let row = self.rows.iter().find(|row| row.matches(arguments));
        row.map_or(Case { outcome: self.default, rule: None }, |row| Case {
            outcome: row.outcome,
            rule: Some(row.rule),
        })
    }
}

/// The rules that name a call, by index.
pub(crate) fn rules_of<'a>(profile: &'a Profile, name: &'a str) -> impl Iterator<Item = (usize, &'a Rule)> {
    profile.syscalls.iter().enumerate().filter(move |(_, rule)| rule.names.iter().any(|one| one == name))
}

/// The profiles to combine.
pub(crate) struct Combination<'a> {
    pub(crate) profiles: &'a [&'a Profile],
    /// The architectures that the result lists.
    pub(crate) arches: &'a [Arch],
    /// Whether a profile lists an architecture; otherwise its calls are killed there.
    pub(crate) lists: &'a dyn Fn(usize, Arch) -> bool,
    pub(crate) combine: &'a Outcomes<'a>,
    /// Whether another outcome than the combined one will do, where the rules can't be written otherwise: the
    /// combined one and the other.
    pub(crate) tolerates: &'a dyn Fn(&[Case], Outcome) -> bool,
    pub(crate) default: Outcome,
    /// What the searches may still cost.
    pub(crate) budget: RefCell<Budget>,
}

impl Combination<'_> {
    /// A profile that leaves open what it does can't be combined.
    pub(crate) fn check_inputs(&self) -> Result<(), Failure> {
        for (at, profile) in self.profiles.iter().enumerate() {
            let arches: Vec<Arch> =
                self.arches.iter().copied().filter(|&arch| (self.lists)(at, arch)).collect();
            if let Some((call, arch)) = self.disputed(profile, &arches) {
                return Err(Failure::Contested { profile: at, call, arch });
            }
        }
        Ok(())
    }

    /// Shows that a whole result does what it should: calls made through `socketcall` and `ipc` meet there.
    pub(crate) fn check_result(&self, result: &Profile) -> Result<(), Failure> {
        if let Some((call, arch)) = self.disputed(result, self.arches) {
            return Err(Failure::Inexpressible { call, arch });
        }
        let profiles: Vec<Profile> = self.profiles.iter().map(|profile| (*profile).clone()).collect();
        for &arch in self.arches {
            if let Some(number) = self.wrong_number(&profiles, result, arch, true) {
                return Err(Failure::Inexpressible { call: call_name(arch, number), arch });
            }
        }
        Ok(())
    }

    /// The first call of which it is unsure what a profile does with it.
    fn disputed(&self, profile: &Profile, arches: &[Arch]) -> Option<(String, Arch)> {
        let tables = tables(profile, Runtime::Crun, arches);
        tables.iter().find_map(|(arch, table)| {
            let mut budget = self.budget.borrow_mut();
            let dispute = disputes_in(table, *arch, &mut budget).next()?;
            Some((dispute.call, *arch))
        })
    }

    /// The rules for one call, tried in the order of preference: `ready` ones first.
    pub(crate) fn rules(&self, name: &str, ready: Vec<Vec<Rule>>) -> Result<Vec<Rule>, Failure> {
        let inputs: Vec<Input> = self.profiles.iter().map(|profile| Input::new(profile, name)).collect();
        let written = |way: usize| match way {
            0 => generate::by_intervals(name, &inputs, self.combine, self.default),
            way => generate::by_bits(name, &inputs, self.combine, self.default, way == LOW_WORDS),
        };
        let ready = ready.into_iter().map(|rules| (false, Some(rules)));
        let attempts = ready.chain((0..=LOW_WORDS).map(|way| (way == LOW_WORDS, written(way))));
        let mut wrong = None;
        for (tolerant, rules) in attempts {
            let Some(rules) = rules.filter(|rules| rules.len() <= MAX_RULES) else {
                wrong = None;
                continue;
            };
            match self.wrong(name, &rules, tolerant) {
                None => return Ok(rules),
                arch => wrong = arch,
            }
        }
        let call = name.to_owned();
        Err(match wrong {
            Some(arch) => Failure::Inexpressible { call, arch },
            None => Failure::TooMany { call },
        })
    }

    /// The architecture on which some rules for a call don't do what they should.
    fn wrong(&self, name: &str, rules: &[Rule], tolerant: bool) -> Option<Arch> {
        let profiles: Vec<Profile> = self
            .profiles
            .iter()
            .map(|profile| only(profile, rules_of(profile, name).map(|(_, rule)| rule.clone()), name))
            .collect();
        let base = self.profiles.first()?;
        let mut result = only(base, rules.iter().cloned(), name);
        result.default_action = self.default.action();
        result.default_errno_ret = self.default.errno().map(u32::from);
        self.arches
            .iter()
            .copied()
            .find(|&arch| self.wrong_number(&profiles, &result, arch, tolerant).is_some())
    }

    /// The first call of an architecture, if any, with which a result doesn't do what the profiles make together.
    fn wrong_number(
        &self,
        profiles: &[Profile],
        result: &Profile,
        arch: Arch,
        tolerant: bool,
    ) -> Option<u32> {
        let tables: Vec<Option<Table>> = profiles
            .iter()
            .enumerate()
            .map(|(at, profile)| (self.lists)(at, arch).then(|| Table::new(profile, Runtime::Crun, arch)))
            .collect();
        let result = Table::new(result, Runtime::Crun, arch);
        let mut numbers: Vec<u32> =
            tables.iter().flatten().chain([&result]).flat_map(|table| table.numbers()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().find(|&number| {
            let side = Side::of(&result, number);
            let sides: Vec<Side<'_>> = tables
                .iter()
                .map(|table| table.as_ref().map_or(Side::UNLISTED, |table| Side::of(table, number)))
                .collect();
            let inputs: Vec<Vec<compare::Case<'_>>> = sides.iter().map(Side::cases).collect();
            dispute(&result, number, arch, &mut self.budget.borrow_mut()).is_some()
                || !side.cases().iter().all(|case| self.agrees(&inputs, &mut vec![case], arch, tolerant))
        })
    }

    /// Whether no arguments lead to the result's case (the first of `chosen`) and to cases of the profiles that make
    /// another outcome together. Not shown where the budget is used up.
    fn agrees<'a>(
        &self,
        inputs: &'a [Vec<compare::Case<'a>>],
        chosen: &mut Vec<&'a compare::Case<'a>>,
        arch: Arch,
        tolerant: bool,
    ) -> bool {
        let Some(next) = inputs.get(chosen.len() - 1) else {
            if !self.budget.borrow_mut().step(chosen.len()) {
                return false;
            }
            let cases: Vec<Case> =
                chosen[1..].iter().map(|case| Case { outcome: case.outcome, rule: case.rule }).collect();
            let actual = chosen[0].outcome;
            return (self.combine)(&cases) == actual
                || (tolerant && (self.tolerates)(&cases, actual))
                || matches!(meet(chosen, arch, &mut self.budget.borrow_mut()), Answer::Nothing);
        };
        next.iter().all(|case| {
            chosen.push(case);
            let agrees = self.agrees(inputs, chosen, arch, tolerant);
            chosen.pop();
            agrees
        })
    }
}

/// The profile with some rules alone, and in them one name.
fn only(profile: &Profile, rules: impl Iterator<Item = Rule>, name: &str) -> Profile {
    let mut only = Profile { syscalls: Vec::new(), ..profile.clone() };
    only.syscalls = rules.map(|rule| Rule { names: vec![name.to_owned()], ..rule }).collect();
    only
}

/// A profile's rules with some calls' rules replaced. Rules of several names keep the others; new rules of the same
/// action and arguments become one.
pub(crate) fn replace(rules: &[Rule], replaced: &[(String, Vec<Rule>)]) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules {
        let mut rule = rule.clone();
        rule.names.retain(|name| !replaced.iter().any(|(one, _)| one == name));
        if !rule.names.is_empty() {
            all.push(rule);
        }
    }
    let kept = all.len();
    for rule in replaced.iter().flat_map(|(_, rules)| rules) {
        let same = |one: &&mut Rule| {
            (one.action, one.errno_ret, &one.args) == (rule.action, rule.errno_ret, &rule.args)
        };
        match all[kept..].iter_mut().find(same) {
            Some(one) => one.names.extend(
                rule.names.iter().filter(|name| !one.names.contains(name)).cloned().collect::<Vec<_>>(),
            ),
            None => all.push(rule.clone()),
        }
    }
    all
}

/// The known names in the rules of some profiles, each once, in order of appearance.
pub(crate) fn names<'a>(profiles: &[&'a Profile]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    let mut seen = HashSet::new();
    for name in profiles.iter().flat_map(|profile| &profile.syscalls).flat_map(|rule| &rule.names) {
        if syscalls::is_known_anywhere(name) && seen.insert(name.as_str()) {
            names.push(name);
        }
    }
    names
}
