//! Recordings that this node may write for, and those that it may not or not yet.

use super::*;

/// What is read where nobody has asked yet.
fn uninvited() -> Read {
    Read { invited: false, ..nothing_yet() }
}

/// A book of a pod and a recording that this node is not invited for.
fn book_of(pod: &Pod) -> Book {
    let mut book = book(pod, &[]);
    begin(&mut book, "web", 0, uninvited());
    book
}

fn asks(book: &Book) -> bool {
    book.uninvited().count() > 0
}

fn ask(book: &mut Book) {
    assert!(asks(book));
    let question = book.ask(&key("web")).expect("it is recorded");
    assert_eq!(
        question.spec,
        portcullis_api::SeccompRecordingPartSpec::asking("web", "uid-of-web", "node-1")
    );
    let owners = question.metadata.owner_references.expect("the recording is its owner");
    assert_eq!((owners.len(), owners[0].uid.as_str()), (1, "uid-of-web"));
}

fn answered(book: &mut Book, invited: bool) {
    book.answered(&key("web"), "uid-of-web", invited);
}

fn ended() -> Snapshot {
    snapshot(&[removed(container(1, 1, &[("read", 5)]), 3)])
}

#[test]
fn asks_as_soon_as_there_is_a_pod_and_loses_nothing_while_it_waits() {
    let mut other = pod(&[]);
    other.labels.clear();
    let mut book = book_of(&other);
    assert!(!asks(&book), "a node without pods has nothing to do with it");
    book.pod_applied(pod(&[(1, "web")]));
    ask(&mut book);
    assert!(!book.targets().is_empty(), "the kernel counts from the start");
    assert!(book.take(&ended(), at(3)).is_empty(), "and keeps what is not told");
    assert_eq!(book.news().count(), 0, "nothing is written without an invitation");
    book.pod_gone(uid());
    assert!(book.take(&ended(), at(4)).is_empty());
    answered(&mut book, true);
    assert!(!asks(&book));
    assert_eq!(book.news().count(), 1);
    assert_eq!(counts(&told(&book, "web")[&(String::new(), "web".to_owned())]), [("read", 5)].into());
    write(&mut book, "web");
    assert_eq!(book.take(&ended(), at(5)), [ContainerKey::from(1)]);
}

#[test]
fn one_that_is_refused_asks_again_for_the_next_pod_and_tells_what_it_saw_before() {
    let mut book = book_of(&pod(&[(1, "web")]));
    book.take(&ended(), at(3));
    book.pod_gone(uid());
    ask(&mut book);
    answered(&mut book, false);
    assert!(!asks(&book), "there is no pod that the controller could see");
    assert_eq!(book.take(&ended(), at(4)), [ContainerKey::from(1)], "the kernel's room is for others");
    book.take(&snapshot(&[]), at(5));
    book.pod_applied(Pod { uid: numbered(2), over: true, ..pod(&[]) });
    ask(&mut book);
    answered(&mut book, true);
    assert_eq!(book.news().count(), 1);
    assert_eq!(counts(&told(&book, "web")[&(String::new(), "web".to_owned())]), [("read", 5)].into());
}

#[test]
fn what_was_read_without_an_invitation_goes_on() {
    let mut first = book(&pod(&[(1, "web")]), &[("web", 0)]);
    first.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    let (part, _) = first.part(&key("web")).expect("the part was read");
    let mut second = book(&pod(&[(1, "web")]), &[]);
    begin(&mut second, "web", 0, Read { ledger: part.spec.ledger().unwrap(), ..uninvited() });
    ask(&mut second);
    second.take(&snapshot(&[container(1, 1, &[("read", 8)])]), at(5));
    answered(&mut second, true);
    assert_eq!(counts(&told(&second, "web")[&(String::new(), "web".to_owned())]), [("read", 8)].into());
}

#[test]
fn a_part_that_is_gone_is_asked_for_again() {
    let mut book = book(&pod(&[(1, "web")]), &[("web", 0)]);
    book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
    assert!(!asks(&book));
    book.lost_invitation(&key("web"), "uid-of-another");
    assert!(!asks(&book), "that was of an earlier recording of this name");
    book.lost_invitation(&key("web"), "uid-of-web");
    assert_eq!(book.news().count(), 0);
    ask(&mut book);
    answered(&mut book, true);
    assert_eq!(book.news().count(), 1);
}

#[test]
fn a_recording_that_has_ended_waits_for_its_answer_and_for_no_second_one() {
    for invited in [true, false] {
        let mut book = book_of(&pod(&[(1, "web")]));
        book.take(&snapshot(&[container(1, 1, &[("read", 5)])]), at(2));
        let mut ended = recording("web", 0);
        ended.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        book.recording_applied(&ended).unwrap();
        ask(&mut book);
        book.drop_ended();
        assert!(!book.is_idle(), "it is not told");
        answered(&mut book, invited);
        book.drop_ended();
        assert_eq!(book.is_idle(), !invited, "what was refused can't be told");
        assert!(!asks(&book));
        if invited {
            write(&mut book, "web");
            book.drop_ended();
            assert!(book.is_idle());
        }
    }
}

#[test]
fn a_recording_that_ended_without_anything_is_not_asked_for() {
    let mut book = book_of(&pod(&[(1, "web")]));
    let mut ended = recording("web", 0);
    ended.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    book.recording_applied(&ended).unwrap();
    assert!(!asks(&book));
    book.drop_ended();
    assert!(book.is_idle());
}
