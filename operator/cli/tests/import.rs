//! `import` as a user sees it: what is answered, what is said beside the answer, and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use portcullis_profile::{Action, Arch, Profile};

fn seccomp(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-seccomp"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples"))
        .env_clear()
        .output()
        .expect("the binary can be run")
}

fn profile(arguments: &[&str]) -> (Profile, String) {
    let output = seccomp(arguments);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    (Profile::parse(&output.stdout).expect("an OCI document"), said)
}

fn refused(arguments: &[&str]) -> String {
    let output = seccomp(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn written(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).expect("a file can be written");
    path
}

#[test]
fn a_trace_becomes_a_profile_that_denies_the_rest() {
    let (profile, said) = profile(&["import", "strace", "--traced-on", "amd64", "app.strace"]);
    assert_eq!((profile.default_action, profile.default_errno_ret), (Action::Errno, Some(38)));
    assert_eq!(profile.architectures, [Arch::X86_64]);
    assert_eq!(profile.syscalls.len(), 1);
    let names = &profile.syscalls[0].names;
    assert!(names.is_sorted(), "{names:?}");
    for name in ["clone", "execve", "exit", "pipe2", "restart_syscall", "rt_sigreturn", "wait4"] {
        assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
    }
    assert!(!names.iter().any(|name| name == "mount"), "{names:?}");
    assert!(said.contains("note: made from strace (app.strace): "), "{said}");
    assert!(!said.contains("not read"), "{said}");
}

#[test]
fn values_of_arguments_become_rules_and_a_table_has_none() {
    let arguments = ["import", "strace", "--traced-on", "amd64", "--args", "clone,ioctl", "app.strace"];
    let (profile, said) = profile(&arguments);
    let ruled: Vec<&str> = profile.syscalls[1..].iter().map(|rule| rule.names[0].as_str()).collect();
    assert_eq!(ruled, ["clone", "ioctl"], "{said}");
    let with_table = [&arguments[..], &["run-1.strace"]].concat();
    let (_, said) = self::profile(&with_table);
    assert!(said.contains("ioctl is allowed whatever its request"), "{said}");
    assert!(said.contains("a table has no arguments"), "{said}");
}

/// A filter of `socket` without conditions lets AF_VSOCK through, which reaches the host.
#[test]
fn a_profile_that_leaves_the_domains_of_sockets_open_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = written(
        folder.path(),
        "app",
        "execve(\"/app\", [\"app\"], 0x0) = 0\nsocket(AF_UNIX, SOCK_STREAM, 0) = 3\n",
    );
    let trace = trace.to_str().expect("text");
    let open = "socket is allowed with every domain, AF_VSOCK among them";
    let (_, said) = profile(&["import", "strace", trace]);
    assert!(said.contains(&format!("{open}; --args socket allows")), "{said}");
    let (_, said) = profile(&["import", "strace", "--args", "socket", trace]);
    assert!(!said.contains(open), "{said}");
    let record = "type=SECCOMP msg=audit(1.0:1): auid=0 uid=0 gid=0 ses=1 pid=1 comm=\"a\" exe=\"/a\" sig=0 arch=c000003e syscall=41 \
                  compat=0 ip=0x0 code=0x7ffc0000\n";
    let log = written(folder.path(), "audit", record);
    let (_, said) = profile(&["import", "audit", "-o", "profile", log.to_str().expect("text")]);
    assert!(said.contains(open) && said.contains("import strace --args socket"), "{said}");
    let (_, said) = profile(&["import", "audit", "-o", "profile", "audit.log"]);
    let calls_socket =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/audit.log"))
            .expect("the example")
            .contains("syscall=41 ");
    assert_eq!(said.contains(open), calls_socket, "{said}");
}

#[test]
fn a_custom_resource_says_what_it_was_made_from() {
    let output = seccomp(&["import", "strace", "-o", "cr", "app.strace", "run-1.strace"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("kind: SeccompProfile\n") && text.contains("mode: Audit\n"), "{text}");
    assert!(text.contains("portcullis.dev/made-from: \"strace (app.strace, run-1.strace): "), "{text}");
    assert!(text.contains("  name: app\n"), "{text}");
    let refused = refused(&["import", "strace", "-o", "cr", "--name", "App", "app.strace"]);
    assert!(refused.contains("no name of a profile"), "{refused}");
}

#[test]
fn what_a_profile_does_otherwise_can_be_chosen() {
    let chosen = ["--default-action", "log", "--arch", "arm64", "--arch", "x86_64"];
    let (profile, _) = profile(&[&["import", "strace", "app.strace"], &chosen[..]].concat());
    assert_eq!((profile.default_action, profile.default_errno_ret), (Action::Log, None));
    assert!(profile.architectures.contains(&Arch::Aarch64));
    let (profile, _) = self::profile(&["import", "strace", "app.strace", "--errno", "EPERM"]);
    assert_eq!(profile.default_errno_ret, Some(1));
    let said = refused(&["import", "strace", "app.strace", "--default-action", "log", "--errno", "1"]);
    assert!(said.contains("--errno: SCMP_ACT_LOG has no errno"), "{said}");
    let said = refused(&["import", "strace", "app.strace", "--default-action", "allow"]);
    assert!(said.contains("does not deny what was not seen"), "{said}");
}

#[test]
fn what_could_not_be_read_is_shown_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = written(folder.path(), "noisy", "hello\nbrk(NULL) = 0\nfrobnicate(1) = 0\n");
    let (_, said) = profile(&["import", "strace", trace.to_str().expect("text")]);
    assert!(said.contains("1 line not read: a name that no table of system calls has"), "{said}");
    assert!(said.contains("line 3: frobnicate(1) = 0"), "{said}");
    assert!(said.contains("line 1: hello"), "{said}");
}

#[test]
fn what_is_no_trace_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [("empty", &b""[..]), ("binary", &[0, 159, 255, 10, 7]), ("text", b"no trace\n")] {
        let path = written(folder.path(), name, content);
        let said = refused(&["import", "strace", path.to_str().expect("text")]);
        assert!(said.contains("error: no system call was found"), "{name}: {said}");
    }
    let said = refused(&["import", "strace", folder.path().to_str().expect("text")]);
    assert!(said.contains("is a directory: name the files in it"), "{said}");
    assert!(refused(&["import", "strace", "/nowhere"]).contains("can't read /nowhere"));
}

#[test]
fn audit_records_are_grouped_by_program_and_architecture() {
    let output = seccomp(&["import", "audit", "audit.log"]);
    assert_eq!(
        String::from_utf8(output.stdout).expect("text"),
        "PROGRAM              ARCH    ACTION   COUNT   CALL\n\
         /opt/my app          amd64   LOG      2       getppid\n\
         /opt/my app          amd64   ERRNO    1       getpid\n\
         /usr/local/bin/app   x86     ERRNO    1       getpid\n\
         /usr/local/bin/app   amd64   LOG      2       getppid\n\
         /usr/local/bin/app   amd64   ERRNO    1       getpid\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "note: 7 records of seccomp among 8 lines\n");
    let json = seccomp(&["import", "audit", "-o", "json", "audit.log"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["records"], 7);
    assert_eq!(json["otherLines"], 1);
    assert_eq!(json["programs"][0]["program"], "/opt/my app");
    let (profile, _) = profile(&["import", "audit", "-o", "profile", "audit.log"]);
    assert_eq!(profile.architectures, [Arch::X86, Arch::X86_64]);
    assert_eq!(json["programs"][0]["runtime"], false);
    let said = refused(&["import", "audit", "-o", "profile", "app.strace"]);
    assert!(said.contains("no record of seccomp was found among"), "{said}");
}

#[test]
fn the_hooks_output_is_completed() {
    let (profile, said) = profile(&["import", "hook", "--arch", "arm64", "hook.json"]);
    assert_eq!(profile.architectures, [Arch::Aarch64]);
    assert_eq!(profile.default_errno_ret, Some(38));
    assert!(profile.syscalls[0].names.iter().any(|name| name == "restart_syscall"));
    assert!(said.contains("made from oci-seccomp-bpf-hook (hook.json): 15 calls"), "{said}");
    let said = refused(&["import", "hook", "audit.log"]);
    assert!(said.contains("error: audit.log: ") && said.contains("not JSON"), "{said}");
}

#[test]
fn a_log_without_any_record_is_no_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let log =
        written(folder.path(), "empty.log", "type=SYSCALL msg=audit(1.2:3): arch=c000003e syscall=59\n");
    let log = log.to_str().expect("text");
    for form in ["table", "json", "profile"] {
        let said = refused(&["import", "audit", "-o", form, log]);
        assert!(said.contains("no record of seccomp was found among 1 line"), "{said}");
    }
    let output = seccomp(&["import", "audit", "--allow-empty", log]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_packed_log_is_unpacked() {
    let folder = tempfile::tempdir().expect("a folder");
    let log =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/audit.log")).expect("a log");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &log).expect("it is packed");
    let path = written(folder.path(), "audit.log.1.gz", packed.finish().expect("it is packed"));
    let output = seccomp(&["import", "audit", path.to_str().expect("text")]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "note: 7 records of seccomp among 8 lines\n");
}

#[test]
fn what_a_log_has_besides_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let fields = "auid=1 uid=0 gid=0 ses=1 pid=7 comm=\"runc:[2:INIT]\" exe=\"/\" sig=0 arch=c000003e syscall=110 compat=0 ip=0x7f \
                  code=0x50000";
    let text =
        format!("web audit[7]: SECCOMP {fields}\nweb kernel: audit: type=1326 audit(1.2:3): {fields}\n");
    let log = written(folder.path(), "journal", text);
    let said =
        String::from_utf8(seccomp(&["import", "audit", log.to_str().expect("text")]).stderr).expect("text");
    assert!(said.contains("1 record passed over: the journal has these events twice"), "{said}");
    assert!(said.contains("runc:[...] is the container runtime itself"), "{said}");
}

#[test]
fn a_trace_that_a_filter_ended_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        "brk(NULL) = 0\n--- SIGSYS {si_signo=SIGSYS, si_code=SYS_SECCOMP, si_syscall=__NR_mincore} ---\n";
    let trace = written(folder.path(), "refused", text);
    let (profile, said) =
        profile(&["import", "strace", "--traced-on", "amd64", trace.to_str().expect("text")]);
    assert!(profile.syscalls[0].names.iter().any(|name| name == "mincore"));
    assert!(said.contains("line 2: a filter refused a call (SIGSYS), so the trace ends early"), "{said}");
}
