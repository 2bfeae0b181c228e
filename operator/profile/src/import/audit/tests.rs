use super::*;

fn log(text: &str) -> AuditLog {
    let mut audit = Audit::new(Arch::X86_64);
    audit.feed(text.as_bytes());
    audit.finish()
}

fn said(log: &AuditLog) -> Vec<String> {
    let of = |(name, program): (&Option<String>, &Program)| {
        let calls = program.calls.iter().map(|(seen, count)| {
            let name = name.as_deref().unwrap_or("others");
            let action = seen.action.map_or("-", Action::as_str);
            format!("{name} {} {} {action} {count}", seen.arch, seen.name.as_str())
        });
        calls.collect::<Vec<_>>()
    };
    log.programs.iter().flat_map(of).collect()
}

/// A record of a program that asks for its parent.
const PAYLOAD: &str = "auid=4294967295 uid=0 gid=0 ses=4294967295 pid=29124 comm=\"x\" exe=\"/x\" sig=0 arch=c000003e syscall=110 \
                       compat=0 ip=0x7f2ac3d0f1e7 code=0x7ffc0000";

#[test]
fn a_record_is_read_however_it_was_written() {
    for prefix in [
        "type=SECCOMP msg=audit(1795475685.480:204): ",
        "node=web type=SECCOMP msg=audit(1795475685.480:204): ",
        "audit: type=1326 audit(1795475685.480:204): ",
        "[ 1234.567890] audit: type=1326 audit(1795475685.480:204): ",
        "Nov 24 21:00:00 web kernel: audit: type=1326 audit(1795475685.480:204): ",
        "Nov 24 21:00:00 web audit[29124]: SECCOMP ",
        "SECCOMP ",
    ] {
        let log = log(&format!("{prefix}{PAYLOAD}\n"));
        assert_eq!(said(&log), ["/x SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1"], "{prefix}");
        assert_eq!((log.lines, log.records, log.others, log.unread.count()), (1, 1, 0, 0));
    }
}

#[test]
fn an_enriched_record_and_a_security_context_change_nothing() {
    let enriched =
        format!("type=SECCOMP msg=audit(1.2:3): {PAYLOAD}\u{1d}ARCH=x86_64 SYSCALL=getppid AUID=\"unset\"\n");
    let labelled = enriched.replace(" pid=", " subj=system_u:system_r:container_t:s0:c1,c2 pid=");
    assert_eq!(said(&log(&(enriched + &labelled))), ["/x SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 2"]);
}

#[test]
fn names_in_hexadecimal_and_missing_paths() {
    let named = |comm: &str, exe: &str| {
        format!("type=SECCOMP msg=audit(1.2:3): {PAYLOAD}\n")
            .replace("comm=\"x\"", &format!("comm={comm}"))
            .replace("exe=\"/x\"", &format!("exe={exe}"))
    };
    let text =
        named("6120622063", "2F746D702F6120622063") + &named("\"sh\"", "(null)") + &named("(null)", "(null)");
    let log = log(&text);
    assert_eq!(
        said(&log),
        ["/tmp/a b c SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1", "sh SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1"]
    );
    assert_eq!(log.unread.count(), 1);
}

#[test]
fn architectures_and_actions_are_told_apart() {
    let record = |arch: &str, syscall: &str, code: &str| {
        format!("type=SECCOMP msg=audit(1.2:3): {PAYLOAD}\n")
            .replace("arch=c000003e", &format!("arch={arch}"))
            .replace("syscall=110", &format!("syscall={syscall}"))
            .replace("code=0x7ffc0000", &format!("code={code}"))
    };
    let log = log(&[
        record("40000003", "102", "0x50000"),
        record("c00000b7", "56", "0x80000000"),
        record("c000003e", "1073741824", "0x0"),
        record("c000003e", "-1", "0x0"),
        record("c000003e", "99999", "0x0"),
        record("deadbeef", "1", "0x0"),
        record("c000003e", "1", "0x12345678"),
    ]
    .concat());
    assert_eq!(
        said(&log),
        [
            "/x SCMP_ARCH_X86 socketcall SCMP_ACT_ERRNO 1",
            "/x SCMP_ARCH_X32 read SCMP_ACT_KILL_THREAD 1",
            "/x SCMP_ARCH_AARCH64 openat SCMP_ACT_KILL_PROCESS 1",
        ]
    );
    let reasons: Vec<_> = log.unread.by_reason().map(|(reason, count, _)| (reason.as_str(), count)).collect();
    assert_eq!(reasons.iter().map(|(_, count)| count).collect::<Vec<_>>(), [&1, &3], "{reasons:?}");
}

#[test]
fn other_lines_are_passed_over_and_counted() {
    let text = "type=SYSCALL msg=audit(1.2:3): arch=c000003e syscall=59 success=yes exit=0\n\
                Nov 24 21:00:00 web sshd[7]: Accepted publickey for root; SECCOMP auid=0\n\
                type=SECCOMP msg=audit(1.2:3): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=2912\n";
    let log = log(text);
    assert_eq!((log.lines, log.records, log.others, log.unread.count()), (3, 0, 2, 1));
}

#[test]
fn programs_beyond_the_bound_are_counted_together() {
    let text: String = (0..MAX_PROGRAMS + 10)
        .map(|at| format!("type=1326 {PAYLOAD}\n").replace("\"/x\"", &format!("\"/x{at}\"")))
        .collect();
    let log = log(&text);
    assert_eq!(log.programs.len(), MAX_PROGRAMS + 1);
    assert_eq!(log.programs[&None].calls.values().sum::<u64>(), 10);
    assert_eq!(log.records, MAX_PROGRAMS as u64 + 10);
}

#[test]
fn a_record_is_read_though_copying_lost_its_separator() {
    for lost in [
        "AUID=\"unset\" ARCH=x86_64 SYSCALL=getppid",
        "\u{fffd}AUID=\"unset\"",
        "#035AUID=\"unset\"",
        "ARCH=x86_64",
    ] {
        for before in ["", "52:", "audit.log:52:", "audit.log-7-"] {
            let log = log(&format!("{before}type=SECCOMP msg=audit(1.2:3): {PAYLOAD}{lost}\n"));
            assert_eq!(said(&log), ["/x SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1"], "{before}{lost}");
        }
    }
    let cited = log(&format!("7:SECCOMP {PAYLOAD}\n"));
    assert_eq!(cited.records, 1);
}

#[test]
fn an_interpreted_record_is_read() {
    let record = |exe: &str, arch: &str, syscall: &str, code: &str| {
        format!(
            "type=SECCOMP msg=audit(11/30/2026 08:00:01.250:9) : auid=unset uid=app gid=app ses=unset pid=7 comm=my worker exe={exe} \
             sig=SIGSYS arch={arch} syscall={syscall} compat=0 ip=0x7f code={code} \n"
        )
    };
    let log = log(&[
        "----\n".to_owned(),
        record("/opt/my app", "x86_64", "getppid", "kill_process"),
        record("(null)", "aarch64", "openat", "kill-thread"),
        record("/a", "i386", "mmap2", "errno"),
        record("/a", "i386", "openat9", "errno"),
    ]
    .concat());
    assert_eq!(
        said(&log),
        [
            "/a SCMP_ARCH_X86 mmap2 SCMP_ACT_ERRNO 1",
            "/opt/my app SCMP_ARCH_X86_64 getppid SCMP_ACT_KILL_PROCESS 1",
            "my worker SCMP_ARCH_AARCH64 openat SCMP_ACT_KILL_THREAD 1",
        ]
    );
    assert_eq!((log.records, log.others, log.unread.count()), (3, 1, 1));
}

#[test]
fn an_event_that_two_wrote_counts_once() {
    let journald = format!("Nov 24 21:00:00 web audit[29124]: SECCOMP {PAYLOAD}\n");
    let kernel =
        format!("Nov 24 21:00:00 web kernel: audit: type=1326 audit(1795475685.480:204): {PAYLOAD}\n");
    for (text, records, repeated) in [
        (format!("{journald}{kernel}"), 1, 1),
        (format!("{journald}{journald}{kernel}{kernel}"), 2, 2),
        (format!("{kernel}{journald}{kernel}"), 2, 1),
        (format!("{kernel}{kernel}"), 2, 0),
    ] {
        let log = log(&text);
        assert_eq!((log.records, log.repeated), (records, repeated), "{text}");
    }
}

#[test]
fn runcs_own_calls_are_told_by_its_threads_name() {
    let init =
        format!("type=1326 {PAYLOAD}\n").replace("\"x\"", "\"runc:[2:INIT]\"").replace("\"/x\"", "\"/\"");
    let log = log(&init);
    assert_eq!(said(&log), ["runc:[2:INIT] SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1"]);
    assert!(log.programs.keys().flatten().all(|program| is_runtime(program)) && !is_runtime("/x"));
}

#[test]
fn other_tools_lines_are_read() {
    let klog = "I1130 08:00:01.25 77 enricher.go:135] log-enricher \"msg\"=\"audit\" \"container\"=\"web\" \"executable\"=\"/web\" \
                \"pid\"=8 \"syscallID\"=35 \"syscallName\"=\"nanosleep\" \"timestamp\"=\"1.2:3\" \"type\"=\"seccomp\"\n";
    assert_eq!(said(&log(klog)), ["/web SCMP_ARCH_X86_64 nanosleep - 1"]);
    let arm = klog.replace("=35", "=101");
    assert_eq!(said(&log(&arm))[0], "/web SCMP_ARCH_AARCH64 nanosleep - 1");
    let json = "{\"version\":\"spo/v1_alpha\",\"syscalls\":[\"bind\",\"listen\"],\"executable\":\"/web\",\"pid\":8}\n";
    assert_eq!(said(&log(json)), ["/web SCMP_ARCH_X86_64 bind - 1", "/web SCMP_ARCH_X86_64 listen - 1"]);
    let other = klog.replace("\"seccomp\"", "\"apparmor\"");
    assert_eq!((log(&other).records, log(&other).others), (0, 1));

    let message = format!("audit: type=1326 audit(1.2:3): {PAYLOAD}");
    let journal = format!("{}\n", serde_json::json!({ "PRIORITY": "5", "MESSAGE": message }));
    let bytes = format!("{}\n", serde_json::json!({ "MESSAGE": message.as_bytes() }));
    let docker = format!("{}\n", serde_json::json!({ "log": format!("{message}\n"), "stream": "stdout" }));
    for line in [journal, bytes, docker] {
        assert_eq!(said(&log(&line)), ["/x SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1"], "{line}");
    }
    let snappy =
        format!("= Seccomp =\nLog: {}\nSyscall: getppid\n", PAYLOAD.replace("syscall=110", "110(getppid)"));
    assert_eq!(said(&log(&snappy)), ["/x SCMP_ARCH_X86_64 getppid SCMP_ACT_LOG 1"]);
}

#[test]
fn the_record_of_a_programs_end_lacks_the_call() {
    let abend = "type=ANOM_ABEND msg=audit(1.2:3): auid=0 uid=0 gid=0 ses=1 pid=9 comm=\"x\" exe=\"/x\" sig=31 res=1\n";
    let log = log(&(abend.to_owned() + &abend.replace("sig=31", "sig=11")));
    assert_eq!((log.records, log.others, log.unread.count()), (0, 1, 1));
    let (reason, ..) = log.unread.by_reason().next().expect("a reason");
    assert_eq!(reason, Reason::Abend);
}
