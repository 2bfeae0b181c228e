//! Values of arguments.

use portcullis_probe::{MAX_VALUES, Recorded};

use crate::machine::{FILTERED, Node, of};

fn values(recorded: &Recorded, call: &str, index: u8) -> (Vec<(u64, u64)>, bool) {
    let found = recorded.arguments.iter().find(|(at, _)| at.call.name() == Some(call) && at.index == index);
    let (_, values) = found.unwrap_or_else(|| panic!("{call} {index} in {:#?}", recorded.arguments));
    (values.values.iter().map(|(value, count)| (*value, count.count)).collect(), values.too_many)
}

#[test]
fn chosen_arguments_are_kept_with_all_their_bits() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let steps = [
        "filter",
        "call=41:2:0x80001:6*3",
        "call=41:10:1:0",
        "call=135:0xffffffffffffffff",
        "call=135:0xffffffff",
        "call=72:1:3",
        "call=39:7",
    ];
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    assert_eq!(values(recorded, "socket", 0), (vec![(2, 3), (10, 1)], false));
    assert_eq!(values(recorded, "socket", 1), (vec![(1, 1), (0x80001, 3)], false));
    assert_eq!(values(recorded, "socket", 2), (vec![(0, 1), (6, 3)], false));
    assert_eq!(values(recorded, "personality", 0), (vec![(0xffff_ffff, 1), (u64::MAX, 1)], false));
    assert_eq!(values(recorded, "fcntl", 1), (vec![(3, 1)], false));
    assert_eq!(recorded.arguments.len(), 5, "getpid has none: {:?}", recorded.arguments);
}

#[test]
fn too_many_values_are_a_state_and_no_loss() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    // fcntl on a file descriptor that is not open, with more commands than are kept.
    let calls: Vec<_> = (0..=MAX_VALUES).map(|command| format!("call=72:999:{command}")).collect();
    let mut steps = vec!["filter"];
    steps.extend(calls.iter().map(String::as_str));
    assert!(cgroup.run(&steps).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let recorded = of(&snapshot, id);
    let (kept, too_many) = values(recorded, "fcntl", 1);
    assert_eq!(kept.len(), MAX_VALUES);
    assert!(too_many);
    assert!(recorded.container.lost.is_none());
}
