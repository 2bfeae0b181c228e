//! The rules of one system call, as a runtime hands them to libseccomp and libseccomp merges them.

use super::{
    Decision, Outcome, Reason, Runtime,
    condition::{Test, Width},
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
    /// The high word of the value compared with; libseccomp compares the words one by one.
    pub(crate) high: u32,
}

impl Condition {
    pub(crate) const fn new(arg: &Arg, width: Width) -> Self {
        let compared = match arg.op {
            Operator::MaskedEq => arg.value & arg.value_two,
            _ => arg.value,
        } & width.max();
        Self {
            index: arg.index as usize,
            op: arg.op,
            test: Test::of(arg, width),
            high: (compared >> 32) as u32,
        }
    }

    pub(crate) const fn holds(&self, arguments: &[u64; ARGUMENTS]) -> bool {
        self.test.holds(arguments[self.index])
    }
}

/// One rule for one call: the outcome where all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Whether the row's conditions, in the order of the arguments, are the first of another's, or all of them: its way through
    /// libseccomp's tree ends on the other's.
    pub(crate) fn is_beginning_of(&self, other: &Self) -> bool {
        let (one, other) = (self.by_argument(), other.by_argument());
        // Where an argument has no condition, none of a later one may come before it in the other's order.
        let last = one.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        one[..last] == other[..last]
    }

    /// The conditions in the order of the arguments; an index is in a row's conditions once at most.
    fn by_argument(&self) -> [Option<&Condition>; ARGUMENTS] {
        let mut conditions = [None; ARGUMENTS];
        for condition in &self.conditions {
            conditions[condition.index] = Some(condition);
        }
        conditions
    }

    /// Whether libseccomp may loop for ever when it merges this row into another's tree. Every two rows with which 2.5.4 was seen to do
    /// so have a comparison in common that has several branches, though not every two that have loop.
    pub(crate) fn may_loop_with(&self, other: &Self) -> bool {
        self.conditions.iter().any(|one| !one.test.is_bits() && other.conditions.contains(one))
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
    /// Whether libseccomp's filter is sure to do what the rows say; see [`merges_exactly`].
    pub(crate) exact: bool,
}

impl Entry {
    /// Per call the first unconditional rule wins, before or after conditional ones. Those before it are given too: libseccomp has
    /// merged them by then, and may have refused to.
    ///
    /// Source: `db_rule_add` in libseccomp's `src/db.c`.
    pub(crate) fn new(mut rows: Vec<Row>, default: Outcome) -> (Self, Option<Group>) {
        let Some(at) = rows.iter().position(|row| row.conditions.is_empty()) else {
            return (Self::Depends(Group::new(rows, default)), None);
        };
        let first = &rows[at];
        let decision = Decision { outcome: first.outcome, reason: Reason::Rule(first.rule) };
        rows.truncate(at);
        (Self::Always(decision), (at > 1).then(|| Group::new(rows, default)))
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
    fn new(rows: Vec<Row>, default: Outcome) -> Self {
        let exact = merges_exactly(&rows);
        Self { rows, default, exact }
    }

    pub(crate) fn decide(&self, arguments: &[u64; ARGUMENTS]) -> Decision {
        if !self.exact {
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
        if !self.exact {
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

/// Whether libseccomp (2.5.4 to 2.6.1) makes of these rules a filter that does what they say, wherever the rules
/// that match agree.
///
/// libseccomp merges the conditional rules of a call into one tree of comparisons of 32-bit words. A rule with an
/// ordered comparison or `NE` shares parts of that tree among several branches, and a later rule merged into one
/// branch is then reached from the others: `a0 != 5 && a1 == 1` with `a0 != 7 && a1 == 2` lets `a0 = 5, a1 = 1`
/// through. Ordered comparisons with different high words go wrong too (GHSA-4q85-33p6-j5g6 is one such case).
/// No filter goes wrong that has one rule; or only `EQ` and `MASKED_EQ`; or one condition in each rule and, for
/// each argument with another operator, one high word. `tests/libseccomp.rs` holds this.
pub(crate) fn merges_exactly(rows: &[Row]) -> bool {
    let conditions = || rows.iter().flat_map(|row| &row.conditions);
    if rows.len() == 1 || conditions().all(|condition| condition.test.is_bits()) {
        return true;
    }
    rows.iter().all(|row| row.conditions.len() == 1)
        && (0..ARGUMENTS).all(|index| {
            let mut of_argument = conditions().filter(|condition| condition.index == index);
            let high = of_argument.clone().next().map(|first| first.high);
            of_argument.clone().all(|one| one.test.is_bits()) || of_argument.all(|one| Some(one.high) == high)
        })
}
