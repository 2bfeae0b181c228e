//! What a profile lets a container do, for someone who has to approve it.

mod groups;
mod words;

pub use groups::{GROUPS, Group};
pub(crate) use words::restriction;
pub use words::{action, outcome};

use std::collections::BTreeSet;

use crate::{
    Arch, Profile,
    compare::{Budget, Difference, Relation, Side, compare, reachable},
    evaluate::{Evaluator, Outcome, Passage, Refusal, Runtime, X32_BIT},
    privileges::{KeptPrivilege, kept_privileges},
    runtime_default::Baseline,
    syscalls,
};

/// How far a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It is denied, whatever its arguments.
    Denied,
    /// Another process decides: a tracer or a supervisor.
    Delegated,
    /// It is made with some arguments.
    Depends,
    /// It is made and logged.
    Logged,
    /// It is made.
    Allowed,
}

/// A call that a profile lets through, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// How far it gets.
    pub reach: Reach,
    /// Whether the runtime's default denies it, or some arguments of it; `false` where no default is known.
    pub beyond: bool,
}

/// What a profile lets through of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InGroup {
    /// The group.
    pub group: &'static Group,
    /// The calls that get anywhere; none where all are denied.
    pub calls: Vec<Call>,
}

/// What arguments decide about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// The call.
    pub name: &'static str,
    /// The rules in words, and what happens otherwise.
    pub words: String,
    /// Whether the filter is sure to do so; see [`crate::evaluate::Reason::Contested`].
    pub certain: bool,
}

/// A profile beside the runtime's default, or what is taken for it.
#[derive(Clone, Debug)]
pub struct Against {
    /// Which one, in words.
    pub with: String,
    /// What the profile lets through and the default doesn't, through any architecture.
    pub beyond: Vec<Difference>,
    /// What the default lets through and the profile doesn't.
    pub less: Vec<Difference>,
}

/// How many of an architecture's named calls get how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made, logged or not.
    pub allowed: usize,
    /// Made with some arguments.
    pub depends: usize,
    /// Decided by another process.
    pub delegated: usize,
    /// Denied.
    pub denied: usize,
}

/// What a profile lets a container do on nodes of one architecture.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The nodes' architecture, whose calls the rest is about.
    pub arch: Arch,
    /// What happens to a call that no rule matches.
    pub default: Outcome,
    /// The other architectures through which calls can be made, which aren't killed.
    pub companions: Vec<Arch>,
    /// The architecture's calls.
    pub counts: Counts,
    /// All groups, in their order.
    pub groups: Vec<InGroup>,
    /// The calls that arguments decide about, by name.
    pub restrictions: Vec<Restriction>,
    /// The runtime's default on the architecture, where one is known.
    pub against: Option<Against>,
    /// The denials on which a container runtime goes on with privileges that the pod gave up, but for the baseline's own.
    pub kept: Vec<KeptPrivilege>,
}

/// Explains a profile as a runtime applies it on nodes of an architecture, beside a baseline.
///
/// # Errors
/// Where the runtime doesn't start a container with the profile.
pub fn explain(
    profile: &Profile,
    runtime: Runtime,
    arch: Arch,
    baseline: &Baseline,
) -> Result<Explanation, Refusal> {
    let evaluator = Evaluator::new(profile, runtime, arch)?;
    let other = baseline.on(arch).and_then(|default| Evaluator::new(default, runtime, arch).ok());
    let kept = kept_privileges(&evaluator, other.as_ref(), arch, &Budget::patient());
    let against = other.map(|other| {
        let beyond = compare(&evaluator, &other, arch, Relation::Passage);
        let less = compare(&other, &evaluator, arch, Relation::Passage);
        Against { with: baseline.to_string(), beyond, less }
    });
    let beyond: BTreeSet<&str> = against
        .iter()
        .flat_map(|against| &against.beyond)
        .filter(|difference| difference.arch == arch)
        .filter_map(|difference| difference.name)
        .collect();
    let mut counts = Counts::default();
    let mut calls = Vec::new();
    let mut restrictions = Vec::new();
    for (name, number) in syscalls::calls(arch).into_iter().flatten() {
        let number = if arch == Arch::X32 { number & !X32_BIT } else { number };
        let side = evaluator.side(arch, number);
        let reach = reach(&side);
        match reach {
            Reach::Allowed | Reach::Logged => counts.allowed += 1,
            Reach::Depends => counts.depends += 1,
            Reach::Delegated => counts.delegated += 1,
            Reach::Denied => counts.denied += 1,
        }
        if let Side::Depends(group) = side {
            let words = words::restriction(group, arch, name);
            restrictions.push(Restriction { name, words, certain: group.is_exact() });
        }
        calls.push(Call { name, reach, beyond: beyond.contains(name) });
    }
    restrictions.sort_by_key(|restriction| restriction.name);
    calls.sort_by_key(|call| call.name);
    let groups = GROUPS.iter().map(|group| InGroup {
        group,
        calls: calls
            .iter()
            .filter(|call| call.reach > Reach::Denied && group.calls.contains(&call.name))
            .cloned()
            .collect(),
    });
    Ok(Explanation {
        arch,
        default: Outcome::of_default(profile),
        companions: reachable(arch)
            .iter()
            .copied()
            .filter(|one| *one != arch && evaluator.architectures().any(|listed| listed == *one))
            .collect(),
        counts,
        groups: groups.collect(),
        restrictions,
        against,
        kept,
    })
}

fn reach(side: &Side<'_>) -> Reach {
    let outcomes: Vec<Outcome> = side.cases().iter().map(|case| case.outcome).collect();
    let any = |passage| outcomes.iter().any(|outcome| outcome.passage() == passage);
    match (any(Passage::Permitted), any(Passage::Delegated), any(Passage::Denied)) {
        (true, false, false) if outcomes.iter().all(|outcome| outcome.strictness() == 0) => Reach::Allowed,
        (true, false, false) => Reach::Logged,
        (true, _, _) => Reach::Depends,
        (false, true, _) => Reach::Delegated,
        (false, false, _) => Reach::Denied,
    }
}

#[cfg(test)]
mod tests;
