//! `explain`, as a reviewer sees it.

mod binary;

use binary::{Files, seccomp};
use serde_json::Value;

const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
  "syscalls": [
    {"names": ["read", "write", "bpf", "mount"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
    {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 268435456, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;

fn explain(arguments: &[&str]) -> String {
    let files = Files::new(&[("web.json", PROFILE)]);
    let ran = seccomp(&files, &[&["explain", "--arch", "amd64", "web.json"], arguments].concat());
    assert_eq!((ran.code, ran.errors.as_str()), (0, ""));
    ran.out
}

#[test]
fn one_screen_says_what_matters() {
    let out = explain(&[]);
    let has = |line: &str| assert!(out.lines().any(|one| one.starts_with(line)), "{line:?} in\n{out}");
    has("web.json on SCMP_ARCH_X86_64");
    has("by default a call       fails with ENOSYS");
    has("system calls            4 allowed, 2 by their arguments, ");
    has("  allows beyond it      3 calls: bpf, mount, clone?");
    has("BPF                     +bpf");
    has("mounts                  +mount");
    has("                        A mount can bring the host's files into the container");
    has("nothing of              kernel modules, reboot and kexec, tracing, ");
    has("clone                   is allowed if flags without CLONE_NEWUSER; else fails with ENOSYS");
    has("socket                  is allowed if domain is AF_UNIX; else fails with ENOSYS");
    assert!(out.lines().count() <= 40, "{out}");
}

#[test]
fn json_lists_everything() {
    let documents: Value = serde_json::from_str(&explain(&["-o", "json"])).expect("JSON");
    let document = &documents[0];
    assert_eq!(document["default"], "fails with ENOSYS");
    assert_eq!(document["calls"]["allowed"], 4);
    let beyond = document["runtimeDefault"]["beyond"].as_array().expect("a list");
    assert_eq!(beyond[0]["call"], "bpf");
    assert!(document["runtimeDefault"]["less"].as_array().is_some_and(|less| less.len() > 200));
    assert_eq!(document["arguments"][1]["call"], "socket");
}

#[test]
fn markdown_is_a_table() {
    let out = explain(&["-o", "markdown"]);
    assert!(out.starts_with("### Seccomp profile `web.json`\n"), "{out}");
    assert!(out.contains("| BPF | **`bpf`** | "), "{out}");
    assert!(
        out.contains("| `clone` | is allowed if flags without CLONE_NEWUSER; else fails with ENOSYS |"),
        "{out}"
    );
}

#[test]
fn what_can_not_be_explained_is_an_error() {
    let refused = r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#;
    let files = Files::new(&[("refused.json", refused), ("pod.yaml", "apiVersion: v1\nkind: Pod\n")]);
    let ran = seccomp(&files, &["explain", "refused.json"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.contains("refused.json: defaultAction: runc refuses SCMP_ACT_NOTIFY"),
        "{}",
        ran.errors
    );
    let ran = seccomp(&files, &["explain", "pod.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.contains("there is no seccomp profile to read: nothing in it is one or has one"),
        "{}",
        ran.errors
    );
}

#[test]
fn an_architecture_without_a_known_default_says_so() {
    let files = Files::new(&[("web.json", &PROFILE.replace("X86_64", "S390X"))]);
    let ran = seccomp(&files, &["explain", "--arch", "s390x", "web.json"]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.contains("compared with           nothing: no runtime default of this architecture is known"),
        "{}",
        ran.out
    );
}
