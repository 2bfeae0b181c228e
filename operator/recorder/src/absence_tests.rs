//! What a recorder tells of the time before it.

use std::collections::BTreeSet;

use portcullis_probe::Absence;
use portcullis_profile::recording::Absence as Told;

use super::*;

/// No recorder was here from the 100th second on, and these pods came.
fn away(strangers: &[PodUid]) -> Absence {
    let strangers = strangers.iter().map(|uid| (*uid, at(110))).collect();
    Absence { since: at(100), strangers, noted: true }
}

fn absences(book: &Book, name: &str) -> BTreeSet<Told> {
    let (part, _) = book.part(&key(name)).expect("the part was read");
    part.spec.ledger().expect("it can be read back").total().absences
}

/// A pod that had ended when the recorder was back.
fn ended(number: u8) -> Pod {
    Pod { uid: numbered(number), name: format!("web-{number}"), over: true, ..pod(&[]) }
}

fn absence(pods: &[&str], others: u64) -> BTreeSet<Told> {
    let pods = pods.iter().map(|name| (*name).to_owned()).collect();
    let (since, until) = (BEGIN + 100, Some(BEGIN + 130));
    [Told { node: "node-1".to_owned(), since, until, pods, others, unnoted: false }].into()
}

#[test]
fn a_pod_that_lived_while_no_recorder_was_here_is_named() {
    let mut book = book(&ended(1), &[("web", 0)]);
    // Another application's, and one that is gone from the API.
    book.pod_applied(Pod { labels: BTreeMap::new(), ..ended(2) });
    book.back_after(away(&[numbered(1), numbered(2), numbered(3)]), at(130));
    let (_, before) = book.part(&key("web")).expect("the part was read");
    book.take(&snapshot(&[]), at(131));
    assert_eq!(absences(&book, "web"), absence(&["web-1"], 1));
    assert!(book.news().any(|(name, _)| *name == key("web")), "it is written");
    let (_, after) = book.part(&key("web")).expect("the part was read");
    book.take(&snapshot(&[]), at(132));
    assert_eq!(book.part(&key("web")).expect("the part was read").1, after, "once: {before}");
}

/// While nothing was watched nobody noted which pods came; the API says when they began.
#[test]
fn a_pod_that_began_meanwhile_is_named_although_nothing_was_watched() {
    let mut book = book(&Pod { started: Some(BEGIN + 105), ..ended(1) }, &[("web", 0)]);
    book.pod_applied(Pod { started: Some(BEGIN + 50), ..ended(2) });
    book.back_after(away(&[]), at(130));
    book.take(&snapshot(&[]), at(131));
    assert_eq!(absences(&book, "web"), absence(&["web-1"], 0));
}

/// A pod that is gone from the API by then was noted by nobody: that none is missing is more than anybody knows.
#[test]
fn where_nothing_was_watched_nobody_can_know_which_pods_are_missing() {
    let unnoted = Told { unnoted: true, ..absence(&[], 0).pop_first().expect("one") };
    let mut book = book(&ended(1), &[("web", 0)]);
    book.back_after(Absence { noted: false, ..away(&[]) }, at(130));
    book.take(&snapshot(&[]), at(131));
    assert_eq!(absences(&book, "web"), [unnoted].into());
    // Where the recording never had a pod here, the recorder may not say so.
    let mut other = super::book(&pod(&[]), &[]);
    begin(&mut other, "web", 0, Read { invited: false, ..nothing_yet() });
    other.back_after(Absence { noted: false, ..away(&[]) }, at(130));
    other.take(&snapshot(&[]), at(131));
    assert_eq!(absences(&other, "web"), BTreeSet::new());
}

/// Nobody notes static pods: one may have taken another's place and have given it up again.
#[test]
fn of_static_pods_nobody_can_know_which_are_missing() {
    let hash = "0123456789abcdef0123456789abcdef".parse().expect("a hash");
    let mirror = Some(crate::pods::Mirror { hash, node_uid: "uid-of-node".to_owned() });
    let mut book = book(&Pod { mirror, ..pod(&[(1, "web")]) }, &[("web", 0)]);
    book.back_after(away(&[]), at(130));
    book.take(&snapshot(&[]), at(131));
    let unnoted = Told { unnoted: true, ..absence(&[], 0).pop_first().expect("one") };
    assert_eq!(absences(&book, "web"), [unnoted].into());
}

#[test]
fn an_absence_in_which_nothing_was_missed_is_none() {
    // It runs on, and its container says itself that its start was missed.
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0), ("later", 140)]);
    book.back_after(away(&[uid()]), at(130));
    book.take(&snapshot(&[container(1, 110, &[("read", 1)])]), at(131));
    assert_eq!(absences(&book, "web"), BTreeSet::new());
    // A recording that was made afterwards missed nothing, whatever came and went.
    book.back_after(away(&[numbered(9)]), at(130));
    book.take(&snapshot(&[]), at(132));
    assert_eq!((absences(&book, "web"), absences(&book, "later")), (absence(&[], 1), BTreeSet::new()));
}

/// Where a recording has nothing on this node, a pod that is gone was none of its own as far as anybody can know.
#[test]
fn pods_that_are_gone_are_told_to_recordings_that_have_pods_here() {
    let mut book = book(&pod(&[]), &[]);
    begin(&mut book, "web", 0, Read { invited: false, ..nothing_yet() });
    book.back_after(away(&[numbered(9)]), at(130));
    book.take(&snapshot(&[]), at(131));
    assert_eq!(absences(&book, "web"), BTreeSet::new());
}

#[test]
fn a_container_whose_cgroup_is_too_deep_is_told() {
    let mut book = book(&pod(&[]), &[("web", 0)]);
    book.pod_applied(pod(&[(1, "web")]));
    let deep =
        |too_deep| Snapshot { containers: Vec::new(), losses: Losses { too_deep, ..Losses::default() } };
    let marked = |book: &Book| {
        let all: Vec<_> = told(book, "web").into_values().flat_map(|seen| seen.marks).collect();
        all.contains(&Mark::TooDeep)
    };
    book.take(&deep(0), at(10));
    book.take(&deep(0), at(40));
    assert!(!marked(&book), "it may make no call");
    book.take(&deep(1), at(50));
    book.take(&deep(1), at(55));
    assert!(!marked(&book), "its status may have been faster than its cgroup");
    book.take(&deep(1), at(61));
    assert!(marked(&book));
    let (_, version) = book.part(&key("web")).expect("the part was read");
    book.take(&deep(9), at(90));
    assert_eq!(book.part(&key("web")).expect("the part was read").1, version, "once");
    // One that is counted is not too deep, whatever else is; nor is one that ran before.
    let mut other = super::book(&pod(&[(2, "before")]), &[("web", 0)]);
    other.pod_applied(pod(&[(1, "web"), (2, "before")]));
    for second in [10, 60] {
        let mut seen = deep(1);
        seen.containers.push(container(1, 5, &[("read", 1)]));
        other.take(&seen, at(second));
    }
    assert!(!marked(&other));
}
