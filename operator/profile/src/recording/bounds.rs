//! What the runtime's default allows with some arguments alone, where the recording kept to it.
//!
//! Without this a profile of a program that starts a thread or opens a socket would allow `clone` with every flag, new namespaces among
//! them, and `socket` with every domain, and be looser than the runtime's default, which Portcullis refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::{RecordedArgument, Tally, make::values_of, recorded_argument};
use crate::{
    Action, Arch, Arg, Baseline, Operator, Profile, Rule,
    compare::{Answer, Budget, Relation, Side, looser, meet},
    evaluate::{Outcome, Passage, Runtime, Table, Test, Width},
    syscalls::{self, Lookup},
};

/// The nodes that are recorded on.
const NODES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// The conditions of each of a call's rules.
pub(super) type Conditions = BTreeSet<Vec<Arg>>;

/// The default on nodes of the recorded architectures.
pub(super) struct Bounds<'a> {
    defaults: Vec<(Arch, &'a Profile, Table)>,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(baseline: &'a Baseline, arches: &BTreeSet<Arch>) -> Self {
        let recorded = NODES.into_iter().filter(|arch| arches.contains(arch));
        let of =
            |arch| baseline.on(arch).map(|default| (arch, default, Table::new(default, Runtime::Crun, arch)));
        Self { defaults: recorded.filter_map(of).collect() }
    }

    /// The calls of a profile that go further than the default lets them.
    pub(super) fn beyond(&self, profile: &Profile) -> BTreeSet<&'static str> {
        let on = |(arch, default, _): &(Arch, &Profile, Table)| {
            looser(profile, default, Runtime::Runc, *arch, Relation::Passage).unwrap_or_default()
        };
        self.defaults.iter().flat_map(on).filter_map(|difference| difference.name).collect()
    }

    /// Whether the default lets a call through whatever its arguments.
    pub(super) fn lets_through(&self, name: &str) -> bool {
        !self.defaults.is_empty() && self.allows(name, &[])
    }

    /// The rules of the default that a recording needs of calls that were only made as it allows them.
    ///
    /// What a rule asks of an argument whose values are not known is taken over.
    pub(super) fn of_default(&self, tally: &Tally, names: &BTreeSet<String>) -> BTreeMap<String, Conditions> {
        let bounded = |name: &String| Some((name.clone(), self.needed(tally, name)?));
        names.iter().filter_map(bounded).collect()
    }

    fn needed(&self, tally: &Tally, name: &str) -> Option<Conditions> {
        let rules = self.rules(name)?;
        let index = recorded_argument(name)?.index;
        let values = values_of(tally, name, index).ok()?;
        let of = |value: u64| rules.iter().filter(move |rule| admits(rule, index, value));
        if values.iter().any(|&value| of(value).next().is_none()) {
            return None;
        }
        let others: BTreeSet<u8> = rules.iter().flatten().map(|condition| condition.index).collect();
        let others: Vec<(u8, BTreeSet<u64>)> = others
            .into_iter()
            .filter(|&other| other != index)
            .filter_map(|other| Some((other, values_of(tally, name, other).ok()?)))
            .collect();
        // Which values came together isn't recorded, so each is taken to have come with one that the default allows it with.
        let may_come = |other: u8, with: u64| {
            values.iter().any(|&value| of(value).any(|rule| admits(rule, other, with)))
        };
        if others.iter().any(|(other, with)| with.iter().any(|&with| !may_come(*other, with))) {
            return None;
        }
        let mut needed = Conditions::new();
        for value in values.iter().copied() {
            let came = |rule: &&Vec<Arg>| {
                others.iter().all(|(other, with)| with.iter().any(|&with| admits(rule, *other, with)))
            };
            let some = of(value).any(|rule| came(&rule));
            needed.extend(of(value).filter(|rule| !some || came(rule)).cloned());
        }
        Some(needed)
    }

    /// The rules by which a call is allowed, if the defaults of all architectures have the same, all with conditions.
    fn rules(&self, name: &str) -> Option<Conditions> {
        let mut defaults = self.defaults.iter();
        let first = conditional(defaults.next()?.1, name)?;
        defaults.all(|(_, default, _)| conditional(default, name).as_ref() == Some(&first)).then_some(first)
    }

    /// Rules that allow a call with a value of an argument, no looser than the default where it allows the value.
    ///
    /// The first of these that is within the default: the low word alone, which is all of an `int` that the kernel looks at; the whole
    /// register; the register and what the default asks of other arguments.
    pub(super) fn of_value(&self, name: &str, argument: &RecordedArgument, value: u64) -> Conditions {
        const LOW: u64 = 0xffff_ffff;
        let index = argument.index;
        let whole = Arg { index, value, value_two: 0, op: Operator::Equal };
        let wide = match argument.width {
            super::Width::Int => Arg { index, value: LOW, value_two: value & LOW, op: Operator::MaskedEq },
            super::Width::Long => whole.clone(),
        };
        let alone =
            [wide.clone(), whole.clone()].into_iter().map(|condition| Conditions::from([vec![condition]]));
        let with_others =
            self.rules(name).unwrap_or_default().into_iter().filter(|rule| admits(rule, index, value));
        let with_others = with_others.map(|rule| {
            let others = rule.into_iter().filter(|condition| condition.index != index);
            std::iter::once(whole.clone()).chain(others).collect()
        });
        let within =
            |rules: &Conditions| !rules.is_empty() && rules.iter().all(|args| self.allows(name, args));
        let found = alone.chain([with_others.collect()]).find(within);
        found.unwrap_or_else(|| Conditions::from([vec![wide]]))
    }

    /// Whether the default lets a call through on every architecture wherever some conditions hold.
    fn allows(&self, name: &str, args: &[Arg]) -> bool {
        self.defaults.iter().all(|(arch, default, table)| {
            let Lookup::Known { number: Some(number), .. } = syscalls::lookup(*arch, name) else {
                return true;
            };
            let rule = Rule {
                names: vec![name.to_owned()],
                action: Action::Allow,
                errno_ret: None,
                args: args.to_vec(),
            };
            let one = Profile { default_action: Action::Errno, syscalls: vec![rule], ..(*default).clone() };
            let one = Table::new(&one, Runtime::Crun, *arch);
            let (mine, theirs) = (Side::of(&one, number), Side::of(table, number));
            let (mine, theirs) = (mine.cases(), theirs.cases());
            let budget = Budget::default();
            let mut pairs = mine.iter().flat_map(|mine| theirs.iter().map(move |theirs| [mine, theirs]));
            !pairs.any(|[mine, theirs]| {
                Relation::Passage.is_looser(mine.outcome, theirs.outcome)
                    && !matches!(meet(&[mine, theirs], *arch, &budget), Answer::Nothing)
            })
        })
    }
}

/// The conditions of a profile's rules that let a call through; none where one has no conditions.
fn conditional(profile: &Profile, name: &str) -> Option<Conditions> {
    let rules = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|one| one == name));
    let rules = rules.filter(|rule| Outcome::of_rule(rule).passage() == Passage::Permitted);
    let conditions: Conditions = rules.map(|rule| rule.args.clone()).collect();
    (!conditions.is_empty() && conditions.iter().all(|args| !args.is_empty())).then_some(conditions)
}

/// Whether a rule may match where an argument has a value. 64 bits: what is recorded of arguments is of native calls.
fn admits(args: &[Arg], index: u8, value: u64) -> bool {
    args.iter()
        .filter(|condition| condition.index == index)
        .all(|condition| Test::of(condition, Width::Bits64).holds(value))
}
