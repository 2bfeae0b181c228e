//! A container of this machine, as runc starts it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::machine::{Running, allowed, container_id, profile, record, start};

/// A filter that denies nothing that anybody calls, so that there is one.
fn permissive() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["vserver"], "action": "SCMP_ACT_ERRNO"}],
    })
}

/// A bundle with a busybox, in a folder that goes with it.
pub(crate) struct Bundle(tempfile::TempDir);

impl Bundle {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bin = folder.path().join("rootfs/bin");
        fs::create_dir_all(&bin).expect("a folder");
        for name in ["proc", "tmp"] {
            fs::create_dir(folder.path().join("rootfs").join(name)).expect("a folder");
        }
        fs::copy("/bin/busybox", bin.join("busybox")).expect("these tests need busybox, linked statically");
        for name in ["sh", "ls", "touch", "sleep"] {
            symlink("busybox", bin.join(name)).expect("a link");
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn configure(&self, script: &str, filter: Option<Value>) {
        self.configure_command(&["/bin/sh", "-c", script], filter);
    }

    pub(crate) fn configure_command(&self, command: &[&str], filter: Option<Value>) {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": command,
                "env": ["PATH=/bin"],
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
        });
        if let Some(filter) = filter {
            config["linux"]["seccomp"] = filter;
        }
        fs::write(self.path().join("config.json"), config.to_string()).expect("it is written");
    }

    fn runc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.path().join("state")).args(arguments).current_dir(self.path());
        command
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self, id: &str) -> Output {
        self.runc(&["run", id]).output().expect("these tests need runc")
    }
}

pub(crate) fn waiting(bundle: &Bundle, id: &str) -> Running {
    // Which of its own calls runc makes, written in Go, differs a little from run to run.
    let options = ["--with-runtime-base", "runc", "--file", "app.json"];
    let mut running = start(bundle.path(), &[&["--container", id], &options[..]].concat());
    running.until_it_says("waiting for the container to start");
    running
}

pub(crate) fn filter_of(bundle: &Bundle) -> Value {
    let text = fs::read(bundle.path().join("app.json")).expect("a profile");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn a_container_runs_under_the_profile_of_its_recording_and_does_no_more() {
    let bundle = Bundle::new();
    let id = container_id();
    bundle.configure("ls /; exit 0", Some(permissive()));
    let running = waiting(&bundle, &id);
    let recorded = bundle.run(&id);
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("seen      Start, Steady, GracefulStop"), "{}", ran.said);
    assert!(!ran.said.contains("without a filter"), "{}", ran.said);
    // runc's own calls after it loaded the filter are among them.
    let profile = profile(bundle.path(), "app.json");
    assert!(
        ["execve", "getdents64", "fstatfs"].iter().all(|name| allowed(&profile).contains(name)),
        "{profile:?}"
    );
    let filter = filter_of(&bundle);
    bundle.configure("ls /; exit 0", Some(filter.clone()));
    let confined = bundle.run(&container_id());
    assert_eq!((confined.status.code(), &confined.stdout), (Some(0), &recorded.stdout), "{confined:?}");
    bundle.configure("touch /tmp/x", Some(filter));
    let other = bundle.run(&container_id());
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("Function not implemented"), "{other:?}");
}

#[test]
fn a_container_without_a_filter_is_recorded_from_its_program_on() {
    let bundle = Bundle::new();
    let id = container_id();
    bundle.configure("ls /; exit 0", None);
    let running = waiting(&bundle, &id);
    assert!(bundle.run(&id).status.success());
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(ran.said.contains("those of runc were added"), "{}", ran.said);
    bundle.configure("ls /; exit 0", Some(filter_of(&bundle)));
    let confined = bundle.run(&container_id());
    assert!(confined.status.success(), "{}", String::from_utf8_lossy(&confined.stderr));
}

#[test]
fn of_one_that_runs_already_the_start_is_missed_and_a_short_id_will_do() {
    for filter in [Some(permissive()), None] {
        let bundle = Bundle::new();
        let id = container_id();
        let unfiltered = filter.is_none();
        bundle.configure("while sleep 0.05; do ls / >/dev/null; done", filter);
        let started = bundle.runc(&["run", "--detach", &id]).stdout(std::process::Stdio::null()).status();
        assert!(started.expect("these tests need runc").success());
        let ran = record(bundle.path(), &["--container", &id[..63], "--for", "1s", "--file", "app.json"]);
        let deleted = bundle.runc(&["delete", "--force", &id]).status().expect("runc runs");
        assert!(deleted.success());
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(ran.said.contains("its start is missed"), "{}", ran.said);
        assert_eq!(ran.said.contains("it has no seccomp filter"), unfiltered, "{}", ran.said);
        assert!(ran.said.contains("the time is over; the container goes on"), "{}", ran.said);
        let profile = profile(bundle.path(), "app.json");
        assert!(allowed(&profile).contains(&"getdents64"), "{profile:?}");
    }
}

#[test]
fn what_is_no_containers_id_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for (id, words) in [
        ("web", "no container of podman, docker or nerdctl has this name"),
        ("we/b", "`podman inspect --format '{{.Id}}' we/b`"),
        ("0123456789abcdef0", "no container runs whose id begins so: give all 64 digits"),
    ] {
        let ran = record(folder.path(), &["--container", id]);
        assert_eq!(ran.code, Some(2), "{}", ran.said);
        assert!(ran.said.contains(words), "{}", ran.said);
    }
}

/// A container that never came doesn't go on.
#[test]
fn a_container_that_never_starts_is_an_error_that_says_so() {
    let bundle = Bundle::new();
    let id = container_id();
    let ran = record(bundle.path(), &["--container", &id, "--for", "1s", "--file", "app.json"]);
    assert_eq!(ran.code, Some(2), "{}", ran.said);
    assert!(ran.said.contains("it was not started in the 1 s that this waited"), "{}", ran.said);
    assert!(!ran.said.contains("goes on") && !bundle.path().join("app.json").exists(), "{}", ran.said);
}

#[test]
fn a_container_whose_program_does_not_start_is_an_error_that_says_so() {
    let bundle = Bundle::new();
    let id = container_id();
    bundle.configure_command(&["/nowhere"], Some(permissive()));
    let running = waiting(&bundle, &id);
    assert!(!bundle.run(&id).status.success());
    let ran = running.end();
    assert_eq!(ran.code, Some(2), "{}", ran.said);
    assert!(ran.said.contains("its program did not start"), "{}", ran.said);
    assert!(!ran.said.contains("are among them"), "{}", ran.said);
}

/// What a recording says of a start is what runc does.
#[test]
fn a_profile_of_a_command_says_under_what_a_container_starts() {
    let bundle = Bundle::new();
    for (base, said) in [
        (&[][..], "runc starts no container under this profile"),
        (&["--with-runtime-base", "runc"][..], "no_new_privs (allowPrivilegeEscalation: false) alone"),
    ] {
        let command = ["--file", "app.json", "--", "/bin/busybox", "ls", "/"];
        let ran = record(bundle.path(), &[base, &command[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(ran.said.contains(said), "{base:?}: {}", ran.said);
        bundle.configure_command(&["/bin/busybox", "ls", "/"], Some(filter_of(&bundle)));
        let confined = bundle.run(&container_id());
        assert_eq!(confined.status.success(), !base.is_empty(), "{confined:?}");
        let config = fs::read_to_string(bundle.path().join("config.json")).expect("it is there");
        let without = config.replace("\"noNewPrivileges\":true", "\"noNewPrivileges\":false");
        fs::write(bundle.path().join("config.json"), without).expect("it is written");
        assert!(!bundle.run(&container_id()).status.success(), "without no_new_privs");
    }
}

/// The filter in force is read while the container runs, by `filter --container`.
#[test]
fn the_filter_of_a_running_container_is_its_profiles() {
    let bundle = Bundle::new();
    let id = container_id();
    bundle.configure_command(&["/bin/sleep", "60"], Some(permissive()));
    fs::write(bundle.path().join("committed.json"), permissive().to_string()).expect("it is written");
    let mut container = bundle.runc(&["run", &id]).spawn().expect("these tests need runc");
    let filter = || {
        Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
            .args(["filter", "--container", &id, "--profile", "committed.json"])
            .current_dir(bundle.path())
            .output()
            .expect("the binary can be run")
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Until the filter is loaded there is none, and before that no container.
    let answer = loop {
        let answer = filter();
        if answer.status.code() != Some(2) || std::time::Instant::now() > end {
            break answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let deleted = bundle.runc(&["delete", "--force", &id]).status().expect("runc runs");
    container.wait().expect("it ends");
    assert!(deleted.success());
    assert_eq!(answer.status.code(), Some(0), "{}", String::from_utf8_lossy(&answer.stderr));
    let out = String::from_utf8_lossy(&answer.stdout);
    assert!(out.starts_with(&format!("container {}, process ", &id[..12])), "{out}");
    assert!(out.contains("as committed"), "{out}");
}
