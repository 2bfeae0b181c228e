//! What is traced is what the subject calls: the probe's own (`operator/probe/tests/kernel/subject.c`), so that both are held to the
//! same truth. No root is needed.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::zombie_processes, reason = "the tracer waits for every process")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use portcullis_profile::recording::{Exit, Mark, Observation, Signals, Values};
use portcullis_trace::{Progress, Tracer};
use rustix::process::{Pid, Signal, kill_process};

static SUBJECT: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probe/tests/kernel/subject.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("subject-{}", std::process::id()));
    let compiled = Command::new("gcc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-nostdlib", "-static", "-ffreestanding"])
        .args(["-fno-stack-protector", "-fno-pie", "-no-pie", "-o"])
        .args([&program, &source])
        .status()
        .expect("gcc is needed to compile the subject");
    assert!(compiled.success(), "gcc refused {}", source.display());
    program
});

/// Starts a command that waits to be traced.
fn start(program: &Path, arguments: &[&str]) -> Child {
    Command::new("sh")
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell starts")
}

/// Whether a process sleeps in read(2), whose number is 0.
fn waits_in_read(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/syscall")).is_ok_and(|text| text.starts_with("0 "))
}

/// Lets the tracer work until something holds.
fn until(tracer: &mut Tracer, what: &str, mut holds: impl FnMut(Progress) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let progress = tracer.advance().expect("it can be traced");
        if holds(progress) {
            return;
        }
        assert!(Instant::now() < end, "still not after 20 s: {what}");
        std::thread::yield_now();
    }
}

fn trace(program: &Path, arguments: &[&str]) -> (Observation, Option<Exit>) {
    let child = start(program, arguments);
    let mut tracer = Tracer::seize(child.id()).expect("it can be traced");
    let mut exit = None;
    until(&mut tracer, "everything ended", |progress| {
        if let Progress::Ended(status) = progress {
            exit = Some(status);
        }
        progress == Progress::Done
    });
    (tracer.observation(), exit)
}

fn subject(steps: &[&str]) -> Observation {
    trace(&SUBJECT, steps).0
}

fn counts(seen: &Observation) -> BTreeMap<String, u64> {
    let named = |call: &portcullis_profile::recording::Call| {
        let name = call.name().map_or_else(|| call.number.to_string(), str::to_owned);
        let arch = call.arch.as_str().trim_start_matches("SCMP_ARCH_");
        if arch == "X86_64" { name } else { format!("{arch}/{name}") }
    };
    seen.calls.iter().map(|(call, seen)| (named(call), seen.count)).collect()
}

fn expect<const N: usize>(calls: [(&str, u64); N]) -> BTreeMap<String, u64> {
    calls.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn counting_begins_with_the_commands_own_execve() {
    let seen = subject(&["call=39*1000", "call=110"]);
    assert_eq!(counts(&seen), expect([("execve", 1), ("getpid", 1000), ("getppid", 1), ("exit_group", 1)]));
    assert_eq!(seen.marks, [Mark::StartSeen, Mark::Completed].into());
    assert_eq!(seen.containers, 1);
}

#[test]
fn children_threads_and_new_programs_are_followed() {
    let exec = format!("exec={}", SUBJECT.display());
    let steps = [
        "fork",
        "call=39*10",
        "thread",
        "call=110*7",
        "join",
        "join",
        "thread",
        "call=110*5",
        "join",
        &exec,
        "call=102",
    ];
    let truth = expect([
        ("fork", 1),
        ("wait4", 1),
        ("getpid", 10),
        ("clone", 2),
        ("exit", 2),
        ("getppid", 12),
        ("execve", 2),
        ("getuid", 1),
        ("exit_group", 2),
    ]);
    assert_eq!(counts(&subject(&steps)), truth);
}

#[test]
fn a_thread_may_execute_a_program() {
    let exec = format!("exec={}", SUBJECT.display());
    let seen = subject(&["thread", &exec, "call=39*3", "join"]);
    let truth = expect([("execve", 2), ("clone", 1), ("getpid", 3), ("exit_group", 1)]);
    assert_eq!(counts(&seen), truth);
    assert!(seen.marks.contains(&Mark::Completed), "{:?}", seen.marks);
}

#[test]
fn calls_of_other_architectures_are_kept_apart() {
    let seen = subject(&["i386=20", "i386=20", "call=39", "call=0x40000027", "call=511", "call=100000"]);
    let truth = expect([
        ("execve", 1),
        ("X86/getpid", 2),
        ("getpid", 1),
        ("X32/getpid", 1),
        ("511", 1),
        ("100000", 1),
        ("exit_group", 1),
    ]);
    assert_eq!(counts(&seen), truth);
}

/// ptrace comes before seccomp, so this is more than the probe counts.
#[test]
fn what_the_programs_own_filter_denies_counts() {
    let seen = subject(&["deny=39:0x50001", "filter", "call=39*2", "call=110"]);
    let truth = expect([
        ("execve", 1),
        ("prctl", 1),
        ("seccomp", 1),
        ("getpid", 2),
        ("getppid", 1),
        ("exit_group", 1),
    ]);
    assert_eq!(counts(&seen), truth);
}

#[test]
fn values_of_arguments_are_kept_with_all_their_bits() {
    let seen = subject(&["call=41:2:1", "call=41:10:1", "call=135:0xffffffffffffffff", "call=39:7"]);
    let values: Vec<_> =
        seen.values.iter().map(|(at, values)| (at.call.name(), at.index, values.clone())).collect();
    let these = |values: &[u64]| Values::These(values.iter().copied().collect());
    assert_eq!(values, [(Some("socket"), 0, these(&[2, 10])), (Some("personality"), 0, these(&[u64::MAX]))]);
    let many: Vec<_> = (0..=32).map(|command| format!("call=72:999:{command}")).collect();
    let seen = subject(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(seen.values.values().collect::<Vec<_>>(), [&Values::TooMany]);
}

/// 34 is a real-time signal.
#[test]
fn signals_reach_the_program_and_handlers_are_seen() {
    let steps =
        ["handle=10", "handle=1", "handle=34", "raise=10", "raise=1", "raise=34", "call=2:0", "raise=15"];
    let (seen, _) = trace(&SUBJECT, &steps);
    assert_eq!(seen.handled.names().collect::<Vec<_>>(), ["SIGHUP", "SIGUSR1", "SIG34"]);
    let calls = counts(&seen);
    assert_eq!(calls["rt_sigreturn"], 3, "each handler returned");
    assert!(!calls.contains_key("exit_group"), "SIGTERM ended it: {calls:?}");
    assert_eq!(seen.marks, [Mark::StartSeen, Mark::Killed].into());
    assert_eq!(seen.outside.names().count(), 0, "it sent all of them itself");
}

#[test]
fn the_end_of_the_command_is_no_childs() {
    let (seen, exit) = trace(&SUBJECT, &["fork", "exit=7", "join", "exit=42"]);
    // Nothing was left when it ended, so there was no moment between its end and the end of everything.
    assert!(exit.is_none_or(|exit| exit == Exit::Status(42)));
    assert!(seen.marks.contains(&Mark::NonZeroExit));
}

#[test]
fn a_stopped_process_goes_on_when_it_is_told_to() {
    let mut child = start(&SUBJECT, &["thread", "call=39", "join", "raise=19", "call=110"]);
    let pid = Pid::from_child(&child);
    let mut tracer = Tracer::seize(child.id()).expect("it can be traced");
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap_or_default();
        stat.lines().any(|line| line.starts_with("State:\tt") || line.starts_with("State:\tT"))
    };
    // Stopped for long, and not only until the tracer has looked: nothing is to be done for it.
    let mut idle = 0;
    until(&mut tracer, "it stops", |progress| {
        assert_eq!(progress, Progress::Running);
        idle = if state() { idle + 1 } else { 0 };
        idle > 1000
    });
    kill_process(pid, Signal::CONT).expect("it is there");
    until(&mut tracer, "it ends", |progress| progress == Progress::Done);
    let mut nothing = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut nothing).expect("it ended");
    assert_eq!(counts(&tracer.observation())["getppid"], 1);
}

#[test]
fn what_runs_on_is_released_and_lives() {
    // The first process ends; its child waits for a byte.
    let script = "exec 3<&0; (head -c 1 <&3 >/dev/null; echo lived) & exit 5";
    let mut child = start(Path::new("sh"), &["-c", script]);
    let mut tracer = Tracer::seize(child.id()).expect("it can be traced");
    until(&mut tracer, "the command ended", |progress| progress == Progress::Ended(Exit::Status(5)));
    assert!(!tracer.tasks().is_empty());
    tracer.release().expect("it can be released");
    assert!(tracer.tasks().is_empty());
    let seen = tracer.observation();
    assert!(seen.marks.contains(&Mark::NonZeroExit));
    child.stdin.take().expect("a pipe").write_all(b".").expect("it reads");
    let mut said = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut said).expect("it ends");
    assert_eq!(said, "lived\n");
}

#[test]
fn a_vfork_and_a_process_of_its_own_session_are_followed() {
    // setsid forks where it leads a process group, and the shell's children are made by vfork where the shell can.
    let (seen, _) =
        trace(Path::new("sh"), &["-c", "setsid --fork sh -c 'uname >/dev/null; exit 0'; true | true"]);
    let calls = counts(&seen);
    assert!(["setsid", "uname", "vfork"].iter().all(|name| calls.contains_key(*name)), "{calls:?}");
}

#[test]
fn a_child_that_ends_first_is_an_error() {
    let child = Command::new("true").spawn().expect("it starts");
    let error = Tracer::seize(child.id()).expect_err("it has ended");
    assert!(error.to_string().contains("ended before it could be traced"), "{error}");
}

/// What an operator does: SIGUSR1 comes from another process, and the log is opened again. Before that it may be opened as often as one likes,
/// and other files may be opened after it.
#[test]
fn a_log_is_reopened_after_a_signal_from_outside_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let append = |name: &str| format!("append={}", directory.path().join(name).display());
    let told = |steps: &[&str]| {
        let mut child = start(&SUBJECT, steps);
        let mut tracer = Tracer::seize(child.id()).expect("it can be traced");
        let id = child.id();
        until(&mut tracer, "the subject waits", |_| waits_in_read(id));
        let pid = Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
        kill_process(pid, Signal::USR1).expect("it can be told");
        while tracer.observation().outside.is_empty() {
            tracer.advance().expect("it can be traced");
        }
        child.stdin.take().expect("an input").write_all(b".").expect("it reads");
        until(&mut tracer, "everything ended", |progress| progress == Progress::Done);
        tracer.observation()
    };
    let (log, other) = (append("log"), append("other"));
    let seen = told(&["handle=10", &log, &log, "wait", &log]);
    assert_eq!((seen.handled, seen.outside), (Signals::of(&["SIGUSR1"]), Signals::of(&["SIGUSR1"])));
    assert!(seen.marks.contains(&Mark::LogReopened), "{:?}", seen.marks);
    for steps in [
        &["handle=10", &log, "raise=10", &log, "wait", &other][..],
        &["handle=10", &log, "wait", &other, "call=2:0"],
    ] {
        let seen = told(steps);
        assert!(!seen.marks.contains(&Mark::LogReopened), "{steps:?}: {:?}", seen.marks);
    }
}
