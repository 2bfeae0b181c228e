//! The directory against hostile names, links and planted folders.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use portcullis_api::FailureReason;

use super::*;

fn base(directory: &Path) -> Base {
    Base::open(directory, Path::new("/var/lib/kubelet/seccomp"), "profiles").unwrap()
}

fn problem(error: OpenError) -> Problem {
    match error {
        OpenError::Problem(problem) => problem,
        OpenError::Locked => panic!("locked"),
    }
}

#[test]
fn a_second_agent_is_locked_out_until_the_first_is_gone() {
    let temporary = tempfile::tempdir().unwrap();
    let base = base(temporary.path());
    let first = Directory::open(&base).unwrap();
    assert!(matches!(Directory::open(&base), Err(OpenError::Locked)));
    drop(first);
    Directory::open(&base).unwrap();
}

#[test]
fn a_sub_directory_that_is_a_symbolic_link_is_refused_and_untouched() {
    let temporary = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), temporary.path().join("profiles")).unwrap();
    let problem = problem(Directory::open(&base(temporary.path())).unwrap_err());
    assert_eq!(problem.reason, FailureReason::Foreign);
    assert!(problem.message.contains("/var/lib/kubelet/seccomp/profiles"), "{}", problem.message);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_namespace_that_is_a_symbolic_link_is_not_followed() {
    let temporary = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = Directory::open(&base(temporary.path())).unwrap();
    symlink(elsewhere.path(), temporary.path().join("profiles/shop")).unwrap();
    let error = directory.namespace(Some("shop")).unwrap_err();
    assert_eq!(Problem::of_file("open", "shop", &error).reason, FailureReason::Foreign);
    assert!(directory.existing(Some("shop")).is_err());
    // Whatever text comes as a name stays inside.
    for hostile in ["..", "../..", "/etc", "a/../../b"] {
        assert!(directory.existing(Some(hostile)).map_or(true, |found| found.is_none()), "{hostile}");
    }
}

#[test]
fn makes_directories_readable_and_the_store_private() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = Directory::open(&base(temporary.path())).unwrap();
    let mode =
        |path: &str| std::fs::metadata(temporary.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(directory.namespace(Some("shop")).unwrap().repaired, Some("made"));
    assert_eq!(mode("profiles"), 0o755);
    assert_eq!(mode("profiles/shop"), 0o755);
    assert_eq!(mode("profiles/.store"), 0o700);
    let shop = temporary.path().join("profiles/shop");
    std::fs::set_permissions(&shop, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(directory.namespace(Some("shop")).unwrap().repaired, Some("mode"));
    assert_eq!(mode("profiles/shop"), 0o755);
}

#[test]
fn a_store_that_is_a_symbolic_link_is_renamed_and_not_followed() {
    let temporary = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let root = temporary.path().join("profiles");
    std::fs::create_dir(&root).unwrap();
    symlink(elsewhere.path(), root.join(".store")).unwrap();
    Directory::open(&base(temporary.path())).unwrap();
    assert!(root.join(".store/content").is_dir());
    assert!(!root.join(".store").is_symlink());
    assert!(root.join(".store.aside.0").is_symlink());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn knows_when_it_was_replaced() {
    let temporary = tempfile::tempdir().unwrap();
    let base = base(temporary.path());
    let directory = Directory::open(&base).unwrap();
    assert!(!directory.is_stale(&base));
    std::fs::rename(temporary.path().join("profiles/.store"), temporary.path().join("profiles/store"))
        .unwrap();
    assert!(directory.is_stale(&base));
    drop(directory);
    let directory = Directory::open(&base).unwrap();
    std::fs::rename(temporary.path().join("profiles"), temporary.path().join("old")).unwrap();
    assert!(directory.is_stale(&base));
}

#[test]
fn says_when_the_mount_is_gone() {
    let temporary = tempfile::tempdir().unwrap();
    let mounted = temporary.path().join("seccomp");
    std::fs::create_dir(&mounted).unwrap();
    let base = base(&mounted);
    base.check().unwrap();
    std::fs::remove_dir(&mounted).unwrap();
    let error = base.check().unwrap_err().to_string();
    assert!(error.starts_with("the host's /var/lib/kubelet/seccomp was removed or moved away"), "{error}");
}

#[test]
fn what_is_set_aside_is_kept_and_bounded() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = Directory::open(&base(temporary.path())).unwrap();
    let root = temporary.path().join("profiles");
    for number in 0..ASIDE_LIMIT {
        std::fs::create_dir(root.join("web.json")).unwrap();
        std::fs::write(root.join("web.json/kept"), number.to_string()).unwrap();
        let place = directory.set_aside(directory.root(), "web.json").unwrap().unwrap();
        assert!(place.ends_with(&format!("profiles/.store/aside/web.json.{number}")), "{place}");
    }
    let kept = std::fs::read_to_string(root.join(".store/aside/web.json.3/kept")).unwrap();
    assert_eq!(kept, "3");
    std::fs::create_dir(root.join("web.json")).unwrap();
    assert_eq!(directory.set_aside(directory.root(), "web.json").unwrap(), None, "an empty one just goes");
    std::fs::create_dir_all(root.join("web.json/full")).unwrap();
    let error = directory.set_aside(directory.root(), "web.json").unwrap_err();
    assert!(error.to_string().contains("holds 64 things"), "{error}");
    assert!(root.join("web.json/full").exists());
}
