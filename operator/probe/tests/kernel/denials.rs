//! Calls that a filter denies.

use crate::machine::{DENIALS, Node, SUBJECT, counts, expect, of};

/// `SECCOMP_RET_*` of include/uapi/linux/seccomp.h.
const ERRNO_0: &str = "0x00050000";
const ERRNO_1: &str = "0x00050001";
const TRAP: &str = "0x00030000";
const KILL_THREAD: &str = "0x0";
const KILL_PROCESS: &str = "0x80000000";

#[test]
fn denied_calls_are_counted_whatever_they_return() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let deny = [format!("deny=110:{ERRNO_0}"), format!("deny=102:{ERRNO_1}"), format!("deny=104:{TRAP}")];
    // SIGSYS is 31. After a handler has returned, the next denied call must count as well.
    let steps = [
        deny[0].as_str(),
        &deny[1],
        &deny[2],
        "handle=31",
        "filter",
        "call=39*3",
        "call=110*1000",
        "call=102*2",
        "call=104*4",
        "call=110",
        "fork",
        "call=102",
        "join",
        "thread",
        "call=102*5",
        "join",
    ];
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.denied), expect([("getppid", 1001), ("getuid", 8), ("getgid", 4)]));
    let made = expect([
        ("getpid", 3),
        ("rt_sigreturn", 4),
        ("fork", 1),
        ("wait4", 1),
        ("clone", 1),
        ("exit", 1),
        ("exit_group", 2),
    ]);
    assert_eq!(counts(&recorded.calls), made);
    assert!(recorded.killed.is_empty());
    assert_eq!(recorded.container.handled, [31]);
}

#[test]
fn a_task_that_is_killed_names_its_last_call() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    let exec = format!("exec={}", SUBJECT.display());
    let deny = [format!("deny=110:{KILL_THREAD}"), format!("deny=102:{KILL_PROCESS}")];
    let steps =
        [deny[0].as_str(), &deny[1], "filter", &exec, "fork", "call=110", "join", "call=102", "exit=0"];
    let status = cgroup.run(&steps);
    assert!(!status.success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.killed), expect([("getppid", 1), ("getuid", 1)]));
    assert!(recorded.denied.is_empty());
    assert_eq!(counts(&recorded.calls), expect([("execve", 1), ("fork", 1), ("wait4", 1)]));
    let exit = recorded.container.exit.expect("its main process ended");
    assert_eq!(exit.signal, Some(31));
}

#[test]
fn a_call_that_was_under_way_when_the_probe_came_is_not_denied() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    // It waits in read(2), under its filter, while the programs are attached.
    let mut subject = cgroup.start(&["filter", "wait", "call=39"]);
    subject.go_on();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    subject.go_on();
    assert!(subject.end().success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert!(recorded.denied.is_empty(), "{:?}", recorded.denied);
    assert_eq!(counts(&recorded.calls).get("getpid"), Some(&1));
    assert!(!recorded.container.whole, "its start was missed");
}

#[test]
fn arguments_of_denied_calls_are_kept_apart() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let deny = format!("deny=41:{ERRNO_1}");
    assert!(cgroup.run(&[&deny, "filter", "call=41:16:3:0*2"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert!(recorded.arguments.is_empty());
    let domains: Vec<_> = recorded
        .denied_arguments
        .iter()
        .map(|(at, values)| (at.index, values.values.keys().copied().collect::<Vec<_>>()))
        .collect();
    assert_eq!(domains, [(0, vec![16]), (1, vec![3]), (2, vec![0])]);
}
