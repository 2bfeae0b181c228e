//! Marks of a container's life.

use std::time::{Duration, SystemTime};

use portcullis_probe::{Container, Start, Watch};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine::{DENIALS, FILTERED, Node, SUBJECT, of};

#[test]
fn signals_handlers_and_the_exit_are_seen() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    let before = SystemTime::now();
    let exec = format!("exec={}", SUBJECT.display());
    // SIGUSR1 and SIGHUP are handled, SIGTERM ends it.
    let status =
        cgroup.run(&["filter", &exec, "handle=10", "handle=1", "raise=10", "raise=1", "raise=15", "exit=0"]);
    assert!(!status.success());
    let snapshot = node.snapshot().expect("a snapshot");
    let container = &of(&snapshot, id).container;
    assert_eq!(container.signals, [1, 10, 15]);
    assert_eq!(container.handled, [1, 10]);
    let exec = container.exec.expect("it began");
    let exit = container.exit.expect("it ended");
    assert_eq!((exit.code, exit.signal), (0, Some(15)));
    let slack = Duration::from_secs(1);
    assert!(container.seen <= exec && exec <= exit.at, "{container:?}");
    assert!(before < container.seen + slack && exit.at < SystemTime::now() + slack, "{container:?}");
    assert!(container.last_new.is_some_and(|last| exec <= last && last <= exit.at));
}

#[test]
fn an_exit_status_is_the_first_programs_and_no_childs() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    let exec = format!("exec={}", SUBJECT.display());
    let status =
        cgroup.run(&["filter", &exec, "fork", "exit=7", "join", "thread", "call=39", "join", "exit=42"]);
    assert_eq!(status.code(), Some(42));
    let snapshot = node.snapshot().expect("a snapshot");
    let exit = of(&snapshot, id).container.exit.expect("it ended");
    assert_eq!((exit.code, exit.signal), (42, None));
}

#[test]
fn the_first_program_of_a_container_that_ran_before_is_not_guessed() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let exec = format!("exec={}", SUBJECT.display());
    let mut application = cgroup.start(&["filter", &exec, "wait", "exit=42"]);
    application.go_on();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    // An exec probe's program, which ends while the application goes on.
    assert_eq!(cgroup.run(&["filter", &exec, "exit=7"]).code(), Some(7));
    let watched = of(&node.snapshot().expect("a snapshot"), id).container.clone();
    assert_eq!((watched.whole, watched.exec, watched.exit), (false, None, None));
    application.go_on();
    assert_eq!(application.end().code(), Some(42));
    let ended = of(&node.snapshot().expect("a snapshot"), id).container.clone();
    assert_eq!((ended.exec, ended.exit), (None, None));
}

/// `exec=` of the subject itself.
fn again() -> String {
    format!("exec={}", SUBJECT.display())
}

#[test]
fn a_program_that_comes_into_a_running_container_is_none_of_its_own() {
    let unfiltered = Watch { start: Start::Exec, ..FILTERED };
    for (watch, first) in [(FILTERED, "filter"), (unfiltered, "call=39")] {
        let mut node = Node::new();
        let pod = node.pod();
        node.watch(&pod.target(), watch).expect("a pod can be watched");
        let (id, cgroup) = pod.container();
        let entered = |node: &Node| of(&node.snapshot().expect("a snapshot"), id).container.entered;
        // Its own children execute programs, and those of a child whose parent has ended.
        let steps = [
            first,
            &again(),
            "fork",
            "fork",
            &again(),
            "exit=0",
            "join",
            "exit=0",
            "join",
            "thread",
            "call=39",
            "join",
            "wait",
            "exit=0",
        ];
        let mut application = cgroup.start(&steps);
        application.go_on_to_next_wait();
        assert_eq!(entered(&node), None, "{first}");
        let probe = cgroup.run(&[first, &again(), "exit=0"]);
        assert!(probe.success());
        assert!(entered(&node).is_some(), "{first}: an exec probe's program was not seen");
        application.go_on();
        assert!(application.end().success());
    }
}

/// The container was there before, and so were the processes of which some have children later.
#[test]
fn what_was_there_before_is_the_containers_own() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let steps = ["filter", &again(), "wait", "call=39", "fork", &again(), "exit=0", "join", "wait", "exit=0"];
    let mut application = cgroup.start(&steps);
    application.go_on_to_next_wait();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    application.go_on_to_next_wait();
    let entered = |node: &Node| of(&node.snapshot().expect("a snapshot"), id).container.entered;
    assert_eq!(entered(&node), None);
    assert!(cgroup.run(&["filter", &again(), "exit=0"]).success());
    assert!(entered(&node).is_some());
    application.go_on();
    assert!(application.end().success());
}

/// Runs the subject, sends it a signal at its first `wait` and lets it end.
fn told(watch: Watch, steps: &[&str], signal: Option<Signal>) -> Container {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), watch).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    let mut application = cgroup.start(steps);
    application.go_on_to_next_wait();
    let pid = Pid::from_raw(i32::try_from(application.id()).expect("an id")).expect("an id");
    if let Some(signal) = signal {
        kill_process(pid, signal).expect("it can be told");
    }
    application.go_on();
    assert!(application.end().success(), "{steps:?}");
    of(&node.snapshot().expect("a snapshot"), id).container.clone()
}

#[test]
fn a_signal_that_the_container_sends_itself_is_none_from_outside() {
    let container = told(
        FILTERED,
        &[
            "filter",
            &again(),
            "handle=10",
            "handle=1",
            "raise=10",
            "fork",
            "raise=1",
            "join",
            "wait",
            "exit=0",
        ],
        Some(Signal::USR1),
    );
    assert_eq!((container.handled, container.outside), (vec![1, 10], vec![10]));
    // One that it ignores came from outside all the same: SIGWINCH.
    let container = told(FILTERED, &["filter", &again(), "raise=28", "wait", "exit=0"], Some(Signal::WINCH));
    assert_eq!((container.handled, container.outside), (Vec::new(), vec![28]));
}

#[test]
fn a_log_is_reopened_after_a_signal_from_outside_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let append = |name: &str| format!("append={}", directory.path().join(name).display());
    let (log, other, again) = (append("log"), append("other"), again());
    let unfiltered = Watch { start: Start::Exec, ..DENIALS };
    for (watch, first) in [(DENIALS, "filter"), (unfiltered, "call=39")] {
        let reopened = |steps: &[&str], signal| {
            let steps = [&[first, again.as_str()][..], steps].concat();
            told(watch, &steps, signal).reopened.is_some()
        };
        let usr1 = Some(Signal::USR1);
        assert!(reopened(&["handle=10", &log, "wait", &log], usr1), "{first}");
        assert!(!reopened(&["handle=10", &log, "wait", &other], usr1), "{first}: another file");
        assert!(!reopened(&["handle=10", &log, "raise=10", &log, "wait", &log], None), "{first}: its own");
        assert!(!reopened(&["handle=12", &log, "wait", &log], Some(Signal::USR2)), "{first}: not asked to");
        // The file is a directory, so that it can't be opened: no evidence, neither before nor after.
        let failed = format!("call=2:0:{}", 0o2101);
        assert!(!reopened(&["handle=10", &failed, "wait", &failed], usr1), "{first}: nothing was opened");
    }
}
