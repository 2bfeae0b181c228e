//! Reads the committed table of constants.

use std::{collections::HashMap, sync::LazyLock};

use crate::Arch;

const TEXT: &str = include_str!("../../data/constants.tsv");

/// Other names of constants that have a name which people know better; they are read and never written.
const ALIASES: &[&str] =
    &["AF_LOCAL", "AF_ROUTE", "NETLINK_INET_DIAG", "O_NDELAY", "SIGIOT", "SIGPOLL", "SOCK_PACKET"];

/// The constants of all architectures, read once.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(TEXT));

pub(super) struct Table {
    columns: Vec<Constants>,
    /// The names of the columns, as the kernel names architectures.
    headings: Vec<&'static str>,
}

/// The constants of one architecture.
#[derive(Default)]
pub(super) struct Constants {
    by_name: HashMap<(&'static str, &'static str), u64>,
    /// By set and value; of several names the first in the table.
    by_value: HashMap<(&'static str, u64), &'static str>,
    /// The names of each set, those of most bits first.
    by_set: HashMap<&'static str, Vec<(u64, &'static str)>>,
}

impl Table {
    /// The constants of an architecture; of one without a column of its own the first column's, which are those of
    /// asm-generic.
    pub(super) fn of(&self, arch: Arch) -> &Constants {
        let heading = match arch {
            Arch::X86 => "x86",
            Arch::Aarch64 => "aarch64",
            Arch::Arm => "arm",
            Arch::Loongarch64 => "loongarch64",
            Arch::Mips | Arch::Mipsel => "mips",
            Arch::Mips64 | Arch::Mipsel64 | Arch::Mips64n32 | Arch::Mipsel64n32 => "mips64",
            Arch::Ppc => "powerpc",
            Arch::Ppc64 | Arch::Ppc64le => "powerpc64",
            Arch::S390 | Arch::S390x => "s390x",
            _ => "x86_64",
        };
        let at = self.headings.iter().position(|name| *name == heading).unwrap_or(0);
        &self.columns[at]
    }

    /// The text is part of the program and a test reads all of it, so what can't be read is skipped here.
    fn read(text: &'static str) -> Self {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let headings: Vec<&str> = lines.next().unwrap_or_default().split('\t').skip(2).collect();
        let mut columns: Vec<Constants> = headings.iter().map(|_| Constants::default()).collect();
        for line in lines {
            let mut cells = line.split('\t');
            let (Some(set), Some(name)) = (cells.next(), cells.next()) else { continue };
            let cells: Vec<&str> = cells.collect();
            for (at, constants) in columns.iter_mut().enumerate() {
                let cell = cells.get(at).filter(|cell| !cell.is_empty()).or(cells.first());
                if let Some(value) = cell.and_then(|cell| cell.parse().ok()) {
                    constants.add(set, name, value);
                }
            }
        }
        for set in columns.iter_mut().flat_map(|constants| constants.by_set.values_mut()) {
            set.sort_by_key(|&(value, _)| std::cmp::Reverse(value.count_ones()));
        }
        Self { columns, headings }
    }
}

impl Constants {
    fn add(&mut self, set: &'static str, name: &'static str, value: u64) {
        self.by_name.insert((set, name), value);
        if !ALIASES.contains(&name) {
            self.by_value.entry((set, value)).or_insert(name);
            self.by_set.entry(set).or_default().push((value, name));
        }
    }

    pub(super) fn value(&self, set: &'static str, name: &str) -> Option<u64> {
        self.by_name.get(&(set, name)).copied()
    }

    pub(super) fn name(&self, set: &'static str, value: u64) -> Option<&'static str> {
        self.by_value.get(&(set, value)).copied()
    }

    /// Names that together are exactly the bits, in the order of their values.
    pub(super) fn bits(&self, set: &str, bits: u64) -> Option<Vec<&'static str>> {
        let mut rest = bits;
        let mut found = Vec::new();
        for &(value, name) in self.by_set.get(set).into_iter().flatten() {
            if value != 0 && rest & value == value {
                rest &= !value;
                found.push((value, name));
            }
        }
        found.sort_unstable();
        (rest == 0).then(|| found.into_iter().map(|(_, name)| name).collect())
    }
}
