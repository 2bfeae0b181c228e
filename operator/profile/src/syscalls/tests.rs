use super::*;

#[test]
fn every_cell_of_the_table_is_read() {
    let text = include_str!("../../data/syscalls.tsv");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let headings: Vec<&str> = lines.next().expect("a header").split('\t').skip(1).collect();
    let arches: Vec<Arch> = headings
        .iter()
        .map(|heading| {
            let first = heading.split(',').next().expect("split gives one");
            *Arch::ALL.iter().find(|arch| arch.as_str() == first).expect("an architecture")
        })
        .collect();
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        assert_eq!(cells.len(), arches.len() + 1, "{line}");
        for (arch, cell) in arches.iter().zip(&cells[1..]) {
            let expected = match lookup(*arch, cells[0]) {
                Lookup::Known { number, multiplexed } => {
                    let number = number.map(|number| number.to_string()).unwrap_or_default();
                    let through = multiplexed.map(|way| format!("/{}:{}", way.through, way.argument));
                    number + &through.unwrap_or_default()
                }
                _ => String::new(),
            };
            assert_eq!(*cell, expected, "{} on {arch}", cells[0]);
        }
    }
}

/// arch/x86/entry/syscalls/syscall_64.tbl, syscall_32.tbl; include/uapi/asm-generic/unistd.h;
/// arch/arm/tools/syscall.tbl and arch/arm/include/uapi/asm/unistd.h of Linux 6.12.
#[test]
fn knows_calls_of_the_five_main_architectures() {
    for (arch, name, expected) in [
        (Arch::X86_64, "read", 0),
        (Arch::X86_64, "openat2", 437),
        (Arch::X86_64, "mseal", 462),
        (Arch::X86, "break", 17),
        (Arch::X86, "socket", 359),
        (Arch::X32, "read", 0x4000_0000),
        (Arch::X32, "rt_sigaction", 0x4000_0200),
        (Arch::Aarch64, "newfstatat", 79),
        (Arch::Aarch64, "openat", 56),
        (Arch::Arm, "set_tls", 0xf_0005),
        (Arch::Arm, "socket", 281),
        (Arch::Mipsel, "read", 4003),
    ] {
        assert_eq!(number(arch, name), Some(expected), "{name} on {arch}");
        assert_eq!(super::name(arch, expected), Some(name), "{expected} on {arch}");
    }
}

#[test]
fn a_number_in_a_names_place_is_its_call() {
    for (name, expected) in [
        ("unknown_syscall_467", Some("open_tree_attr")),
        ("syscall_1d3", Some("open_tree_attr")),
        ("syscall_0x1b5", Some("openat2")),
        // Inspektor Gadget's own mark, and numbers that differ between architectures.
        ("syscall_1f4", None),
        ("unknown_syscall_59", None),
    ] {
        assert_eq!(suggest(name), expected, "{name}");
    }
}

#[test]
fn says_why_a_name_is_not_found() {
    assert_eq!(lookup(Arch::Aarch64, "open"), Lookup::Elsewhere);
    assert_eq!(lookup(Arch::X86_64, "opneat"), Lookup::Unknown);
    assert_eq!(lookup(Arch::M68k, "read"), Lookup::NoTable);
    assert_eq!(number(Arch::M68k, "read"), None);
    assert!(calls(Arch::Sh).is_none());
}

#[test]
fn a_socket_on_i386_is_also_made_through_socketcall() {
    assert_eq!(
        lookup(Arch::X86, "socket"),
        Lookup::Known {
            number: Some(359),
            multiplexed: Some(Multiplexed { through: "socketcall", argument: 1 })
        }
    );
    assert_eq!(multiplexed(Arch::X86, "semop"), Some(Multiplexed { through: "ipc", argument: 1 }));
    assert_eq!(number(Arch::X86, "semop"), None);
    assert_eq!(multiplexed(Arch::X86_64, "socket"), None);
}

#[test]
fn only_the_three_stated_architectures_have_no_table() {
    let without: Vec<Arch> = Arch::ALL.iter().copied().filter(|&arch| !has_table(arch)).collect();
    assert_eq!(without, [Arch::M68k, Arch::Sh, Arch::Sheb]);
}

#[test]
fn suggests_what_was_meant() {
    assert_eq!(suggest("opneat"), Some("openat"));
    assert_eq!(suggest("MOUNT"), Some("mount"));
    assert_eq!(suggest("sys_ptrace"), Some("ptrace"));
    assert_eq!(suggest("clone33"), Some("clone3"));
    assert_eq!(suggest("frobnicate"), None);
    assert_eq!(suggest(""), None);
    assert_eq!(suggest(&"a".repeat(100_000)), None);
}

#[test]
fn names_of_the_c_library_and_old_ones_come_first() {
    for (old, now) in
        [("pwrite", "pwrite64"), ("pread", "pread64"), ("fstatat", "newfstatat"), ("futimens", "utimensat")]
    {
        assert_eq!(suggest(old), Some(now));
    }
    assert_eq!((renamed("umount"), renamed("read")), (Some("umount2"), None));
}

#[test]
fn every_new_name_is_a_call_and_the_table_is_sorted() {
    assert!(suggest::RENAMED.is_sorted_by(|one, next| one.0 < next.0));
    assert!(suggest::RENAMED.iter().all(|(_, now)| is_known_anywhere(now)));
}

#[test]
fn two_names_in_one_word_are_told_apart() {
    assert_eq!(glued("getpidgetppid"), Some(("getpid", "getppid")));
    assert_eq!(glued("read, write"), Some(("read", "write")));
    assert_eq!(glued("read write"), Some(("read", "write")));
    assert_eq!((glued("frobnicate"), glued(""), glued(&"read".repeat(100))), (None, None, None));
}

#[test]
fn names_the_architectures_of_a_call() {
    assert_eq!(architectures_of("arch_prctl").collect::<Vec<_>>(), [Arch::X86, Arch::X86_64, Arch::X32]);
    assert_eq!(architectures_of("frobnicate").count(), 0);
}
