//! Builds `data/syscalls.tsv` from libseccomp and two crates.
//!
//! Runtimes resolve the names of a profile with libseccomp, so its names win. It is often older than the
//! kernel, so the calls whose numbers it doesn't know yet come from the crates `syscalls` and `syscall-numbers`.

use std::collections::{BTreeMap, BTreeSet};

use libseccomp::{ScmpArch, ScmpSyscall};
use portcullis_profile::Arch;

/// The versions that the committed table was made from; libseccomp's is what `ScmpVersion::current` says.
pub(crate) const SOURCES: &str = "libseccomp 2.5.4 (Debian 2.5.4-1+deb12u1), syscalls 0.8.1 (Linux 6.18), syscall-numbers 4.0.3 (Linux 6.19)";

/// A column of the table: the architectures that share it, and where it comes from.
pub(crate) struct Column {
    /// The architectures, of which the first names the column.
    pub(crate) arches: &'static [Arch],
    /// libseccomp's name of the first, where it has a table.
    pub(crate) libseccomp: Option<ScmpArch>,
    /// Names and numbers of the crates, for what libseccomp doesn't know; the first that knows a number wins.
    pub(crate) newer: &'static [fn() -> BTreeMap<u32, String>],
}

macro_rules! syscalls_crate {
    ($module:ident) => {
        || {
            use syscalls::$module::Sysno;
            // The crate's iterator leaves out the last one, and raw identifiers keep their prefix.
            Sysno::iter()
                .chain([Sysno::last()])
                .map(|call| (call.id() as u32, call.name().trim_start_matches("r#").to_owned()))
                .collect()
        }
    };
}

macro_rules! syscall_numbers_crate {
    ($module:ident, $base:literal) => {
        || {
            ($base..$base + 1024)
                .filter_map(|number| {
                    let name = syscall_numbers::$module::sys_call_name(number)?;
                    Some((u32::try_from(number).expect("a base plus 1024"), name.to_owned()))
                })
                .collect()
        }
    };
}

/// Every column, in the table's order.
///
/// `syscalls` 0.8.1 gives aarch64 and loongarch64 the 64-bit time calls of 32-bit architectures, which their
/// kernels don't have, and has no x32; there `syscall-numbers` is used.
pub(crate) const COLUMNS: &[Column] = &[
    Column {
        arches: &[Arch::X86_64],
        libseccomp: Some(ScmpArch::X8664),
        newer: &[syscalls_crate!(x86_64), syscall_numbers_crate!(x86_64, 0)],
    },
    Column {
        arches: &[Arch::X86],
        libseccomp: Some(ScmpArch::X86),
        newer: &[syscalls_crate!(x86), syscall_numbers_crate!(x86, 0)],
    },
    Column {
        arches: &[Arch::X32],
        libseccomp: Some(ScmpArch::X32),
        newer: &[syscall_numbers_crate!(x32, 0x4000_0000)],
    },
    Column {
        arches: &[Arch::Aarch64],
        libseccomp: Some(ScmpArch::Aarch64),
        newer: &[syscall_numbers_crate!(aarch64, 0)],
    },
    Column {
        arches: &[Arch::Arm],
        libseccomp: Some(ScmpArch::Arm),
        newer: &[syscalls_crate!(arm), syscall_numbers_crate!(arm, 0)],
    },
    Column {
        arches: &[Arch::Riscv64],
        libseccomp: Some(ScmpArch::Riscv64),
        newer: &[syscalls_crate!(riscv64), syscall_numbers_crate!(riscv64, 0)],
    },
    Column {
        arches: &[Arch::Loongarch64],
        libseccomp: None,
        newer: &[syscall_numbers_crate!(loongarch64, 0)],
    },
    Column {
        arches: &[Arch::Ppc64le, Arch::Ppc64],
        libseccomp: Some(ScmpArch::Ppc64Le),
        newer: &[syscalls_crate!(powerpc64), syscall_numbers_crate!(powerpc64, 0)],
    },
    Column {
        arches: &[Arch::Ppc],
        libseccomp: Some(ScmpArch::Ppc),
        newer: &[syscalls_crate!(powerpc), syscall_numbers_crate!(powerpc, 0)],
    },
    Column {
        arches: &[Arch::S390x],
        libseccomp: Some(ScmpArch::S390X),
        newer: &[syscalls_crate!(s390x), syscall_numbers_crate!(s390x, 0)],
    },
    Column { arches: &[Arch::S390], libseccomp: Some(ScmpArch::S390), newer: &[] },
    Column {
        arches: &[Arch::Mips, Arch::Mipsel],
        libseccomp: Some(ScmpArch::Mips),
        newer: &[syscalls_crate!(mips), syscall_numbers_crate!(mips, 4000)],
    },
    Column {
        arches: &[Arch::Mips64, Arch::Mipsel64],
        libseccomp: Some(ScmpArch::Mips64),
        newer: &[syscalls_crate!(mips64), syscall_numbers_crate!(mips64, 5000)],
    },
    Column {
        arches: &[Arch::Mips64n32, Arch::Mipsel64n32],
        libseccomp: Some(ScmpArch::Mips64N32),
        newer: &[syscall_numbers_crate!(mipsn32, 6000)],
    },
    Column { arches: &[Arch::Parisc], libseccomp: Some(ScmpArch::Parisc), newer: &[] },
    Column { arches: &[Arch::Parisc64], libseccomp: Some(ScmpArch::Parisc64), newer: &[] },
];

/// Where Linux numbers calls: ordinary ones, MIPS' three ranges, Arm's private calls and x32.
const NUMBERS: &[std::ops::Range<i32>] = &[0..1024, 4000..7024, 0xf_0000..0xf_0010, 0x4000_0000..0x4000_0400];

/// Placeholders that a crate lists although no such call exists.
fn is_placeholder(name: &str) -> bool {
    name.starts_with("reserved") || name.starts_with("unused") || name == "arch_specific_syscall"
}

/// What libseccomp makes of a name on an architecture.
pub(crate) fn resolve(arch: ScmpArch, name: &str) -> Option<i32> {
    ScmpSyscall::from_name_by_arch(name, arch).ok().map(ScmpSyscall::as_raw_syscall)
}

/// How a call is made through another one: libseccomp's pseudo numbers are -100 minus `socketcall`'s first
/// argument, and -200 minus `ipc`'s (`seccomp-syscalls.h`). Where the architecture has no such call, they only
/// say that the name doesn't exist.
pub(crate) fn multiplexed(arch: ScmpArch, name: &str) -> Option<(&'static str, i32)> {
    let (through, argument) = match resolve(arch, name)? {
        pseudo @ -199..=-101 => ("socketcall", -pseudo - 100),
        pseudo @ -299..=-201 => ("ipc", -pseudo - 200),
        _ => return None,
    };
    resolve(arch, through).filter(|&number| number >= 0).map(|_| (through, argument))
}

/// The table's text.
pub(crate) fn table() -> String {
    let numbers: Vec<BTreeMap<String, u32>> = COLUMNS.iter().map(column).collect();
    let names: BTreeSet<&String> = numbers.iter().flat_map(BTreeMap::keys).collect();
    let mut text = format!(
        "# System calls and their numbers, one architecture a column. Generated, don't edit; see README.md.\n\
         # Sources: {SOURCES}.\n\
         # An empty cell: the architecture has no such call. /socketcall:1 or /ipc:1: the call is (also) made\n\
         # through that one, with this first argument.\n"
    );
    text += "name";
    for column in COLUMNS {
        text.push('\t');
        text += &column.arches.iter().map(|arch| arch.as_str()).collect::<Vec<_>>().join(",");
    }
    text.push('\n');
    // A multiplexed call need not have a number anywhere.
    let everywhere: BTreeSet<&str> = names.iter().map(|name| name.as_str()).collect();
    for name in everywhere {
        text += name;
        for (column, numbers) in COLUMNS.iter().zip(&numbers) {
            text.push('\t');
            text += &cell(column, numbers, name);
        }
        text.push('\n');
    }
    text
}

fn cell(column: &Column, numbers: &BTreeMap<String, u32>, name: &str) -> String {
    let number = numbers.get(name).map(u32::to_string).unwrap_or_default();
    let through = column.libseccomp.and_then(|arch| multiplexed(arch, name));
    match through {
        Some((call, argument)) => format!("{number}/{call}:{argument}"),
        None => number,
    }
}

fn column(column: &Column) -> BTreeMap<String, u32> {
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    if let Some(arch) = column.libseccomp {
        for number in NUMBERS.iter().cloned().flatten() {
            if let Ok(name) = ScmpSyscall::from_raw_syscall(number).get_name_by_arch(arch) {
                names.insert(number as u32, name);
            }
        }
    }
    for (number, name) in column.newer.iter().flat_map(|names| names()) {
        // A name that libseccomp knows and has no number for here is one that the architecture lacks.
        let absent = column.libseccomp.is_some_and(|arch| resolve(arch, &name).is_some());
        if !is_placeholder(&name) && !absent {
            names.entry(number).or_insert(name);
        }
    }
    names.into_iter().map(|(number, name)| (name, number)).collect()
}
