//! What a container's filter does with a call: `(architecture, call, arguments) -> outcome`.
//!
//! A runtime hands the rules to libseccomp, which compiles one program for all architectures. This module answers
//! as that program does. Where the sources named at each rule leave no doubt, the answer is exact; where
//! libseccomp's answer depends on the order and shape of its internal tree ([`Reason::Contested`]), it is the span
//! of what it can be: rules with different outcomes that match the same arguments, and rules that libseccomp merges
//! wrongly. `tests/libseccomp.rs` compares with libseccomp's programs, `tests/kernel.rs` with a kernel.

mod arch;
mod condition;
mod merge;
mod misload;
mod outcome;
mod refusal;
mod row;
mod shared;
mod solve;
mod table;

pub use outcome::{Outcome, Passage};
pub use refusal::Refusal;
pub use solve::Budget;

pub(crate) use arch::{X32_BIT, is_big_endian, width};
pub(crate) use condition::{Number, Test, Width};
pub(crate) use merge::Merging;
pub(crate) use refusal::{check_everywhere, written_rules};
pub use row::ARGUMENTS;

pub(crate) use row::{Condition, Entry, Group, Row, alternatives};
pub(crate) use solve::{Answer, value};
pub(crate) use table::Table;

use crate::{Action, Arch, Profile, syscalls};

/// A container runtime's way with a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// runc, 1.3 and later.
    Runc,
    /// crun.
    Crun,
}

/// What happens to a call, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens. Where the reason is [`Reason::Contested`], the least strict of what can happen.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
}

/// Why an outcome is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No rule matches.
    Default,
    /// A rule matches: its index in `syscalls`.
    Rule(usize),
    /// The profile doesn't list the architecture: libseccomp kills the thread, whatever the default.
    ///
    /// Source: `SCMP_FLTATR_ACT_BADARCH`, seccomp_attr_set(3).
    UnlistedArchitecture,
    /// The number is above every call that the profile names, and runc puts `ENOSYS` before the filter.
    EnosysStub,
    /// Which rule decides depends on details of libseccomp and its version.
    Contested {
        /// The strictest of what can happen.
        strictest: Outcome,
    },
}

impl Decision {
    /// The strictest of what can happen.
    #[must_use]
    pub const fn strictest(&self) -> Outcome {
        match self.reason {
            Reason::Contested { strictest } => strictest,
            _ => self.outcome,
        }
    }

    /// Whether more than one thing can happen.
    #[must_use]
    pub const fn is_contested(&self) -> bool {
        matches!(self.reason, Reason::Contested { .. })
    }

    /// Either this or another outcome.
    fn or(self, other: Outcome) -> Self {
        if self.outcome == other && !self.is_contested() {
            return self;
        }
        let strictest = self.strictest();
        let (loosest, strictest) = (
            if other.strictness() < self.outcome.strictness() { other } else { self.outcome },
            if other.strictness() > strictest.strictness() { other } else { strictest },
        );
        Self { outcome: loosest, reason: Reason::Contested { strictest } }
    }
}

/// Compiles a profile for some architectures, which one program filters together.
pub(crate) fn tables(profile: &Profile, runtime: Runtime, arches: &[Arch]) -> Vec<(Arch, Table)> {
    let mut tables: Vec<_> = arches.iter().map(|&arch| (arch, Table::new(profile, runtime, arch))).collect();
    shared::doubt(&mut tables);
    misload::distrust(&mut tables, profile);
    tables
}

/// A profile, compiled for the architectures that it filters.
#[derive(Clone, Debug)]
pub struct Evaluator {
    tables: Vec<(Arch, Table)>,
    default: Outcome,
}

/// What happens to the calls of an architecture that isn't listed.
pub(crate) const UNLISTED: Decision =
    Decision { outcome: Outcome::new(Action::KillThread, None), reason: Reason::UnlistedArchitecture };

impl Evaluator {
    /// Compiles a profile as a runtime does on a node of an architecture, which is filtered whether the profile
    /// lists it or not.
    ///
    /// Source: `seccomp_init` in libseccomp's `src/api.c` starts a filter with the native architecture.
    ///
    /// # Errors
    /// Where the runtime doesn't start a container with the profile.
    pub fn new(profile: &Profile, runtime: Runtime, native: Arch) -> Result<Self, Refusal> {
        refusal::check(profile, runtime, native)?;
        let mut arches = vec![native];
        for &arch in &profile.architectures {
            if !arches.contains(&arch) {
                arches.push(arch);
            }
        }
        let tables = tables(profile, runtime, &arches);
        Ok(Self { tables, default: Outcome::of_default(profile) })
    }

    /// What was made of a program instead of a profile.
    pub(crate) const fn of_tables(tables: Vec<(Arch, Table)>) -> Self {
        Self { tables, default: UNLISTED.outcome }
    }

    /// What happens to a call by number. A number of x86-64 with bit 30 is x32's call, as in the kernel; x32's own
    /// numbers may come with or without it. On 32-bit architectures the low words of the arguments count.
    #[must_use]
    pub fn evaluate(&self, arch: Arch, number: u32, arguments: [u64; ARGUMENTS]) -> Decision {
        let (arch, number) = normalised(arch, number);
        let Some(table) = self.table(arch) else { return self.without_table(arch, number) };
        let max = width(arch).max();
        table.decide(number & !table::bit(arch), &arguments.map(|argument| argument & max))
    }

    /// What happens to a call of which some arguments aren't known; `None` where it depends on them.
    #[must_use]
    pub fn evaluate_partly(
        &self,
        arch: Arch,
        number: u32,
        arguments: [Option<u64>; ARGUMENTS],
    ) -> Option<Decision> {
        let (arch, number) = normalised(arch, number);
        let Some(table) = self.table(arch) else { return Some(self.without_table(arch, number)) };
        let max = width(arch).max();
        match table.entry(number & !table::bit(arch)) {
            Ok(entry) => entry.decide_partly(&arguments.map(|argument| argument.map(|value| value & max))),
            Err(decision) => Some(decision),
        }
    }

    #[cold]
    fn without_table(&self, arch: Arch, number: u32) -> Decision {
        // A tracer skips a call by the number -1, which libseccomp therefore doesn't take for x32's.
        match (arch, number, self.table(Arch::X86_64)) {
            (Arch::X32, u32::MAX, Some(_)) => Decision { outcome: self.default, reason: Reason::Default },
            _ => UNLISTED,
        }
    }

    /// What happens to a call by name; `None` where the architecture has no number for it.
    #[must_use]
    pub fn evaluate_name(&self, arch: Arch, name: &str, arguments: [u64; ARGUMENTS]) -> Option<Decision> {
        syscalls::number(arch, name).map(|number| self.evaluate(arch, number, arguments))
    }

    /// The architectures that are filtered, the native one first; calls of any other one are killed.
    pub fn architectures(&self) -> impl Iterator<Item = Arch> {
        self.tables.iter().map(|(arch, _)| *arch)
    }

    pub(crate) fn table(&self, arch: Arch) -> Option<&Table> {
        self.tables.iter().find(|(one, _)| *one == arch).map(|(_, table)| table)
    }
}

/// The architecture that the kernel takes a call for, and its number there.
const fn normalised(arch: Arch, number: u32) -> (Arch, u32) {
    match arch {
        Arch::X86_64 if number & X32_BIT != 0 => (Arch::X32, number),
        Arch::X32 => (arch, number | X32_BIT),
        _ => (arch, number),
    }
}
