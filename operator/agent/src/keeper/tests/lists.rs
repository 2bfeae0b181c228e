//! What a list does not name.

use super::*;

fn db() -> Owner {
    Owner::namespaced("shop", "db").unwrap()
}

fn serving_two() -> Node {
    let mut node = serving("a");
    node.handle(vec![applied(&db(), "b", 1)]);
    node
}

#[test]
fn goes_after_the_grace_and_not_before() {
    let mut node = serving_two();
    let outcome = node.handle(vec![Work::Listed(vec![meta(&web(), "a", 1)])]);
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 1)]), "what leaves is not in the set");
    node.after(GRACE - Duration::from_secs(1));
    node.assert_serves("shop/db.json", "b");
    // While it is there it is guarded like any other.
    fs::remove_file(node.path("shop/db.json")).unwrap();
    node.turn();
    node.assert_serves("shop/db.json", "b");
    assert!(node.keeper().due() <= node.now + Duration::from_secs(1));
    node.after(Duration::from_secs(1));
    assert!(!node.path("shop/db.json").exists());
    node.assert_serves("shop/web.json", "a");
}

#[test]
fn comes_back_with_a_later_list_or_event() {
    let mut node = serving_two();
    node.handle(vec![Work::Listed(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![Work::Listed(vec![meta(&web(), "a", 1), meta(&db(), "b", 1)])]);
    node.after(2 * GRACE);
    node.assert_serves("shop/db.json", "b");
    node.handle(vec![Work::Listed(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![applied(&db(), "b", 1)]);
    node.after(2 * GRACE);
    node.assert_serves("shop/db.json", "b");
}

#[test]
fn an_empty_list_never_empties_a_node() {
    let mut node = serving_two();
    let outcome = node.handle(vec![Work::Listed(Vec::new())]);
    assert_eq!(status(&outcome).digest, digest_of([]));
    node.after(2 * GRACE);
    node.assert_serves("shop/web.json", "a");
    // Nor does it let a grace run out that an earlier list began.
    node.handle(vec![Work::Listed(vec![meta(&web(), "a", 1)])]);
    node.handle(vec![Work::Listed(Vec::new())]);
    node.after(2 * GRACE);
    node.assert_serves("shop/db.json", "b");
    // Nor after a restart.
    node.restart_after(|_| {});
    node.handle(vec![Work::Listed(Vec::new())]);
    node.after(2 * GRACE);
    node.assert_serves("shop/web.json", "a");
    node.assert_serves("shop/db.json", "b");
}

#[test]
fn what_went_while_the_agent_was_down_goes_after_the_grace() {
    let mut node = serving_two();
    node.restart_after(|_| {});
    node.handle(vec![Work::Listed(vec![meta(&web(), "a", 1)])]);
    node.assert_serves("shop/db.json", "b");
    node.after(GRACE);
    assert!(!node.path("shop/db.json").exists());
}

#[test]
fn a_list_after_a_restored_etcd_serves_what_it_says() {
    let mut node = serving("old");
    node.handle(vec![applied(&web(), "new", 2)]);
    let listed = [meta(&web(), "old", 1)];
    let outcome = node.handle(vec![Work::Listed(listed.to_vec())]);
    node.assert_serves("shop/web.json", "old");
    assert_eq!(status(&outcome).digest, digest_of(&listed));
    node.assert_serves(&web().revision_path(&Digest::of(b"new")), "new");
    node.after(GRACE);
    assert!(!node.path(&web().revision_path(&Digest::of(b"new"))).exists());
}

#[test]
fn the_digest_does_not_depend_on_how_the_revisions_came() {
    let mut watched = Node::new();
    watched.handle(vec![Work::Listed(Vec::new())]);
    watched.handle(vec![applied(&web(), "a", 1)]);
    watched.handle(vec![applied(&db(), "x", 1), applied(&web(), "b", 2)]);
    let by_watch = watched.handle(vec![Work::Deleted { owner: db(), digest: Digest::of(b"x") }]);
    let mut listed = Node::new();
    let outcome = listed.handle(vec![Work::Listed(vec![meta(&web(), "a", 1), meta(&web(), "b", 2)])]);
    assert_eq!(outcome.wanted.len(), 2);
    listed.handle(vec![Work::Fetched { digest: Digest::of(b"a"), content: Ok("a".to_owned()) }]);
    let by_list =
        listed.handle(vec![Work::Fetched { digest: Digest::of(b"b"), content: Ok("b".to_owned()) }]);
    assert_eq!(status(&by_watch).digest, status(&by_list).digest);
}
