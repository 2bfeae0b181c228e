//! A command, by both methods.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};

use portcullis_profile::{Action, Arch};
use rustix::process::Signal;

use crate::machine::{METHODS, allowed, cgroups, profile, record, record_as_nobody, start};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// What the recorder with this process id would have left.
fn left_behind(id: u32) -> Vec<String> {
    let cgroup = cgroups().join(format!("portcullis-record-{id}"));
    let pins = fs::read_dir("/sys/fs/bpf/portcullis").into_iter().flatten().flatten();
    let pins = pins.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pins.filter(|name| name.starts_with(&format!("record-{id}-")))
        .chain(cgroup.exists().then(|| cgroup.display().to_string()))
        .collect()
}

#[test]
fn both_methods_see_the_same_calls_of_all_that_is_started() {
    let folder = folder();
    let script = "ls / >/dev/null; (uname; true) | cat >/dev/null; env true; touch x; mv x y; rm y; exit 3";
    for method in METHODS {
        let file = format!("{method}.json");
        let ran = record(folder.path(), &["--method", method, "--file", &file, "--", "sh", "-c", script]);
        assert_eq!(ran.code, Some(3), "{}", ran.said);
        assert!(ran.said.contains("it exited with 3"), "{}", ran.said);
        assert!(ran.said.contains("none lost"), "{}", ran.said);
    }
    let [ebpf, ptrace] = METHODS.map(|method| profile(folder.path(), &format!("{method}.json")));
    assert_eq!(ebpf, ptrace);
    assert_eq!((ebpf.default_action, ebpf.default_errno_ret), (Action::Errno, Some(38)));
    assert_eq!(ebpf.architectures, [Arch::X86_64]);
    let allowed = allowed(&ebpf);
    for name in ["execve", "getdents64", "uname", "wait4", "exit_group", "restart_syscall"] {
        assert!(allowed.contains(&name), "{name} of {allowed:?}");
    }
    assert!(allowed.iter().any(|name| name.starts_with("rename")), "{allowed:?}");
    assert!(!allowed.contains(&"socket") && !allowed.contains(&"mount"), "{allowed:?}");
}

#[test]
fn values_of_arguments_become_the_same_rules() {
    let folder = folder();
    for method in METHODS {
        let file = format!("{method}.json");
        // ls asks whether it writes to a terminal, by ioctl, and a subshell is made by clone.
        let command = ["sh", "-c", "(exit 0); ls / >/dev/null"];
        let options = ["--method", method, "--file", &file, "--args", "ioctl,clone", "--"];
        let ran = record(folder.path(), &[&options[..], &command[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.said);
    }
    let [ebpf, ptrace] = METHODS.map(|method| profile(folder.path(), &format!("{method}.json")));
    assert_eq!(ebpf, ptrace);
    let conditional = ebpf.syscalls.iter().filter(|rule| !rule.args.is_empty());
    let conditional: BTreeSet<&str> = conditional.map(|rule| rule.names[0].as_str()).collect();
    assert_eq!(conditional, BTreeSet::from(["clone", "ioctl"]), "{ebpf:?}");
}

#[test]
fn without_a_file_the_profile_is_standard_output_and_nothing_else_is() {
    let folder = folder();
    for method in METHODS {
        let command = ["sh", "-c", "echo out; echo err >&2"];
        let ran = record(folder.path(), &[&["--method", method, "--"], &command[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        portcullis_profile::Profile::parse(ran.out.as_bytes()).expect("a profile alone");
        assert!(ran.said.contains("out\nerr\n"), "{}", ran.said);
        let ran = record(folder.path(), &[&["--method", method, "--file", "x", "--"], &command[..]].concat());
        assert_eq!(ran.out, "out\n", "with a file the command has its own: {}", ran.said);
    }
}

#[test]
fn a_signal_to_the_recorder_is_the_commands() {
    let folder = folder();
    for method in METHODS {
        let script = "trap 'exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done";
        let mut running =
            start(folder.path(), &["--method", method, "--file", "x", "--", "sh", "-c", script]);
        running.until_it_says("ready");
        running.signal(Signal::TERM);
        let ran = running.end();
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(ran.said.contains("SignalHandled (SIGTERM)"), "{}", ran.said);
        assert!(ran.said.contains("GracefulStop\nnot seen"), "{}", ran.said);
        let ran =
            record(folder.path(), &["--method", method, "--file", "x", "--", "sh", "-c", "kill -USR1 $$"]);
        assert_eq!(ran.code, Some(128 + 10), "{}", ran.said);
        assert!(ran.said.contains("SIGUSR1 ended it"), "{}", ran.said);
    }
}

#[test]
fn what_the_command_leaves_is_recorded_until_it_ends() {
    let folder = folder();
    for method in METHODS {
        let script = "setsid sh -c 'sleep 1; uname' >/dev/null & exit 4";
        let ran = record(folder.path(), &["--method", method, "--file", "x", "--", "sh", "-c", script]);
        assert_eq!(ran.code, Some(4), "{}", ran.said);
        assert!(ran.said.contains("what it started runs on"), "{}", ran.said);
        let profile = profile(folder.path(), "x");
        assert!(allowed(&profile).contains(&"uname"), "{profile:?}");
    }
}

#[test]
fn once_the_command_ended_a_signal_ends_the_recording_and_the_rest_lives() {
    let folder = folder();
    for method in METHODS {
        let script =
            "(echo $$ >id; read line <pipe; echo lived >&2; echo >done) & echo $PPID >recorder; exit 0";
        let pipe = folder.path().join("pipe");
        let _ = fs::remove_file(folder.path().join("done"));
        if !pipe.exists() {
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .expect("a pipe");
        }
        let mut running =
            start(folder.path(), &["--method", method, "--file", "x", "--", "sh", "-c", script]);
        running.until_it_says("what it started runs on");
        running.signal(Signal::TERM);
        running.until_it_says("how they end was not seen");
        running.until_it_says("the profile is in");
        // The command's own end says nothing of what outlived it.
        running.until_it_says("seen      Start\n");
        let recorder = fs::read_to_string(folder.path().join("recorder")).expect("the shell wrote it");
        until("the recorder has ended", || !runs(recorder.trim()));
        fs::write(&pipe, "go on\n").expect("somebody reads");
        let ran = running.end();
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(ran.said.contains("the recording ends, and these run on: sh ("), "{}", ran.said);
        assert!(ran.said.contains("lived"), "{}", ran.said);
        until("it went on", || folder.path().join("done").exists());
        assert_eq!(left_behind(recorder.trim().parse().expect("a number")), [""; 0]);
    }
}

/// Whether a process runs; one that is only to be waited for does not.
fn runs(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < end, "still not after 20 s: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_recorder_that_is_killed_is_cleaned_up_after_by_the_next() {
    let folder = folder();
    let running = start(folder.path(), &["--method", "ebpf", "--file", "x", "--", "sleep", "1000"]);
    let id = running.id();
    until("the command runs", || !processes(id).is_empty());
    running.signal(Signal::KILL);
    until("the recorder has ended", || !runs(&id.to_string()));
    assert_eq!(left_behind(id).len(), 2, "its cgroup and its pins");
    for process in processes(id) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(process).expect("an id"), Signal::KILL)
            .expect("it runs on");
    }
    until("its process is gone", || processes(id).is_empty());
    assert_eq!(running.end().code, None);
    let ran = record(folder.path(), &["--method", "ebpf", "--file", "x", "--", "true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!(left_behind(id), [""; 0]);
}

fn processes(recorder: u32) -> Vec<i32> {
    let procs = cgroups().join(format!("portcullis-record-{recorder}/cgroup.procs"));
    fs::read_to_string(procs).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn runs_accumulate_and_what_was_added_is_said() {
    let folder = folder();
    let merge = |command: &[&str]| {
        let options = ["--method", "ptrace", "--merge", "all.json", "--file", "all.json", "--"];
        record(folder.path(), &[&options[..], command].concat())
    };
    let first = merge(&["true"]);
    assert!(first.said.contains("all.json is not there yet: this run makes it"), "{}", first.said);
    let before = profile(folder.path(), "all.json");
    let second = merge(&["uname"]);
    assert!(
        second.said.contains("this recording: lets ") && second.said.contains("uname"),
        "{}",
        second.said
    );
    let after = profile(folder.path(), "all.json");
    assert!(!allowed(&before).contains(&"uname") && allowed(&after).contains(&"uname"));
    assert!(allowed(&before).iter().all(|name| allowed(&after).contains(name)));
    assert!(merge(&["true"]).said.contains("added nothing"));
    assert_eq!(profile(folder.path(), "all.json"), after);
}

/// A rule that is for a capability is one of the container's that has it.
#[test]
fn a_profile_in_dockers_format_is_added_to_for_the_container_that_is_named() {
    let folder = folder();
    let docker = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}}]}"#;
    fs::write(folder.path().join("docker.json"), docker).expect("it is written");
    for (flags, has_bpf) in [(&[][..], false), (&["--cap", "BPF"][..], true)] {
        let options = ["--method", "ptrace", "--merge", "docker.json", "--file", "both.json"];
        let ran = record(folder.path(), &[&options[..], flags, &["--", "true"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(ran.said.contains("Docker's format, read for the "), "{}", ran.said);
        assert_eq!(allowed(&profile(folder.path(), "both.json")).contains(&"bpf"), has_bpf, "{}", ran.said);
    }
}

#[test]
fn a_custom_resource_says_what_it_was_recorded_from() {
    let folder = folder();
    let ran = record(folder.path(), &["--method", "ptrace", "-o", "cr", "--name", "app", "--", "true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    for words in [
        "kind: SeccompProfile",
        "  name: app\n",
        "  mode: Audit",
        "made-from: \"ptrace (true): ",
        "recordedFrom:",
    ] {
        assert!(ran.out.contains(words), "{words:?} in {}", ran.out);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    assert!(ran.out.contains(release.trim()), "{}", ran.out);
}

#[test]
fn what_can_not_be_recorded_is_an_error_and_writes_nothing() {
    let folder = folder();
    let refused = |arguments: &[&str], words: &str| {
        let ran = record(folder.path(), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.said);
        assert!(ran.out.is_empty() && ran.said.contains(words), "{words:?} in {}", ran.said);
    };
    for method in METHODS {
        refused(
            &["--method", method, "--file", "x", "--", "/nowhere/app"],
            "error: can't run /nowhere/app: No such file or directory",
        );
    }
    refused(&["--merge", "gone.json", "--", "true"], "can't read gone.json: No such file");
    refused(&["--file", "nowhere/x", "--", "true"], "--file nowhere/x: there is no folder nowhere");
    refused(&["--default-action", "allow", "--", "true"], "does not deny what was not seen");
    refused(&[], "the following required arguments were not provided");
    assert!(!Path::new(&folder.path().join("x")).exists());
}

#[test]
fn who_may_not_trace_is_told_why_and_leaves_no_process() {
    let folder = folder();
    let own = env!("CARGO_BIN_EXE_kubectl-seccomp");
    let inner = [own, "record", "--method", "ptrace", "--file", "x", "--", "touch", "touched"];
    // What the outer one traces can't be traced by the inner one as well.
    let ran = record(folder.path(), &[&["--method", "ptrace", "--file", "y", "--"], &inner[..]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.said);
    for words in ["the kernel does not let this process trace others", "another program traces already"] {
        assert!(ran.said.contains(words), "{}", ran.said);
    }
    assert!(!folder.path().join("touched").exists() && !folder.path().join("x").exists());
    // The outer one ended, so the inner one's process has.
    assert!(ran.said.contains("it exited with 2"), "{}", ran.said);
}

#[test]
fn who_is_not_root_records_by_ptrace() {
    let folder = folder();
    let ran = record_as_nobody(folder.path(), &["--file", "x", "--", "id", "-u"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "65534\n"), "{}", ran.said);
    assert!(ran.said.contains("recording by ptrace") && ran.said.contains("CAP_BPF"), "{}", ran.said);
    assert!(allowed(&profile(folder.path(), "x")).contains(&"geteuid"));
    let ran = record_as_nobody(folder.path(), &["--method", "ebpf", "--", "true"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.said.contains("can't record by eBPF: this process has not the capabilities"), "{}", ran.said);
    let ran = record_as_nobody(folder.path(), &["--container", "abc"]);
    assert!(ran.said.contains("a container can be recorded by root alone"), "{}", ran.said);
}

#[test]
fn a_file_that_can_not_be_written_is_found_before_the_command_runs() {
    let folder = folder();
    fs::create_dir(folder.path().join("directory")).expect("a directory");
    for (file, said) in [
        ("directory", "Is a directory"),
        ("/proc/x.json", "it can't be written"),
        ("none/x.json", "there is no folder none"),
    ] {
        for method in METHODS {
            let ran = record(folder.path(), &["--method", method, "--file", file, "--", "touch", "ran"]);
            assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.said);
            assert!(
                ran.said.contains(&format!("--file {file}: ")) && ran.said.contains(said),
                "{}",
                ran.said
            );
            assert!(!folder.path().join("ran").exists(), "{file}: the command ran");
        }
    }
}

#[test]
fn what_fails_at_the_end_leaves_the_profile_on_standard_output() {
    let folder = folder();
    let directory = folder.path().join("made");
    for method in METHODS {
        fs::create_dir_all(&directory).expect("a directory");
        let ran =
            record(folder.path(), &["--method", method, "--file", "made/x.json", "--", "rm", "-r", "made"]);
        assert_eq!(ran.code, Some(2), "{}", ran.said);
        assert!(ran.said.contains("can't write made/x.json"), "{}", ran.said);
        portcullis_profile::Profile::parse(ran.out.as_bytes()).expect("a profile");
    }
}

#[test]
fn a_command_is_asked_to_end_when_its_time_is_over() {
    let folder = folder();
    for method in METHODS {
        let started = std::time::Instant::now();
        let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
        let ran = record(
            folder.path(),
            &["--method", method, "--for", "1s", "--file", "x", "--", "sh", "-c", script],
        );
        assert_eq!(ran.code, Some(0), "{}", ran.said);
        assert!(started.elapsed() < std::time::Duration::from_secs(8), "{}", ran.said);
        assert!(ran.said.contains("the time is over") && ran.said.contains("GracefulStop"), "{}", ran.said);
        let ran =
            record(folder.path(), &["--method", method, "--for", "1s", "--file", "x", "--", "sleep", "60"]);
        assert_eq!(ran.code, Some(0), "a command that ends by the signal is no failure: {}", ran.said);
    }
}

#[test]
fn a_program_whose_rights_are_missing_is_named() {
    let folder = folder();
    let own = folder.path().join("own");
    fs::copy("/bin/true", &own).expect("a copy");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o4755)).expect("it is made setuid");
    let ran = record_as_nobody(folder.path(), &["--file", "x", "--", "./own"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let said = format!("{} ran without the rights of its file (setuid)", own.display());
    assert!(ran.said.contains(&said), "{}", ran.said);
    let ran = record(folder.path(), &["--method", "ptrace", "--user", "root", "--file", "x", "--", "./own"]);
    assert!(!ran.said.contains("without the rights"), "root has them: {}", ran.said);
}
