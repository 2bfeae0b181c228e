//! The committed table of system calls is what its sources say.
//!
//! `PORTCULLIS_UPDATE=1 cargo test -p portcullis-profile --test syscall_table` writes it anew.

mod generate;

use std::collections::BTreeSet;

use generate::{COLUMNS, multiplexed, resolve};
use libseccomp::ScmpVersion;
use portcullis_profile::{Arch, syscalls};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/syscalls.tsv");

/// Held only where the installed libseccomp is the one that the table names: another one knows other calls.
#[test]
fn the_committed_table_is_fresh() {
    let table = generate::table();
    if std::env::var_os("PORTCULLIS_UPDATE").is_some() {
        std::fs::write(PATH, &table).expect("the data folder can be written");
    }
    let version = ScmpVersion::current().expect("libseccomp says its version");
    if (version.major, version.minor, version.micro) == (2, 5, 4) {
        let committed = std::fs::read_to_string(PATH).expect("the table is committed");
        assert!(
            committed == table,
            "data/syscalls.tsv is stale: PORTCULLIS_UPDATE=1 cargo test -p portcullis-profile --test syscall_table"
        );
    }
}

/// Whatever libseccomp is installed: where both know a name, both give it one number.
///
/// Exception: a name that libseccomp multiplexes resolves to a pseudo number there, although the kernel has a
/// number for it too.
#[test]
fn libseccomp_gives_each_name_the_same_number() {
    let mut compared = 0;
    for column in COLUMNS {
        let (Some(arch), Some(libseccomp)) = (column.arches.first(), column.libseccomp) else { continue };
        for name in syscalls::names() {
            let Some(theirs) = resolve(libseccomp, name) else { continue };
            let ours = syscalls::number(*arch, name);
            if let Ok(theirs) = u32::try_from(theirs) {
                assert_eq!(ours, Some(theirs), "{name} on {arch}");
                compared += 1;
            } else if let Some((through, argument)) = multiplexed(libseccomp, name) {
                let found = syscalls::multiplexed(*arch, name).expect("libseccomp multiplexes it");
                assert_eq!((found.through, i32::try_from(found.argument)), (through, Ok(argument)));
                compared += 1;
            } else {
                assert_eq!(ours, None, "{name} on {arch} doesn't exist for libseccomp");
            }
        }
    }
    assert!(compared > 5000, "only {compared} names were compared");
}

/// A number that the table has, and libseccomp not, is of a call newer than libseccomp 2.5.4 (Debian's knows
/// Linux 6.7), or one of the few that it left out. Nothing else may slip in from the crates.
#[test]
fn what_libseccomp_does_not_know_is_stated() {
    const NEWER_THAN_6_7: &[&str] = &[
        "file_getattr",
        "file_setattr",
        "getxattrat",
        "listmount",
        "listns",
        "listxattrat",
        "lsm_get_self_attr",
        "lsm_list_modules",
        "lsm_set_self_attr",
        "mseal",
        "open_tree_attr",
        "removexattrat",
        "setxattrat",
        "statmount",
        "uprobe",
        "uretprobe",
    ];
    // Linux 6.4, for RISC-V only.
    const LEFT_OUT: &[(Arch, &str)] = &[(Arch::Riscv64, "riscv_hwprobe")];
    let mut unexpected = BTreeSet::new();
    for column in COLUMNS {
        let (Some(arch), Some(libseccomp)) = (column.arches.first(), column.libseccomp) else { continue };
        for (name, _) in syscalls::calls(*arch).expect("every column is a table") {
            let known = resolve(libseccomp, name).is_some_and(|number| number >= 0)
                || multiplexed(libseccomp, name).is_some();
            if !known && !NEWER_THAN_6_7.contains(&name) && !LEFT_OUT.contains(&(*arch, name)) {
                unexpected.insert((arch.as_str(), name));
            }
        }
    }
    assert_eq!(unexpected, BTreeSet::new());
}
