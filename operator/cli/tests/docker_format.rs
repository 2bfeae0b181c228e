//! Docker's format, for containers and nodes that the command line names, wherever it is read.

mod binary;

use binary::{Files, Ran, artifact::share, seccomp, seccomp_with};

/// Rules for two capabilities, a kernel and an architecture.
const DOCKER: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
  "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}, {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []}],
  "syscalls": [
    {"names": ["read", "execve"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
    {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
    {"names": ["statx"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.1"}},
    {"names": ["getpid"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}}]}"#;
const CONTAINER: [&str; 8] =
    ["--cap", "BPF", "--cap-drop", "SYS_CHROOT", "--kernel", "6.1.0-44-amd64", "--arch", "arm64"];

fn files() -> Files {
    Files::new(&[("docker.json", DOCKER), ("other.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#)])
}

/// What the container above gets: of the five rules the first and the last three.
fn is_for_it(ran: &Ran, command: &str) {
    let read_for = "Docker's format, read for the default capabilities without CAP_SYS_CHROOT and CAP_BPF, on arm64, Linux 6.1; \
                    1 rule doesn't apply there";
    assert!(ran.errors.contains(read_for), "{command}: {}{}", ran.errors, ran.out);
}

#[test]
fn every_command_that_reads_it_takes_the_same_flags() {
    for command in [
        "convert docker.json",
        "lint docker.json",
        "explain docker.json",
        "diff docker.json other.json",
        "merge docker.json",
        "intersect docker.json other.json",
        "simulate docker.json bpf",
        "push docker.json 127.0.0.1:1/web:1",
        "apply -f docker.json --name web --kubeconfig none",
    ] {
        let words: Vec<&str> = command.split(' ').chain(CONTAINER).collect();
        let ran = seccomp(&files(), &words);
        // No registry and no cluster is there to go on with.
        if command.starts_with("apply") {
            assert!(ran.errors.contains("none"), "{command}: {}", ran.errors);
        } else {
            is_for_it(&ran, command);
        }
        if command.starts_with("simulate") {
            assert_eq!(ran.code, 0, "{}", ran.errors);
        }
    }
}

#[test]
fn every_capability_is_one_word() {
    let ran = seccomp(&files(), &["convert", "docker.json", "--cap", "ALL", "--arch", "amd64"]);
    assert!(ran.errors.contains("read for all 41 capabilities, on amd64, Linux 5.10"), "{}", ran.errors);
    assert!(ran.out.contains("\"bpf\"") && ran.out.contains("\"chroot\""), "{}", ran.out);
    for (flags, said) in [
        (["--cap", "FROBNICATE"], "no capability: write for example CAP_NET_ADMIN, SYS_ADMIN or ALL"),
        (["--kernel", "latest"], "is no kernel version"),
    ] {
        let ran = seccomp(&files(), &[&["merge", "docker.json"][..], &flags].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.errors.contains(said), "{}", ran.errors);
    }
}

#[test]
fn what_a_registry_has_in_it_is_converted_and_can_be_read_again() {
    let registry = share(DOCKER);
    let reference = format!("{}/web:1", registry.host);
    let pull = |more: &[&str]| {
        seccomp(&files(), &[&["pull", &reference, "--plain-http", "--allow-looser"], more].concat())
    };
    let ran = pull(&CONTAINER);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    is_for_it(&ran, "pull");
    assert!(
        ran.errors.contains("it is in Docker's format, and runtimes take an OCI document alone"),
        "{}",
        ran.errors
    );
    let again = seccomp_with(
        &files(),
        &[
            "diff",
            "docker.json",
            "-",
            CONTAINER[0],
            CONTAINER[1],
            "--cap-drop",
            "SYS_CHROOT",
            "--kernel",
            "6.1",
            "--arch",
            "arm64",
        ],
        &ran.out,
    );
    assert_eq!(again.code, 0, "{}{}", again.out, again.errors);
    assert!(pull(&["--verbatim"]).out.contains("\"CAP_BPF\""));
    let seen = seccomp(&files(), &["inspect", &reference, "--plain-http", "--cap", "BPF"]);
    assert_eq!(seen.code, 0, "{}", seen.errors);
}

/// A line of some KiB tells nobody anything.
#[test]
fn what_is_wrong_with_a_shared_document_is_said_in_few_words() {
    let rules: Vec<String> =
        (0..30).map(|_| r#"{"names": ["read"], "action": "SCMP_ACT_ALOW"}"#.to_owned()).collect();
    let registry =
        share(&format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}]}}"#, rules.join(",")));
    let ran = seccomp(&files(), &["pull", &format!("{}/web:1", registry.host), "--plain-http"]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.len() < 1500 && ran.errors.contains("; and 27 more"), "{}", ran.errors);
}
