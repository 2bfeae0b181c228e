//! Names and numbers of system calls, for each architecture.
//!
//! The table is `data/syscalls.tsv`; its sources and how to make it anew stand in `data/README.md`. Names are
//! libseccomp's, because runc, crun and youki resolve the names of a profile with libseccomp.

mod siblings;
mod suggest;
mod table;

pub(crate) use siblings::{families, replaced};
pub use suggest::{glued, renamed, suggest};

use crate::Arch;
use table::TABLES;

/// A call that an architecture makes through another one: `socketcall` or `ipc`, with a number as first
/// argument. libseccomp filters both ways wherever it knows both (socketcall(2), ipc(2), and
/// libseccomp's `abi_rule_add` in `src/syscalls.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplexed {
    /// The call that is made: `socketcall` or `ipc`.
    pub through: &'static str,
    /// Its first argument.
    pub argument: u32,
}

/// What a name is on an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The architecture has the call: its number, or a way through another call, or both.
    Known {
        /// The number in the architecture's table; x32's carry bit 30.
        number: Option<u32>,
        /// The way through another call.
        multiplexed: Option<Multiplexed>,
    },
    /// Only other architectures have it.
    Elsewhere,
    /// No table has it.
    Unknown,
    /// There is no table for the architecture, so nothing can be said.
    NoTable,
}

/// Looks a name up on an architecture, and says why where nothing is found.
#[must_use]
pub fn lookup(arch: Arch, name: &str) -> Lookup {
    if !has_table(arch) {
        return Lookup::NoTable;
    }
    match TABLES.get(arch, name) {
        Some(entry) => Lookup::Known { number: entry.number, multiplexed: entry.multiplexed },
        None if is_known_anywhere(name) => Lookup::Elsewhere,
        None => Lookup::Unknown,
    }
}

/// The number of a call, where the architecture has a table and the call a number of its own there.
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    TABLES.get(arch, name)?.number
}

/// The call that a number stands for, where the architecture has a table and the table the number.
#[must_use]
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    TABLES.of(arch)?.name(number)
}

/// How the architecture makes a call through `socketcall` or `ipc`, if it does.
#[must_use]
pub fn multiplexed(arch: Arch, name: &str) -> Option<Multiplexed> {
    TABLES.get(arch, name)?.multiplexed
}

/// Whether there is a table for the architecture. M68k and SuperH have none.
#[must_use]
pub fn has_table(arch: Arch) -> bool {
    TABLES.of(arch).is_some()
}

/// Whether any architecture's table has the name.
#[must_use]
pub fn is_known_anywhere(name: &str) -> bool {
    TABLES.has(name)
}

/// Every name of every table, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLES.names().iter().copied()
}

/// Every numbered call of an architecture, by number; `None` where there is no table.
#[must_use]
pub fn calls(arch: Arch) -> Option<impl Iterator<Item = (&'static str, u32)>> {
    TABLES.of(arch).map(|table| table.by_number().iter().map(|&(number, name)| (name, number)))
}

/// The architectures that have a call, in [`Arch::ALL`]'s order.
pub fn architectures_of(name: &str) -> impl Iterator<Item = Arch> {
    Arch::ALL.iter().copied().filter(move |&arch| matches!(lookup(arch, name), Lookup::Known { .. }))
}

#[cfg(test)]
mod tests;
