//! Whether one profile is looser than another, and in which calls and arguments.
//!
//! Decided over all argument vectors, not samples: for each pair of outcomes, a search for arguments that both
//! profiles' rules lead to them ([`region::find`]). Where the search gives up (no honest profile comes near its
//! budget) and where a filter's own answer is contested, the answer is that A may be looser.

mod changes;
mod dispute;
mod region;
mod unknown;

pub use changes::{ArchChange, CallChange, Change, Changes, FieldChange, changes, changes_from, changes_on};
pub(crate) use changes::{changes_from_evaluators, differs};
pub use dispute::{Dispute, DisputeCause, disputes};
pub use unknown::{NameChange, looser_unknown};

pub(crate) use dispute::{call_name, dispute, disputes_in};

pub(crate) use crate::evaluate::Answer;
pub use crate::evaluate::Budget;

use region::{Region, find};

use std::{collections::BTreeSet, fmt};

use crate::{
    Arch, Profile,
    evaluate::{
        ARGUMENTS, Condition, Decision, Entry, Evaluator, Group, Outcome, Reason, Refusal, Runtime, Table,
        UNLISTED, X32_BIT, width,
    },
    syscalls,
};

/// In which respect one profile is looser than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It lets a call, or an argument, get further: from denied over delegated to permitted
    /// ([`crate::evaluate::Passage`]). `LOG` lets a call through as `ALLOW` does, and one kind of denial is as good as another. This
    /// decides whether a profile is a way round the runtime's default.
    Passage,
    /// Any action is less strict ([`Outcome::strictness`]), so that `LOG` is stricter than `ALLOW` and `KILL` than `ERRNO`. This is
    /// for showing differences.
    Strictness,
    /// Any other outcome, an errno among them. This is whether two profiles are the same, not which is looser.
    Outcome,
}

impl Relation {
    /// Whether an outcome is looser than another.
    #[must_use]
    pub fn is_looser(self, one: Outcome, other: Outcome) -> bool {
        match self {
            Self::Passage => one.passage() > other.passage(),
            Self::Strictness => one.strictness() < other.strictness(),
            Self::Outcome => one != other,
        }
    }
}

/// A call and arguments with which A is looser than B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The architecture of the call.
    pub arch: Arch,
    /// Its number there.
    pub number: u32,
    /// Its name, where it has one.
    pub name: Option<&'static str>,
    /// What A does.
    pub mine: Outcome,
    /// What B does.
    pub theirs: Outcome,
    /// For which arguments, in words: `arg0 == 40`.
    pub condition: String,
    /// The same with the names of well-known arguments and values: `domain is AF_VSOCK`.
    pub in_words: String,
    /// Arguments that prove it; `None` where the search was too hard.
    pub arguments: Option<[u64; ARGUMENTS]>,
    /// Whether both filters are sure to do so. Otherwise one of them may: see
    /// [`crate::evaluate::Reason::Contested`].
    pub certain: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "call {}", self.number)?,
        }
        let may = if self.certain { "" } else { "perhaps " };
        write!(f, " on {} with {}: {may}{} instead of {}", self.arch, self.condition, self.mine, self.theirs)
    }
}

/// Lists in what profile A is looser than profile B, on nodes of an architecture. Empty: A is nowhere looser.
///
/// Calls through every architecture that a node of that kind can run count ([`reachable`]), listed by the profiles
/// or not: a call of an unlisted one is killed.
///
/// # Errors
/// Where the runtime doesn't start a container with one of the profiles.
pub fn looser(
    a: &Profile,
    b: &Profile,
    runtime: Runtime,
    native: Arch,
    relation: Relation,
) -> Result<Vec<Difference>, Refusal> {
    let (a, b) = (Evaluator::new(a, runtime, native)?, Evaluator::new(b, runtime, native)?);
    Ok(compare(&a, &b, native, relation))
}

/// [`looser`], for profiles that are compiled already.
#[must_use]
pub fn compare(a: &Evaluator, b: &Evaluator, native: Arch, relation: Relation) -> Vec<Difference> {
    compare_within(a, b, native, relation, &Budget::patient())
}

/// [`compare`], for at most so much work. What is too hard to say counts as looser.
#[must_use]
pub fn compare_within(
    a: &Evaluator,
    b: &Evaluator,
    native: Arch,
    relation: Relation,
    budget: &Budget,
) -> Vec<Difference> {
    let mut comparison = Comparison { relation, budget, found: Vec::new() };
    for &arch in reachable(native) {
        for number in numbers(a, b, arch) {
            comparison.add(&a.side(arch, number), &b.side(arch, number), arch, number);
        }
    }
    comparison.found
}

/// The architectures whose calls a process on a node can make.
///
/// Source: `CONFIG_IA32_EMULATION`, `CONFIG_X86_X32_ABI` and `CONFIG_COMPAT` in Linux' `arch/*/Kconfig`.
#[must_use]
pub const fn reachable(native: Arch) -> &'static [Arch] {
    match native {
        Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
        Arch::X86 => &[Arch::X86],
        Arch::X32 => &[Arch::X32, Arch::X86_64, Arch::X86],
        Arch::Arm => &[Arch::Arm],
        Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
        Arch::Mips => &[Arch::Mips],
        Arch::Mips64 | Arch::Mips64n32 => &[Arch::Mips64, Arch::Mips64n32, Arch::Mips],
        Arch::Mipsel => &[Arch::Mipsel],
        Arch::Mipsel64 | Arch::Mipsel64n32 => &[Arch::Mipsel64, Arch::Mipsel64n32, Arch::Mipsel],
        Arch::Ppc => &[Arch::Ppc],
        Arch::Ppc64 => &[Arch::Ppc64, Arch::Ppc],
        Arch::Ppc64le => &[Arch::Ppc64le],
        Arch::S390 => &[Arch::S390],
        Arch::S390x => &[Arch::S390x, Arch::S390],
        Arch::Parisc => &[Arch::Parisc],
        Arch::Parisc64 => &[Arch::Parisc64, Arch::Parisc],
        Arch::Riscv64 => &[Arch::Riscv64],
        Arch::Loongarch64 => &[Arch::Loongarch64],
        Arch::M68k => &[Arch::M68k],
        Arch::Sh => &[Arch::Sh],
        Arch::Sheb => &[Arch::Sheb],
    }
}

/// Every number that has a name or a rule, and for all others one of each stretch in which neither filter tells them apart.
pub(crate) fn numbers(a: &Evaluator, b: &Evaluator, arch: Arch) -> BTreeSet<u32> {
    let mut known: BTreeSet<u32> = syscalls::calls(arch)
        .into_iter()
        .flatten()
        .map(|(_, number)| if arch == Arch::X32 { number & !X32_BIT } else { number })
        .collect();
    let mut starts = vec![0];
    for table in [a, b].into_iter().filter_map(|evaluator| evaluator.table(arch)) {
        known.extend(table.numbers());
        starts.extend(table.starts());
    }
    let others: Vec<u32> = starts
        .into_iter()
        .filter_map(|start| (start..u32::MAX).find(|number| !known.contains(number)))
        .collect();
    known.extend(others);
    known
}

/// One filter's way with one call.
pub(crate) enum Side<'a> {
    Always(Decision),
    Depends(&'a Group),
}

impl Evaluator {
    /// `number` is without x32's bit.
    pub(crate) fn side(&self, arch: Arch, number: u32) -> Side<'_> {
        self.table(arch).map_or(Side::UNLISTED, |table| Side::of(table, number))
    }
}

/// An outcome that a filter can have, and where: arguments that meet `within` and none of `outside`.
pub(crate) struct Case<'a> {
    pub(crate) outcome: Outcome,
    /// The index of the rule, where one decides.
    pub(crate) rule: Option<usize>,
    within: &'a [Condition],
    outside: Vec<&'a [Condition]>,
}

impl<'a> Side<'a> {
    /// That of a filter without the architecture.
    pub(crate) const UNLISTED: Self = Self::Always(UNLISTED);

    /// `number` is without x32's bit.
    pub(crate) fn of(table: &'a Table, number: u32) -> Self {
        match table.entry(number) {
            Ok(Entry::Always(decision)) => Self::Always(*decision),
            Ok(Entry::Depends(group)) => Self::Depends(group),
            Err(decision) => Self::Always(decision),
        }
    }

    /// Every case. An inexact group can answer anything it holds to any arguments.
    pub(crate) fn cases(&self) -> Vec<Case<'a>> {
        let everywhere = |outcome, rule| Case { outcome, rule, within: &[], outside: Vec::new() };
        match self {
            Self::Always(decision) => {
                let rule = match decision.reason {
                    Reason::Rule(rule) => Some(rule),
                    _ => None,
                };
                vec![everywhere(decision.outcome, rule)]
            }
            Self::Depends(group) => {
                let rows = group.rows.iter();
                let mut cases: Vec<Case<'a>> = rows
                    .clone()
                    .map(|row| Case {
                        within: if group.is_exact() { &row.conditions } else { &[] },
                        ..everywhere(row.outcome, Some(row.rule))
                    })
                    .collect();
                let mut default = everywhere(group.default, None);
                if group.is_exact() {
                    default.outside = rows.map(|row| &row.conditions[..]).collect();
                }
                cases.push(default);
                cases
            }
        }
    }

    /// What it does with some arguments.
    fn decide(&self, arguments: &[u64; ARGUMENTS]) -> Decision {
        match self {
            Self::Always(decision) => *decision,
            Self::Depends(group) => group.decide(arguments),
        }
    }
}

/// Arguments that lead to all of some cases.
pub(crate) fn meet(cases: &[&Case<'_>], arch: Arch, budget: &Budget) -> Answer<Region> {
    let within: Vec<&[Condition]> = cases.iter().map(|case| case.within).collect();
    let outside: Vec<&[Condition]> = cases.iter().flat_map(|case| case.outside.iter().copied()).collect();
    find(&within, &outside, width(arch), budget)
}

/// [`meet`], with some arguments of exactly these values, by index.
pub(crate) fn meet_arguments(
    cases: &[&Case<'_>],
    arguments: &[(usize, u64)],
    arch: Arch,
    budget: &Budget,
) -> Answer<Region> {
    let exactly: Vec<Condition> =
        arguments.iter().map(|&(index, value)| Condition::equal(index, value)).collect();
    let these = Case { outcome: UNLISTED.outcome, rule: None, within: &exactly, outside: Vec::new() };
    meet(&[cases, &[&these]].concat(), arch, budget)
}

/// No condition.
const ANY: &str = "any arguments";
/// A condition whose search was given up.
const TOO_HARD: &str = "arguments that are too hard to find";

struct Comparison<'b> {
    relation: Relation,
    budget: &'b Budget,
    found: Vec<Difference>,
}

impl Comparison<'_> {
    /// Compares one call.
    fn add(&mut self, a: &Side<'_>, b: &Side<'_>, arch: Arch, number: u32) {
        let theirs = b.cases();
        for mine in a.cases() {
            for theirs in theirs.iter().filter(|theirs| self.relation.is_looser(mine.outcome, theirs.outcome))
            {
                let listed = if arch == Arch::X32 { number | X32_BIT } else { number };
                let name = syscalls::name(arch, listed);
                let (condition, in_words, arguments, certain) =
                    match meet(&[&mine, theirs], arch, self.budget) {
                        Answer::Nothing => continue,
                        Answer::TooHard => (TOO_HARD.to_owned(), TOO_HARD.to_owned(), None, false),
                        Answer::Found(region) => {
                            let certain =
                                [a, b].iter().all(|side| !side.decide(&region.witness).is_contested());
                            let rest = [&mine, theirs].iter().any(|case| !case.outside.is_empty());
                            let words = match region.in_words(arch, name.unwrap_or_default()) {
                                None if rest => "arguments that no rule names".to_owned(),
                                None => ANY.to_owned(),
                                Some(words) => words,
                            };
                            (region.to_string(), words, Some(region.witness), certain)
                        }
                    };
                let difference = Difference {
                    arch,
                    number: listed,
                    name,
                    mine: mine.outcome,
                    theirs: theirs.outcome,
                    condition,
                    in_words,
                    arguments,
                    certain,
                };
                if !self.found.contains(&difference) {
                    self.found.push(difference);
                }
            }
        }
    }
}
