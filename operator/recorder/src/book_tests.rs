//! The book, without a kernel and without an API server: what recorders see and in which order is made up here.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_api::{PodSelector, RUN_LABEL, SeccompRecording, SeccompRecordingSpec};
use portcullis_probe::{
    Call, Container, ContainerId, ContainerKey, Count, Losses, Lost, PodUid, Recorded, Snapshot, Start,
    Target,
};
use portcullis_profile::{
    Arch,
    recording::{Ledger, Mark, OTHERS, Observation, Platform},
    syscalls,
};

use crate::{
    book::Book,
    pods::{Identity, Pod},
    requests::Read,
    session::Key,
};

const BEGIN: u64 = 1_795_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN + seconds)
}

fn id(number: u8) -> ContainerId {
    format!("{number:064x}").parse().expect("an id")
}

fn uid() -> PodUid {
    "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00".parse().expect("a UID")
}

fn numbered(number: u8) -> PodUid {
    format!("{number:08}-0000-4000-8000-000000000000").parse().expect("a UID")
}

fn pod(containers: &[(u8, &str)]) -> Pod {
    let identity = |name: &str| Identity {
        name: name.to_owned(),
        image: "sha256:01".to_owned(),
        has_commands: false,
        running: true,
        exit: None,
    };
    Pod {
        uid: uid(),
        mirror: None,
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        containers: containers.iter().map(|(number, name)| (id(*number), identity(name))).collect(),
        filtered: true,
        started: None,
        over: false,
    }
}

fn in_run(pod: &Pod, run: &str) -> Pod {
    let mut pod = pod.clone();
    pod.labels.insert(RUN_LABEL.to_owned(), run.to_owned());
    pod
}

/// A recording of the pods with `app: web`, created so many seconds after the beginning.
fn recording(name: &str, created: u64) -> SeccompRecording {
    let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let pod_selector = PodSelector { match_labels: labels, ..PodSelector::default() };
    let mut recording =
        SeccompRecording::new(name, SeccompRecordingSpec { pod_selector, ..Default::default() });
    recording.metadata.namespace = Some("shop".to_owned());
    recording.metadata.uid = Some(format!("uid-of-{name}"));
    let created = Timestamp::from_second(i64::try_from(BEGIN + created).unwrap()).unwrap();
    recording.metadata.creation_timestamp = Some(Time(created));
    recording
}

fn key(name: &str) -> Key {
    Key { namespace: "shop".to_owned(), name: name.to_owned() }
}

/// A container whose cgroup was made in a second, with its calls and how often.
fn container(number: u8, made: u64, calls: &[(&str, u64)]) -> Recorded {
    let call =
        |name: &str| Call { arch: Some(Arch::X86_64), number: syscalls::number(Arch::X86_64, name).unwrap() };
    Recorded {
        container: Container {
            key: ContainerKey::from(u64::from(number)),
            id: Some(id(number)),
            pod: Some(uid()),
            tag: 0,
            seen: at(made),
            instance: made * 1_000_000_000 + 1,
            whole: true,
            unfiltered: false,
            exec: Some(at(made)),
            exit: None,
            removed: None,
            signals: Vec::new(),
            handled: Vec::new(),
            outside: Vec::new(),
            reopened: None,
            entered: None,
            last_new: None,
            lost: Lost::default(),
        },
        calls: calls
            .iter()
            .map(|(name, count)| (call(name), Count { count: *count, first: at(made) }))
            .collect(),
        denied: BTreeMap::new(),
        killed: BTreeMap::new(),
        arguments: BTreeMap::new(),
        denied_arguments: BTreeMap::new(),
    }
}

fn removed(mut recorded: Recorded, when: u64) -> Recorded {
    recorded.container.removed = Some(at(when));
    recorded
}

fn snapshot(containers: &[Recorded]) -> Snapshot {
    Snapshot { containers: containers.to_vec(), losses: Losses::default() }
}

fn nothing_yet() -> Read {
    let platform = Platform { kernel: "6.18".to_owned(), runtime: "containerd://1.7".to_owned() };
    Read {
        invited: true,
        ledger: Ledger::default(),
        invalid: None,
        platform: Some(platform),
        observed_generation: None,
        lost_before: None,
        node_uid: Some("uid-of-node".to_owned()),
    }
}

/// A book with a pod and recordings whose parts were read.
fn book(pod: &Pod, recordings: &[(&str, u64)]) -> Book {
    let mut book = Book::new("node-1".to_owned(), true);
    book.pod_applied(pod.clone());
    for (name, created) in recordings {
        begin(&mut book, name, *created, nothing_yet());
    }
    book
}

fn begin(book: &mut Book, name: &str, created: u64, read: Read) {
    book.recording_applied(&recording(name, created)).expect("it can be recorded");
    book.targets();
    book.loaded(&key(name), &format!("uid-of-{name}"), read);
}

/// Everything that a recording's part says by now: the sum over its sources, by run and container.
fn told(book: &Book, name: &str) -> BTreeMap<(String, String), Observation> {
    let (part, _) = book.part(&key(name)).expect("the part was read");
    let tally = part.spec.ledger().expect("it can be read back").total();
    tally.subjects.into_iter().map(|(subject, seen)| ((subject.run, subject.container), seen)).collect()
}

fn counts(seen: &Observation) -> BTreeMap<&'static str, u64> {
    seen.calls.iter().map(|(call, seen)| (call.name().unwrap(), seen.count)).collect()
}

fn write(book: &mut Book, name: &str) {
    let (_, version) = book.part(&key(name)).expect("the part was read");
    book.wrote(&key(name), &format!("uid-of-{name}"), version);
}

#[test]
fn watches_the_pods_that_a_recording_selects_and_no_other() {
    let mut other = pod(&[]);
    other.uid = "11111111-1111-4111-8111-111111111111".parse().unwrap();
    other.labels.clear();
    let mut book = book(&pod(&[]), &[]);
    book.pod_applied(other);
    assert!(book.targets().is_empty() && book.is_idle());
    begin(&mut book, "web", 0, nothing_yet());
    let targets = book.targets();
    assert_eq!(targets.keys().collect::<Vec<_>>(), [&Target::Pod(uid())]);
    assert!(targets.values().all(|watch| watch.start == Start::Filter && watch.denials));
    book.recording_gone(&key("web"));
    assert!(book.targets().is_empty());
}

#[test]
fn what_runs_already_without_a_filter_is_counted_from_now_on() {
    let unfiltered = Pod { filtered: false, ..pod(&[(1, "web")]) };
    let mut book = book(&unfiltered, &[("web", 0)]);
    let targets = book.targets();
    assert_eq!(targets[&Target::Pod(uid())].start, Start::ContainerExec);
    assert_eq!(targets[&Target::Container(id(1))].start, Start::Now);
    // A container that comes later is seen from its beginning.
    book.pod_applied(Pod { filtered: false, ..pod(&[(1, "web"), (2, "web")]) });
    assert!(!book.targets().contains_key(&Target::Container(id(2))));
}

#[test]
fn counters_are_reported_and_a_count_alone_is_no_news() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    assert!(book.news().count() == 1);
    write(&mut book, "web");
    book.take(&snapshot(&[container(1, 1, &[("read", 9)])]), at(3));
    assert_eq!(book.news().count(), 0);
    book.take(&snapshot(&[container(1, 1, &[("read", 9), ("write", 1)])]), at(4));
    assert_eq!(book.news().count(), 1);
    let told = told(&book, "web");
    let web = &told[&(String::new(), "web".to_owned())];
    assert_eq!(counts(web), [("read", 9), ("write", 1)].into());
    assert_eq!((web.containers, web.marks.contains(&Mark::StartSeen)), (1, true));
}

#[test]
fn the_kernel_forgets_a_container_only_once_its_end_is_written() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    let ended = snapshot(&[removed(container(1, 1, &[("read", 5)]), 3)]);
    assert!(book.take(&ended, at(3)).is_empty());
    assert!(book.take(&ended, at(4)).is_empty(), "it is not written yet");
    write(&mut book, "web");
    assert_eq!(book.take(&ended, at(5)), [ContainerKey::from(1)]);
    // Its counters are gone, so it can be settled and counts once for ever.
    book.take(&snapshot(&[]), at(6));
    let (part, _) = book.part(&key("web")).unwrap();
    let ledger = part.spec.ledger().unwrap();
    assert_eq!(ledger.open().count(), 0);
    assert_eq!(ledger.settled().total().containers, 1);
}

#[test]
fn counts_of_more_containers_than_a_part_tells_apart_are_told_once_they_have_ended() {
    let numbers: Vec<u8> = (1..=40).collect();
    let all: Vec<_> = numbers.iter().map(|number| (*number, "web")).collect();
    let mut book = book(&pod(&all), &[("web", 0)]);
    let ended = |number: &u8| removed(container(*number, 1, &[("read", 5)]), 3);
    let ended = snapshot(&numbers.iter().map(ended).collect::<Vec<_>>());
    book.take(&ended, at(3));
    write(&mut book, "web");
    assert_eq!(book.take(&ended, at(4)).len(), 40);
    book.take(&snapshot(&[]), at(5));
    assert_eq!(book.news().count(), 1, "the part that was written lacks counts");
    assert_eq!(counts(&told(&book, "web")[&(String::new(), "web".to_owned())]), [("read", 200)].into());
}

#[test]
fn a_recorder_that_starts_anew_counts_nothing_twice() {
    let mut first = book(&pod(&[(1, "web")]), &[("web", 0)]);
    first.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    let (part, _) = first.part(&key("web")).unwrap();
    let mut second = book(&pod(&[(1, "web")]), &[]);
    begin(&mut second, "web", 0, Read { ledger: part.spec.ledger().unwrap(), ..nothing_yet() });
    second.take(&snapshot(&[container(1, 1, &[("read", 8)])]), at(5));
    let web = &told(&second, "web")[&(String::new(), "web".to_owned())];
    assert_eq!((counts(web), web.containers), ([("read", 8)].into(), 1));
}

#[test]
fn counters_that_are_gone_at_the_start_are_settled() {
    let mut first = book(&pod(&[(1, "web")]), &[("web", 0)]);
    first.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    let (part, _) = first.part(&key("web")).unwrap();
    let mut second = book(&pod(&[(2, "web")]), &[]);
    begin(&mut second, "web", 0, Read { ledger: part.spec.ledger().unwrap(), ..nothing_yet() });
    second.take(&snapshot(&[container(2, 9, &[("read", 1)])]), at(10));
    let web = &told(&second, "web")[&(String::new(), "web".to_owned())];
    assert_eq!((counts(web), web.containers), ([("read", 6)].into(), 2));
}

#[test]
fn a_recording_that_comes_later_does_not_see_what_was_before() {
    let mut book = book(&pod(&[(1, "web")]), &[("first", 0)]);
    book.take(&snapshot(&[container(1, 1, &[("read", 5), ("mount", 1)])]), at(2));
    begin(&mut book, "second", 100, nothing_yet());
    book.take(&snapshot(&[container(1, 1, &[("read", 5), ("mount", 1)])]), at(101));
    book.take(&snapshot(&[container(1, 1, &[("read", 7), ("mount", 1), ("write", 2)])]), at(102));
    let second = &told(&book, "second")[&(String::new(), "web".to_owned())];
    assert_eq!(counts(second), [("read", 2), ("write", 2)].into());
    assert!(second.marks.contains(&Mark::StartMissed) && !second.marks.contains(&Mark::StartSeen));
    let first = &told(&book, "first")[&(String::new(), "web".to_owned())];
    assert_eq!(counts(first), [("mount", 1), ("read", 7), ("write", 2)].into());
}

#[test]
fn a_run_that_begins_on_a_running_pod_gets_the_calls_from_then_on() {
    let idle = pod(&[(1, "web")]);
    let mut book = book(&idle, &[("web", 0)]);
    book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    let smoke = in_run(&idle, "smoke");
    assert!(book.changes_pod(&smoke));
    book.pod_applied(smoke);
    book.take(&snapshot(&[container(1, 1, &[("read", 6), ("sendfile", 1)])]), at(3));
    book.pod_applied(idle);
    book.take(&snapshot(&[container(1, 1, &[("read", 10), ("sendfile", 1), ("unlink", 1)])]), at(4));
    let told = told(&book, "web");
    let of = |run: &str| counts(&told[&(run.to_owned(), "web".to_owned())]);
    assert_eq!(of("smoke"), [("read", 1), ("sendfile", 1)].into());
    assert_eq!(of(""), [("read", 9), ("unlink", 1)].into());
}

#[test]
fn the_sandbox_is_nobodys_and_an_unknown_container_is_a_loss() {
    let mut book = book(&pod(&[(2, "web")]), &[("web", 0)]);
    let sandbox = container(1, 1, &[("pause", 1)]);
    let web = container(2, 2, &[("read", 5)]);
    let unknown = removed(container(3, 3, &[("read", 4)]), 4);
    let seen = snapshot(&[sandbox.clone(), web.clone(), unknown.clone()]);
    assert!(book.take(&seen, at(5)).is_empty(), "the pod's status may still tell of it");
    book.pod_applied(Pod { over: true, ..pod(&[(2, "web")]) });
    let forgotten = book.take(&seen, at(6));
    assert_eq!(forgotten, [ContainerKey::from(1)], "the others are not written yet");
    write(&mut book, "web");
    assert_eq!(book.take(&snapshot(&[web, unknown]), at(7)), [ContainerKey::from(2), ContainerKey::from(3)]);
    let told = told(&book, "web");
    assert_eq!(told[&(String::new(), OTHERS.to_owned())].losses.calls, 4);
    assert!(!told.values().any(|seen| counts(seen).contains_key("pause")));
}

#[test]
fn a_deleted_pods_last_calls_are_told() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    book.pod_gone(uid());
    assert!(book.targets().is_empty());
    let last = snapshot(&[removed(container(1, 1, &[("exit_group", 1)]), 2)]);
    book.take(&last, at(3));
    write(&mut book, "web");
    assert_eq!(book.take(&last, at(4)), [ContainerKey::from(1)]);
    assert_eq!(counts(&told(&book, "web")[&(String::new(), "web".to_owned())]), [("exit_group", 1)].into());
}

#[test]
fn pods_that_went_while_nothing_was_recorded_are_forgotten() {
    let mut book = Book::new("node-1".to_owned(), true);
    for (number, listed) in [(1, false), (2, true)] {
        book.pod_applied(Pod { uid: numbered(number), ..pod(&[]) });
        if listed {
            book.pods_listed(&[].into());
        } else {
            book.pod_gone(numbered(number));
        }
        book.targets();
        assert_eq!(book.pods(), 0);
    }
}

#[test]
fn counters_are_read_before_labels_take_a_pod_out_of_a_recording() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    let mut relabelled = pod(&[(1, "web")]);
    relabelled.labels.insert("tier".to_owned(), "front".to_owned());
    assert!(!book.changes_pod(&relabelled), "no recording selects by that");
    relabelled.labels.remove("app");
    assert!(book.changes_pod(&relabelled));
    book.pod_applied(relabelled.clone());
    assert!(!book.changes_pod(&relabelled));
}

#[test]
fn only_the_named_containers_are_recorded() {
    let mut named = recording("web", 0);
    named.spec.containers = vec!["web".to_owned()];
    let mut book = Book::new("node-1".to_owned(), true);
    book.pod_applied(pod(&[(1, "web"), (2, "proxy")]));
    book.recording_applied(&named).unwrap();
    book.loaded(&key("web"), "uid-of-web", nothing_yet());
    book.take(&snapshot(&[container(1, 1, &[("read", 1)]), container(2, 1, &[("write", 1)])]), at(2));
    assert_eq!(told(&book, "web").keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["web"]);
}

#[path = "losses_tests.rs"]
mod losses;

#[path = "mirror_tests.rs"]
mod mirror;

#[test]
fn a_recording_that_has_ended_is_written_once_more_and_dropped() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    write(&mut book, "web");
    let mut ended = recording("web", 0);
    ended.status = Some(portcullis_api::RecordingStatus {
        ended_at: Some(Time(Timestamp::from_second(i64::try_from(BEGIN).unwrap()).unwrap())),
        ..Default::default()
    });
    assert!(book.changes_recording(&ended), "so the counters are read once more before the last write");
    book.recording_applied(&ended).unwrap();
    assert!(!book.changes_recording(&ended));
    assert!(book.targets().is_empty());
    book.take(&snapshot(&[container(1, 1, &[("read", 6)])]), at(3));
    assert_eq!(counts(&told(&book, "web")[&(String::new(), "web".to_owned())]), [("read", 6)].into());
    book.drop_ended();
    assert!(!book.is_idle(), "its last counts are not written");
    write(&mut book, "web");
    book.drop_ended();
    assert!(book.is_idle());
    book.recording_applied(&ended).unwrap();
    assert!(book.is_idle(), "one that has ended does not begin again");
}

#[path = "bracket_tests.rs"]
mod bracket;

#[path = "invitation_tests.rs"]
mod invitation;

#[path = "absence_tests.rs"]
mod absence;
