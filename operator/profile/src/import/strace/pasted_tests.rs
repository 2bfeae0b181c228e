//! Traces as people have them: cut, quoted, prefixed, by older releases, or of a program under a filter.

use super::tests::{call_of, said};
use crate::import::Reason;

fn calls(trace: &str) -> Vec<String> {
    let (said, summary) = said(trace);
    assert_eq!(summary.unread.count(), 0, "{:?}", summary.unread);
    said
}

#[test]
fn names_of_an_older_strace_are_aliases() {
    for (line, expected) in [
        ("umount(\"/media\") = 0", "X86_64 umount2"),
        ("pread(4, \"\", 8, 0) = 0", "X86_64 pread64"),
        ("pwrite(4, \"a\", 1, 0) = 1", "X86_64 pwrite64"),
        ("_exit(1) = ?", "X86_64 exit"),
        ("old_mmap(NULL, 4096) = 0", "X86_64 mmap"),
        ("timerfd(1, 0) = 3", "X86_64 timerfd_create"),
        ("syscall_332(1) = 0", "X86_64 statx"),
        ("SYS_318(0x7f, 16, 1) = 16", "X86_64 getrandom"),
        ("[  17] pread(4) = 0", "X86_64 pread64"),
    ] {
        assert_eq!(call_of(line), expected, "{line}");
    }
    assert_eq!(calls("umount(\"/a\") = 0\nread(3) = 1\n"), ["X86_64 umount2", "X86_64 read"]);
    // A process that is known to be of i386 has a call of that name.
    assert_eq!(calls("mmap2(0) = 0\numount(\"/a\") = 0\n"), ["X86 mmap2", "X86 umount"]);
}

#[test]
fn strace_speaks_of_modes_with_its_name_too() {
    for (mode, arch) in [("32 bit", "X86"), ("x32", "X32"), ("64 bit", "X86_64")] {
        let trace = format!("strace: [ Process PID=31 runs in {mode} mode. ]\ngetuid() = 0\n");
        assert_eq!(calls(&trace), [format!("{arch} getuid")]);
        let followed =
            format!("[pid 31] strace: [ Process PID=31 runs in {mode} mode. ] \n[pid 31] getuid() = 0\n");
        assert_eq!(calls(&followed), [format!("31 {arch} getuid")]);
    }
}

#[test]
fn a_call_of_which_only_the_end_is_there_counts() {
    assert_eq!(
        calls(
            "[pid 3] 08:00:01.5 <... ppoll resumed>[{fd=4}], 1, NULL) = 1\n[pid 3] 08:00:02.5 read(4) = 1\n"
        ),
        ["3 X86_64 ppoll", "3 X86_64 read"]
    );
    assert_eq!(
        calls("restart_syscall(<... resuming interrupted select ...>) = 1\n"),
        ["X86_64 restart_syscall", "X86_64 select"]
    );
    assert_eq!(calls("9 <... epoll_wait resumed> ) = ? <unavailable>\n"), ["9 X86_64 epoll_wait"]);
}

#[test]
fn a_call_that_goes_on_is_not_counted_twice() {
    assert_eq!(calls("7 read(3,  <unfinished ...>\n7 <... read resumed>\"\", 1) = 0\n"), ["7 X86_64 read"]);
    // Where a process is alone, strace leaves out which.
    let beginnings =
        "read(3,  <unfinished ...>\n[pid 8] getpid() = 8\n[pid 7] <... read resumed>\"\", 1) = 0\n";
    assert_eq!(calls(beginnings), ["X86_64 read", "8 X86_64 getpid"]);
    let ends = "[pid 7] read(3,  <unfinished ...>\n[pid 8] exit(0) = ?\n<... read resumed>\"\", 1) = 0\n";
    assert_eq!(calls(ends), ["7 X86_64 read", "8 X86_64 exit"]);
    let restarted = "poll([], 0, 9) = ? ERESTART_RESTARTBLOCK\nrestart_syscall(<... resuming interrupted poll ...>) = 0\n";
    assert_eq!(calls(restarted), ["X86_64 poll", "X86_64 restart_syscall"]);
}

#[test]
fn the_call_that_a_filter_refused_counts() {
    let trace = "brk(NULL) = 0x55\n\
        --- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_call_addr=0x4a, si_syscall=__NR_mincore, si_arch=AUDIT_ARCH_X86_64} ---\n\
        +++ killed by SIGSYS (core dumped) +++\n";
    let (said, summary) = said(trace);
    assert_eq!(said, ["X86_64 brk", "X86_64 mincore"]);
    assert_eq!((summary.refused, summary.unread.count()), (Some(2), 0));
    let number = trace.replace("__NR_mincore", "0x1b").replace("X86_64}", "I386}");
    assert_eq!(calls(&number), ["X86_64 brk", "X86 alarm"]);
    let (_, killed) = super::tests::said("brk(NULL) = 0x55\n+++ killed by SIGSYS +++\n");
    assert_eq!(killed.refused, Some(2));
    let (_, other) =
        super::tests::said("--- SIGSYS {si_signo=SIGSYS, si_code=SI_USER} ---\n+++ killed by SIGTERM +++\n");
    assert_eq!(other.refused, None);
}

#[test]
fn quoted_and_prefixed_lines_are_read() {
    for line in [
        "> brk(NULL) = 0x55",
        "> > brk(NULL) = 0x55",
        ">brk(NULL) = 0x55",
        "app-1  | brk(NULL) = 0x55",
        "2026-01-31T08:00:01.5Z brk(NULL) = 0x55",
        "12:brk(NULL) = 0x55",
        "Feb  3 08:00:01 node7 app[81]: brk(NULL) = 0x55",
    ] {
        assert_eq!(call_of(line), "X86_64 brk", "{line}");
    }
    assert_eq!(calls("app-1  | [pid    29] close(3) = 0\n--\n"), ["29 X86_64 close"]);
}

const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60,10    0,000090           1     2.366        20 openat
 30,20    0,000086          43     1,002           pread
  9,70    0,000086          43       1'5           syscall_332
------ ----------- ----------- --------- --------- ----------------
100,00    0,000259                 3.383        20 total
";

#[test]
fn tables_of_other_locales_are_read() {
    let expected =
        ["table X86_64 openat Some(2366)", "table X86_64 pread64 Some(1002)", "table X86_64 statx Some(15)"];
    assert_eq!(calls(TABLE), expected);
    for prefix in ["> ", "app-1  | ", "2026-01-31T08:00:01.5Z "] {
        let prefixed: String = TABLE.lines().map(|line| format!("{prefix}{line}\n")).collect();
        assert_eq!(calls(&prefixed), expected, "{prefix}");
    }
}

#[test]
fn what_mail_broke_is_said() {
    let (said, summary) = said("> seccomp(SECCOMP_SET_MODE_FILTER, 0x8 /*\n> FLAG_??? */, {len=4}) = 3\n");
    assert_eq!(said, ["X86_64 seccomp"]);
    let reasons: Vec<_> = summary.unread.by_reason().map(|(reason, count, _)| (reason, count)).collect();
    assert_eq!(reasons, [(Reason::NoRecord, 1)]);
}
