//! Which container a process belongs to.

use std::{collections::BTreeMap, path::PathBuf};

use portcullis_probe::{ContainerId, Hierarchy, Places, PodUid, Recorded, Target, Watch};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::machine::{FILTERED, Node, Unified, container_id, counts, expect, hash, hierarchies, of, uid};

/// v1's hierarchy, where the machine has it, and v2's.
fn both(unified: &Unified) -> Vec<(Hierarchy, PathBuf)> {
    let v1 = hierarchies().into_iter().filter(|(hierarchy, _)| *hierarchy == Hierarchy::Pids);
    v1.chain([(Hierarchy::Unified, unified.path().to_path_buf())]).collect()
}

#[test]
fn containers_are_known_in_every_hierarchy_by_the_names_of_every_driver() {
    // Most machines have one version mounted. The node goes first, with its cgroups.
    let unified = Unified::mount();
    for (hierarchy, mount) in both(&unified) {
        let mut node = Node::configured(hierarchy, &mount, |_| ());
        let (uid, hash, id) = (uid(), hash(), container_id());
        let underscored = uid.to_string().replace('-', "_");
        let pods = [
            (format!("pod{uid}"), uid),
            (format!("pod{hash}"), hash),
            (format!("kubepods-burstable-pod{underscored}.slice"), uid),
            (format!("kubepods-besteffort-pod{hash}.slice"), hash),
        ];
        let containers = [
            id.to_string(),
            format!("cri-containerd-{id}.scope"),
            format!("crio-{id}.scope"),
            format!("docker-{id}.scope"),
        ];
        node.watch(&Target::Pod(uid), FILTERED).expect("a pod can be watched");
        node.watch(&Target::Pod(hash), FILTERED).expect("a static pod can be watched");
        let mut runs = BTreeMap::new();
        for (name, pod) in &pods {
            for container in &containers {
                let cgroup = node.root.nest([name.as_str(), container]);
                assert!(cgroup.run(&["filter", "call=39"]).success());
                *runs.entry(*pod).or_insert(0) += 1;
            }
        }
        let snapshot = node.snapshot().expect("a snapshot");
        assert_eq!(snapshot.containers.len(), 16, "{hierarchy:?}: {snapshot:#?}");
        for recorded in &snapshot.containers {
            assert_eq!(recorded.container.id, Some(id), "{hierarchy:?}");
            *runs.get_mut(&recorded.container.pod.expect("it has a pod")).expect("one of the two") -= 1;
            assert_eq!(counts(&recorded.calls), expect([("getpid", 1), ("exit_group", 1)]));
            assert!(recorded.container.whole);
        }
        assert_eq!(runs, BTreeMap::from([(uid, 0), (hash, 0)]), "{hierarchy:?}");
    }
}

#[test]
fn a_static_pods_hash_is_no_uid_of_the_same_digits() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let hash: PodUid = pod.uid.to_string().replace('-', "").parse().expect("a hash");
    node.watch(&Target::Pod(hash), FILTERED).expect("a static pod can be watched");
    assert!(cgroup.run(&["filter", "call=39"]).success());
    assert!(node.snapshot().expect("a snapshot").containers.is_empty());
    let other = container_id();
    let of_hash = node.root.nest([format!("pod{hash}").as_str(), &other.to_string()]);
    assert!(of_hash.run(&["filter", "call=39"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(of(&snapshot, other).container.pod, Some(hash));
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert!(cgroup.run(&["filter", "call=39"]).success());
    assert_eq!(of(&node.snapshot().expect("a snapshot"), id).container.pod, Some(pod.uid));
}

/// What a container that may make cgroups makes below its own, to be taken for another one.
fn hostile(uid: PodUid, id: ContainerId) -> Vec<Vec<String>> {
    let underscored = uid.to_string().replace('-', "_");
    let pair = |pod: String, container: String| vec![pod, container];
    let plain = pair(format!("pod{uid}"), id.to_string());
    let deep = |levels: usize| [vec!["d".to_owned(); levels], plain.clone()].concat();
    vec![
        plain.clone(),
        pair(format!("kubepods-burstable-pod{underscored}.slice"), format!("cri-containerd-{id}.scope")),
        [vec!["kubepods".to_owned(), "burstable".to_owned()], plain.clone()].concat(),
        [vec!["init.scope".to_owned()], plain.clone()].concat(),
        [plain.clone(), plain.clone()].concat(),
        [vec![id.to_string()], plain.clone()].concat(),
        vec![id.to_string()],
        vec![
            format!("docker-{id}.scope"),
            "kubelet".to_owned(),
            "kubepods".to_owned(),
            format!("pod{uid}"),
            id.to_string(),
        ],
        vec![format!("crio-conmon-{id}.scope"), format!("pod{uid}"), id.to_string()],
        [vec!["x".repeat(255)], plain.clone()].concat(),
        deep(9),
        deep(10),
        deep(11),
        deep(12),
        deep(13),
        deep(40),
        [deep(20), deep(20)].concat(),
    ]
}

#[test]
fn what_a_container_makes_below_itself_is_its_own() {
    let unified = Unified::mount();
    for (hierarchy, mount) in both(&unified) {
        let mut node = Node::configured(hierarchy, &mount, |_| ());
        let (victim, attacker) = (node.pod(), node.pod());
        let (victims, victims_cgroup) = victim.container();
        let (attackers, attackers_cgroup) = attacker.container();
        let trees = hostile(victim.uid, victims);
        for target in [victim.target(), Target::Container(victims)] {
            node.watch(&target, FILTERED).expect("a target can be watched");
        }
        let attack = || {
            for tree in &trees {
                let nested = attackers_cgroup.nest(tree.iter().map(String::as_str));
                assert!(nested.run(&["filter", "call=110"]).success());
            }
        };
        assert!(victims_cgroup.run(&["filter", "call=39"]).success());
        attack();
        let snapshot = node.snapshot().expect("a snapshot");
        assert_eq!(snapshot.containers.len(), 1, "{hierarchy:?}: {snapshot:#?}");
        let seen = counts(&of(&snapshot, victims).calls);
        assert_eq!(seen, expect([("getpid", 1), ("exit_group", 1)]), "{hierarchy:?}");
        assert_eq!(snapshot.losses.too_deep, 0, "{hierarchy:?}");
        // Recorded itself, it hides nothing either.
        node.watch(&attacker.target(), FILTERED).expect("a pod can be watched");
        attack();
        let snapshot = node.snapshot().expect("a snapshot");
        assert_eq!(snapshot.containers.len(), 2, "{hierarchy:?}: {snapshot:#?}");
        assert_eq!(counts(&of(&snapshot, victims).calls), seen, "{hierarchy:?}");
        let runs = trees.len() as u64;
        let attacks = &of(&snapshot, attackers).calls;
        assert_eq!(counts(attacks), expect([("getppid", runs), ("exit_group", runs)]), "{hierarchy:?}");
        assert!(
            !of(&snapshot, attackers).container.whole,
            "{hierarchy:?}: what it makes later is not its own start"
        );
    }
}

#[test]
fn what_is_too_deep_is_counted_and_nobodys() {
    let mut node = Node::new();
    let (victim, attacker) = (node.pod(), node.pod());
    let (victims, _victims_cgroup) = victim.container();
    let (attackers, attackers_cgroup) = attacker.container();
    node.watch(&victim.target(), FILTERED).expect("a pod can be watched");
    node.watch(&attacker.target(), FILTERED).expect("a pod can be watched");
    let (pod, id) = (format!("pod{}", victim.uid), victims.to_string());
    let names = std::iter::repeat_n("d", 1040).chain([pod.as_str(), &id]);
    let nested = attackers_cgroup.nest(names);
    assert!(nested.run(&["filter", "call=110*3"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    let counted = snapshot.containers.iter().all(|recorded| recorded.container.id == Some(attackers));
    assert!(counted, "{snapshot:#?}");
    assert!(snapshot.containers.iter().all(|recorded| recorded.calls.is_empty()), "{snapshot:#?}");
    assert!(snapshot.losses.too_deep > 0, "{:?}", snapshot.losses);
}

#[test]
fn the_cluster_in_a_container_is_known_by_its_pods_or_as_a_whole() {
    let unified = Unified::mount();
    for (hierarchy, mount) in both(&unified) {
        let mut node = Node::configured(hierarchy, &mount, |settings| settings.scope = None);
        let (outer, inner, uid) = (container_id(), container_id(), uid());
        let (outer_name, pod, inner_name) = (outer.to_string(), format!("pod{uid}"), inner.to_string());
        let path = ["docker", &outer_name, "kubelet", "kubepods", "besteffort", &pod, &inner_name];
        let cgroup = node.root.nest(path);
        node.watch(&Target::Pod(uid), FILTERED).expect("a pod can be watched");
        assert!(cgroup.run(&["filter", "call=39"]).success());
        let snapshot = node.snapshot().expect("a snapshot");
        assert_eq!(of(&snapshot, inner).container.pod, Some(uid), "{hierarchy:?}");
        node.watch(&Target::Container(outer), FILTERED).expect("a container can be watched");
        assert!(cgroup.run(&["filter", "call=110"]).success());
        let snapshot = node.snapshot().expect("a snapshot");
        let whole = of(&snapshot, outer);
        assert_eq!(whole.container.pod, None);
        assert_eq!(counts(&whole.calls), expect([("getppid", 1), ("exit_group", 1)]));
        assert_eq!(counts(&of(&snapshot, inner).calls), expect([("getpid", 1), ("exit_group", 1)]));
    }
}

/// Names as the node's own software, and anybody in a container, may give them.
fn names() -> impl Strategy<Value = Vec<String>> {
    let id = |number: u8| format!("{number:064x}");
    let name = prop_oneof![
        3 => (0_u8..3).prop_map(|number| format!("pod{number:08x}-0000-4000-8000-000000000000")),
        1 => (0_u8..3).prop_map(|number| format!("pod{number:032x}")),
        1 => (0_u8..3).prop_map(|number| format!("a-pod{number:08x}_0000_4000_8000_000000000000.slice")),
        1 => (0_u8..3).prop_map(|number| format!("podxxx-pod{number:032x}.slice")),
        3 => (0_u8..3).prop_map(id),
        1 => (0_u8..3).prop_map(move |number| format!("cri-containerd-{}.scope", id(number))),
        1 => (0_u8..3).prop_map(move |number| format!("crio-conmon-{}.scope", id(number))),
        1 => Just("kubepods".to_owned()),
        1 => "[a-f0-9-]{1,8}",
        1 => (100_usize..135, 0_u8..3).prop_map(move |(length, number)| {
            format!("{}-{}", "a".repeat(length - 65), id(number))
        }),
    ];
    proptest::collection::vec(name, 1..17)
}

#[test]
fn the_kernel_and_the_pure_rule_agree_on_any_tree() {
    let unified = Unified::mount();
    let hierarchies = both(&unified).into_iter().flat_map(|one| [(one.clone(), true), (one, false)]);
    // Whether the scope is the node's own root or the machine's must make no difference here.
    for ((hierarchy, mount), scoped) in hierarchies {
        let mut node = Node::configured(hierarchy, &mount, |settings| {
            if !scoped {
                settings.scope = None;
            }
        });
        let below = Target::Below(node.root.path.parse().expect("a path"));
        node.watch(&below, FILTERED).expect("a path can be watched");
        let seen = || {
            let snapshot = node.snapshot().expect("a snapshot");
            assert_eq!(snapshot.losses.too_deep, 0);
            let made = snapshot.containers.into_iter().filter(|recorded| !recorded.calls.is_empty());
            let made = made.map(|Recorded { container, .. }| (container.key, (container.id, container.pod)));
            made.collect::<BTreeMap<_, _>>()
        };
        let agree = |names: Vec<String>| {
            let before = seen();
            let cgroup = node.root.nest(names.iter().map(String::as_str));
            assert!(cgroup.run(&["filter", "call=39"]).success());
            let fresh = seen().into_iter().filter(|(key, _)| !before.contains_key(key));
            let counted: Vec<_> = fresh.map(|(_, found)| found).collect();
            // The kernel's levels begin at the machine's root.
            let root = node.root.path.as_str();
            let path = root.split('/').skip(1).chain(names.iter().map(String::as_str));
            let place = Places::of(path).container;
            let expected: Vec<_> = place.iter().map(|place| (Some(place.id), place.pod)).collect();
            prop_assert_eq!(counted, expected, "{:?}, scoped: {}", hierarchy, scoped);
            Ok(())
        };
        let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        TestRunner::new_with_rng(config, rng).run(&names(), agree).expect("they agree");
    }
}

#[test]
fn containers_of_a_pod_are_told_apart_and_conmon_is_none() {
    let mut node = Node::new();
    let pod = node.pod();
    let (id, cgroup) = pod.container();
    let conmon = pod.cgroup.child(&format!("crio-conmon-{}.scope", container_id()));
    let (other, other_cgroup) = pod.container();
    node.watch(&pod.target(), FILTERED).expect("a pod can be watched");
    assert!(cgroup.run(&["filter", "call=39"]).success());
    assert!(conmon.run(&["filter", "call=39"]).success());
    assert!(other_cgroup.run(&["filter", "call=110"]).success());
    let snapshot = node.snapshot().expect("a snapshot");
    assert_eq!(snapshot.containers.len(), 2, "{snapshot:#?}");
    assert_eq!(counts(&of(&snapshot, id).calls), expect([("getpid", 1), ("exit_group", 1)]));
    assert_eq!(counts(&of(&snapshot, other).calls), expect([("getppid", 1), ("exit_group", 1)]));
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
