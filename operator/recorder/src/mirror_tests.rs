//! Pods that say to be the mirror of a static one: those that are, and those that a tenant made.

use super::*;
use crate::pods::Mirror;

const HASH: &str = "0123456789abcdef0123456789abcdef";

fn hash() -> PodUid {
    HASH.parse().expect("a hash")
}

/// A pod that says so, as the kubelet's or better: everything but the status is anybody's to write.
fn claims(number: u8, namespace: &str, containers: &[(u8, &str)]) -> Pod {
    let mirror = Some(Mirror { hash: hash(), node_uid: "uid-of-node".to_owned() });
    Pod { uid: numbered(number), namespace: namespace.to_owned(), mirror, ..pod(containers) }
}

/// A recording of everything in a namespace.
fn watches(book: &mut Book, namespace: &str) {
    let mut recording = recording("all", 0);
    recording.metadata.namespace = Some(namespace.to_owned());
    book.recording_applied(&recording).expect("it can be recorded");
    book.loaded(&all(namespace), "uid-of-all", nothing_yet());
}

fn all(namespace: &str) -> Key {
    Key { namespace: namespace.to_owned(), name: "all".to_owned() }
}

fn seen_of(book: &Book, namespace: &str) -> BTreeMap<&'static str, u64> {
    let (part, _) = book.part(&all(namespace)).expect("the part was read");
    let total = part.spec.ledger().expect("it can be read back").total().total();
    assert!(total.losses.is_none(), "{namespace}: {total:?}");
    counts(&total)
}

/// A container below a static pod's cgroup.
fn of_static(number: u8, calls: &[(&str, u64)]) -> Recorded {
    let mut recorded = container(number, u64::from(number), calls);
    recorded.container.pod = Some(hash());
    recorded
}

#[test]
fn an_annotation_takes_no_other_pods_place() {
    // The victim is an ordinary pod; whoever wants to be it writes its UID, or its digits.
    let victim = Pod { namespace: "b".to_owned(), ..pod(&[(1, "web")]) };
    for named in [uid().to_string(), uid().to_string().replace('-', "")] {
        let mut book = Book::new("node-1".to_owned(), true);
        let mirror = Mirror { hash: named.parse().unwrap(), node_uid: "uid-of-node".to_owned() };
        let fake = Pod { mirror: Some(mirror), ..claims(7, "a", &[]) };
        watches(&mut book, "a");
        watches(&mut book, "b");
        book.pod_applied(victim.clone());
        book.pod_applied(fake.clone());
        let targets = book.targets();
        assert!(targets.contains_key(&Target::Pod(uid())));
        book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
        book.pod_gone(fake.uid);
        assert!(book.targets().contains_key(&Target::Pod(uid())), "the fake's end is not the victim's");
        book.take(&snapshot(&[container(1, 1, &[("read", 9)])]), at(3));
        assert_eq!(seen_of(&book, "b"), [("read", 9)].into());
        assert_eq!(seen_of(&book, "a"), BTreeMap::new());
    }
}

#[test]
fn a_static_pods_containers_are_their_mirrors_from_the_first_call_on() {
    let mut book = Book::new("node-1".to_owned(), true);
    watches(&mut book, "b");
    book.pod_applied(claims(1, "b", &[]));
    assert!(book.targets().contains_key(&Target::Pod(hash())));
    let sandbox = of_static(1, &[("pause", 1)]);
    book.take(&snapshot(&[sandbox.clone(), of_static(2, &[("read", 5)])]), at(2));
    assert_eq!(seen_of(&book, "b"), BTreeMap::new(), "no status names it yet");
    book.pod_applied(claims(1, "b", &[(2, "web")]));
    book.take(&snapshot(&[sandbox, of_static(2, &[("read", 7)])]), at(3));
    assert_eq!(seen_of(&book, "b"), [("read", 7)].into());
}

#[test]
fn a_fake_mirror_learns_nothing_and_takes_nothing() {
    for fake_comes_first in [true, false] {
        let mut book = Book::new("node-1".to_owned(), true);
        watches(&mut book, "a");
        watches(&mut book, "b");
        let (fake, real) = (claims(1, "a", &[]), claims(9, "b", &[(2, "web")]));
        let order = if fake_comes_first { [&fake, &real] } else { [&real, &fake] };
        order.into_iter().for_each(|pod| book.pod_applied(pod.clone()));
        assert!(book.targets().contains_key(&Target::Pod(hash())));
        let web = of_static(2, &[("read", 5)]);
        book.take(&snapshot(std::slice::from_ref(&web)), at(2));
        // Of the real mirror even what no status names is told, and of nobody else.
        let unnamed = removed(of_static(3, &[("mount", 1)]), 3);
        book.take(&snapshot(&[web.clone(), unnamed.clone()]), at(3));
        book.pod_gone(fake.uid);
        assert!(book.targets().contains_key(&Target::Pod(hash())));
        book.take(&snapshot(&[web]), at(4));
        assert_eq!(seen_of(&book, "a"), BTreeMap::new(), "first: {fake_comes_first}");
        assert_eq!(seen_of(&book, "b"), [("read", 5)].into(), "first: {fake_comes_first}");
    }
}

#[test]
fn what_only_fakes_claim_is_told_of_nobody_and_forgotten() {
    let mut book = Book::new("node-1".to_owned(), true);
    watches(&mut book, "a");
    let fake = claims(1, "a", &[]);
    book.pod_applied(fake.clone());
    book.targets();
    let ended = snapshot(&[of_static(1, &[("pause", 1)]), removed(of_static(2, &[("read", 5)]), 3)]);
    assert!(book.take(&ended, at(4)).is_empty(), "a status may still name them");
    assert_eq!(book.take(&ended, at(100)), [ContainerKey::from(2)]);
    book.pod_gone(fake.uid);
    assert_eq!(book.take(&ended, at(101)).len(), 2);
    assert_eq!(seen_of(&book, "a"), BTreeMap::new());
}

#[test]
fn another_nodes_mirror_and_a_pod_that_runs_itself_mirror_nothing() {
    let mut book = Book::new("node-1".to_owned(), true);
    watches(&mut book, "a");
    let elsewhere = Mirror { hash: hash(), node_uid: "uid-of-another-node".to_owned() };
    book.pod_applied(Pod { mirror: Some(elsewhere), ..claims(1, "a", &[]) });
    assert!(!book.targets().contains_key(&Target::Pod(hash())));
    let itself = claims(2, "a", &[(1, "web")]);
    book.pod_applied(itself.clone());
    assert!(book.targets().contains_key(&Target::Pod(hash())));
    let mut own = container(1, 1, &[("read", 5)]);
    own.container.pod = Some(itself.uid);
    book.take(&snapshot(&[own]), at(2));
    assert!(!book.targets().contains_key(&Target::Pod(hash())));
    assert_eq!(seen_of(&book, "a"), [("read", 5)].into());
}
