//! Marks of a container's life.

use std::time::{Duration, SystemTime};

use crate::machine::{FILTERED, Node, SUBJECT, of};

#[test]
fn signals_handlers_and_the_exit_are_seen() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
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
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let exec = format!("exec={}", SUBJECT.display());
    let status =
        cgroup.run(&["filter", &exec, "fork", "exit=7", "join", "thread", "call=39", "join", "exit=42"]);
    assert_eq!(status.code(), Some(42));
    let snapshot = node.snapshot().expect("a snapshot");
    let exit = of(&snapshot, id).container.exit.expect("it ended");
    assert_eq!((exit.code, exit.signal), (42, None));
}
