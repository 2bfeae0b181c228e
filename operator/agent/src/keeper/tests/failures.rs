//! What can't be written is said with the profile's name, the rest goes on, and it heals by itself.

use std::{os::unix::fs::symlink, path::Path};

use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount},
};

use super::*;

/// A small file system of its own. Needs root.
struct Mounted(TempDir);

impl Mounted {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={size},mode=755")).unwrap();
        mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).expect(
            "this test mounts a tmpfs, which needs root: run it as root, as `make test` in a container does",
        );
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn writable(&self, writable: bool) {
        let flags = if writable { MountFlags::empty() } else { MountFlags::RDONLY };
        // Busy while a child that another test forks holds what this test had open for writing, until it execs.
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(errno) = mount_remount(self.path(), flags, "") {
            assert!(errno == Errno::BUSY && Instant::now() < patience, "can't remount: {errno}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Detached, because a failed test may still have files open in it.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn failures(outcome: &Outcome) -> Vec<(String, &'static str)> {
    let failures = &status(outcome).failures;
    failures.iter().map(|failure| (failure.path.clone(), failure.reason.as_str())).collect()
}

#[test]
fn a_full_node_says_which_profile_and_heals() {
    let mounted = Mounted::new("256k");
    let mut node = Node::at(mounted.path());
    node.handle(vec![whole_list(Vec::new()), applied(&web(), "small", 1)]);
    let large = "x".repeat(60 * 1024);
    fs::write(mounted.path().join("ballast"), vec![0; 190 * 1024]).unwrap();
    let db = Owner::namespaced("shop", "db").unwrap();
    let outcome = node.handle(vec![applied(&db, &large, 1)]);
    let failed = failures(&outcome);
    assert!(failed.contains(&("shop/db.json".to_owned(), "NoSpace")), "{failed:?}");
    assert!(status(&outcome).failures[0].message.contains("No space left on device"));
    assert_eq!(status(&outcome).failures[0].name, "db");
    assert_eq!(status(&outcome).revisions, 2, "it counts as processed");
    assert!(!node.path("shop/db.json").exists(), "a half-written file became visible");
    // The rest goes on.
    node.assert_serves("shop/web.json", "small");
    let outcome = node.handle(vec![applied(&web(), "next", 2)]);
    node.assert_serves("shop/web.json", "next");
    assert!(
        failures(&outcome).iter().all(|(path, _)| path.starts_with("shop/db")),
        "{:?}",
        failures(&outcome)
    );
    // Heals, with the content asked for again as nothing keeps it in memory.
    fs::remove_file(mounted.path().join("ballast")).unwrap();
    let mut outcome = node.after(Duration::from_secs(20));
    if let Some(wanted) = outcome.wanted.pop() {
        outcome = node.handle(vec![Work::Fetched { digest: wanted.digest, content: Ok(large.clone()) }]);
    }
    node.assert_serves("shop/db.json", &large);
    assert_eq!(failures(&outcome), []);
    assert!(reasons(&outcome).contains(&"FileHealed"));
}

#[test]
fn a_full_node_asks_for_no_contents_in_vain() {
    let mounted = Mounted::new("128k");
    let mut node = Node::at(mounted.path());
    node.handle(vec![whole_list(Vec::new())]);
    let _ = fs::write(mounted.path().join("ballast"), vec![0; 256 * 1024]);
    node.handle(vec![applied(&web(), "content", 1)]);
    for _ in 0..10 {
        let outcome = node.after(Duration::from_secs(15));
        assert!(outcome.wanted.is_empty(), "{:?}", outcome.wanted);
    }
}

#[test]
fn a_read_only_node_says_so_goes_on_guarding_and_heals() {
    let mounted = Mounted::new("1m");
    let mut node = Node::at(mounted.path());
    node.handle(vec![whole_list(Vec::new()), applied(&web(), "a", 1)]);
    mounted.writable(false);
    let outcome = node.handle(vec![applied(&web(), "b", 2)]);
    let failed = failures(&outcome);
    assert!(failed.contains(&("shop/web.json".to_owned(), "ReadOnly")), "{failed:?}");
    node.assert_serves("shop/web.json", "a");
    // An agent that starts on it.
    node.restart_after(|_| {});
    let outcome = node.handle(vec![whole_list(vec![meta(&web(), "a", 1)])]);
    assert_eq!(failures(&outcome), []);
    let outcome = node.handle(vec![applied(&web(), "b", 2)]);
    assert_eq!(failures(&outcome).len(), 2);
    mounted.writable(true);
    let mut outcome = node.after(Duration::from_secs(20));
    if let Some(wanted) = outcome.wanted.pop() {
        outcome = node.handle(vec![Work::Fetched { digest: wanted.digest, content: Ok("b".to_owned()) }]);
    }
    node.assert_serves("shop/web.json", "b");
    assert_eq!(failures(&outcome), []);
}

#[test]
fn a_read_only_node_without_the_directory_fails_and_heals() {
    let mounted = Mounted::new("1m");
    mounted.writable(false);
    let mut node = Node::at(mounted.path());
    let outcome = node.handle(vec![whole_list(Vec::new()), applied(&web(), "a", 1)]);
    let failed = failures(&outcome);
    assert!(failed.contains(&("shop/web.json".to_owned(), "ReadOnly")), "{failed:?}");
    for _ in 0..5 {
        node.after(Duration::from_secs(20));
        assert!(node.keeper().due() > node.now, "it does not rest between two tries");
    }
    mounted.writable(true);
    let outcome = node.after(Duration::from_secs(20));
    assert_eq!(outcome.wanted.len(), 1);
    let content = Ok("a".to_owned());
    let outcome = node.handle(vec![Work::Fetched { digest: outcome.wanted[0].digest, content }]);
    node.assert_serves("shop/web.json", "a");
    assert_eq!(failures(&outcome), []);
}

#[test]
fn a_foreign_file_in_the_way_stays_and_is_named_until_it_goes() {
    let mut node = Node::new();
    fs::create_dir_all(node.path("shop")).unwrap();
    fs::write(node.path("shop/web.json"), "theirs").unwrap();
    let outcome = node.handle(vec![whole_list(Vec::new()), applied(&web(), "ours", 1)]);
    assert_eq!(failures(&outcome), [("shop/web.json".to_owned(), "Foreign")]);
    node.assert_serves(&web().revision_path(&Digest::of(b"ours")), "ours");
    node.after(2 * TIMING.rehash);
    assert_eq!(node.read("shop/web.json").as_deref(), Some("theirs"));
    // At once when it goes, not only when the retry is due.
    fs::remove_file(node.path("shop/web.json")).unwrap();
    let outcome = node.turn();
    node.assert_serves("shop/web.json", "ours");
    assert_eq!(failures(&outcome), []);
}

#[test]
fn a_namespace_planted_as_a_link_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut node = Node::new();
    symlink(elsewhere.path(), node.path("shop")).unwrap();
    let cluster = Owner::cluster("base").unwrap();
    let outcome =
        node.handle(vec![whole_list(Vec::new()), applied(&web(), "a", 1), applied(&cluster, "b", 1)]);
    let failed = failures(&outcome);
    assert!(failed.contains(&("shop/web.json".to_owned(), "Foreign")), "{failed:?}");
    assert_eq!(failed.len(), 2, "{failed:?}");
    node.assert_serves("base.json", "b");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(node.path("shop").is_symlink());
    fs::remove_file(node.path("shop")).unwrap();
    node.after(Duration::from_secs(20));
    node.assert_serves("shop/web.json", "a");
}

#[test]
fn more_failures_than_a_status_holds_say_so() {
    let mut node = Node::new();
    node.handle(vec![whole_list(Vec::new())]);
    let owners: Vec<_> = (0..60).map(|n| Owner::namespaced("shop", &format!("web-{n}")).unwrap()).collect();
    fs::write(node.path("shop"), "in the way of all").unwrap();
    let outcome = node.handle(owners.iter().map(|owner| applied(owner, "a", 1)).collect());
    assert_eq!(status(&outcome).failures.len(), portcullis_api::MAX_NODE_FAILURES);
    assert!(status(&outcome).failures_truncated);
    fs::remove_file(node.path("shop")).unwrap();
    let outcome = node.after(Duration::from_secs(20));
    assert!(!status(&outcome).failures_truncated);
    assert_eq!(failures(&outcome), []);
}
