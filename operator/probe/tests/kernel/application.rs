//! Tasks without a filter: an application's calls are counted, those of a runtime in the same cgroup are not.

use std::fs;

use portcullis_probe::{Start, Target, Tracing, Watch};

use crate::machine::{FILTERED, Node, SUBJECT, counted, counts, expect, of, until, waits_in_read};

pub(crate) const CONTAINER: Watch = Watch { start: Start::ContainerExec, ..FILTERED };
pub(crate) const NOW: Watch = Watch { start: Start::Now, ..FILTERED };

/// unshare(CLONE_NEWNS)
pub(crate) const OWN_MOUNTS: &str = "call=272:0x20000";

pub(crate) fn exec() -> String {
    format!("exec={}", SUBJECT.display())
}

/// What runc does in a container's cgroup before it executes what it was asked to: calls of its own, also by a child and a thread, a
/// signal, a program of its own, and a mount namespace.
fn after_a_runtime<'a>(exec: &'a str, steps: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["call=102*3", "fork", "call=104", "join", "thread", "call=104", "join"];
    all.extend(["handle=10", "raise=10", exec, "call=107", OWN_MOUNTS, exec]);
    all.extend(steps);
    all
}

#[test]
fn counting_begins_with_the_applications_execve() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), CONTAINER).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    assert!(cgroup.run(&after_a_runtime(&exec(), &["call=39*2"])).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.calls), expect([("execve", 1), ("getpid", 2), ("exit_group", 1)]));
    let container = &recorded.container;
    assert!(container.exec.is_some() && container.whole && container.unfiltered);
    assert!(container.signals.is_empty() && container.handled.is_empty(), "{container:?}");
}

#[test]
fn a_command_that_is_run_in_a_container_counts_from_its_execve() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), CONTAINER).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    let exec = exec();
    let steps = ["wait", "call=39", "fork", "call=39", "join", "thread", "call=39", "join", "exit=5"];
    let mut application = cgroup.start(&after_a_runtime(&exec, &steps));
    application.go_on();
    until("the application waits", || counted(&node, id).get("read") == Some(&1));
    let steps = ["call=110", "fork", "call=110", &exec, "call=110", "join"];
    assert!(cgroup.run(&after_a_runtime(&exec, &steps)).success());
    // A runtime that fails before its execve leaves nothing.
    assert!(cgroup.run(&["call=102", OWN_MOUNTS, "call=102"]).success());
    application.go_on();
    assert_eq!(application.end().code(), Some(5));
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    let truth = expect([
        ("execve", 3),
        ("read", 1),
        ("getpid", 3),
        ("getppid", 3),
        ("fork", 2),
        ("wait4", 2),
        ("clone", 1),
        ("exit", 1),
        ("exit_group", 4),
    ]);
    assert_eq!(counts(&recorded.calls), truth);
    let exit = recorded.container.exit.expect("the application ended");
    assert_eq!((exit.code, exit.signal), (5, None));
}

#[test]
fn an_application_that_runs_already_is_counted_from_now_on() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let exec = exec();
    // A thread waits, and the whole waits once more.
    let steps = [
        "thread", "wait", "call=39", "join", "wait", "fork", "call=39", "join", "thread", "call=39", "join",
        &exec, "call=110",
    ];
    let mut running = cgroup.start(&steps);
    running.go_on();
    let threads = format!("/proc/{}/task", running.id());
    until("its thread waits", || {
        let threads = fs::read_dir(&threads).expect("it runs").flatten();
        let ids: Vec<u32> = threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        ids.into_iter().any(|id| id != running.id() && waits_in_read(id))
    });
    node.watch(&pod.target(), CONTAINER).expect("a pod can be watched");
    let now = Watch { tag: 2, ..NOW };
    node.watch(&Target::Container(id), now).expect("a container can be watched beside its pod");
    // While the application is silent, something else comes first.
    assert!(cgroup.run(&after_a_runtime(&exec, &["call=108"])).success());
    running.go_on();
    running.go_on();
    assert!(running.end().success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    let truth = expect([
        ("execve", 2),
        ("read", 1),
        ("getpid", 3),
        ("getppid", 1),
        ("getegid", 1),
        ("fork", 1),
        ("wait4", 1),
        ("clone", 1),
        ("exit", 2),
        ("exit_group", 3),
    ]);
    assert_eq!(counts(&recorded.calls), truth);
    let container = &recorded.container;
    assert_eq!((container.tag, container.whole, container.unfiltered), (2, false, true));
    assert_eq!((container.exec, container.exit), (None, None));
}

#[test]
fn a_container_that_is_made_later_begins_with_its_execve_though_all_was_wanted_now() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), NOW).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    assert!(cgroup.run(&after_a_runtime(&exec(), &["call=39", "exit=3"])).code() == Some(3));
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.calls), expect([("execve", 1), ("getpid", 1), ("exit_group", 1)]));
    assert_eq!(recorded.container.exit.map(|exit| exit.code), Some(3));
}

#[test]
fn tasks_that_are_wanted_late_take_nothing_for_the_first_program() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    let exec = exec();
    let mut application = cgroup.start(&[OWN_MOUNTS, &exec, "wait"]);
    application.go_on();
    let arguments = format!("/proc/{}/cmdline", application.id());
    until("the application runs", || !fs::read_to_string(&arguments).expect("it runs").contains(OWN_MOUNTS));
    until("the application waits", || waits_in_read(application.id()));
    node.watch(&pod.target(), CONTAINER).expect("a watch can change");
    assert!(cgroup.run(&after_a_runtime(&exec, &["call=108"])).success());
    application.go_on();
    assert!(application.end().success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.calls), expect([("execve", 1), ("getegid", 1), ("exit_group", 1)]));
    let container = &recorded.container;
    assert_eq!((container.whole, container.exec, container.exit), (false, None, None));
}

#[test]
fn a_cgroup_of_ones_own_is_counted_from_each_first_execve() {
    let mut node = Node::new();
    let cgroup = node.root.child("command");
    let inner = cgroup.child("inner");
    let watch = Watch { start: Start::Exec, tag: 9, ..FILTERED };
    node.watch(&Target::Cgroup(cgroup.path.parse().expect("a path")), watch)
        .expect("a cgroup can be watched");
    let exec = exec();
    assert_eq!(cgroup.run(&["call=102", &exec, "call=39", "exit=4"]).code(), Some(4));
    // The inner process was started by the test, and is part of the same whole.
    assert!(inner.run(&["call=102", &exec, "call=110"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let [recorded] = snapshot.containers.as_slice() else { panic!("{snapshot:#?}") };
    let truth = expect([("execve", 2), ("getpid", 1), ("exit_group", 2), ("getppid", 1)]);
    assert_eq!(counts(&recorded.calls), truth);
    assert_eq!((recorded.container.id, recorded.container.tag), (None, 9));
    assert_eq!(recorded.container.exit.map(|exit| exit.code), Some(4));
}

#[test]
fn raw_tracepoints_count_all_tasks_of_an_application_that_has_begun() {
    let mut node = Node::with(|settings| settings.tracing = Tracing::Raw);
    let pod = node.pod();
    node.watch(&pod.target(), CONTAINER).expect("a pod can be watched");
    let (id, cgroup) = pod.container();
    assert!(cgroup.run(&["call=102", OWN_MOUNTS, &exec(), "call=39"]).success());
    assert!(cgroup.run(&["call=104"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let truth = expect([("execve", 1), ("getpid", 1), ("getgid", 1), ("exit_group", 2)]);
    assert_eq!(counts(&of(&snapshot, id).calls), truth);
}
