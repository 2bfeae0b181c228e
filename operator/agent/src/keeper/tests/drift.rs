//! Whatever is done to a file behind the agent's back is undone.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

/// Does something to a served file, and expects it repaired by the next event, for this cause.
#[track_caller]
fn repaired_after(cause: &str, harm: impl FnOnce(&Node)) -> Node {
    let mut node = serving("content");
    harm(&node);
    let outcome = node.turn();
    node.assert_serves("shop/web.json", "content");
    assert!(reasons(&outcome).contains(&"FileRepaired"), "{:?}", outcome.notices);
    assert!(
        outcome.notices.iter().any(|n| n.message.contains("/var/lib/kubelet/seccomp/profiles/shop/web.json")),
        "{:?}",
        outcome.notices
    );
    assert!(node.repaired(cause) >= 1.0, "not counted as {cause}");
    let after = node.turn();
    assert!(after.notices.is_empty(), "its own repair is taken for drift: {:?}", after.notices);
    node
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn removed() {
    repaired_after("missing", |node| fs::remove_file(node.path("shop/web.json")).unwrap());
}

#[test]
fn truncated() {
    repaired_after("changed", |node| fs::write(node.path("shop/web.json"), "").unwrap());
}

#[test]
fn changed_in_place_to_bytes_of_the_same_length() {
    repaired_after("changed", |node| fs::write(node.path("shop/web.json"), "CONTENT").unwrap());
}

#[test]
fn replaced_by_a_rename() {
    repaired_after("changed", |node| {
        fs::write(node.seccomp.join("other"), "CONTENT").unwrap();
        fs::rename(node.seccomp.join("other"), node.path("shop/web.json")).unwrap();
    });
}

#[test]
fn grown_beyond_any_content() {
    repaired_after("changed", |node| {
        fs::File::options().write(true).open(node.path("shop/web.json")).unwrap().set_len(1 << 40).unwrap();
    });
}

#[test]
fn replaced_by_a_symbolic_link_which_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "content").unwrap();
    repaired_after("symlink", |node| {
        fs::remove_file(node.path("shop/web.json")).unwrap();
        symlink(&target, node.path("shop/web.json")).unwrap();
    });
    assert_eq!(fs::read_to_string(&target).unwrap(), "content");
    assert!(target.is_file());
}

#[test]
fn replaced_by_a_directory_whose_content_is_kept_aside() {
    let node = repaired_after("directory", |node| {
        fs::remove_file(node.path("shop/web.json")).unwrap();
        fs::create_dir(node.path("shop/web.json")).unwrap();
        fs::write(node.path("shop/web.json/precious"), "kept").unwrap();
    });
    let aside = fs::read_dir(node.path(".store/aside")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(aside.join("precious")).unwrap(), "kept");
}

#[test]
fn replaced_by_an_empty_directory() {
    let node = repaired_after("directory", |node| {
        fs::remove_file(node.path("shop/web.json")).unwrap();
        fs::create_dir(node.path("shop/web.json")).unwrap();
    });
    assert_eq!(fs::read_dir(node.path(".store/aside")).unwrap().count(), 0);
}

#[test]
fn replaced_by_a_fifo_that_would_block_a_reader() {
    repaired_after("special", |node| {
        fs::remove_file(node.path("shop/web.json")).unwrap();
        let path = node.path("shop/web.json");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, 0).unwrap();
    });
}

#[test]
fn made_unreadable() {
    repaired_after("mode", |node| set_mode(&node.path("shop/web.json"), 0o000));
}

#[test]
fn made_writable_for_all() {
    repaired_after("mode", |node| set_mode(&node.path("shop/web.json"), 0o666));
}

#[test]
fn its_directory_removed() {
    repaired_after("missing", |node| fs::remove_dir_all(node.path("shop")).unwrap());
}

#[test]
fn its_directory_moved_away() {
    let node = repaired_after("missing", |node| {
        fs::rename(node.path("shop"), node.seccomp.join("taken")).unwrap();
    });
    assert!(node.seccomp.join("taken/web.json").exists(), "what was taken is not ours any more");
}

#[test]
fn its_directory_replaced_by_a_link_to_another() {
    let elsewhere = tempfile::tempdir().unwrap();
    let node = repaired_after("missing", |node| {
        fs::remove_dir_all(node.path("shop")).unwrap();
        symlink(elsewhere.path(), node.path("shop")).unwrap();
    });
    assert!(!node.path("shop").is_symlink());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "something was written through the link");
    assert!(fs::symlink_metadata(node.path(".store/aside/shop.0")).unwrap().is_symlink());
}

#[test]
fn its_directory_replaced_by_a_file() {
    repaired_after("missing", |node| {
        fs::remove_dir_all(node.path("shop")).unwrap();
        fs::write(node.path("shop"), "a file").unwrap();
    });
}

#[test]
fn repairs_go_on_in_a_directory_that_was_made_anew() {
    let mut node = serving("content");
    for _ in 0..3 {
        fs::remove_dir_all(node.path("shop")).unwrap();
        node.turn();
        fs::write(node.path("shop/web.json"), "x").unwrap();
        node.turn();
        node.assert_serves("shop/web.json", "content");
    }
}

#[test]
fn modes_of_directories() {
    let mut node = serving("content");
    for directory in ["", "shop"] {
        set_mode(&node.path(directory), 0o700);
        let outcome = node.turn();
        assert_eq!(fs::metadata(node.path(directory)).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(reasons(&outcome), ["DirectoryRepaired"]);
    }
    assert!(node.turn().notices.is_empty());
}

#[test]
fn a_hard_link_is_cut_and_what_was_changed_through_it_is_restored() {
    let mut node = serving("content");
    fs::hard_link(node.path("shop/web.json"), node.seccomp.join("link")).unwrap();
    node.after(2 * TIMING.rehash);
    assert_eq!(node.repaired("linked"), 1.0);
    // The link is another file now.
    fs::write(node.seccomp.join("link"), "other").unwrap();
    node.assert_serves("shop/web.json", "content");

    fs::hard_link(node.path("shop/web.json"), node.seccomp.join("link-2")).unwrap();
    fs::write(node.seccomp.join("link-2"), "changed").unwrap();
    assert_eq!(node.read("shop/web.json").as_deref(), Some("changed"), "no event tells of it");
    node.after(2 * TIMING.rehash);
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn the_store_is_no_second_name_of_what_is_served() {
    use std::os::unix::fs::MetadataExt as _;
    let node = serving("content");
    let hex = Digest::of(b"content").hex();
    let inodes = [
        "shop/web.json".to_owned(),
        web().revision_path(&Digest::of(b"content")),
        format!(".store/content/{hex}"),
    ]
    .map(|path| fs::metadata(node.path(&path)).unwrap().ino());
    assert!(inodes[0] != inodes[1] && inodes[1] != inodes[2] && inodes[0] != inodes[2], "{inodes:?}");
}

#[test]
fn a_damaged_store_is_healed_from_what_is_served() {
    let mut node = serving("content");
    let copy = node.path(".store/content").join(Digest::of(b"content").hex());
    fs::write(&copy, "rotten").unwrap();
    let outcome = node.after(2 * TIMING.rehash);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "content");
    assert_eq!(node.repaired("store"), 1.0);
    assert!(outcome.wanted.is_empty());
    // Not healed by a served file that is damaged as well.
    fs::write(&copy, "rotten").unwrap();
    fs::write(node.path("shop/web.json"), "bad").unwrap();
    node.turn();
    node.assert_serves("shop/web.json", "content");
    assert_eq!(fs::read_to_string(&copy).unwrap(), "content");
}

#[test]
fn a_removed_store_is_made_anew_from_what_is_served() {
    let mut node = serving("content");
    fs::remove_dir_all(node.path(".store")).unwrap();
    let outcome = node.turn();
    assert!(reasons(&outcome).contains(&"DirectoryReplaced"), "{:?}", outcome.notices);
    assert!(outcome.wanted.is_empty());
    let copy = node.path(".store/content").join(Digest::of(b"content").hex());
    assert_eq!(fs::read_to_string(copy).unwrap(), "content");
    // The next agent still knows what is its own.
    node.restart_after(|node| fs::remove_file(node.path("shop/web.json")).unwrap());
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn parts_of_the_store_that_something_tidied_up_are_made_anew() {
    let mut node = serving("content");
    for part in ["temporary", "aside"] {
        fs::remove_dir(node.path(".store").join(part)).unwrap();
    }
    fs::remove_file(node.path("shop/web.json")).unwrap();
    node.turn();
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn a_namespace_swapped_for_its_like_is_guarded_like_it() {
    let mut node = serving("content");
    let (namespace, like) = (node.path("shop"), node.path("like"));
    fs::create_dir(&like).unwrap();
    for file in fs::read_dir(&namespace).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), like.join(file.file_name())).unwrap();
    }
    node.turn();
    renameat_with(CWD, &like, CWD, &namespace, RenameFlags::EXCHANGE).unwrap();
    node.turn();
    fs::write(node.path("shop/web.json"), "spoiled").unwrap();
    node.turn();
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn the_whole_sub_directory_removed_comes_back_from_the_api_server() {
    let mut node = serving("content");
    fs::remove_dir_all(node.path("")).unwrap();
    let outcome = node.turn();
    let digest = Digest::of(b"content");
    assert_eq!(outcome.wanted.len(), 1);
    assert_eq!(outcome.wanted[0].revision, web().revision_name(&digest));
    node.handle(vec![Work::Fetched { digest, content: Ok("content".to_owned()) }]);
    node.assert_serves("shop/web.json", "content");
    assert_eq!(fs::metadata(node.path("")).unwrap().permissions().mode() & 0o7777, 0o755);
    // And is guarded again.
    fs::remove_file(node.path("shop/web.json")).unwrap();
    node.turn();
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn the_whole_sub_directory_moved_away_comes_back() {
    let mut node = serving("content");
    fs::rename(node.path(""), node.seccomp.join("taken")).unwrap();
    let outcome = node.turn();
    assert_eq!(outcome.wanted.len(), 1, "the store went along");
    assert!(node.seccomp.join("taken/shop/web.json").exists());
}

#[test]
fn a_fight_is_slowed_down_and_never_given_up() {
    let mut node = serving("content");
    for _ in 0..200 {
        fs::write(node.path("shop/web.json"), "theirs").unwrap();
        node.turn();
    }
    let repairs = node.repaired("changed");
    assert!((50.0..60.0).contains(&repairs), "{repairs} repairs without a pause");
    assert_eq!(node.read("shop/web.json").as_deref(), Some("theirs"));
    let due = node.keeper().due();
    assert!(due - node.now <= Duration::from_millis(100), "the next repair is due in time");
    node.now = due;
    node.turn();
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn events_that_the_kernel_dropped_are_made_up_for() {
    let mut node = serving("content");
    let limit: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // Each name has an event of its own, and none is read meanwhile.
    for number in 0..limit / 2 + 8 {
        let path = node.path(&format!("f{number}"));
        fs::write(&path, "").unwrap();
        fs::remove_file(&path).unwrap();
    }
    fs::remove_file(node.path("shop/web.json")).unwrap();
    node.turn();
    assert_eq!(node.metric("guard_overflows_total", None), 1.0);
    node.assert_serves("shop/web.json", "content");
}

#[test]
fn foreign_files_are_named_counted_and_left_alone() {
    let mut node = serving("content");
    fs::write(node.path("theirs.json"), "theirs").unwrap();
    fs::write(node.path("shop/also-theirs.txt"), "theirs").unwrap();
    fs::create_dir_all(node.path("other/deep")).unwrap();
    symlink("/etc/passwd", node.path("shop/link.json")).unwrap();
    let outcome = node.after(Duration::from_secs(2));
    let names: Vec<_> = status(&outcome).foreign_files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["other/", "shop/also-theirs.txt", "shop/link.json", "theirs.json"]);
    assert_eq!(status(&outcome).foreign_file_count, 4);
    node.after(2 * TIMING.rehash);
    node.restart_after(|_| {});
    node.handle(vec![whole_list(vec![meta(&web(), "content", 1)])]);
    assert_eq!(node.read("theirs.json").as_deref(), Some("theirs"));
    assert!(node.path("other/deep").exists() && node.path("shop/link.json").is_symlink());
    fs::remove_file(node.path("theirs.json")).unwrap();
    let outcome = node.after(Duration::from_secs(2));
    assert_eq!(status(&outcome).foreign_file_count, 3);
}

#[test]
fn many_foreign_files_are_counted_but_not_all_named() {
    let mut node = serving("content");
    for number in 0..50 {
        fs::write(node.path(&format!("foreign-{number:02}")), "").unwrap();
    }
    let outcome = node.after(Duration::from_secs(2));
    assert_eq!(status(&outcome).foreign_file_count, 50);
    assert_eq!(status(&outcome).foreign_files.len(), portcullis_api::MAX_FOREIGN_FILES);
}

#[test]
fn a_removed_mount_ends_the_agent_with_a_reason() {
    let temporary = tempfile::tempdir().unwrap();
    let seccomp = temporary.path().join("seccomp");
    fs::create_dir(&seccomp).unwrap();
    let mut node = Node::at(&seccomp);
    fs::remove_dir_all(&seccomp).unwrap();
    let now = node.now;
    let error = node.keeper().handle(Vec::new(), now).unwrap_err().to_string();
    assert!(error.contains("/var/lib/kubelet/seccomp was removed or moved away"), "{error}");

    fs::create_dir(&seccomp).unwrap();
    let mut node = Node::at(&seccomp);
    fs::rename(&seccomp, temporary.path().join("moved")).unwrap();
    let now = node.now;
    assert!(node.keeper().handle(Vec::new(), now).is_err());
}
