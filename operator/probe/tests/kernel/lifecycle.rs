//! Marks of a container's life.

use std::time::{Duration, SystemTime};

use crate::machine::{FILTERED, Node, SUBJECT, of};

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
