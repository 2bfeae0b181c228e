//! An agent that starts, with and without an API server.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn guards_what_is_on_disk_without_an_api_server() {
    let mut node = serving("content");
    node.handle(vec![applied(&Owner::cluster("base").unwrap(), "base", 1)]);
    node.restart_after(|node| {
        fs::write(node.path("shop/web.json"), "changed while nobody looked").unwrap();
        fs::remove_file(node.path("base.json")).unwrap();
    });
    node.assert_serves("shop/web.json", "content");
    node.assert_serves("base.json", "base");
    fs::remove_file(node.path("base.json")).unwrap();
    let outcome = node.turn();
    node.assert_serves("base.json", "base");
    assert!(outcome.wanted.is_empty() && outcome.status.is_none(), "reports without having listed");
    assert_eq!(node.metric("files_served", None), 4.0);
}

#[test]
fn a_restart_with_a_full_store_wants_no_content_and_writes_nothing() {
    let mut node = serving("content");
    node.restart_after(|_| {});
    let outcome = node.handle(vec![whole_list(vec![meta(&web(), "content", 1)])]);
    assert!(outcome.wanted.is_empty(), "{:?}", outcome.wanted);
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "content", 1)]));
    assert_eq!(node.metric("files_written_total", None), 0.0);
}

#[test]
fn reports_nothing_before_every_content_is_there_or_failed() {
    let mut node = Node::new();
    let db = Owner::namespaced("shop", "db").unwrap();
    let listed = vec![meta(&web(), "a", 1), meta(&db, "b", 1)];
    let outcome = node.handle(vec![whole_list(listed.clone())]);
    assert_eq!(outcome.wanted.len(), 2);
    assert!(outcome.status.is_none());
    let outcome = node.handle(vec![Work::Fetched { digest: Digest::of(b"a"), content: Ok("a".to_owned()) }]);
    assert!(outcome.status.is_none());
    let gone = crate::error::Problem::new(portcullis_api::FailureReason::Unavailable, "gone");
    let outcome = node.handle(vec![Work::Fetched { digest: Digest::of(b"b"), content: Err(gone) }]);
    assert_eq!(status(&outcome).digest, digest_of(&listed));
    let failed: Vec<_> =
        status(&outcome).failures.iter().map(|f| (f.name.as_str(), f.reason.as_str())).collect();
    assert_eq!(failed, [("db", "Unavailable"), ("db", "Unavailable")]);
    // It is asked for again by itself, and what has failed holds no other report up.
    let outcome = node.after(Duration::from_secs(1));
    assert_eq!(outcome.wanted.len(), 1);
    assert!(node.handle(vec![applied(&web(), "c", 2)]).status.is_some());
    let outcome = node.handle(vec![Work::Fetched { digest: Digest::of(b"b"), content: Ok("b".to_owned()) }]);
    assert!(status(&outcome).failures.is_empty());
    node.assert_serves("shop/db.json", "b");
}

#[test]
fn the_watch_may_bring_what_a_list_named() {
    let mut node = Node::new();
    let outcome = node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    assert_eq!(outcome.wanted.len(), 1);
    let outcome = node.handle(vec![applied(&web(), "a", 1)]);
    node.assert_serves("shop/web.json", "a");
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 1)]));
    let late = Work::Fetched { digest: Digest::of(b"a"), content: Ok("a".to_owned()) };
    assert!(node.handle(vec![late]).status.is_none());
}

#[test]
fn a_file_of_the_same_content_is_taken_over() {
    let mut node = Node::new();
    fs::create_dir_all(node.path("shop")).unwrap();
    fs::write(node.path("shop/web.json"), "content").unwrap();
    set_mode_0644(&node.path("shop/web.json"));
    let outcome = node.handle(vec![whole_list(Vec::new()), applied(&web(), "content", 1)]);
    assert!(status(&outcome).failures.is_empty());
    fs::remove_file(node.path("shop/web.json")).unwrap();
    node.turn();
    node.assert_serves("shop/web.json", "content");
}

fn set_mode_0644(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn leftovers_of_a_killed_agent_are_cleared() {
    let mut node = serving("content");
    node.restart_after(|node| {
        fs::write(node.path(".store/temporary/1.1"), "half").unwrap();
        fs::create_dir(node.path(".store/temporary/1.2")).unwrap();
        fs::write(node.path(".store/temporary/1.2/precious"), "kept").unwrap();
    });
    assert_eq!(fs::read_dir(node.path(".store/temporary")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(node.path(".store/aside/1.2.0/precious")).unwrap(), "kept");
}

#[test]
fn nothing_planted_in_the_index_becomes_a_path() {
    let mut node = serving("content");
    let victim = node.seccomp.join("victim.json");
    node.restart_after(|node| {
        fs::write(&victim, "untouched").unwrap();
        let digest = Digest::of(b"content").to_string();
        symlink(&digest, node.path(".store/index/..victim.json")).unwrap();
        fs::create_dir(node.path(".store/index/..evil")).unwrap();
        symlink(&digest, node.path(".store/index/..evil/victim.json")).unwrap();
        symlink(node.seccomp.as_os_str(), node.path(".store/index/linked")).unwrap();
    });
    node.handle(vec![whole_list(Vec::new())]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    let mut names: Vec<_> = fs::read_dir(node.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".store", "shop"]);
}

#[test]
fn a_second_agent_waits_for_the_first() {
    let mut node = serving("content");
    let base = Base::open(&node.seccomp, Path::new("/host"), "profiles").unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let mut second = Keeper::new(base, origin("pod-2"), TIMING, MOST, metrics, node.now).unwrap();
    assert_eq!(second.start(node.now).unwrap(), Start::Locked);
    node.keeper = None;
    assert_eq!(second.start(node.now).unwrap(), Start::Guarding);
}
