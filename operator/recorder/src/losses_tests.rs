//! What the node lost that can be told of no container, and which recordings that is told of.

use super::*;
use crate::pinned::group;

fn lost(no_room: u64) -> Losses {
    // What others' containers lost is nothing of these.
    let no_room_in = BTreeMap::from([(group("shop"), no_room), (group("elsewhere"), 1000 * no_room)]);
    Losses { no_room_in, no_room: 1001 * no_room, ..Losses::default() }
}

fn seen(no_room: u64) -> Snapshot {
    Snapshot { containers: Vec::new(), losses: lost(no_room) }
}

/// A book of a pod and a recording that begins when the node has lost so much, whose part is read a little later.
fn beginning(pod: &Pod, no_room: u64) -> Book {
    let mut book = Book::new("node-1".to_owned(), true);
    book.pod_applied(pod.clone());
    book.note_losses(lost(no_room));
    book.recording_applied(&recording("web", 0)).expect("it can be recorded");
    book
}

/// What the recorder reads that starts next.
fn read(book: &Book) -> Read {
    let (part, _) = book.part(&key("web")).expect("the part was read");
    let lost_before = part.spec.lost_before.map(portcullis_api::LostCounts::losses);
    Read { ledger: part.spec.ledger().expect("it can be read back"), lost_before, ..nothing_yet() }
}

fn told_of_nobody(book: &Book) -> u64 {
    told(book, "web").get(&(String::new(), OTHERS.to_owned())).map_or(0, |seen| seen.losses.calls)
}

#[test]
fn what_the_node_lost_since_the_recording_began_is_said() {
    let mut book = beginning(&pod(&[(1, "web")]), 10);
    book.note_losses(lost(11));
    book.loaded(&key("web"), "uid-of-web", nothing_yet());
    book.take(&seen(11), at(1));
    assert_eq!(told_of_nobody(&book), 1, "lost while the part was read");
    book.take(&seen(13), at(2));
    assert_eq!(told_of_nobody(&book), 3);
    // The kernel counts on while no recorder runs.
    let mut next = beginning(&pod(&[(1, "web")]), 14);
    next.loaded(&key("web"), "uid-of-web", read(&book));
    next.take(&seen(15), at(3));
    assert_eq!(told_of_nobody(&next), 5);
}

#[test]
fn nothing_lost_is_remembered_as_well() {
    let mut book = beginning(&pod(&[(1, "web")]), 10);
    book.loaded(&key("web"), "uid-of-web", nothing_yet());
    book.take(&Snapshot { containers: vec![container(1, 1, &[("read", 1)])], ..seen(10) }, at(1));
    assert_eq!(told_of_nobody(&book), 0);
    let mut next = beginning(&pod(&[(1, "web")]), 12);
    next.loaded(&key("web"), "uid-of-web", read(&book));
    next.take(&seen(12), at(2));
    assert_eq!(told_of_nobody(&next), 2);
}

#[test]
fn counters_that_began_anew_are_counted_from_nothing() {
    let mut book = beginning(&pod(&[(1, "web")]), 10);
    book.loaded(&key("web"), "uid-of-web", nothing_yet());
    book.take(&seen(13), at(1));
    let mut next = beginning(&pod(&[(1, "web")]), 2);
    next.loaded(&key("web"), "uid-of-web", read(&book));
    next.take(&seen(2), at(2));
    assert_eq!(told_of_nobody(&next), 5);
}

#[test]
fn a_recording_without_pods_on_the_node_has_lost_nothing_there() {
    let mut other = pod(&[]);
    other.labels.clear();
    let mut book = beginning(&other, 0);
    book.loaded(&key("web"), "uid-of-web", nothing_yet());
    book.take(&seen(5), at(2));
    assert!(told(&book, "web").is_empty());
    // From its first pod on, until its last one is gone.
    book.pod_applied(pod(&[]));
    book.take(&seen(6), at(3));
    assert_eq!(told_of_nobody(&book), 1);
    book.pod_gone(uid());
    book.take(&seen(7), at(4));
    book.take(&seen(20), at(5));
    assert_eq!(told_of_nobody(&book), 2);
}
