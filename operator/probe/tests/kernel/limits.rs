//! What happens when there is no room: it is counted.

use std::time::{Duration, Instant};

use portcullis_probe::{Capacity, Error, Watch};

use crate::machine::{DENIALS, FILTERED, Node, counts, expect, of};

#[test]
fn a_container_without_room_is_counted_as_lost() {
    let mut node = Node::with(|settings| settings.capacity.containers = 1);
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let (_, second) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert!(cgroup.run(&["filter", "call=39"]).success());
    assert!(second.run(&["filter", "call=39*10"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(snapshot.containers.len(), 1);
    assert_eq!(of(&snapshot, id).container.id, Some(id));
    // Ten calls and exit_group, and the marks that could not be set either.
    assert!(snapshot.losses.no_room >= 11, "{:?}", snapshot.losses);
}

#[test]
fn a_full_share_is_counted_for_the_container() {
    let small = Capacity { containers: 4, others: 1, values: 1 };
    let mut node = Node::with(|settings| settings.capacity = small);
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let steps = [
        "deny=110:0x50001",
        "filter",
        "call=0x40000027",
        "call=0x40000028*2",
        "i386=110*3",
        "call=110*2",
        "call=72:9:1*2",
        "call=72:9:2*4",
    ];
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    let lost = recorded.container.lost;
    assert_eq!((lost.calls, lost.denials, lost.values), (2, 3, 4), "{recorded:#?}");
    assert_eq!(counts(&recorded.denied), expect([("getppid", 2)]));
    assert!(recorded.arguments.values().all(|values| values.too_many));
}

/// Everything that makes a new entry anywhere, and more of it than there is room for: numbers that nothing knows, of each architecture;
/// all of i386's, denied; x32's that no kernel has; tasks that are killed; and values of arguments.
const FLOOD: &[&str] = &[
    "range=512:4700",
    "range=0x40000220:0x400003ff",
    "range=0x40000400:0x40001400",
    "range386=512:4700",
    "values=16:1:0:200",
    "values=54:1:0:200",
    "values=54:2:0:200",
    "values=72:1:1000:1200",
    "values=101:0:1000:1200",
    "values=157:0:1000:1200",
    "values=158:0:100000:100200",
    "values=250:0:1000:1200",
    "values=272:0:1:100",
    "values=308:1:0:200",
    "values=317:0:1000:1200",
    "values=321:0:1000:1200",
    "values=41:0:100:300",
    "values=53:0:100:300",
];

#[test]
fn a_container_that_calls_everything_takes_nothing_from_another() {
    let mut node = Node::with(|settings| settings.capacity.containers = 4);
    let (hostile, other) = (node.pod(), node.pod());
    node.watch(&hostile.target(), DENIALS).expect("a pod can be watched");
    node.watch(&other.target(), DENIALS).expect("a pod can be watched");
    let (flooding, flood) = hostile.container();
    let (_, second) = hostile.container();
    let (recorded, cgroup) = other.container();
    assert!(flood.run(&[&["filter"], FLOOD].concat()).success());
    // The same, denied; and each number of i386 that is not exit_group's on x86-64.
    let denied = [&["allow=231", "otherwise=0x50001", "filter", "range386=0:511"], FLOOD].concat();
    assert!(flood.run(&denied).success());
    let kill: Vec<_> = (400..500).map(|number| format!("call={number}")).collect();
    let mut killed = vec!["allow=57", "allow=61", "allow=231", "otherwise=0x80000000", "filter"];
    killed.extend(kill.iter().flat_map(|call| ["fork", call, "join"]));
    assert!(second.run(&killed).success());
    let steps = [
        "deny=110:0x50001",
        "filter",
        "i386=20*2",
        "i386=110",
        "call=39",
        "call=0x40000027",
        "call=110*3",
        "call=100000",
        "call=16:9999:7",
        "call=54:9999:1:2",
        "fork",
        "call=102",
        "join",
    ];
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, recorded);
    assert!(recorded.container.lost.is_none(), "{recorded:#?}");
    let made = expect([
        ("X86/getpid", 2),
        ("getpid", 1),
        ("X32/getpid", 1),
        ("4294967295", 1),
        ("ioctl", 1),
        ("setsockopt", 1),
        ("fork", 1),
        ("wait4", 1),
        ("getuid", 1),
        ("exit_group", 2),
    ]);
    assert_eq!(counts(&recorded.calls), made);
    assert_eq!(counts(&recorded.denied), expect([("getppid", 3), ("X86/iopl", 1)]));
    assert!(recorded.arguments.values().all(|values| !values.too_many && values.values.len() == 1));
    assert_eq!(recorded.arguments.len(), 3);
    let flooding = of(&snapshot, flooding);
    let lost = flooding.container.lost;
    assert!(lost.calls > 0 && lost.denials > 0 && lost.values > 0, "its own share is full: {lost:?}");
    assert_eq!(counts(&flooding.calls)["4294967295"], 4189 + 4097);
}

#[test]
fn containers_of_one_group_leave_room_for_those_of_another() {
    let mut node = Node::with(|settings| settings.capacity.containers = 9);
    let (many, few) = (node.pod(), node.pod());
    node.watch(&many.target(), Watch { group: 1, ..FILTERED }).expect("a pod can be watched");
    node.watch(&few.target(), Watch { group: 2, tag: 2, ..FILTERED }).expect("a pod can be watched");
    for _ in 0..20 {
        assert!(many.container().1.run(&["filter"]).success());
    }
    let (id, cgroup) = few.container();
    assert!(cgroup.run(&["filter", "call=39"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let of_many = snapshot.containers.iter().filter(|recorded| recorded.container.tag == 1).count();
    assert_eq!(of_many, 6, "twice as many as it leaves free");
    assert_eq!(counts(&of(&snapshot, id).calls), expect([("getpid", 1), ("exit_group", 1)]));
    // At least exit_group of each of the others, and nothing of the other group's.
    assert!(snapshot.losses.no_room_in[&1] >= 14, "{:?}", snapshot.losses);
    assert_eq!(snapshot.losses.no_room_in[&2], 0);
}

#[test]
fn a_forgotten_container_makes_room_for_another() {
    let mut node = Node::with(|settings| settings.capacity.containers = 1);
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert!(cgroup.run(&["filter", "call=39*4", "i386=20", "call=41:1:1:0"]).success());
    let key = of(&node.snapshot().expect("a snapshot"), id).container.key;
    assert!(matches!(node.forget(key), Err(Error::StillWatched)));
    drop(cgroup);
    node.forget(key).expect("its cgroup is gone");
    let rested = Instant::now() + Duration::from_millis(1100);
    crate::machine::until("a slot has rested", || Instant::now() > rested);
    node.sweep().expect("a slot can be cleared");
    let (other, cgroup) = pod.container();
    assert!(cgroup.run(&["filter", "call=110"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(snapshot.containers.len(), 1);
    let recorded = of(&snapshot, other);
    assert_eq!(counts(&recorded.calls), expect([("getppid", 1), ("exit_group", 1)]));
    assert!(recorded.arguments.is_empty());
    assert_eq!(snapshot.losses.no_room, 0);
}

#[test]
fn more_containers_than_the_kernel_can_search_are_refused() {
    let mut settings = Node::new().settings.clone();
    for containers in [0, 1025] {
        settings.capacity.containers = containers;
        assert!(matches!(portcullis_probe::Probe::open(&settings), Err(Error::Containers(_))));
    }
}
