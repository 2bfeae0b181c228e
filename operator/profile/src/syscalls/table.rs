//! Reads the committed table.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::Multiplexed;
use crate::Arch;

const TEXT: &str = include_str!("../../data/syscalls.tsv");

/// The tables of all architectures, read once.
pub(super) static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables::read(TEXT));

pub(super) struct Tables {
    names: Vec<&'static str>,
    /// Each name's place in `names`. Linting a profile looks thousands of names up.
    places: FxHashMap<&'static str, usize>,
    columns: Vec<Table>,
    /// The column of each architecture, in [`Arch::ALL`]'s order.
    by_arch: [Option<usize>; Arch::ALL.len()],
}

/// The table of one architecture.
#[derive(Default)]
pub(super) struct Table {
    /// In the order of all tables' names.
    entries: Vec<Entry>,
    by_number: Vec<(u32, &'static str)>,
}

/// A call on one architecture: a number, a way through another call, or both.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) number: Option<u32>,
    pub(super) multiplexed: Option<Multiplexed>,
}

impl Tables {
    pub(super) fn of(&self, arch: Arch) -> Option<&Table> {
        self.columns.get((*self.by_arch.get(arch as usize)?)?)
    }

    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The entry of a name on an architecture, where it has one.
    pub(super) fn get(&self, arch: Arch, name: &str) -> Option<Entry> {
        let entry = *self.of(arch)?.entries.get(*self.places.get(name)?)?;
        (entry.number.is_some() || entry.multiplexed.is_some()).then_some(entry)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The text is part of the program and a test reads all of it, so what can't be read is skipped here.
    fn read(text: &'static str) -> Self {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let header = lines.next().unwrap_or_default();
        let mut by_arch = [None; Arch::ALL.len()];
        let mut columns = Vec::new();
        for heading in header.split('\t').skip(1) {
            for (place, arch) in by_arch.iter_mut().zip(Arch::ALL) {
                if heading.split(',').any(|name| name == arch.as_str()) {
                    *place = Some(columns.len());
                }
            }
            columns.push(Table::default());
        }
        let mut names = Vec::new();
        for line in lines {
            let mut cells = line.split('\t');
            let Some(name) = cells.next() else { continue };
            names.push(name);
            for (table, cell) in columns.iter_mut().zip(cells) {
                table.add(name, cell);
            }
        }
        for table in &mut columns {
            table.by_number.sort_unstable();
        }
        let places = names.iter().enumerate().map(|(place, name)| (*name, place)).collect();
        Self { names, places, columns, by_arch }
    }
}

impl Table {
    fn add(&mut self, name: &'static str, cell: &'static str) {
        let (number, through) = cell.split_once('/').unwrap_or((cell, ""));
        let number = number.parse().ok();
        let multiplexed = through
            .split_once(':')
            .and_then(|(through, argument)| Some(Multiplexed { through, argument: argument.parse().ok()? }));
        if let Some(number) = number {
            self.by_number.push((number, name));
        }
        self.entries.push(Entry { number, multiplexed });
    }

    pub(super) fn name(&self, number: u32) -> Option<&'static str> {
        let at = self.by_number.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        self.by_number.get(at).map(|&(_, name)| name)
    }

    pub(super) fn by_number(&self) -> &[(u32, &'static str)] {
        &self.by_number
    }
}
