//! Test runs that a recording itself names, as `kubectl seccomp record run` does: when they begin and end, and when that is answered.

use super::*;

/// The recording in a generation, and the run that it says is under way.
fn says(book: &mut Book, generation: i64, run: Option<&str>) {
    let mut newer = recording("web", 0);
    newer.metadata.generation = Some(generation);
    newer.spec.run = run.map(str::to_owned);
    assert!(book.changes_recording(&newer), "so the counters are read first");
    book.recording_applied(&newer).expect("it can be recorded");
    assert!(!book.changes_recording(&newer));
}

fn observed(book: &Book) -> Option<i64> {
    book.part(&key("web")).expect("the part was read").0.spec.observed_generation
}

fn is_awaited(book: &Book) -> bool {
    book.news().any(|(_, session)| session.is_awaited())
}

fn of(book: &Book, run: &str) -> BTreeMap<&'static str, u64> {
    told(book, "web").get(&(run.to_owned(), "web".to_owned())).map(counts).unwrap_or_default()
}

#[test]
fn a_bracket_goes_before_labels_and_is_answered_once_the_counters_are_read() {
    let labelled = in_run(&pod(&[(1, "web")]), "nightly");
    let mut book = book(&labelled, &[("web", 0)]);
    book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    write(&mut book, "web");
    says(&mut book, 2, Some("smoke"));
    assert_eq!(observed(&book), None, "not before the counters were read");
    book.take(&snapshot(&[container(1, 1, &[("read", 6)])]), at(3));
    assert_eq!(observed(&book), Some(2));
    assert!(is_awaited(&book), "it does not wait for its turn");
    write(&mut book, "web");
    assert!(!is_awaited(&book));
    book.take(&snapshot(&[container(1, 1, &[("read", 9), ("write", 1)])]), at(4));
    says(&mut book, 3, None);
    book.take(&snapshot(&[container(1, 1, &[("read", 9), ("write", 1), ("fsync", 1)])]), at(5));
    assert_eq!(observed(&book), Some(3));
    book.take(&snapshot(&[container(1, 1, &[("read", 10), ("write", 1), ("fsync", 1)])]), at(6));
    // From the reading before the generation was taken in.
    assert_eq!(of(&book, "smoke"), [("read", 4), ("write", 1)].into());
    assert_eq!(of(&book, "nightly"), [("fsync", 1), ("read", 6)].into());
}

#[test]
fn a_container_that_is_named_late_counts_for_the_run_that_it_was_seen_in() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    let sandbox = container(9, 1, &[]);
    let web = container(1, 2, &[("read", 1)]);
    let take = |book: &mut Book, job: Recorded, second| {
        book.take(&snapshot(&[sandbox.clone(), web.clone(), job]), at(second));
    };
    says(&mut book, 2, Some("smoke"));
    take(&mut book, container(2, 3, &[("fsync", 1)]), 4);
    says(&mut book, 3, None);
    take(&mut book, removed(container(2, 3, &[("fsync", 2)]), 5), 5);
    assert_ne!(observed(&book), Some(3), "nothing is told of the container yet");
    book.pod_applied(pod(&[(1, "web"), (2, "web")]));
    take(&mut book, removed(container(2, 3, &[("fsync", 2)]), 5), 6);
    assert_eq!(observed(&book), Some(3));
    take(&mut book, removed(container(2, 3, &[("fsync", 2)]), 5), 7);
    assert_eq!(of(&book, "smoke").get("fsync"), Some(&2));
    assert_eq!(of(&book, "").get("fsync"), None);
}

#[test]
fn a_node_that_has_nothing_to_do_with_it_writes_nothing() {
    let mut other = pod(&[(1, "web")]);
    other.labels.clear();
    let mut book = book(&other, &[("web", 0)]);
    says(&mut book, 2, Some("smoke"));
    book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    assert_eq!(book.news().count(), 0);
    // With a pod that has made no call yet it answers: somebody may wait for it.
    book.pod_applied(pod(&[(1, "web")]));
    says(&mut book, 3, None);
    book.take(&snapshot(&[]), at(3));
    assert!(is_awaited(&book));
    assert_eq!(observed(&book), Some(3));
}

#[test]
fn a_generation_that_came_while_no_recorder_ran_is_answered_by_the_next() {
    let mut first = book(&pod(&[(1, "web")]), &[("web", 0)]);
    says(&mut first, 2, Some("smoke"));
    first.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    let (part, _) = first.part(&key("web")).unwrap();
    let mut second = book(&pod(&[(1, "web")]), &[]);
    let mut newer = recording("web", 0);
    newer.metadata.generation = Some(3);
    second.recording_applied(&newer).unwrap();
    let (ledger, observed_generation) = (part.spec.ledger().unwrap(), part.spec.observed_generation);
    let read = Read { ledger, observed_generation, ..nothing_yet() };
    second.loaded(&key("web"), "uid-of-web", read);
    assert_ne!(observed(&second), Some(3));
    second.take(&snapshot(&[container(1, 1, &[("read", 8)])]), at(5));
    assert_eq!(observed(&second), Some(3));
    second.take(&snapshot(&[container(1, 1, &[("read", 9)])]), at(6));
    assert_eq!(of(&second, "smoke"), [("read", 8)].into(), "what was called meanwhile is not lost");
    assert_eq!(of(&second, ""), [("read", 1)].into());
}
