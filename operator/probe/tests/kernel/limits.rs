//! What happens when there is no room: it is counted.

use std::time::{Duration, Instant};

use portcullis_probe::{Capacity, Error};

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
fn full_maps_are_counted_for_the_container() {
    let small = Capacity { containers: 4, foreign: 1, denials: 1, values: 1 };
    let mut node = Node::with(|settings| settings.capacity = small);
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), DENIALS).expect("a pod can be watched");
    let steps = [
        "deny=110:0x50001",
        "deny=102:0x50001",
        "filter",
        "i386=20",
        "i386=64",
        "i386=64",
        "call=110*2",
        "call=102*3",
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
