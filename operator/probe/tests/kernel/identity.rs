//! Which container a process belongs to.

use portcullis_probe::{Hierarchy, Target, Watch};

use crate::machine::{FILTERED, Node, Unified, container_id, counts, expect, hierarchies, of, uid};

#[test]
fn containers_are_known_in_every_hierarchy_by_the_names_of_every_driver() {
    // Most machines have one version mounted. The node goes first, with its cgroups.
    let unified = Unified::mount();
    let v1 = hierarchies().into_iter().filter(|(hierarchy, _)| *hierarchy == Hierarchy::Pids);
    for (hierarchy, mount) in v1.chain([(Hierarchy::Unified, unified.path().to_path_buf())]) {
        let mut node = Node::configured(hierarchy, &mount, |_| ());
        let (uid, id) = (uid(), container_id());
        let underscored = uid.to_string().replace('-', "_");
        let bare = uid.to_string().replace('-', "");
        let pods = [
            format!("pod{uid}"),
            format!("pod{bare}"),
            format!("kubepods-burstable-pod{underscored}.slice"),
            format!("kubepods-besteffort-pod{bare}.slice"),
        ];
        let containers = [
            id.to_string(),
            format!("cri-containerd-{id}.scope"),
            format!("crio-{id}.scope"),
            format!("docker-{id}.scope"),
        ];
        node.watch(&Target::Pod(uid), FILTERED).expect("a pod can be watched");
        let mut runs = 0;
        for pod in &pods {
            for container in &containers {
                let pod = node.root.child(pod);
                let container = pod.child(container);
                assert!(container.run(&["filter", "call=39"]).success());
                runs += 1;
            }
        }
        let snapshot = node.snapshot().expect("a snapshot");
        assert_eq!(snapshot.containers.len(), runs, "{hierarchy:?}: {snapshot:#?}");
        for recorded in &snapshot.containers {
            assert_eq!(
                (recorded.container.id, recorded.container.pod),
                (Some(id), Some(uid)),
                "{hierarchy:?}"
            );
            assert_eq!(counts(&recorded.calls), expect([("getpid", 1), ("exit_group", 1)]));
            assert!(recorded.container.whole);
        }
    }
}

#[test]
fn the_nearest_container_counts_and_conmon_is_none() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let nested = cgroup.child("init.scope");
    let conmon = pod.cgroup.child(&format!("crio-conmon-{}.scope", container_id()));
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert!(nested.run(&["filter", "call=39"]).success());
    assert!(conmon.run(&["filter", "call=39"]).success());
    let inner = nested.child(&format!("pod{}", uid()));
    let inner_id = container_id();
    let inside = inner.child(&inner_id.to_string());
    // A container of another pod, in a container: a cluster in a pod. The pod of its own is not watched.
    assert!(inside.run(&["filter", "call=110"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(snapshot.containers.len(), 1, "{snapshot:#?}");
    assert_eq!(counts(&of(&snapshot, id).calls), expect([("getpid", 1), ("exit_group", 1)]));
}

#[test]
fn containers_that_live_for_a_moment_are_caught_whole() {
    let mut node = Node::new();
    let pod = node.pod();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    let ids: Vec<_> = (0..50)
        .map(|_| {
            let (id, cgroup) = pod.container();
            assert!(cgroup.run(&["filter"]).success());
            id
        })
        .collect();
    let snapshot = node.snapshot().expect("a snapshot");
    for id in ids {
        let recorded = of(&snapshot, id);
        assert_eq!(counts(&recorded.calls), expect([("exit_group", 1)]));
        assert!(recorded.container.whole && recorded.container.removed.is_some());
    }
}

/// `RECENT` in `bpf/recent.h`
const RECENT: u64 = 1024;

#[test]
fn containers_that_are_remembered_at_one_place_are_told_apart() {
    let mut node = Node::new();
    let pod = node.pod();
    let (first, first_cgroup) = pod.container();
    let (second, second_cgroup) = (0..100_000)
        .map(|_| pod.container())
        .find(|(_, cgroup)| cgroup.number() % RECENT == first_cgroup.number() % RECENT)
        .expect("the kernel numbers cgroups in turn");
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    for _ in 0..3 {
        assert!(first_cgroup.run(&["filter", "call=39*2"]).success());
        assert!(second_cgroup.run(&["filter", "call=110*3"]).success());
    }
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(counts(&of(&snapshot, first).calls), expect([("getpid", 6), ("exit_group", 3)]));
    assert_eq!(counts(&of(&snapshot, second).calls), expect([("getppid", 9), ("exit_group", 3)]));
}

#[test]
fn two_nodes_on_one_kernel_count_their_own() {
    let mut first = Node::new();
    let mut second = Node::new();
    // Static pods of the same manifest may have the same UID on both.
    let uid = uid();
    let mut made = Vec::new();
    for (node, calls) in [(&mut first, "call=39*2"), (&mut second, "call=110*3")] {
        node.watch(&Target::Pod(uid), FILTERED).expect("a pod can be watched");
        let pod = node.root.child(&format!("pod{uid}"));
        let id = container_id();
        made.push((pod.child(&id.to_string()), pod, id, calls));
    }
    for (cgroup, _, _, calls) in &made {
        assert!(cgroup.run(&["filter", calls]).success());
    }
    for (node, (_, _, id, _), name, count) in
        [(&first, &made[0], "getpid", 2), (&second, &made[1], "getppid", 3)]
    {
        let snapshot = node.snapshot().expect("a snapshot");
        assert_eq!(snapshot.containers.len(), 1, "{snapshot:#?}");
        assert_eq!(counts(&of(&snapshot, *id).calls), expect([(name, count), ("exit_group", 1)]));
    }
}

#[test]
fn one_container_or_all_below_a_path_can_be_watched() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let (other, other_cgroup) = pod.container();
    node.watch(&Target::Container(id), Watch { tag: 5, ..FILTERED }).expect("a container can be watched");
    assert!(cgroup.run(&["filter"]).success());
    assert!(other_cgroup.run(&["filter"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(snapshot.containers.len(), 1, "{snapshot:#?}");
    let below = Target::Below(node.root.path.parse().expect("a path"));
    node.watch(&below, Watch { tag: 6, ..FILTERED }).expect("a path can be watched");
    assert!(cgroup.run(&["filter"]).success());
    assert!(other_cgroup.run(&["filter"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    // What names the container itself goes before what is above it.
    assert_eq!(of(&snapshot, id).container.tag, 5);
    assert_eq!(of(&snapshot, other).container.tag, 6);
    assert_eq!(counts(&of(&snapshot, id).calls), expect([("exit_group", 2)]));
}

#[test]
fn this_machine_has_a_hierarchy_that_the_probe_knows() {
    let own = Hierarchy::of_this_machine().expect("cgroups are mounted");
    assert!(hierarchies().iter().any(|(hierarchy, _)| *hierarchy == own));
}
