//! Makes one profile of several by a function of their outcomes: what composing and auditing have in common.
//!
//! For each call there are several ways to write rules, from the given rules as they are to sets of single bits.
//! The first one is taken that is shown, over all arguments and on every architecture listed, to do what the
//! function says in a filter that libseccomp compiles faithfully. So a way may be wrong for some rules without harm.

mod cube;
mod generate;

pub(crate) use cube::prefixes;

use std::collections::{HashMap, HashSet, hash_map::Entry};

use rustc_hash::FxHashMap;

use crate::{
    Action, Arch, Arg, Profile, Rule,
    compare::{self, Answer, Budget, Side, call_name, dispute, disputes_in, meet},
    evaluate::{ARGUMENTS, Outcome, Row, Runtime, Table, Width, X32_BIT, alternatives, tables},
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
    fn new(part: &Part<'_>, name: &str) -> Self {
        let default = Outcome::of_default(part.profile);
        let mut rows = Vec::new();
        for (at, rule) in part.rules(name) {
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

/// One of the profiles to combine.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) profile: &'a Profile,
    /// The rules that name each call, by index.
    index: FxHashMap<&'a str, Vec<usize>>,
}

impl<'a> Part<'a> {
    pub(crate) fn new(profile: &'a Profile) -> Self {
        let mut index: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
        for (at, rule) in profile.syscalls.iter().enumerate() {
            for name in &rule.names {
                let rules = index.entry(name).or_default();
                if rules.last() != Some(&at) {
                    rules.push(at);
                }
            }
        }
        Self { profile, index }
    }

    /// The rules that name a call, each with its index.
    pub(crate) fn rules(&self, name: &str) -> impl Iterator<Item = (usize, &'a Rule)> {
        let at = self.index.get(name).map(Vec::as_slice).unwrap_or_default();
        at.iter().map(|&at| (at, &self.profile.syscalls[at]))
    }

    /// What it does with a call, where all of its rules for it are without conditions.
    fn constant(&self, name: &str) -> Option<Case> {
        let default = Outcome::of_default(self.profile);
        let mut first = None;
        for (at, rule) in self.rules(name).filter(|(_, rule)| Outcome::of_rule(rule) != default) {
            if !rule.args.is_empty() {
                return None;
            }
            first.get_or_insert(Case { outcome: Outcome::of_rule(rule), rule: Some(at) });
        }
        Some(first.unwrap_or(Case { outcome: default, rule: None }))
    }

    /// The rules that name a call without those that the default makes needless, each for the call alone.
    pub(crate) fn rules_alone(&self, name: &str) -> Vec<Rule> {
        let default = Outcome::of_default(self.profile);
        self.rules(name)
            .filter(|(_, rule)| Outcome::of_rule(rule) != default)
            .map(|(_, rule)| Rule { names: vec![name.to_owned()], ..rule.clone() })
            .collect()
    }
}

/// The profiles to combine.
pub(crate) struct Combination<'a> {
    pub(crate) parts: &'a [Part<'a>],
    /// The architectures that the result lists.
    pub(crate) arches: &'a [Arch],
    /// Whether a profile lists an architecture; otherwise its calls are killed there.
    pub(crate) lists: &'a dyn Fn(usize, Arch) -> bool,
    pub(crate) combine: &'a Outcomes<'a>,
    /// Whether another outcome than the combined one will do, where the rules can't be written otherwise: the
    /// combined one and the other.
    pub(crate) tolerates: &'a dyn Fn(&[Case], Outcome) -> bool,
    /// Which of `socketcall` and `ipc` the profiles have rules for, of which the parts may not know.
    pub(crate) carriers: &'a [&'a str],
    pub(crate) default: Outcome,
    /// What the searches may still cost.
    pub(crate) budget: &'a Budget,
}

impl Combination<'_> {
    /// A profile that leaves open what it does can't be combined. The first ones are known not to.
    pub(crate) fn check_inputs(&self, known: usize) -> Result<(), Failure> {
        for (at, part) in self.parts.iter().enumerate().skip(known) {
            let arches: Vec<Arch> =
                self.arches.iter().copied().filter(|&arch| (self.lists)(at, arch)).collect();
            if let Some((call, arch)) = self.disputed(part.profile, &arches) {
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
        let profiles: Vec<&Profile> = self.parts.iter().map(|part| part.profile).collect();
        for &arch in self.arches {
            if let Some(number) = self.wrong_number(&profiles, result, arch, true, None) {
                return Err(Failure::Inexpressible { call: call_name(arch, number), arch });
            }
        }
        Ok(())
    }

    /// The first call of which it is unsure what a profile does with it.
    fn disputed(&self, profile: &Profile, arches: &[Arch]) -> Option<(String, Arch)> {
        let tables = tables(profile, Runtime::Crun, arches);
        tables.iter().find_map(|(arch, table)| {
            let dispute = disputes_in(table, *arch, self.budget).next()?;
            Some((dispute.call, *arch))
        })
    }

    /// What each profile does with a call, where that depends on neither arguments, nor the architecture, nor another call that it is
    /// made through: nearly every call of nearly every profile, so that nothing needs to be searched for.
    pub(crate) fn constants(&self, name: &str) -> Option<Vec<Case>> {
        let alike = |arch: &Arch| {
            syscalls::multiplexed(*arch, name).is_none()
                && (0..self.parts.len()).all(|at| (self.lists)(at, *arch))
        };
        if matches!(name, "socketcall" | "ipc") || !self.arches.iter().all(alike) {
            return None;
        }
        self.parts.iter().map(|part| part.constant(name)).collect()
    }

    /// The rules for one call, tried in the order of preference: `ready` ones first.
    pub(crate) fn rules(&self, name: &str, ready: Vec<Vec<Rule>>) -> Result<Vec<Rule>, Failure> {
        let inputs: Vec<Input> = self.parts.iter().map(|part| Input::new(part, name)).collect();
        let written = |way: usize| match way {
            0 => generate::by_intervals(name, &inputs, self.combine, self.default),
            way => generate::by_bits(name, &inputs, self.combine, self.default, way == LOW_WORDS),
        };
        let ready = ready.into_iter().map(|rules| (false, Some(rules)));
        let attempts = ready.chain((0..=LOW_WORDS).map(|way| (way == LOW_WORDS, written(way))));
        let mut wrong = None;
        // What is right but for what the call is made through, where other rules may decide.
        let mut right_by_number = None;
        for (tolerant, rules) in attempts {
            let Some(rules) = rules.filter(|rules| rules.len() <= MAX_RULES) else {
                wrong = None;
                continue;
            };
            match self.wrong(name, &rules, tolerant, true) {
                None => return Ok(rules),
                arch => wrong = arch,
            }
            if right_by_number.is_none()
                && self.is_settled_elsewhere(name)
                && self.wrong(name, &rules, tolerant, false).is_none()
            {
                right_by_number = Some(rules);
            }
        }
        if let Some(rules) = right_by_number {
            return Ok(rules);
        }
        let call = name.to_owned();
        Err(match wrong {
            Some(arch) => Failure::Inexpressible { call, arch },
            None => Failure::TooMany { call },
        })
    }

    /// The first of some rules that does what is tolerated, where nothing exact can be written.
    pub(crate) fn tolerable(&self, name: &str, given: Vec<Vec<Rule>>) -> Option<Vec<Rule>> {
        let mut few = given.into_iter().filter(|rules| rules.len() <= MAX_RULES);
        few.find(|rules| {
            self.wrong(name, rules, true, true).is_none()
                || (self.is_settled_elsewhere(name) && self.wrong(name, rules, true, false).is_none())
        })
    }

    /// Whether a profile has rules for what some architecture makes a call through: then the whole result is to show what comes of it.
    fn is_settled_elsewhere(&self, name: &str) -> bool {
        self.arches.iter().filter_map(|&arch| syscalls::multiplexed(arch, name)).any(|way| {
            self.parts.iter().any(|part| part.rules(way.through).next().is_some())
                || self.carriers.contains(&way.through)
        })
    }

    /// The architecture on which some rules for a call don't do what they should. `carried` counts what they do to calls that the
    /// call is made through.
    fn wrong(&self, name: &str, rules: &[Rule], tolerant: bool, carried: bool) -> Option<Arch> {
        let profiles: Vec<Profile> = self
            .parts
            .iter()
            .map(|part| only(part.profile, part.rules(name).map(|(_, rule)| rule.clone()), name))
            .collect();
        let profiles: Vec<&Profile> = profiles.iter().collect();
        let base = self.parts.first()?.profile;
        let mut result = only(base, rules.iter().cloned(), name);
        result.default_action = self.default.action();
        result.default_errno_ret = self.default.errno().map(u32::from);
        self.arches.iter().copied().find(|&arch| {
            let only = if carried { None } else { Some(syscalls::number(arch, name)) };
            self.wrong_number(&profiles, &result, arch, tolerant, only).is_some()
        })
    }

    /// The first call of an architecture, if any, with which a result doesn't do what the profiles make together. `only` is the one number
    /// that is asked for, if any.
    fn wrong_number(
        &self,
        profiles: &[&Profile],
        result: &Profile,
        arch: Arch,
        tolerant: bool,
        only: Option<Option<u32>>,
    ) -> Option<u32> {
        let tables: Vec<Option<Table>> = profiles
            .iter()
            .enumerate()
            .map(|(at, profile)| (self.lists)(at, arch).then(|| Table::new(profile, Runtime::Crun, arch)))
            .collect();
        let result = Table::new(result, Runtime::Crun, arch);
        // Where nothing is left of the budget, nothing is shown to agree.
        self.budget.step(tables.iter().flatten().chain([&result]).map(Table::work).sum());
        let mut numbers: Vec<u32> =
            tables.iter().flatten().chain([&result]).flat_map(|table| table.numbers()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if let Some(only) = only {
            numbers.retain(|&number| only.is_some_and(|only| number | X32_BIT == only | X32_BIT));
        }
        numbers.into_iter().find(|&number| {
            let side = Side::of(&result, number);
            let sides: Vec<Side<'_>> = tables
                .iter()
                .map(|table| table.as_ref().map_or(Side::UNLISTED, |table| Side::of(table, number)))
                .collect();
            let inputs: Vec<Vec<compare::Case<'_>>> = sides.iter().map(Side::cases).collect();
            dispute(&result, number, arch, self.budget).is_some()
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
            if !self.budget.step(chosen.len()) {
                return false;
            }
            let cases: Vec<Case> =
                chosen[1..].iter().map(|case| Case { outcome: case.outcome, rule: case.rule }).collect();
            let actual = chosen[0].outcome;
            return (self.combine)(&cases) == actual
                || (tolerant && (self.tolerates)(&cases, actual))
                || matches!(meet(chosen, arch, self.budget), Answer::Nothing);
        };
        next.iter().all(|case| {
            chosen.push(case);
            let agrees = (chosen.len() <= inputs.len()
                && matches!(meet(chosen, arch, self.budget), Answer::Nothing))
                || self.agrees(inputs, chosen, arch, tolerant);
            chosen.pop();
            agrees
        })
    }
}

/// Ways to write rules for one call, of which some may be wrong: libseccomp merges not all of them faithfully.
pub(crate) fn ways_to_write(
    name: &str,
    rows: Vec<Row>,
    otherwise: Outcome,
    default: Outcome,
) -> impl Iterator<Item = Vec<Rule>> {
    let inputs = [Input { rows, default: otherwise }];
    let own: &Outcomes<'_> = &|cases: &[Case]| cases.first().map_or(otherwise, |case| case.outcome);
    let intervals = generate::by_intervals(name, &inputs, own, default);
    let bits = generate::by_bits(name, &inputs, own, default, false);
    [intervals, bits].into_iter().flatten().filter(|rules| rules.len() <= MAX_RULES)
}

/// The profile with some rules alone, and in them one name.
fn only(profile: &Profile, rules: impl Iterator<Item = Rule>, name: &str) -> Profile {
    let mut only = without_rules(profile);
    only.syscalls = rules.map(|rule| Rule { names: vec![name.to_owned()], ..rule }).collect();
    only
}

fn without_rules(profile: &Profile) -> Profile {
    Profile {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures: profile.architectures.clone(),
        flags: profile.flags.clone(),
        listener_path: profile.listener_path.clone(),
        listener_metadata: profile.listener_metadata.clone(),
        syscalls: Vec::new(),
    }
}

/// A profile's rules with some calls' rules replaced. Rules of several names keep the others; new rules of the same
/// action and arguments become one.
pub(crate) fn replace(rules: &[Rule], replaced: &[(String, Vec<Rule>)]) -> Vec<Rule> {
    let gone: HashSet<&str> = replaced.iter().map(|(name, _)| name.as_str()).collect();
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules {
        let mut rule = rule.clone();
        rule.names.retain(|name| !gone.contains(name.as_str()));
        if !rule.names.is_empty() {
            all.push(rule);
        }
    }
    let mut places: HashMap<(Action, Option<u32>, &[Arg]), usize> = HashMap::new();
    for rule in replaced.iter().flat_map(|(_, rules)| rules) {
        match places.entry((rule.action, rule.errno_ret, &rule.args)) {
            Entry::Occupied(place) => {
                let one = &mut all[*place.get()];
                // Each has one name, and those of one call come one after the other.
                one.names.extend(
                    rule.names
                        .iter()
                        .filter(|name| one.names.last() != Some(name))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
            Entry::Vacant(place) => {
                place.insert(all.len());
                all.push(rule.clone());
            }
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
