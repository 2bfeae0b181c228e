use proptest::prelude::*;

use super::*;

#[test]
fn every_cell_of_the_table_is_read() {
    let text = include_str!("../../data/constants.tsv");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let headings: Vec<&str> = lines.next().expect("a header").split('\t').skip(2).collect();
    assert_eq!(headings[0], "x86_64");
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        for (at, heading) in headings.iter().enumerate() {
            let arch = match *heading {
                "x86_64" => Arch::X86_64,
                "x86" => Arch::X86,
                "aarch64" => Arch::Aarch64,
                "arm" => Arch::Arm,
                "loongarch64" => Arch::Loongarch64,
                "mips" => Arch::Mips,
                "mips64" => Arch::Mips64,
                "powerpc" => Arch::Ppc,
                "powerpc64" => Arch::Ppc64le,
                "s390x" => Arch::S390x,
                other => panic!("{other} is no architecture"),
            };
            let cell = cells.get(at + 2).filter(|cell| !cell.is_empty()).unwrap_or(&cells[2]);
            let expected = (*cell != "-").then(|| cell.parse().expect("a number"));
            assert_eq!(TABLE.of(arch).value(cells[0], cells[1]), expected, "{line} on {arch}");
        }
    }
}

#[test]
fn reads_what_strace_writes() {
    let newns: u64 = 0x2_0000;
    for (call, index, text, expected) in [
        ("socket", 0, "AF_INET", Some(2)),
        ("socket", 1, "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK", Some(1 | 0x8_0000 | 0x800)),
        ("socket", 2, "NETLINK_ROUTE", Some(0)),
        ("socket", 0, "0x2 /* AF_INET */", Some(2)),
        ("clone", 0, "CLONE_NEWNS|SIGCHLD", Some(newns | 17)),
        ("clone", 0, "CLONE_NEWNS|0x11", Some(newns | 17)),
        ("ioctl", 1, "TCGETS or SNDCTL_TMR_TIMEBASE", Some(0x5401)),
        ("ioctl", 1, "SNDCTL_TMR_TIMEBASE or TCGETS", Some(0x5401)),
        ("ioctl", 1, "_IOC(_IOC_READ|_IOC_WRITE, 0x54, 0x2b, 0x4)", Some(0xc004_542b)),
        ("ioctl", 1, "_IOC(_IOC_READ, 0x54, 0x2b)", None),
        ("ioctl", 1, "EVIOCGNAME(256)", None),
        ("fcntl", 0, "3</tmp/a,b>", Some(3)),
        ("openat", 0, "AT_FDCWD", Some(u64::MAX - 99)),
        ("openat", 2, "O_RDONLY|O_CLOEXEC", Some(0x8_0000)),
        ("openat", 3, "0644", Some(0o644)),
        ("mmap", 0, "NULL", Some(0)),
        ("mmap", 4, "-1", Some(u64::MAX)),
        ("epoll_create1", 0, "1<<19", Some(1 << 19)),
        ("write", 1, "\"hello\"", None),
        ("prctl", 0, "PR_NEVER_HEARD_OF", None),
        ("prctl", 0, "PR_SET_NAME|", Some(15)),
        ("read", 0, "", None),
        ("read", 0, "0x+3", None),
        ("read", 0, "1<<64", None),
        ("read", 0, "99999999999999999999", None),
    ] {
        assert_eq!(value(Arch::X86_64, call, index, text), expected, "{call} {index} {text}");
    }
}

#[test]
fn writes_what_strace_writes() {
    for (call, index, text) in [
        ("socket", 0, "AF_UNIX"),
        ("socket", 1, "SOCK_SEQPACKET|SOCK_NONBLOCK|SOCK_CLOEXEC"),
        ("clone", 0, "CLONE_NEWNS|CLONE_NEWUSER|SIGCHLD"),
        ("unshare", 0, "CLONE_NEWTIME|CLONE_NEWNET"),
        ("prctl", 0, "PR_SET_NO_NEW_PRIVS"),
        ("ioctl", 1, "TIOCSTI"),
        ("fcntl", 1, "F_DUPFD_CLOEXEC"),
        ("personality", 0, "PER_LINUX|ADDR_NO_RANDOMIZE"),
        ("openat", 2, "O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC"),
        ("openat", 2, "O_RDWR|O_SYNC"),
        ("mmap", 3, "MAP_PRIVATE|MAP_ANONYMOUS"),
        ("mount", 3, "MS_BIND|MS_REC"),
        ("ptrace", 0, "PTRACE_ATTACH"),
        ("tgkill", 2, "SIGABRT"),
    ] {
        let number = value(Arch::X86_64, call, index, text).expect(text);
        assert_eq!(names(Arch::X86_64, call, index, number).as_deref(), Some(text));
    }
    assert_eq!(names(Arch::X86_64, "unshare", 0, 1 << 40), None);
    assert_eq!(names(Arch::X86_64, "read", 0, 1), None);
    assert_eq!(names(Arch::X86_64, "setns", 1, 0), None);
}

/// arch/mips/include/asm/socket.h, arch/powerpc/include/uapi/asm/ioctls.h, and clone(2).
#[test]
fn knows_what_differs_between_architectures() {
    assert_eq!(value(Arch::Mipsel, "socket", 1, "SOCK_STREAM"), Some(2));
    assert_eq!(value(Arch::Ppc64le, "ioctl", 1, "TCGETS"), Some(0x402c_7413));
    assert_eq!(value(Arch::S390x, "clone", 1, "CLONE_NEWUSER"), Some(0x1000_0000));
    assert_eq!(value(Arch::S390x, "clone", 0, "CLONE_NEWUSER"), None);
    assert_eq!(value(Arch::Ppc64le, "ioctl", 1, "_IOC(_IOC_READ, 0x54, 0x2b, 0x4)"), None);
    assert_eq!(value(Arch::Aarch64, "openat", 2, "O_DIRECTORY"), Some(0x4000));
}

proptest! {
    /// What is written for a value is read as that value.
    #[test]
    fn names_are_read_as_what_they_were_written_for(
        at in 0_usize..6,
        bits in any::<u32>(),
        arch in proptest::sample::select(Arch::ALL),
    ) {
        let (call, index) = [
            ("clone", usize::from(clone_flags(arch))), ("unshare", 0), ("openat", 2), ("mmap", 3), ("socket", 1), ("personality", 0),
        ][at];
        let number = u64::from(bits);
        if let Some(text) = names(arch, call, index, number) {
            prop_assert_eq!(value(arch, call, index, &text), Some(number), "{}", text);
        }
    }
}

#[test]
fn an_older_straces_families_are_read() {
    let domain = |text: &str| value(Arch::X86_64, "socket", 0, text);
    assert_eq!(domain("PF_INET6"), Some(10));
    assert_eq!((domain("PF_NOTHING"), domain("INET")), (None, None));
}
