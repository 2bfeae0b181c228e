//! What an administrator revoked.

use super::*;

fn revoked(mut meta: RevisionMeta) -> RevisionMeta {
    meta.revoked = Some("too loose".to_owned());
    meta
}

fn event(owner: &Owner, content: &str, sequence: i64) -> Work {
    let Work::Applied(mut applied) = applied(owner, content, sequence) else { unreachable!() };
    applied.meta = revoked(applied.meta);
    Work::Applied(applied)
}

fn path_of(content: &str) -> String {
    web().revision_path(&Digest::of(content.as_bytes()))
}

/// A node whose profile has an earlier revision, `a`, and a current one, `b`.
fn serving_a_and_b() -> Node {
    let mut node = serving("a");
    node.handle(vec![applied(&web(), "b", 2)]);
    node
}

impl Node {
    #[track_caller]
    fn assert_nowhere(&self, content: &str) {
        assert!(!self.path(&path_of(content)).exists(), "{content} has its file");
        assert_ne!(
            self.read("shop/web.json").as_deref(),
            Some(content),
            "the profile's path serves {content}"
        );
        let stored = format!(".store/content/{}", Digest::of(content.as_bytes()).hex());
        assert!(!self.path(&stored).exists(), "{content} is in the store");
        let record = format!(".store/index/{}", path_of(content));
        assert!(fs::symlink_metadata(self.path(&record)).is_err(), "{content} is in the index");
    }
}

#[test]
fn its_files_go_at_once_and_stay_away_and_it_is_no_failure() {
    let mut node = serving_a_and_b();
    let outcome = node.handle(vec![event(&web(), "a", 1)]);
    node.assert_nowhere("a");
    node.assert_serves("shop/web.json", "b");
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "b", 2)]));
    assert_eq!((status(&outcome).revisions, status(&outcome).failures.len()), (1, 0));
    // Neither the next list nor a restart, with or without an API server, brings it back.
    let list = || whole_list(vec![revoked(meta(&web(), "a", 1)), meta(&web(), "b", 2)]);
    for restarts in [false, true] {
        if restarts {
            node.restart_after(|_| {});
            node.assert_nowhere("a");
        }
        let outcome = node.handle(vec![list()]);
        assert!(outcome.wanted.is_empty(), "{:?}", outcome.wanted);
        node.after(2 * GRACE);
        node.assert_nowhere("a");
        node.assert_serves("shop/web.json", "b");
    }
}

#[test]
fn what_was_revoked_while_the_agent_was_down_goes_with_the_first_list() {
    let mut node = serving_a_and_b();
    node.restart_after(|_| {});
    node.assert_serves(&path_of("a"), "a");
    // The list names the current one last.
    let page = |revisions, is_first, is_last| Work::Page { revisions, is_first, is_last };
    node.handle(vec![page(vec![revoked(meta(&web(), "a", 1))], true, false)]);
    node.assert_serves("shop/web.json", "b");
    let outcome = node.handle(vec![page(vec![meta(&web(), "b", 2)], false, true)]);
    node.assert_nowhere("a");
    node.assert_serves("shop/web.json", "b");
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "b", 2)]));
}

#[test]
fn a_current_one_takes_the_profiles_path_along_and_no_earlier_one_comes_back_to_it() {
    let mut node = serving_a_and_b();
    let outcome = node.handle(vec![event(&web(), "b", 2)]);
    node.assert_nowhere("b");
    assert!(!node.path("shop/web.json").exists(), "an earlier revision took its place");
    node.assert_serves(&path_of("a"), "a");
    let left = [meta(&web(), "a", 1), revoked(meta(&web(), "b", 2))];
    assert_eq!(status(&outcome).digest, digest_of(&left));
    node.restart_after(|_| {});
    let outcome = node.handle(vec![whole_list(left.to_vec())]);
    assert_eq!(status(&outcome).digest, digest_of(&left));
    assert!(!node.path("shop/web.json").exists());
    node.handle(vec![applied(&web(), "c", 3)]);
    node.assert_serves("shop/web.json", "c");
}

#[test]
fn a_revoked_content_leaves_the_profiles_path_before_the_next_one_is_there() {
    let mut node = serving("a");
    node.restart_after(|_| {});
    // While no agent ran, b followed a, and a was revoked.
    let outcome = node.handle(vec![whole_list(vec![revoked(meta(&web(), "a", 1)), meta(&web(), "b", 2)])]);
    assert_eq!(outcome.wanted.len(), 1);
    node.assert_nowhere("a");
    node.handle(vec![Work::Fetched { digest: Digest::of(b"b"), content: Ok("b".to_owned()) }]);
    node.assert_serves("shop/web.json", "b");
}

#[test]
fn it_takes_no_content_from_another_profile() {
    let other = Owner::cluster("other").unwrap();
    let mut node = serving_a_and_b();
    node.handle(vec![applied(&other, "a", 1)]);
    node.handle(vec![event(&web(), "a", 1)]);
    assert!(!node.path(&path_of("a")).exists());
    node.assert_serves("other.json", "a");
    fs::remove_file(node.path("other.json")).unwrap();
    node.turn();
    node.assert_serves("other.json", "a");
}

#[test]
fn a_content_that_comes_after_it_was_revoked_is_not_kept() {
    let mut node = Node::new();
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![event(&web(), "a", 1)]);
    node.handle(vec![Work::Fetched { digest: Digest::of(b"a"), content: Ok("a".to_owned()) }]);
    node.assert_nowhere("a");
    assert_eq!(node.metric("store_bytes", None), 0.0);
}

#[test]
fn taken_back_it_is_served_again() {
    let mut node = serving_a_and_b();
    node.handle(vec![event(&web(), "b", 2)]);
    let outcome = node.handle(vec![applied(&web(), "b", 2)]);
    node.assert_serves("shop/web.json", "b");
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 1), &meta(&web(), "b", 2)]));
    // Where the watch missed it, the next list brings it back.
    node.handle(vec![event(&web(), "a", 1)]);
    node.handle(vec![whole_list(vec![meta(&web(), "a", 1), meta(&web(), "b", 2)])]);
    node.handle(vec![Work::Fetched { digest: Digest::of(b"a"), content: Ok("a".to_owned()) }]);
    node.assert_serves(&path_of("a"), "a");
}

#[test]
fn whose_object_is_gone_it_is_forgotten() {
    let mut node = serving_a_and_b();
    node.handle(vec![event(&web(), "b", 2)]);
    let outcome = node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    node.assert_serves("shop/web.json", "a");
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 1)]));
}

#[test]
fn one_that_there_was_no_room_for_makes_room() {
    let mut node = Node::with_room_for(1);
    node.handle(vec![whole_list(Vec::new())]);
    node.handle(vec![applied(&web(), "a", 1)]);
    let outcome = node.handle(vec![applied(&web(), "b", 2)]);
    assert_eq!(status(&outcome).failures.len(), 1);
    let outcome = node.handle(vec![event(&web(), "b", 2)]);
    assert_eq!(status(&outcome).failures.len(), 0);
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 1), &revoked(meta(&web(), "b", 2))]));
}
