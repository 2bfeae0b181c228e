//! Root who records for somebody else, as `sudo kubectl seccomp record` does.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    process::Command,
};

use crate::machine::{METHODS, Ran, record_with};

const SUDO: [(&str, &str); 5] = [
    ("SUDO_UID", "65534"),
    ("SUDO_GID", "65534"),
    ("SUDO_USER", "nobody"),
    ("HOME", "/root"),
    ("USER", "root"),
];
/// Every id, right and variable by which a command could tell that root began it.
const WHO: &str = "id -u; id -g; id -G; grep -E '^(Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapAmb):' /proc/self/status; \
                   echo $HOME $USER $LOGNAME; env | grep SUDO; touch made";

/// A folder of nobody's.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).expect("root gives folders away");
    folder
}

fn says(ran: &Ran, words: &str) {
    assert!(ran.said.contains(words), "{words:?} in {}", ran.said);
}

#[test]
fn the_command_and_the_profile_are_whose_sudo_it_was() {
    for method in METHODS {
        let folder = folder();
        let arguments = ["--method", method, "--file", "x", "--", "sh", "-c", WHO];
        let ran = record_with(folder.path(), &arguments, &SUDO);
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        says(&ran, "the command and the profile are nobody (uid 65534)'s: --user root makes it root's");
        let ids = "65534\t65534\t65534\t65534";
        let none = "0000000000000000";
        let expected = format!(
            "65534\n65534\n65534\nUid:\t{ids}\nGid:\t{ids}\nGroups:\t65534 \nCapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\n\
             CapAmb:\t{none}\n/nonexistent nobody nobody\n"
        );
        assert_eq!(ran.out, expected, "{}", ran.said);
        for name in ["made", "x"] {
            let made = fs::metadata(folder.path().join(name)).expect("it was made");
            assert_eq!((made.uid(), made.gid()), (65534, 65534), "{name} by {method}");
        }
    }
}

#[test]
fn root_is_asked_for_or_is_who_nobody_is_before() {
    let folder = folder();
    let command = ["--file", "x", "--", "sh", "-c", "id -u; echo $HOME"];
    let asked = record_with(folder.path(), &[&["--user", "root"], &command[..]].concat(), &SUDO);
    assert_eq!((asked.code, asked.out.as_str()), (Some(0), "0\n/root\n"), "{}", asked.said);
    let no_sudo = record_with(folder.path(), &command, &[("HOME", "/root")]);
    assert_eq!((no_sudo.code, no_sudo.out.as_str()), (Some(0), "0\n/root\n"), "{}", no_sudo.said);
    let by_root = record_with(folder.path(), &command, &[("SUDO_UID", "0"), ("HOME", "/root")]);
    assert_eq!((by_root.code, by_root.out.as_str()), (Some(0), "0\n/root\n"), "{}", by_root.said);
    let another = record_with(folder.path(), &[&["--user", "nobody"], &command[..]].concat(), &[]);
    assert_eq!((another.code, another.out.as_str()), (Some(0), "65534\n/nonexistent\n"), "{}", another.said);
}

#[test]
fn a_user_whom_no_database_knows_has_ids_and_no_home() {
    let folder = folder();
    let sudo = [("SUDO_UID", "54321"), ("SUDO_GID", "54322"), ("HOME", "/root")];
    let ran =
        record_with(folder.path(), &["--", "sh", "-c", "id -u >&2; id -G >&2; echo home=$HOME >&2"], &sudo);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    says(&ran, "uid 54321's");
    says(&ran, "54321\n54322\nhome=\n");
    let unknown = record_with(folder.path(), &["--user", "no-such-user", "--", "true"], &[]);
    assert_eq!(unknown.code, Some(2));
    says(&unknown, "--user no-such-user: there is no such user");
    let odd = record_with(folder.path(), &["--", "true"], &[("SUDO_UID", "root")]);
    assert_eq!(odd.code, Some(2));
    says(&odd, "SUDO_UID is root, which is no number: say --user");
    let without_group = record_with(folder.path(), &["--", "true"], &[("SUDO_UID", "54321")]);
    says(&without_group, "SUDO_GID is not set: say --user");
}

#[test]
fn files_are_read_and_written_with_the_users_rights() {
    let folder = folder();
    let secret = tempfile::tempdir().expect("root's folder");
    let victim = secret.path().join("victim");
    fs::write(&victim, "old").expect("it is written");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("root's alone");
    let name = victim.to_str().expect("text");
    let refused = record_with(folder.path(), &["--file", name, "--", "true"], &SUDO);
    assert_eq!(refused.code, Some(2), "{}", refused.said);
    let read = record_with(folder.path(), &["--merge", name, "--file", "x", "--", "true"], &SUDO);
    assert_eq!(read.code, Some(2));
    says(&read, "Permission denied");
    // A link of the user's own leads no further than the user may go.
    symlink(&victim, folder.path().join("link")).expect("a link");
    std::os::unix::fs::lchown(folder.path().join("link"), Some(65534), Some(65534))
        .expect("root gives it away");
    let linked = record_with(folder.path(), &["--file", "link", "--", "true"], &SUDO);
    assert_eq!(linked.code, Some(2), "{}", linked.said);
    says(&linked, "Permission denied");
    // Nor is it followed where root records for itself.
    let linked = record_with(folder.path(), &["--file", "link", "--", "true"], &[]);
    assert_eq!(linked.code, Some(2), "{}", linked.said);
    says(&linked, "is a link of another user (uid 65534), which is not followed");
    assert_eq!(fs::read(&victim).expect("it is there"), b"old");
}

#[test]
fn a_bpf_file_system_is_mounted_as_systemd_does() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its owner's");
    // In a mount namespace of its own, where something else is in its place.
    let script = format!(
        "mount -t tmpfs none /sys/fs/bpf && exec '{}' record --method ebpf --file x -- sh -c 'grep \" /sys/fs/bpf bpf \" /proc/mounts'",
        env!("CARGO_BIN_EXE_kubectl-seccomp")
    );
    let ran = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .current_dir(folder.path())
        .output()
        .expect("unshare runs");
    let (out, said) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{said}");
    for word in ["nosuid", "nodev", "noexec", "mode=700"] {
        assert!(out.contains(word), "{word} in {out}");
    }
    assert!(said.contains("mounted a BPF file system at /sys/fs/bpf, which stays"), "{said}");
}
