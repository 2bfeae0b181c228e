//! The rules of one system call, as a runtime hands them to libseccomp and libseccomp merges them.

use super::{
    Decision, Outcome, Reason, Runtime,
    condition::{Test, Width},
    merge::{Allowance, Merging, merging, merging_in_passing},
};
use crate::{Arg, Operator};

/// How many arguments a system call has.
pub const ARGUMENTS: usize = 6;

/// One condition of a [`Row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    /// Which argument, below [`ARGUMENTS`].
    pub(crate) index: usize,
    /// As it is written: libseccomp tells `> 5` from `>= 6`, which [`Self::test`] does not.
    pub(crate) op: Operator,
    pub(crate) test: Test,
    /// The value compared with, under `MASKED_EQ` with bits outside the mask that count for nothing.
    pub(crate) datum: u64,
}

impl Condition {
    pub(crate) const fn new(arg: &Arg, width: Width) -> Self {
        let datum = match arg.op {
            Operator::MaskedEq => arg.value_two,
            _ => arg.value,
        };
        Self { index: arg.index as usize, op: arg.op, test: Test::of(arg, width), datum: datum & width.max() }
    }

    /// That an argument has exactly a value.
    pub(crate) const fn equal(index: usize, value: u64) -> Self {
        Self { index, op: Operator::Equal, test: Test::equal(value), datum: value }
    }

    /// The high word of the value compared with; libseccomp compares the words one by one.
    pub(crate) const fn high(&self) -> u32 {
        let compared = match self.test {
            Test::Bits { datum, .. } => datum,
            _ => self.datum,
        };
        (compared >> 32) as u32
    }

    pub(crate) const fn holds(&self, arguments: &[u64; ARGUMENTS]) -> bool {
        self.test.holds(arguments[self.index])
    }
}

/// One rule for one call: the outcome where all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) outcome: Outcome,
    /// The index in the profile's `syscalls`.
    pub(crate) rule: usize,
}

impl Row {
    pub(crate) fn matches(&self, arguments: &[u64; ARGUMENTS]) -> bool {
        self.conditions.iter().all(|condition| condition.holds(arguments))
    }
}

/// The condition lists that a runtime makes of one rule's `args`: one, or, where an index repeats, one for each
/// condition.
///
/// Source: `matchCall` in runc's `libcontainer/seccomp/seccomp_linux.go`; `libcrun_generate_seccomp` in crun's
/// `src/libcrun/seccomp.c`, which looks at the first six conditions alone.
pub(crate) fn alternatives(args: &[Arg], runtime: Runtime, width: Width) -> Vec<Vec<Condition>> {
    let args = match runtime {
        Runtime::Runc => args,
        Runtime::Crun => &args[..args.len().min(ARGUMENTS)],
    };
    let repeats =
        args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|one| one.index == arg.index));
    let all: Vec<Condition> = args.iter().map(|arg| Condition::new(arg, width)).collect();
    let mut lists = if repeats { all.into_iter().map(|one| vec![one]).collect() } else { vec![all] };
    for list in &mut lists {
        list.retain(|condition| !condition.test.is_left_out());
    }
    lists
}

/// What a filter does with one call on one architecture.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// The arguments don't matter.
    Always(Decision),
    /// They do.
    Depends(Group),
}

/// Conditional rules for one call.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) rows: Vec<Row>,
    /// Where no row matches.
    pub(crate) default: Outcome,
    /// What libseccomp makes of the rows.
    pub(crate) merging: Merging,
    /// Whether their filter is right only because it loads a word anew.
    pub(crate) loads_anew: bool,
}

impl Entry {
    /// Per call the first unconditional rule wins, before or after conditional ones. Those before it are given too: libseccomp has
    /// merged them by then, and may have refused to.
    ///
    /// Source: `db_rule_add` in libseccomp's `src/db.c`.
    pub(super) fn new(
        mut rows: Vec<Row>,
        default: Outcome,
        width: Width,
        allowance: &mut Allowance,
    ) -> (Self, Option<Group>) {
        let Some(at) = rows.iter().position(|row| row.conditions.is_empty()) else {
            let (merging, loads_anew) = merging(&rows, default, width, allowance);
            return (Self::Depends(Group { rows, default, merging, loads_anew }), None);
        };
        let first = &rows[at];
        let decision = Decision { outcome: first.outcome, reason: Reason::Rule(first.rule) };
        rows.truncate(at);
        let replaced = (at > 1).then(|| Group::in_passing(rows, default, width, allowance));
        (Self::Always(decision), replaced)
    }

    pub(crate) fn decide(&self, arguments: &[u64; ARGUMENTS]) -> Decision {
        match self {
            Self::Always(decision) => *decision,
            Self::Depends(group) => group.decide(arguments),
        }
    }

    /// The same, where some arguments aren't known; `None` where it depends on them.
    pub(crate) fn decide_partly(&self, arguments: &[Option<u64>; ARGUMENTS]) -> Option<Decision> {
        match self {
            Self::Always(decision) => Some(*decision),
            Self::Depends(group) => group.decide_partly(arguments),
        }
    }
}

impl Group {
    /// Rules that are of no account, but that libseccomp has to get over.
    pub(super) fn in_passing(
        rows: Vec<Row>,
        default: Outcome,
        width: Width,
        allowance: &mut Allowance,
    ) -> Self {
        let merging = merging_in_passing(&rows, width, allowance);
        Self { rows, default, merging, loads_anew: false }
    }

    /// Whether libseccomp's filter is sure to do what the rows say, wherever those that match agree.
    pub(crate) fn is_exact(&self) -> bool {
        self.merging == Merging::Faithful
    }

    pub(crate) fn decide(&self, arguments: &[u64; ARGUMENTS]) -> Decision {
        if !self.is_exact() {
            return self.anything();
        }
        let mut matching = self.rows.iter().filter(|row| row.matches(arguments));
        let Some(first) = matching.next() else {
            return Decision { outcome: self.default, reason: Reason::Default };
        };
        let certain = Decision { outcome: first.outcome, reason: Reason::Rule(first.rule) };
        matching.fold(certain, |decision, row| decision.or(row.outcome))
    }

    /// Decided where no condition on an unknown argument can make a difference: every rule that may match has the same
    /// outcome as what is left.
    fn decide_partly(&self, arguments: &[Option<u64>; ARGUMENTS]) -> Option<Decision> {
        if !self.is_exact() {
            return Some(self.anything());
        }
        let known = arguments.map(Option::unwrap_or_default);
        let holds = |one: &Condition| arguments[one.index].is_none() || one.holds(&known);
        let mut possible = self.rows.iter().filter(|row| row.conditions.iter().all(holds));
        let is_sure = |row: &Row| row.conditions.iter().all(|one| arguments[one.index].is_some());
        let Some(first) = possible.next() else { return Some(self.decide(&known)) };
        if possible.clone().chain([first]).all(is_sure) {
            return Some(self.decide(&known));
        }
        let certain = possible.clone().chain([first]).any(is_sure) || first.outcome == self.default;
        let same = certain && possible.all(|row| row.outcome == first.outcome);
        same.then_some(Decision { outcome: first.outcome, reason: Reason::Rule(first.rule) })
    }

    /// The span of everything that a wrongly merged tree can answer: it holds no other actions.
    fn anything(&self) -> Decision {
        let start = Decision { outcome: self.default, reason: Reason::Default };
        self.rows.iter().fold(start, |decision, row| decision.or(row.outcome))
    }
}
