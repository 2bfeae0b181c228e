//! The rules of each call.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    MergeError, Wanted,
    proof::{self, Likeness},
};
use crate::{
    Arch, Profile, Rule,
    combine::{Case, Combination, Failure, MAX_RULES, Part},
    compare::Budget,
    compose::NamedProfile,
    evaluate::{Outcome, Passage},
    syscalls,
};

/// What a profile says of one call: its rules for it, in order, of which one without conditions is the only one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Say {
    default: Outcome,
    rules: Vec<Rule>,
}

impl Say {
    fn new(profile: &Profile, name: &str, rules: &[usize]) -> Self {
        let default = Outcome::of_default(profile);
        let mut rules: Vec<Rule> = rules
            .iter()
            .map(|&at| &profile.syscalls[at])
            .filter(|rule| Outcome::of_rule(rule) != default)
            .map(|rule| Rule { names: vec![name.to_owned()], ..rule.clone() })
            .collect();
        if let Some(at) = rules.iter().position(|rule| rule.args.is_empty()) {
            rules = vec![rules.swap_remove(at)];
        }
        Self { default, rules }
    }

    /// The outcome, where the arguments don't matter.
    fn constant(&self) -> Option<Outcome> {
        match &self.rules[..] {
            [] => Some(self.default),
            [rule] if rule.args.is_empty() => Some(Outcome::of_rule(rule)),
            _ => None,
        }
    }

    /// Everything that can happen.
    fn outcomes(&self) -> Vec<Outcome> {
        match self.constant() {
            Some(outcome) => vec![outcome],
            None => self.rules.iter().map(Outcome::of_rule).chain([self.default]).collect(),
        }
    }

    /// As a profile of nothing else.
    fn alone(self, base: &Profile) -> Profile {
        Profile {
            default_action: self.default.action(),
            default_errno_ret: self.default.errno().map(u32::from),
            syscalls: self.rules,
            ..base.clone()
        }
    }
}

/// The profile with the rules that the profiles make together, shown to be right.
pub(super) fn with_rules(
    mut result: Profile,
    profiles: &[NamedProfile<'_>],
    wanted: Wanted,
) -> Result<Profile, MergeError> {
    // A node's own architecture is filtered whether it is listed or not.
    let mut arches = result.architectures.clone();
    arches.extend(
        [Arch::X86_64, Arch::Aarch64].into_iter().filter(|arch| !result.architectures.contains(arch)),
    );
    let indexes: Vec<_> = profiles.iter().map(|one| index(one.profile)).collect();
    let names: BTreeSet<&str> = indexes.iter().flat_map(BTreeMap::keys).copied().collect();
    let carriers = ["socketcall", "ipc"].into_iter().filter(|name| names.contains(name)).collect();
    let writer =
        Writer { profiles, base: &result, arches: &arches, wanted, carriers, budget: Budget::patient() };
    for one in profiles {
        writer.check(one)?;
    }
    let mut rules = Vec::new();
    for &name in &names {
        let says = profiles.iter().zip(&indexes).map(|(one, index)| {
            Say::new(one.profile, name, index.get(name).map(Vec::as_slice).unwrap_or_default())
        });
        rules.extend(writer.rules(name, says)?);
    }
    // Those without conditions first: what a call is made through may have one, and then libseccomp merges no other rule for it.
    let (whole, conditional): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|rule| rule.args.is_empty());
    result.syscalls = [whole, conditional].concat();
    let parts: Vec<&Profile> = profiles.iter().map(|one| one.profile).collect();
    if proof::is_cut_off(&parts, &result, &arches, wanted) {
        result.syscalls.push(Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action: result.default_action,
            errno_ret: result.default_errno_ret,
            args: Vec::new(),
        });
    }
    // What libseccomp makes of conditional rules hangs on their order.
    let result = result.canonical();
    let exact = proof::failure(&parts, &result, &arches, wanted, Likeness::Outcome);
    match exact.and_then(|_| proof::failure(&parts, &result, &arches, wanted, Likeness::Action)) {
        None => Ok(result),
        Some((call, arch)) => Err(inexpressible(profiles, call, arch)),
    }
}

/// The rules that name each call.
fn index(profile: &Profile) -> BTreeMap<&str, Vec<usize>> {
    let mut index: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, rule) in profile.syscalls.iter().enumerate() {
        for name in &rule.names {
            let rules = index.entry(name).or_default();
            if rules.last() != Some(&at) {
                rules.push(at);
            }
        }
    }
    index
}

/// The profiles that have rules for a call, in words; all of them for one that others are made through.
fn having_rules(profiles: &[NamedProfile<'_>], call: &str) -> String {
    names_of(profiles, |rule| rule.names.iter().any(|one| one == call))
}

/// The profiles with a rule that is one of these, in words; all of them where none has.
fn names_of(profiles: &[NamedProfile<'_>], is_one: impl Fn(&Rule) -> bool) -> String {
    let having = |one: &&NamedProfile<'_>| one.profile.syscalls.iter().any(&is_one);
    let mut names: Vec<&str> = profiles.iter().filter(having).map(|one| one.name).collect();
    if names.is_empty() {
        names = profiles.iter().map(|one| one.name).collect();
    }
    names.join(" and ")
}

fn inexpressible(profiles: &[NamedProfile<'_>], call: String, arch: Arch) -> MergeError {
    let is_conditional = |rule: &Rule| !rule.args.is_empty() && rule.names.contains(&call);
    MergeError::Inexpressible {
        profiles: having_rules(profiles, &call),
        conditional: names_of(profiles, is_conditional),
        call,
        arch,
    }
}

struct Writer<'a> {
    profiles: &'a [NamedProfile<'a>],
    base: &'a Profile,
    arches: &'a [Arch],
    wanted: Wanted,
    /// Which of `socketcall` and `ipc` the profiles have rules for.
    carriers: Vec<&'a str>,
    budget: Budget,
}

impl Writer<'_> {
    /// A profile that leaves open what it does can't be combined.
    fn check(&self, one: &NamedProfile<'_>) -> Result<(), MergeError> {
        let combine = |cases: &[Case]| cases[0].outcome;
        self.combination(&[Part::new(one.profile)], &combine, Outcome::of_default(one.profile))
            .check_inputs(0)
            .map_err(|failure| {
                let (call, arch) = match failure {
                    Failure::Contested { call, arch, .. } | Failure::Inexpressible { call, arch } => {
                        (call, arch)
                    }
                    Failure::TooMany { call } => (call, Arch::X86_64),
                };
                MergeError::Contested { profile: one.name.to_owned(), call, arch }
            })
    }

    fn combination<'c>(
        &'c self,
        parts: &'c [Part<'c>],
        combine: &'c dyn Fn(&[Case]) -> Outcome,
        default: Outcome,
    ) -> Combination<'c> {
        Combination {
            parts,
            arches: self.arches,
            lists: &|_, _| true,
            combine,
            tolerates: &|_, _| false,
            carriers: &self.carriers,
            default,
            budget: &self.budget,
        }
    }

    /// The rules for one call.
    fn rules(&self, name: &str, says: impl Iterator<Item = Say>) -> Result<Vec<Rule>, MergeError> {
        let mut distinct: Vec<Say> = Vec::new();
        for say in says {
            if !distinct.contains(&say) {
                distinct.push(say);
            }
        }
        let default = Outcome::of_default(self.base);
        let settled = self.wanted.of(distinct.iter().flat_map(Say::outcomes));
        if let Some(outcome) = settled.filter(|one| distinct.iter().any(|say| say.constant() == Some(*one))) {
            // Written as one of the profiles writes it.
            let stated =
                || distinct.iter().flat_map(|say| &say.rules).find(|rule| Outcome::of_rule(rule) == outcome);
            let errno_ret = stated().map_or_else(|| outcome.errno().map(u32::from), |rule| rule.errno_ret);
            let rule =
                Rule { names: vec![name.to_owned()], action: outcome.action(), errno_ret, args: Vec::new() };
            return Ok(if outcome == default { Vec::new() } else { vec![rule] });
        }
        if let [one] = &distinct[..]
            && one.default == default
        {
            return Ok(one.rules.clone());
        }
        if !syscalls::is_known_anywhere(name) {
            let profiles = having_rules(self.profiles, name);
            return Err(MergeError::Unknown { call: name.to_owned(), profiles });
        }
        match self.together(&distinct) {
            Some(rules) => Ok(rules),
            None => self.fold(name, distinct),
        }
    }

    /// All rules of all profiles, where that is shown to do: a hundred recordings of one argument's values.
    fn together(&self, says: &[Say]) -> Option<Vec<Rule>> {
        let mut rules: Vec<Rule> = Vec::new();
        for rule in says.iter().flat_map(|say| &say.rules) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        if self.wanted == Wanted::Strictest || rules.len() > MAX_RULES {
            return None;
        }
        let parts: Vec<Profile> = says.iter().map(|say| say.clone().alone(self.base)).collect();
        let parts: Vec<&Profile> = parts.iter().collect();
        let result = Say { default: Outcome::of_default(self.base), rules }.alone(self.base);
        let fails = proof::failure(&parts, &result, self.arches, self.wanted, Likeness::Outcome).is_some();
        (!fails).then_some(result.syscalls)
    }

    /// Adds one profile's rules after the other.
    fn fold(&self, name: &str, says: Vec<Say>) -> Result<Vec<Rule>, MergeError> {
        let mut says = says.into_iter();
        let Some(mut say) = says.next() else { return Ok(Vec::new()) };
        for other in says {
            let default = self.wanted.winner(say.default, other.default);
            let combine = |cases: &[Case]| {
                let outcomes = cases.iter().map(|case| case.outcome);
                outcomes.reduce(|one, other| self.wanted.winner(one, other)).unwrap_or(default)
            };
            let (so_far, next) = (say.alone(self.base), other.alone(self.base));
            let pair = [&so_far, &next].map(Part::new);
            let both: Vec<Rule> = so_far
                .syscalls
                .iter()
                .chain(next.syscalls.iter().filter(|rule| !so_far.syscalls.contains(rule)))
                .cloned()
                .collect();
            let ready = vec![so_far.syscalls.clone(), next.syscalls.clone(), both];
            let combination = self.combination(&pair, &combine, default);
            let rules = match combination.rules(name, ready.clone()) {
                Ok(rules) => rules,
                Err(failure) => {
                    // Which errno a call gets that is denied anyway may be either's.
                    let tolerates = |cases: &[Case], actual: Outcome| {
                        combine(cases).action() == actual.action()
                            && cases.iter().any(|case| case.outcome == actual)
                    };
                    let tolerant = Combination { tolerates: &tolerates, ..combination };
                    tolerant.tolerable(name, ready).ok_or_else(|| self.failed(failure, name))?
                }
            };
            say = Say { default, rules };
        }
        Ok(say.rules)
    }

    fn failed(&self, failure: Failure, name: &str) -> MergeError {
        match failure {
            Failure::TooMany { call } => {
                MergeError::TooMany { call, profiles: having_rules(self.profiles, name) }
            }
            Failure::Inexpressible { call, arch } | Failure::Contested { call, arch, .. } => {
                inexpressible(self.profiles, call, arch)
            }
        }
    }
}

/// Whether an outcome lets a call through.
pub(super) fn passes(outcome: Outcome) -> bool {
    outcome.passage() != Passage::Denied
}
