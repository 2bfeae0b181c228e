use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink},
    path::PathBuf,
};

use super::*;

#[test]
fn what_is_no_file_of_its_own_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str| replace(&path(name), b"new").unwrap();
    write("file");
    symlink("file", path("link")).unwrap();
    fs::write(path("file"), "old").unwrap();
    fs::set_permissions(path("file"), Permissions::from_mode(0o640)).unwrap();
    write("link");
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    assert_eq!(fs::read(path("file")).unwrap(), b"new");
    assert_eq!(fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    let reader = std::thread::spawn({
        let pipe = path("pipe");
        move || fs::read(pipe).unwrap()
    });
    write("pipe");
    assert_eq!(reader.join().unwrap(), b"new");
    assert!(fs::metadata(path("pipe")).unwrap().file_type().is_fifo());
    assert!(replace(folder.path(), b"new").is_err());
    assert!(replace(&path("none/file"), b"new").is_err());
    assert!(replace(&path("file/below"), b"new").is_err());
    fs::remove_file(path("file")).unwrap();
    assert!(replace(&path("link"), b"new").is_err(), "a link to nothing");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something is left over");
}

#[test]
fn links_of_ones_own_are_followed_wherever_they_are_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("real/below")).unwrap();
    symlink(path("real"), path("absolute")).unwrap();
    symlink("../absolute/below", path("real/relative")).unwrap();
    replace(&path("absolute/relative/../below/./new"), b"one").unwrap();
    assert_eq!(fs::read(path("real/below/new")).unwrap(), b"one");
    symlink("below/new", path("real/last")).unwrap();
    replace(&path("absolute/last"), b"two").unwrap();
    assert_eq!(fs::read(path("real/below/new")).unwrap(), b"two");
    symlink("loop", path("loop")).unwrap();
    assert!(replace(&path("loop"), b"new").is_err());
    replace(Path::new("/dev/null"), b"new").unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let file = fs::File::create(path("open")).unwrap();
    replace(&PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))), b"open").unwrap();
    assert_eq!(fs::read(path("open")).unwrap(), b"open", "a descriptor of this process");
}

/// As root: what another user planted in the way.
#[cfg(target_os = "linux")]
mod planted {
    use std::os::unix::fs::{chown, lchown};

    use rustix::{
        fs::{CWD, FileType, mknodat},
        process::{Uid, geteuid},
        thread::set_thread_res_uid,
    };

    use super::*;

    const STRANGER: u32 = 65534;
    const OTHER: u32 = 65533;

    /// A folder that all may reach, with a file to protect.
    struct Victim(tempfile::TempDir);

    impl Victim {
        fn new() -> Self {
            assert!(geteuid().is_root(), "only root can make another user's links: run these tests as root");
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(folder.path().join("etc")).unwrap();
            fs::write(folder.path().join("etc/victim"), "old").unwrap();
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// A folder of an owner.
        fn folder(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
            fs::create_dir(self.path(name)).unwrap();
            chown(self.path(name), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
            self.path(name)
        }

        fn link(&self, target: &str, link: &Path, owner: u32) {
            symlink(self.path(target), link).unwrap();
            lchown(link, Some(owner), Some(owner)).unwrap();
        }

        fn assert_refused(&self, file: &Path) {
            let error = replace(file, b"new").unwrap_err().to_string();
            assert!(error.contains("of another user (uid 65534)"), "{error}");
            assert_eq!(fs::read(self.path("etc/victim")).unwrap(), b"old");
            assert_eq!(fs::read_dir(self.path("etc")).unwrap().count(), 1, "something was made there");
        }
    }

    #[test]
    fn root_follows_no_link_of_another_user() {
        let victim = Victim::new();
        for (name, owner, mode) in
            [("sticky", 0, 0o1777), ("open", 0, 0o777), ("own", STRANGER, 0o755), ("group", 0, 0o775)]
        {
            let folder = victim.folder(name, owner, mode);
            victim.link("etc/victim", &folder.join("file"), STRANGER);
            victim.assert_refused(&folder.join("file"));
            victim.link("etc/none", &folder.join("dangling"), STRANGER);
            victim.assert_refused(&folder.join("dangling"));
            victim.link("etc", &folder.join("folder"), STRANGER);
            victim.assert_refused(&folder.join("folder/victim"));
            victim.assert_refused(&folder.join("folder/new"));
            // One of ours may lead to one that is none.
            symlink("file", folder.join("first")).unwrap();
            victim.assert_refused(&folder.join("first"));
        }
    }

    #[test]
    fn root_follows_its_own_links() {
        let victim = Victim::new();
        let folder = victim.folder("sticky", 0, 0o1777);
        victim.link("etc/victim", &folder.join("file"), 0);
        replace(&folder.join("file"), b"new").unwrap();
        assert_eq!(fs::read(victim.path("etc/victim")).unwrap(), b"new");
    }

    #[test]
    fn a_pipe_of_another_user_gets_nothing() {
        let victim = Victim::new();
        let folder = victim.folder("sticky", 0, 0o1777);
        let pipe = folder.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, 0o666.into(), 0).unwrap();
        chown(&pipe, Some(STRANGER), Some(STRANGER)).unwrap();
        victim.assert_refused(&pipe);
    }

    #[test]
    fn a_file_in_the_way_gives_its_owner_no_rights_to_what_replaces_it() {
        let victim = Victim::new();
        let folder = victim.folder("sticky", 0, 0o1777);
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        chown(&file, Some(STRANGER), Some(STRANGER)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o6777)).unwrap();
        replace(&file, b"new").unwrap();
        let now = fs::metadata(&file).unwrap();
        assert_eq!((now.uid(), now.mode() & 0o7777), (0, 0o755));
        fs::hard_link(victim.path("etc/victim"), folder.join("hard")).unwrap();
        replace(&folder.join("hard"), b"new").unwrap();
        assert_eq!(fs::read(victim.path("etc/victim")).unwrap(), b"old");
    }

    #[test]
    fn who_is_not_root_follows_what_the_kernel_lets_him() {
        let victim = Victim::new();
        let target = victim.folder("target", OTHER, 0o755);
        for (name, owner, mode, follows) in [
            ("sticky", 0, 0o1777, false),
            ("strangers", STRANGER, 0o755, true),
            ("shared", STRANGER, 0o1777, true),
        ] {
            let folder = victim.folder(name, owner, mode);
            victim.link("target", &folder.join("link"), STRANGER);
            // The effective user is a thread's own on Linux.
            let written = std::thread::scope(|scope| {
                let written = scope.spawn(|| {
                    set_thread_res_uid(None, Uid::from_raw(OTHER), None).unwrap();
                    replace(&folder.join("link").join(name), b"new").is_ok()
                });
                written.join().unwrap()
            });
            assert_eq!(written, follows, "{name}");
            assert_eq!(target.join(name).exists(), follows, "{name}");
        }
    }

    #[test]
    fn a_link_that_comes_meanwhile_is_not_followed() {
        use std::sync::atomic::{AtomicBool, Ordering};

        let victim = Victim::new();
        let folder = victim.folder("sticky", 0, 0o1777);
        let (file, spare) = (folder.join("file"), folder.join("spare"));
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    victim.link("etc/victim", &spare, STRANGER);
                    let _ = fs::rename(&spare, &file);
                    let _ = fs::write(&spare, "").and_then(|()| fs::rename(&spare, &file));
                }
            });
            for _ in 0..2000 {
                // Refused or written, as it happens to be.
                let _ = replace(&file, b"new");
            }
            is_done.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read(victim.path("etc/victim")).unwrap(), b"old");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn whether_a_file_can_be_written_is_known_before_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "old").unwrap();
    check(&path("file")).unwrap();
    check(&path("new")).unwrap();
    check(Path::new("/dev/null")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    check(&path("pipe")).expect("it waits for no reader");
    for (path, said) in [
        (folder.path().to_owned(), "Is a directory"),
        (path("none/file"), "No such file"),
        (path("file/below"), "Not a directory"),
        (PathBuf::from("/proc/new.json"), ""),
    ] {
        let error = check(&path).unwrap_err().to_string();
        assert!(error.contains(said), "{}: {error}", path.display());
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something is left over");
}
