//! What the runtime's default allows with some arguments alone, where the recording kept to it.
//!
//! Without this a profile of a program that starts a thread would allow `clone` with every flag, new namespaces among them, and be looser
//! than the runtime's default, which Portcullis refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::{Tally, make::values_of};
use crate::{
    Action, Arch, Arg, Profile,
    evaluate::{Test, Width},
    runtime_default::runtime_defaults,
};

/// The conditions of the runtime's default for calls that were only made as it allows them.
pub(super) fn of_default(
    tally: &Tally,
    names: &BTreeSet<String>,
    arches: &BTreeSet<Arch>,
) -> BTreeMap<String, BTreeSet<Arg>> {
    let bounded = |name: &String| {
        let conditions = conditions(name, arches)?;
        let kept_to = |condition: &Arg| {
            let index = condition.index;
            let values = values_of(tally, name, index).ok()?;
            // 64 bits: what is recorded of arguments is of native calls.
            let holds = |value: u64| {
                conditions
                    .iter()
                    .any(|other| other.index == index && Test::of(other, Width::Bits64).holds(value))
            };
            Some(values.into_iter().all(holds))
        };
        conditions
            .iter()
            .all(|condition| kept_to(condition) == Some(true))
            .then_some((name.clone(), conditions))
    };
    names.iter().filter_map(bounded).collect()
}

/// The conditions of a call, if the defaults of all architectures have the same, each on one argument, and no rule without any.
fn conditions(name: &str, arches: &BTreeSet<Arch>) -> Option<BTreeSet<Arg>> {
    let mut defaults = runtime_defaults().iter().filter(|default| arches.contains(&default.arch));
    let first = of_one(&defaults.next()?.profile, name)?;
    defaults.all(|default| of_one(&default.profile, name).as_ref() == Some(&first)).then_some(first)
}

fn of_one(profile: &Profile, name: &str) -> Option<BTreeSet<Arg>> {
    let rules = profile.syscalls.iter();
    let rules =
        rules.filter(|rule| rule.action == Action::Allow && rule.names.iter().any(|known| known == name));
    let conditions: Option<BTreeSet<Arg>> = rules
        .map(|rule| match rule.args.as_slice() {
            [condition] => Some(condition.clone()),
            _ => None,
        })
        .collect();
    conditions.filter(|conditions| !conditions.is_empty())
}
