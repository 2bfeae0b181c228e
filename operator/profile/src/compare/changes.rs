//! Every way in which two profiles do different things, call by call.

use super::{Comparison, Difference, NameChange, Relation, Side, numbers, reachable, unknown::name_changes};
use crate::{
    Arch, Baseline, Profile,
    compare::Budget,
    evaluate::{Evaluator, Passage, Refusal, Runtime, X32_BIT},
    privileges::{KeptPrivilege, kept_privileges},
    syscalls,
};

/// What became of a call from A to B, by how far it gets ([`Passage`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// B lets it through, or some arguments of it, and A never does.
    OnlyInB,
    /// B lets arguments through, or delegated ones further, that A doesn't.
    Looser,
    /// B does so for some arguments and A for others.
    Mixed,
    /// A lets arguments through, or delegated ones further, that B doesn't.
    Stricter,
    /// A lets it through, or some arguments of it, and B never does.
    OnlyInA,
    /// It gets as far in both, by another action or with another errno.
    Otherwise,
}

impl Change {
    /// Whether B lets a call, or an argument, get further than A does.
    #[must_use]
    pub const fn is_looser(self) -> bool {
        matches!(self, Self::OnlyInB | Self::Looser | Self::Mixed)
    }

    /// Whether A lets a call, or an argument, get further than B does.
    #[must_use]
    pub const fn is_stricter(self) -> bool {
        matches!(self, Self::OnlyInA | Self::Stricter | Self::Mixed)
    }
}

/// A call with which two profiles do different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallChange {
    /// The architecture of the call.
    pub arch: Arch,
    /// Its number there.
    pub number: u32,
    /// Its name; none for a number that stands for others without a name or a rule.
    pub name: Option<&'static str>,
    /// What became of it.
    pub change: Change,
    /// With which arguments, and what A (`mine`) and B (`theirs`) do then.
    pub differences: Vec<Difference>,
}

/// An architecture that one profile filters, and the other one lets nothing through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchChange {
    /// The architecture.
    pub arch: Arch,
    /// Whether it is B that filters it.
    pub in_b: bool,
    /// How many of its named calls that one lets through, wholly or in part.
    pub calls: usize,
}

/// A field besides the rules that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field.
    pub field: &'static str,
    /// Its value in A; empty where it has none.
    pub a: String,
    /// Its value in B.
    pub b: String,
}

/// Every way in which two profiles do different things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// By architecture and number.
    pub calls: Vec<CallChange>,
    /// Names that no table here has, which count where a runtime knows them.
    pub names: Vec<NameChange>,
    /// Architectures that one profile lists alone.
    pub architectures: Vec<ArchChange>,
    /// Flags and the listener.
    pub fields: Vec<FieldChange>,
    /// Denials of B, and not of A, on which a container runtime goes on with privileges that the pod gave up.
    pub kept: Vec<KeptPrivilege>,
    /// How many named calls, through whatever architecture, get the same.
    pub same: usize,
}

impl Changes {
    /// Whether the profiles do the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.names.is_empty()
            && self.architectures.is_empty()
            && self.fields.is_empty()
            && self.kept.is_empty()
    }

    /// Whether B lets a call, or an argument, get further than A does, or a container keep privileges that it keeps under A no more than
    /// its pod asked for.
    #[must_use]
    pub fn is_looser(&self) -> bool {
        !self.kept.is_empty()
            || self.calls.iter().any(|call| call.change.is_looser())
            || self.names.iter().any(|one| one.change.is_looser())
            || self.architectures.iter().any(|one| one.in_b && one.calls > 0)
    }

    /// Whether A lets a call, or an argument, get further than B does.
    #[must_use]
    pub fn is_stricter(&self) -> bool {
        self.calls.iter().any(|call| call.change.is_stricter())
            || self.names.iter().any(|one| one.change.is_stricter())
            || self.architectures.iter().any(|one| !one.in_b && one.calls > 0)
    }
}

/// Compares two profiles on nodes of an architecture, through every architecture that can be reached there.
///
/// Rules that are the same in both are the same, even where it is unsure what a filter does with them.
///
/// # Errors
/// Where the runtime doesn't start a container with one of the profiles; `true` where that is B.
pub fn changes(a: &Profile, b: &Profile, runtime: Runtime, native: Arch) -> Result<Changes, (bool, Refusal)> {
    let (fields, names) = (fields(a, b), name_changes(a, b));
    let a = Evaluator::new(a, runtime, native).map_err(|refusal| (false, refusal))?;
    let b = Evaluator::new(b, runtime, native).map_err(|refusal| (true, refusal))?;
    let budget = Budget::patient();
    let kept = kept_privileges(&b, Some(&a), native, &budget);
    let mut changes = Changes { names, fields, kept, ..Changes::default() };
    for &arch in reachable(native) {
        match (lists(&a, arch), lists(&b, arch)) {
            (false, false) => {}
            (true, true) => changes.add_calls(&a, &b, arch, &budget),
            (_, in_b) => changes.add_architecture(&a, &b, arch, in_b),
        }
    }
    Ok(changes)
}

/// Compares what was compiled, calls alone. An architecture counts as listed by one where not all its calls get the same from both.
pub(crate) fn changes_from_evaluators(
    a: &Evaluator,
    b: &Evaluator,
    native: Arch,
    budget: &Budget,
) -> Changes {
    let mut changes = Changes::default();
    for &arch in reachable(native) {
        match (lists(a, arch), lists(b, arch)) {
            (false, false) => {}
            (one, other) => {
                let mut calls = Changes::default();
                calls.add_calls(a, b, arch, budget);
                if one == other || calls.calls.is_empty() {
                    changes.calls.append(&mut calls.calls);
                    // What both deny by not knowing the architecture is nobody's call.
                    changes.same += if one && other { calls.same } else { 0 };
                } else {
                    changes.add_architecture(a, b, arch, other);
                }
            }
        }
    }
    changes
}

/// Whether two filters do different things with a call, or may. `number` is without x32's bit.
pub(crate) fn differs(a: &Evaluator, b: &Evaluator, arch: Arch, number: u32, budget: &Budget) -> bool {
    let mut comparison = Comparison { relation: Relation::Outcome, budget, found: Vec::new() };
    comparison.add(&a.side(arch, number), &b.side(arch, number), arch, number);
    !comparison.found.is_empty()
}

fn lists(evaluator: &Evaluator, arch: Arch) -> bool {
    evaluator.architectures().any(|one| one == arch)
}

impl Changes {
    /// Compares every call of an architecture.
    fn add_calls(&mut self, a: &Evaluator, b: &Evaluator, arch: Arch, budget: &Budget) {
        for number in numbers(a, b, arch) {
            let (one, other) = (a.side(arch, number), b.side(arch, number));
            let listed = if arch == Arch::X32 { number | X32_BIT } else { number };
            let name = syscalls::name(arch, listed);
            if one.is_same(&other) {
                self.same += usize::from(name.is_some());
                continue;
            }
            let mut comparison = Comparison { relation: Relation::Outcome, budget, found: Vec::new() };
            comparison.add(&one, &other, arch, number);
            let differences = comparison.found;
            if differences.is_empty() {
                self.same += usize::from(name.is_some());
            } else {
                let change = change(&one, &other, &differences);
                self.calls.push(CallChange { arch, number: listed, name, change, differences });
            }
        }
    }

    /// Counts the calls of an architecture that one of both lists alone.
    fn add_architecture(&mut self, a: &Evaluator, b: &Evaluator, arch: Arch, in_b: bool) {
        let evaluator = if in_b { b } else { a };
        let calls = syscalls::calls(arch).into_iter().flatten();
        let through = calls.filter(|(_, number)| {
            let number = if arch == Arch::X32 { number & !X32_BIT } else { *number };
            evaluator.side(arch, number).lets_through()
        });
        self.architectures.push(ArchChange { arch, in_b, calls: through.count() });
    }
}

/// The same on nodes of several architectures, of which no two reach the same one.
///
/// # Errors
/// As [`changes`], for the first architecture where that is so.
pub fn changes_on(
    a: &Profile,
    b: &Profile,
    runtime: Runtime,
    natives: &[Arch],
) -> Result<Changes, (bool, Refusal)> {
    together(natives.iter().map(|&native| changes(a, b, runtime, native)))
}

/// The same with a baseline as A, on those of the nodes of which it has a filter.
///
/// # Errors
/// As [`changes_on`].
pub fn changes_from(
    baseline: &Baseline,
    b: &Profile,
    runtime: Runtime,
    natives: &[Arch],
) -> Result<Changes, (bool, Refusal)> {
    let on = natives.iter().filter_map(|&native| Some((native, baseline.on(native)?)));
    together(on.map(|(native, a)| changes(a, b, runtime, native)))
}

fn together(
    each: impl Iterator<Item = Result<Changes, (bool, Refusal)>>,
) -> Result<Changes, (bool, Refusal)> {
    let mut all = Changes::default();
    for changes in each {
        let Changes { calls, names, architectures, fields, kept, same } = changes?;
        all.kept.extend(kept);
        all.calls.extend(calls);
        all.architectures.extend(architectures);
        (all.names, all.fields) = (names, fields);
        all.same += same;
    }
    Ok(all)
}

fn change(a: &Side<'_>, b: &Side<'_>, differences: &[Difference]) -> Change {
    let further = |one: &Difference| one.theirs.passage().cmp(&one.mine.passage());
    let looser = differences.iter().any(|one| further(one).is_gt());
    let stricter = differences.iter().any(|one| further(one).is_lt());
    match (looser, stricter) {
        (true, true) => Change::Mixed,
        (true, false) if a.lets_through() => Change::Looser,
        (true, false) => Change::OnlyInB,
        (false, true) if b.lets_through() => Change::Stricter,
        (false, true) => Change::OnlyInA,
        (false, false) => Change::Otherwise,
    }
}

impl Side<'_> {
    /// Whether any arguments get further than a denial.
    fn lets_through(&self) -> bool {
        self.cases().iter().any(|case| case.outcome.passage() > Passage::Denied)
    }

    /// Whether both come of the same rules.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Always(one), Self::Always(other)) => {
                one.outcome == other.outcome && one.strictest() == other.strictest()
            }
            (Self::Depends(one), Self::Depends(other)) => {
                let rows = || one.rows.iter().zip(&other.rows);
                (one.default, one.merging, one.rows.len()) == (other.default, other.merging, other.rows.len())
                    && rows().all(|(one, other)| {
                        one.outcome == other.outcome && one.conditions == other.conditions
                    })
            }
            _ => false,
        }
    }
}

fn fields(a: &Profile, b: &Profile) -> Vec<FieldChange> {
    let flags = |profile: &Profile| {
        let mut flags: Vec<&str> = profile.flags.iter().map(|flag| flag.as_str()).collect();
        flags.sort_unstable();
        flags.dedup();
        flags.join(", ")
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        ("flags", flags(a), flags(b)),
        ("listenerPath", text(&a.listener_path), text(&b.listener_path)),
        ("listenerMetadata", text(&a.listener_metadata), text(&b.listener_metadata)),
    ]
    .into_iter()
    .filter(|(_, a, b)| a != b)
    .map(|(field, a, b)| FieldChange { field, a, b })
    .collect()
}
