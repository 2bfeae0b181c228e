//! The calls that a container makes are the calls that are counted.

use portcullis_probe::{Attachment, Tracing};

use crate::machine::{FILTERED, Node, SUBJECT, counts, expect, of};

#[test]
fn exactly_what_runs_under_a_filter_is_counted() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    // getuid before the filter is nothing that a filter sees.
    assert!(cgroup.run(&["call=102*3", "filter", "call=39*1000", "call=110", "exit=0"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(counts(&recorded.calls), expect([("getpid", 1000), ("getppid", 1), ("exit_group", 1)]));
    assert!(recorded.denied.is_empty() && recorded.killed.is_empty());
    assert_eq!(recorded.container.pod, Some(pod.uid));
    assert_eq!(recorded.container.tag, 1);
    assert!(recorded.container.lost.is_none() && !recorded.container.unfiltered);
    assert_eq!(node.attachment(), Attachment::Typed);
}

#[test]
fn children_threads_and_new_programs_belong_to_their_container() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let exec = format!("exec={}", SUBJECT.display());
    let steps = [
        "filter",
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
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let truth = expect([
        ("fork", 1),
        ("wait4", 1),
        ("getpid", 10),
        ("clone", 2),
        ("exit", 2),
        ("getppid", 12),
        ("execve", 1),
        ("getuid", 1),
        ("exit_group", 2),
    ]);
    assert_eq!(counts(&of(&snapshot, id).calls), truth);
}

#[test]
fn threads_on_several_processors_lose_no_count() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let mut subjects: Vec<_> = (0..4).map(|_| cgroup.start(&["filter", "call=110*50000"])).collect();
    subjects.iter_mut().for_each(crate::machine::Subject::go_on);
    for subject in subjects {
        assert!(subject.end().success());
    }
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(counts(&of(&snapshot, id).calls), expect([("getppid", 200_000), ("exit_group", 4)]));
}

#[test]
fn calls_of_other_architectures_are_kept_apart() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    // i386: 20 is getpid, 39 is mkdir. x32 carries bit 30. 511 is in the table and no call, the others are beyond every table.
    let steps = [
        "filter",
        "i386=20",
        "i386=20",
        "i386=39",
        "call=39",
        "call=0x40000027",
        "call=511",
        "call=512",
        "call=100000",
        "i386=100000",
    ];
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let truth = expect([
        ("X86/getpid", 2),
        ("X86/mkdir", 1),
        ("getpid", 1),
        ("X32/getpid", 1),
        ("511", 1),
        ("4294967295", 2),
        ("X86/4294967295", 1),
        ("exit_group", 1),
    ]);
    assert_eq!(counts(&of(&snapshot, id).calls), truth);
}

#[test]
fn raw_tracepoints_count_the_same() {
    let mut node = Node::with(|settings| settings.tracing = Tracing::Raw);
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert!(cgroup.run(&["filter", "call=39*5", "i386=20", "call=41:2:1:0"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(
        counts(&recorded.calls),
        expect([("getpid", 5), ("X86/getpid", 1), ("socket", 1), ("exit_group", 1)])
    );
    assert_eq!(recorded.arguments.len(), 3);
    assert!(matches!(node.attachment(), Attachment::Raw { .. }));
    let refused = node.watch(&pod.target(), crate::machine::DENIALS).expect_err("raw tracepoints can't pair");
    assert!(refused.to_string().contains("raw tracepoints only"), "{refused}");
}
