//! Profiles of filters: as near as OCI can say what a kernel enforces.

use std::collections::BTreeSet;

use super::{Reading, read::between_names};
use crate::{
    Action, Arch, Arg, Operator, Profile, Rule,
    combine::{replace, ways_to_write},
    compare::{Changes, Side, differs},
    evaluate::{Budget, Condition, Evaluator, Group, Outcome, Runtime, Test, X32_BIT},
    explain, syscalls,
};

/// A profile of filters, and what it doesn't say.
#[derive(Clone, Debug)]
pub struct Written {
    /// The profile.
    pub profile: Profile,
    /// What the filters do and the profile can't say, in words, and what is to know about it.
    pub notes: Vec<String>,
    /// The runtime under which the profile does what the filters do, but for what the notes say.
    pub runtime: Runtime,
}

/// How many differences are named one by one.
const MAX_NAMED: usize = 12;
/// `ENOSYS`: what runc's prologue answers, and libseccomp never by itself.
const ENOSYS: u32 = 38;
/// Calls that 32-bit architectures make others through.
const CARRIERS: [&str; 2] = ["socketcall", "ipc"];

/// What of a filter is written down.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// Whether calls that are newer than all others are left to runc's prologue.
    leaves_new_calls: bool,
    /// Whether what other calls are made through has rules of its own.
    has_carriers: bool,
}

impl Reading {
    /// The profile that comes nearest to the filters.
    #[must_use]
    pub fn write(&self, budget: &Budget) -> Written {
        let choices = [(true, false), (true, true), (false, false), (false, true)];
        let mut best: Option<(usize, Written)> = None;
        for (leaves_new_calls, has_carriers) in choices {
            let choice = Choice { leaves_new_calls, has_carriers };
            if leaves_new_calls && !self.has_prologue() {
                continue;
            }
            let mut written = self.written(choice, budget);
            let differ = match self.changes_from(&written.profile, written.runtime, budget) {
                Ok(changes) => say(&changes, &mut written.notes),
                Err(refusal) => {
                    written.notes.push(format!("no runtime starts a container with it: {refusal}"));
                    usize::MAX
                }
            };
            if best.as_ref().is_none_or(|(least, _)| differ < *least) {
                best = Some((differ, written));
            }
            if differ == 0 {
                break;
            }
        }
        let (_, mut written) = best.unwrap_or_else(|| {
            let choice = Choice { leaves_new_calls: false, has_carriers: false };
            (0, self.written(choice, budget))
        });
        written.notes.extend(self.reservations().iter().take(MAX_NAMED).map(ToString::to_string));
        written.notes.extend(more(self.reservations().len()));
        written
    }

    fn written(&self, choice: Choice, budget: &Budget) -> Written {
        let runtime = if choice.leaves_new_calls { Runtime::Runc } else { Runtime::Crun };
        let default = self.rest();
        let mut profile = Profile {
            default_action: default.action(),
            default_errno_ret: default.errno().map(u32::from),
            architectures: self.evaluator().architectures().collect(),
            flags: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            syscalls: Vec::new(),
        };
        let mut notes = Vec::new();
        if choice.leaves_new_calls {
            notes.push(
                "calls newer than every one that it names fail with ENOSYS: runc adds that to every profile itself, crun does not"
                    .to_owned(),
            );
        }
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut rules: Vec<(String, Vec<Rule>)> = Vec::new();
        for arch in self.evaluator().architectures() {
            for (name, number) in syscalls::calls(arch).into_iter().flatten() {
                let number = if arch == Arch::X32 { number & !X32_BIT } else { number };
                let is_left = choice.leaves_new_calls && self.is_beyond(arch, number);
                if is_left || (!choice.has_carriers && CARRIERS.contains(&name)) || !known.insert(name) {
                    continue;
                }
                rules.push((name.to_owned(), self.rules(arch, name, number, &profile, &mut notes, budget)));
            }
        }
        profile.syscalls = replace(&[], &rules);
        Written { profile, notes, runtime }
    }

    /// What happens to calls that nothing is asked of but that they are none of the others: those with numbers between the named ones.
    fn rest(&self) -> Outcome {
        let native = self.native();
        let named = syscalls::calls(native).into_iter().flatten().map(|(_, number)| number);
        let between = between_names(named).unwrap_or(0);
        match self.evaluator().side(native, between) {
            Side::Always(decision) => decision.outcome,
            Side::Depends(group) => group.default,
        }
    }

    /// Whether the filters seem to begin with runc's prologue: what is newer than every call fails with `ENOSYS`, and else calls get
    /// something else.
    fn has_prologue(&self) -> bool {
        let enosys = Outcome::new(Action::Errno, Some(ENOSYS));
        self.rest() != enosys && self.is_beyond(self.native(), i32::MAX as u32 >> 1)
    }

    /// Whether a number is in the last stretch of an architecture, and that fails with `ENOSYS`.
    fn is_beyond(&self, arch: Arch, number: u32) -> bool {
        let enosys = Outcome::new(Action::Errno, Some(ENOSYS));
        let last = self.evaluator().table(arch).and_then(|table| table.starts().last());
        last.is_some_and(|last| number >= last)
            && matches!(self.evaluator().side(arch, number), Side::Always(decision) if decision.outcome == enosys)
    }

    /// The rules for one call.
    fn rules(
        &self,
        arch: Arch,
        name: &str,
        number: u32,
        base: &Profile,
        notes: &mut Vec<String>,
        budget: &Budget,
    ) -> Vec<Rule> {
        let default = Outcome::of_default(base);
        let whole = |outcome: Outcome| {
            if outcome == default { Vec::new() } else { vec![rule(name, outcome, Vec::new())] }
        };
        let group = match self.evaluator().side(arch, number) {
            Side::Always(decision) => return whole(decision.outcome),
            Side::Depends(group) => group,
        };
        let outcomes = || group.rows.iter().map(|row| row.outcome).chain([group.default]);
        let strictest = outcomes().max_by_key(|outcome| outcome.strictness()).unwrap_or(default);
        if !group.is_exact() {
            return whole(strictest);
        }
        let ways = direct(group, name, default).into_iter().chain(ways_to_write(
            name,
            group.rows.clone(),
            group.default,
            default,
        ));
        for rules in ways {
            let profile = Profile { syscalls: rules.clone(), ..base.clone() };
            let own = Evaluator::new(&profile, Runtime::Crun, self.native());
            if own.is_ok_and(|own| !differs(&own, self.evaluator(), arch, number, budget)) {
                return rules;
            }
        }
        notes.push(format!(
            "{name}: its conditions are too many or such that libseccomp would merge them wrongly: it always {} here",
            explain::outcome(strictest)
        ));
        whole(strictest)
    }
}

/// Rules as they were read, where each says one thing of an argument at most.
fn direct(group: &Group, name: &str, default: Outcome) -> Option<Vec<Rule>> {
    if group.default != default {
        return None;
    }
    group
        .rows
        .iter()
        .map(|row| {
            let args: Vec<Arg> = row.conditions.iter().map(argument).collect::<Option<_>>()?;
            let repeats =
                args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|one| one.index == arg.index));
            (!repeats).then(|| rule(name, row.outcome, args))
        })
        .collect()
}

/// A condition as OCI has it, where it has it.
fn argument(condition: &Condition) -> Option<Arg> {
    let (op, value, value_two) = match condition.test {
        Test::Bits { mask: u64::MAX, datum } => (Operator::Equal, datum, 0),
        Test::Bits { mask, datum } => (Operator::MaskedEq, mask, datum),
        Test::NotBits { mask: u64::MAX, datum } => (Operator::NotEqual, datum, 0),
        Test::NotBits { .. } => return None,
        Test::Range { from: 0, to } => (Operator::LessOrEqual, to, 0),
        // libseccomp merges comparisons with one high word faithfully, so it stays that of the value below.
        Test::Range { from, to: u64::MAX } if from.trailing_zeros() >= 32 => {
            (Operator::GreaterThan, from - 1, 0)
        }
        Test::Range { from, to: u64::MAX } => (Operator::GreaterOrEqual, from, 0),
        Test::Range { .. } => return None,
    };
    Some(Arg { index: u8::try_from(condition.index).ok()?, value, value_two, op })
}

fn rule(name: &str, outcome: Outcome, args: Vec<Arg>) -> Rule {
    Rule {
        names: vec![name.to_owned()],
        action: outcome.action(),
        errno_ret: outcome.errno().map(u32::from),
        args,
    }
}

/// Says what a profile doesn't, and counts it.
fn say(changes: &Changes, notes: &mut Vec<String>) -> usize {
    let mut said: Vec<String> = Vec::new();
    for call in &changes.calls {
        for one in &call.differences {
            let name = call.name.map_or_else(|| format!("numbers like {}", call.number), str::to_owned);
            let perhaps = if one.certain { "" } else { "perhaps " };
            said.push(format!(
                "{name} on {} with {}: {perhaps}{} in the filter, {} in the profile",
                call.arch,
                one.in_words,
                explain::outcome(one.theirs),
                explain::outcome(one.mine)
            ));
        }
    }
    for one in &changes.architectures {
        said.push(format!("calls on {} get other actions in the filter than in the profile", one.arch));
    }
    let count = said.len();
    notes.extend(said.into_iter().take(MAX_NAMED));
    notes.extend(more(count));
    count
}

/// How many were not named.
fn more(count: usize) -> Option<String> {
    let left = count.checked_sub(MAX_NAMED).filter(|left| *left > 0)?;
    Some(format!("and {left} more like these"))
}
