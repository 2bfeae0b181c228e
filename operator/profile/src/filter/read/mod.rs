//! What programs do with every call there is, along all of their paths.
//!
//! A program is made a graph of questions about words ([`graph`]), which is cut down to one architecture and one number at a time
//! ([`numbers`]); what is left asks for arguments, word by word, and becomes rules whose conditions ask for whole arguments, as
//! profiles do ([`rows`]). So the reading is a compiled profile, and is evaluated and compared as one. Nothing is sampled. Work and
//! memory are bounded: what a hostile program makes too much of is said to be so.

mod cells;
mod expression;
mod graph;
mod numbers;
mod paths;
mod rows;

use std::{collections::BTreeSet, fmt};

use rustc_hash::FxHashMap;

use self::{expression::Known, graph::Graph, numbers::Stretch, rows::Layout};
use super::{Program, audit_architecture, outcome};
use crate::{
    Action, Arch,
    compare::{call_name, reachable},
    evaluate::{Budget, Entry, Evaluator, Outcome, Table, Width, X32_BIT, is_big_endian, width},
    syscalls,
};

/// A program that takes more work, or more memory, to read than any that a container runtime makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the program is too complex to be read: it has more ways, or asks more questions, than are looked at here; what it does with one call can still be run"
)]
pub struct TooComplex;

/// Why what a filter does with a call can't be said as conditions on arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unsaid {
    /// It asks where in memory the call is made from.
    InstructionPointer,
    /// It asks for what it computes of arguments, or compares two with each other.
    Arithmetic,
    /// It returns what it computes.
    ComputedReturn,
    /// It asks for high words of arguments that no filter made of a profile sees on the architecture.
    HighWords,
    /// It asks for single bits of the call's number.
    NumberBits,
    /// There are too many conditions.
    TooMany,
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InstructionPointer => {
                "asks for the address that the call is made from, which no profile can"
            }
            Self::Arithmetic => {
                "computes with arguments, or compares two with each other, which no profile can"
            }
            Self::ComputedReturn => "returns a value that it computes, so that the action depends on data",
            Self::HighWords => {
                "asks for the high words of arguments, which filters made of profiles don't see there"
            }
            Self::NumberBits => "asks for single bits of the call's number",
            Self::TooMany => "has more conditions on arguments than are looked at here",
        })
    }
}

/// Calls with which it can't be said exactly what a filter does; one of several things, then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The architecture of the calls.
    pub arch: Arch,
    /// The first call: its name, or its number.
    pub call: String,
    /// Why.
    pub what: Unsaid,
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: the filter {}", self.call, self.arch, self.what)
    }
}

/// What a task's filters do together, with every call through every architecture that its machine runs.
///
/// Numbers from 2^31 on are left out: the kernel makes no call of a negative number, whatever a filter says.
#[derive(Clone, Debug)]
pub struct Reading {
    native: Arch,
    evaluator: Evaluator,
    reservations: Vec<Reservation>,
}

/// x32's bit is the last one below the sign.
const LAST: u32 = i32::MAX as u32;

impl Reading {
    /// Reads a task's filters, the oldest first, on a machine of an architecture.
    ///
    /// # Errors
    /// Where that takes more than the budget, or there is no filter.
    pub fn of(filters: &[Program], native: Arch, budget: &Budget) -> Result<Self, TooComplex> {
        let mut graph = Graph::new(budget);
        let mut roots = Vec::with_capacity(filters.len());
        for filter in filters {
            roots.push(graph.start(filter)?);
        }
        let mut reading =
            Self { native, evaluator: Evaluator::of_tables(Vec::new()), reservations: Vec::new() };
        let mut tables = Vec::new();
        for &arch in reachable(native) {
            let table = reading.table(&mut graph, &roots, arch)?;
            // Calls of the machine's own architecture are nobody's mistake.
            if arch == native || !is_unlisted(&table) {
                tables.push((arch, table));
            }
        }
        reading.evaluator = Evaluator::of_tables(tables);
        Ok(reading)
    }

    fn table(
        &mut self,
        graph: &mut Graph<'_>,
        roots: &[graph::NodeId],
        arch: Arch,
    ) -> Result<Table, TooComplex> {
        let layout = Layout {
            width: width(arch),
            big_endian: is_big_endian(arch),
            hides_high_words: has_long_registers(arch),
        };
        let mut known = Known::arch(audit_architecture(arch));
        if layout.width == Width::Bits32 && !layout.hides_high_words {
            // The kernel gives such calls' arguments as 32 bits.
            known = known.with_zero(layout.high_words());
        }
        let mut own = Vec::with_capacity(roots.len());
        for &root in roots {
            own.push(graph.fix(root, &known)?);
        }
        let range = match arch {
            Arch::X86_64 => (0, X32_BIT - 1),
            Arch::X32 => (X32_BIT, LAST),
            _ => (0, LAST),
        };
        let named = || syscalls::calls(arch).into_iter().flatten().map(|(_, number)| number);
        let stretches = graph.stretches(&own, range, named())?;
        let usual = between_names(named())
            .and_then(|number| stretches.iter().rev().find(|stretch| stretch.from <= number))
            .and_then(|stretch| graph.returned(stretch.node))
            .map(outcome);
        let mut entries: FxHashMap<(graph::NodeId, bool), (Entry, Option<Unsaid>)> = FxHashMap::default();
        let mut all = Vec::with_capacity(stretches.len());
        for Stretch { from, node, is_even } in stretches {
            let from = if arch == Arch::X32 { from & !X32_BIT } else { from };
            let (entry, unsaid) = match entries.get(&(node, is_even)) {
                Some(known) => known.clone(),
                None => {
                    let made = graph.entry(node, layout, is_even, usual)?;
                    entries.insert((node, is_even), made.clone());
                    made
                }
            };
            if let Some(what) = unsaid {
                self.reservations.push(Reservation { arch, call: call_name(arch, from), what });
            }
            all.push((from, entry));
        }
        Ok(Table::of_stretches(all))
    }

    /// What the filters do, as a compiled profile.
    #[must_use]
    pub const fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// The architecture of the machine.
    #[must_use]
    pub const fn native(&self) -> Arch {
        self.native
    }

    /// The calls of which it can't be said exactly what the filters do with them.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }
}

/// A number without a name between some that have one: what a filter does with that is what it does by default. Where there is none, that
/// of no call.
pub(super) fn between_names(named: impl Iterator<Item = u32>) -> Option<u32> {
    let named: BTreeSet<u32> = named.collect();
    let (first, last) = (*named.first()?, *named.last()?);
    Some((first..last).find(|number| !named.contains(number)).unwrap_or(last.saturating_add(1)))
}

/// Whether a table does what a filter does with the calls of an architecture that its profile doesn't list.
fn is_unlisted(table: &Table) -> bool {
    let kills = Outcome::new(Action::KillThread, None);
    table.stretches().all(|(_, entry)| matches!(entry, Entry::Always(decision) if decision.outcome == kills))
}

/// Whether programs with 32-bit pointers have 64-bit registers there, so that the high words of arguments may be anything.
///
/// Source: `syscall_get_arguments` in Linux' arch/x86/include/asm/syscall.h and arch/mips/include/asm/syscall.h.
const fn has_long_registers(arch: Arch) -> bool {
    matches!(arch, Arch::X32 | Arch::Mips64n32 | Arch::Mipsel64n32)
}

#[cfg(test)]
mod tests;
