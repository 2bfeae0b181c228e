use std::collections::BTreeSet;

use super::*;
use crate::import::{Observed, strace::arguments::split};

/// What a trace says, call by call: `process arch name`, or `table arch name calls`.
pub(super) fn said(trace: &str) -> (Vec<String>, Summary) {
    let mut said = Vec::new();
    let mut each = |event: Event<'_>| {
        said.push(match event {
            Event::Call(call) => {
                let process = call.process.map(|process| format!("{process} ")).unwrap_or_default();
                let arch = call.arch.as_str().trim_start_matches("SCMP_ARCH_");
                format!("{process}{arch} {}", call.name.as_str())
            }
            Event::Tabled { arch, name, calls } => {
                let arch = arch.as_str().trim_start_matches("SCMP_ARCH_");
                format!("table {arch} {} {calls:?}", name.as_str())
            }
        });
    };
    let mut strace = Strace::new(Arch::X86_64);
    strace.feed(trace.as_bytes(), &mut each);
    let summary = strace.finish(&mut each);
    (said, summary)
}

pub(super) fn call_of(line: &str) -> String {
    let (said, summary) = said(line);
    assert_eq!(summary.unread.count(), 0, "{line}");
    assert_eq!(said.len(), 1, "{line}: {said:?}");
    said[0].clone()
}

#[test]
fn a_call_is_found_behind_every_decoration() {
    for (line, expected) in [
        ("brk(NULL) = 0x55", "X86_64 brk"),
        ("1950  brk(NULL) = 0x55", "1950 X86_64 brk"),
        ("[pid  1950] brk(NULL) = 0x55", "1950 X86_64 brk"),
        ("[pid  1950<tmux: server>] brk(NULL) = 0x55", "1950 X86_64 brk"),
        ("1950<tmux: server> brk(NULL) = 0x55", "1950 X86_64 brk"),
        ("21:11:07 brk(NULL) = 0x55", "X86_64 brk"),
        ("21:11:07.737872 brk(NULL) = 0x55 <0.000008>", "X86_64 brk"),
        ("1795475685.480101 brk(NULL) = 0x55", "X86_64 brk"),
        ("1950  1795475685.480101 brk(NULL) = 0x55", "1950 X86_64 brk"),
        ("     0.000486 brk(NULL) = 0x55", "X86_64 brk"),
        ("1950 21:11:07.738412 (+     0.000486) brk(NULL) = 0x55", "1950 X86_64 brk"),
        ("[00007f4011b29c47] brk(NULL) = 0x55", "X86_64 brk"),
        ("[????????????????] brk(NULL) = 0x55", "X86_64 brk"),
        ("[  12] brk(NULL) = 0x55", "X86_64 brk"),
        ("[  12] [00007f4011b29c47] brk(NULL) = 0x55", "X86_64 brk"),
        ("[system_u:system_r:init_t:s0] brk(NULL) = 0x55", "X86_64 brk"),
        ("1950<sh> 21:11:07.73 (+ 0.000486) [  12] [00007f4011b29c47] brk(NULL) = 0x5", "1950 X86_64 brk"),
        ("syscall_0x1b5(0x3, 0x7ffd) = 3", "X86_64 openat2"),
        ("exit_group(0) = ?", "X86_64 exit_group"),
        ("1950  wait4(-1,  <unfinished ...>", "1950 X86_64 wait4"),
        ("brk(NULL", "X86_64 brk"),
    ] {
        assert_eq!(call_of(line), expected, "{line}");
    }
}

#[test]
fn what_is_no_call_is_passed_over() {
    let trace = "
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=1951} ---
1950  --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---
[pid  1950] --- stopped by SIGSTOP ---
+++ exited with 0 +++
1950  +++ killed by SIGSEGV (core dumped) +++
1950  +++ superseded by execve in pid 1951 +++
strace: Process 1951 attached
strace: Process 1951 detached
Process 1951 attached
 > /usr/lib/libc.so.6(__write+0x14) [0xf7d24]
 > unexpected_backtracing_error [0x0]
[ Process PID=1950 runs in 64 bit mode. ]
";
    let (said, summary) = said(trace);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(summary.unread.count(), 0, "{:?}", summary.unread);
    assert_eq!(summary.lines, 13);
}

#[test]
fn what_could_not_be_read_is_counted_with_examples() {
    let trace = "hello\nfrobnicate(1) = 0\n????( <unfinished ...>\nsyscall_0xfff(1) = -1 ENOSYS\n\u{7}bell\nshmctl64x\nxyz\n\
                 set_tls(0) = 0\n";
    let (said, summary) = said(trace);
    assert_eq!(said, Vec::<String>::new());
    let found: Vec<_> = summary
        .unread
        .by_reason()
        .map(|(reason, count, examples)| (reason, count, examples[0].line, examples.len()))
        .collect();
    assert_eq!(
        found,
        [
            (Reason::NoRecord, 4, 1, 3),
            (Reason::UnknownName, 1, 2, 1),
            (Reason::UnknownNumber, 1, 4, 1),
            (Reason::OtherArchitecture, 1, 8, 1),
            (Reason::Untold, 1, 3, 1),
        ]
    );
    let (_, _, examples) = summary.unread.by_reason().next().expect("a reason");
    assert_eq!(examples[1].text, "\\u{7}bell");
}

/// Output of strace 6.1 for a static i386 program that forks, run by a 64-bit shell: `strace -f -o` says of no mode.
#[test]
fn another_architecture_is_seen_by_calls_that_only_it_has() {
    let trace = "\
1989  execve(\"./i32\", [\"./i32\"], 0x7fffb71ad6d8 /* 35 vars */) = 0
1989  waitpid(-1,  <unfinished ...>
1989  <... waitpid resumed>NULL, 0)     = 1990
1989  fork()                            = 1991
1991  getpid()                          = 1991
1989  exit_group(0)                     = ?
1989  +++ exited with 0 +++
1989  getpid()                          = 1989
1991  newfstatat(AT_FDCWD, \"/\", {}, 0) = 0
1991  getpid()                          = 1991
";
    let (said, summary) = said(trace);
    assert_eq!(
        said,
        [
            "1989 X86_64 execve",
            "1989 X86 waitpid",
            "1989 X86 fork",
            "1991 X86 getpid",
            "1989 X86 exit_group",
            "1989 X86_64 getpid",
            "1991 X86_64 newfstatat",
            "1991 X86_64 getpid",
        ]
    );
    assert_eq!(summary.unread.count(), 0);
}

#[test]
fn modes_and_numbers_tell_the_architecture() {
    let trace = "\
[pid    7] execve(\"./i32\", [\"./i32\"], 0x7fff /* 35 vars */) = 0
[ Process PID=7 runs in 32 bit mode. ]
[pid    7] getpid() = 7
[pid    8] getpid() = 8
[ Process PID=8 runs in x32 mode. ]
[pid    8] getpid() = 8
";
    assert_eq!(said(trace).0, ["7 X86_64 execve", "7 X86 getpid", "8 X86_64 getpid", "8 X32 getpid"]);
    let numbered = "5  [  59] execve(\"./i32\") = 0\n5  [  20] getpid() = 5\n5  [   1] exit(0) = ?\n";
    assert_eq!(said(numbered).0, ["5 X86_64 execve", "5 X86 getpid", "5 X86 exit"]);
}

#[test]
fn a_summary_is_read_by_its_columns() {
    let trace = "\
hi
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 34.75    0.000090           1        66        20 newfstatat
 33.20    0.000086          43         2           clone
  0.00    0.000000           0         1         1 a_name_longer_than_the_column_is
  0.00    0.000000           0 123456789         1 sched_rr_get_interval_time64
------ ----------- ----------- --------- --------- ----------------
100.00    0.000259           0       349        59 total
System call usage summary for 32 bit mode:
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
  0.00    0.000000           0         2           waitpid
------ ----------- ----------- --------- --------- ----------------
100.00    0.000000           0         8           total
";
    let (said, summary) = said(trace);
    assert_eq!(
        said,
        ["table X86_64 newfstatat Some(66)", "table X86_64 clone Some(2)", "table X86 waitpid Some(2)"]
    );
    let reasons: Vec<_> = summary.unread.by_reason().map(|(reason, count, _)| (reason, count)).collect();
    assert_eq!(
        reasons,
        [(Reason::NoRecord, 1), (Reason::UnknownName, 1), (Reason::OtherArchitecture, 1)],
        "the program's own word, an unknown call, and an i386 call in a 64-bit table"
    );
}

#[test]
fn columns_may_be_chosen() {
    let trace = "\
syscall              calls    errors  longest shortest
---------------- --------- --------- -------- --------
read                     7           0.000000 0.000000
close                   23         1 0.000000 0.000000
---------------- --------- --------- -------- --------
total                  152         4 0.000000 0.000000
syscall
----------------
read
----------------
total
calls    errors
--------- ---------
7
";
    let (said, summary) = said(trace);
    assert_eq!(said, ["table X86_64 read Some(7)", "table X86_64 close Some(23)", "table X86_64 read None"]);
    assert_eq!(summary.unread.count(), 3, "a table without names tells nothing: {:?}", summary.unread);
}

#[test]
fn a_table_that_breaks_off_ends_where_the_next_trace_begins() {
    let trace = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- \
                 --------- ----------------\n 34.75    0.000090           1        66        20 newfstatat\n\
                 brk(NULL) = 0x55\n";
    assert_eq!(said(trace).0, ["table X86_64 newfstatat Some(66)", "X86_64 brk"]);
}

#[test]
fn a_trace_and_its_own_summary_are_not_counted_twice() {
    let trace = "\
read(3, \"\", 1) = 0
read(3, \"\", 1) = 0
+++ exited with 0 +++
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 34.75    0.000090           1         2           read
";
    let mut observed = Observed::default();
    let mut strace = Strace::new(Arch::X86_64);
    strace.feed(trace.as_bytes(), |event| observed.record(event));
    assert_eq!(strace.finish(|event| observed.record(event)).unread.count(), 0);
    let calls: Vec<_> = observed.calls().map(|(_, name, calls)| (name.as_str(), calls)).collect();
    assert_eq!(calls, [("read", 2)]);
}

#[test]
fn arguments_are_cut_where_they_end() {
    let cut = |text: &'static str| -> Vec<&str> {
        split(text.as_bytes(), MAX_ARGUMENTS)
            .into_iter()
            .map(|part| std::str::from_utf8(part).expect("text"))
            .collect()
    };
    assert_eq!(cut("AF_UNIX, SOCK_STREAM, 0) = 3"), ["AF_UNIX", "SOCK_STREAM", "0"]);
    assert_eq!(cut(") = 3"), Vec::<&str>::new());
    assert_eq!(cut("3</tmp/a,b)(>, \"x\\\", y)\", 4) = 1"), ["3</tmp/a,b)(>", "\"x\\\", y)\"", "4"]);
    assert_eq!(
        cut("5<TCP:[127.0.0.1:80->127.0.0.1:4000]>, F_GETFL) = 2"),
        ["5<TCP:[127.0.0.1:80->127.0.0.1:4000]>", "F_GETFL"]
    );
    assert_eq!(cut("3</tmp/odd->, TCGETS, {c_iflag=ICRNL, c_cc=\"\\x03\"}) = 0")[1], "TCGETS");
    assert_eq!(cut("1</dev/pts/0<char 136:0>>, TCGETS) = 0"), ["1</dev/pts/0<char 136:0>>", "TCGETS"]);
    assert_eq!(cut("1<<4, [{a, b}, {c}], 2 <unfinished ...>"), ["1<<4", "[{a, b}, {c}]", "2"]);
    assert_eq!(cut("-1,  <unfinished ...>"), ["-1"]);
    assert_eq!(cut("0x5401 /* TCGETS, or so */, 1"), ["0x5401 /* TCGETS, or so */", "1"]);
}

fn observed(arguments: &[&'static str], trace: &str) -> Observed {
    let asked: BTreeSet<&str> = arguments.iter().copied().collect();
    let mut observed = Observed::with_arguments(&asked);
    let mut strace = Strace::new(Arch::X86_64);
    strace.feed(trace.as_bytes(), |event| observed.record(event));
    assert_eq!(strace.finish(|event| observed.record(event)).unread.count(), 0);
    let mut all = Observed::with_arguments(&asked);
    all.absorb(&observed);
    all
}

fn rules(arguments: &[&'static str], trace: &str) -> (Vec<String>, Vec<String>) {
    let generated = observed(arguments, trace).profile(&crate::import::Generation::default());
    let rules = generated.profile.syscalls.iter().filter(|rule| !rule.args.is_empty());
    let rules = rules
        .map(|rule| {
            let arg = &rule.args[0];
            format!("{} {} {:x} {:x} {:?}", rule.names[0], arg.index, arg.value, arg.value_two, arg.op)
        })
        .collect();
    (rules, generated.notes.iter().map(ToString::to_string).collect())
}

#[test]
fn values_become_rules() {
    let trace = "\
socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3
socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP) = 3
clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f4011912a10) = 1951
clone(child_stack=NULL, flags=CLONE_NEWUSER|SIGCHLD <unfinished ...>
ioctl(1</dev/pts/0>, TCGETS, {c_iflag=ICRNL}) = 0
ioctl(4, TUNGETFEATURES, 0x7ffc) = 0
fcntl(3, F_SETFD, FD_CLOEXEC) = 0
prctl(PR_SET_NAME, \"a\") = 0
personality(0xffffffff) = 0
setns(3, 0) = 0
unshare(CLONE_NEWNS) = 0
";
    let all: Vec<&str> = crate::import::RULED_ARGUMENTS.iter().map(|rule| rule.call).collect();
    let (rules, notes) = rules(&all, trace);
    assert_eq!(
        rules,
        [
            "clone 0 7e020000 0 MaskedEq",
            "clone 0 7e020000 10000000 MaskedEq",
            "fcntl 1 2 0 Equal",
            "ioctl 1 5401 0 Equal",
            "ioctl 1 ffffffff 800454cf MaskedEq",
            "personality 0 ffffffff ffffffff MaskedEq",
            "prctl 0 f 0 Equal",
            "setns 1 0 0 Equal",
            "socket 0 1 0 Equal",
            "socket 0 a 0 Equal",
            "unshare 0 20000 0 Equal",
        ]
    );
    assert_eq!(notes, Vec::<String>::new());
}

/// Output of strace 6.1 with -f and without -o.
#[test]
fn a_message_in_the_middle_of_a_call_takes_nothing_from_it() {
    let trace = "\
clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLDstrace: Process 1945 attached
, child_tidptr=0x7f746119ba10) = 1945
fork(strace: Process 31238 attached
)                                  = 31238
clone3({flags=CLONE_VM, exit_signal=0}strace: Process 31239 attached
 <unfinished ...>
";
    let (rules, notes) = rules(&["clone"], trace);
    assert_eq!(rules, ["clone 0 7e020000 0 MaskedEq"]);
    assert_eq!(notes.len(), 1, "clone3's alone: {notes:?}");
}

/// Output of strace 6.1 for the program of `tests/strace.rs`, with -f and without -o.
#[test]
fn a_new_process_begins_with_the_mode_that_strace_saw_latest() {
    let trace = "\
execve(\"./i32\", [\"./i32\"], 0x7fff /* 35 vars */) = 0
[ Process PID=5061 runs in 32 bit mode. ]
fork(strace: Process 5062 attached
)                                  = 5062
[pid  5062] getpid( <unfinished ...>
[pid  5061] waitpid(5062,  <unfinished ...>
[pid  5062] <... getpid resumed>)       = 5062
[pid  5062] exit_group(0)               = ?
[pid  5062] +++ exited with 0 +++
<... waitpid resumed>NULL, 0)           = 5062
getpid()                                = 5061
";
    let (said, summary) = said(trace);
    assert_eq!(summary.unread.count(), 0);
    assert_eq!(said[0], "X86_64 execve");
    assert!(said[1..].iter().all(|call| call.contains("X86 ")), "{said:?}");
}

#[test]
fn an_argument_that_could_not_be_read_leaves_the_call_without_rules_and_says_so() {
    let trace = "ioctl(1, TCGETS, 0) = 0\nioctl(3, EVIOCGNAME(256), \"x\") = 0\nclone3({flags=CLONE_VM}, 88) = 5\n\
                 clone(child_stack=NULL, flags=SIGCHLD) = 6\n";
    let (rules, notes) = rules(&["ioctl", "clone"], trace);
    assert_eq!(rules, ["clone 0 7e020000 0 MaskedEq"]);
    assert_eq!(
        notes,
        [
            "ioctl is allowed whatever its request: of 1 call it could not be read, first in line 2: 3, EVIOCGNAME(256), \
             \"x\") = 0",
            "clone3 is answered with ENOSYS, as by the runtime default: no filter sees clone3's flags, and callers make clone instead, \
             which is allowed as there",
        ]
    );
}

/// A thread by clone3, as glibc makes one; and a program that makes namespaces by it, which no rule on clone could allow.
#[test]
fn clone3_is_answered_as_under_the_runtime_default_unless_it_made_a_namespace() {
    let thread =
        "clone3({flags=CLONE_VM|CLONE_THREAD|CLONE_SETTLS, stack=0x7f, stack_size=0x7fff80}, 88) = 5\n";
    let (found, notes) = rules(&[], thread);
    assert_eq!(found, ["clone 0 7e020000 0 MaskedEq"]);
    assert!(notes[0].starts_with("clone3 is answered with ENOSYS"), "{notes:?}");
    let (found, notes) =
        rules(&[], "clone3({flags=CLONE_NEWUSER|CLONE_NEWPID, exit_signal=SIGCHLD}, 88) = 5\n");
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(
        notes,
        [
            "clone3 is allowed whole, new namespaces included: its flags are in memory, where no filter sees them"
        ]
    );
}

#[test]
fn too_many_values_leave_the_call_without_rules() {
    let trace: String = (0..100).map(|value| format!("ioctl(1, {value:#x}, 0) = 0\n")).collect();
    let (rules, notes) = rules(&["ioctl"], &trace);
    assert_eq!(rules, Vec::<String>::new());
    assert_eq!(notes, ["ioctl is allowed whatever its request: it has more than 64 values"]);
}
