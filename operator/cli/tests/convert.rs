//! `convert`, there and back.

mod binary;

use binary::{Files, Ran, seccomp, seccomp_with};

const OCI: &str = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 38,
  "architectures": ["SCMP_ARCH_X86_64"],
  "syscalls": [
    {"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
    {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"valueTwo":9223372036854775808,"op":"SCMP_CMP_MASKED_EQ"}]}
  ]
}
"#;

const DOCKER: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
  "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
              {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
  "syscalls": [
  {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null},
  {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
  {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
  {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.11"}}]}"#;

const SPO: &str = "\
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata: {name: old, labels: {team: a}}
spec: {baseProfileName: runc-v1.3, defaultAction: SCMP_ACT_ERRNO, syscalls: [{names: [read], action: SCMP_ACT_ALLOW}]}
";

fn convert(name: &str, content: &str, arguments: &[&str]) -> Ran {
    seccomp(&Files::new(&[(name, content)]), &[&["convert", name], arguments].concat())
}

#[test]
fn what_a_custom_resource_can_not_hold_is_a_profile_all_the_same() {
    let made_up = (0..20_000).map(|number| format!("\"no_such_call_{number:05}\""));
    let names: Vec<String> =
        ["\"execve\"", "\"write\""].map(str::to_owned).into_iter().chain(made_up).collect();
    let large = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":[{}],"action":"SCMP_ACT_ALLOW"}}]}}"#,
        names.join(",")
    );
    assert_eq!(convert("large.json", &large, &["--to", "oci"]).code, 0);
    let refused = convert("large.json", &large, &["--to", "cr", "--name", "large"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.errors.contains("a custom resource holds at most 262144 (256 KiB)"),
        "{}",
        refused.errors
    );
    let linted = seccomp(&Files::new(&[("large.json", &large)]), &["lint", "large.json"]);
    assert_eq!(linted.code, 0, "{}", linted.out);
    assert!(linted.out.contains("SP051 Warning"), "{}", linted.out);
}

#[test]
fn a_custom_resource_and_back_is_the_same_bytes() {
    let manifest = convert("web.json", OCI, &["--to", "cr", "--name", "web", "--namespace", "shop"]);
    assert_eq!((manifest.code, manifest.errors.as_str()), (0, ""));
    let expected = "\
# From web.json.
apiVersion: portcullis.dev/v1alpha1
kind: SeccompProfile
metadata:
  name: web
  namespace: shop
spec:
  mode: Enforce
  profile:
    defaultAction: SCMP_ACT_ERRNO
    defaultErrnoRet: 38
    architectures: [SCMP_ARCH_X86_64]
    syscalls:
    - action: SCMP_ACT_ALLOW
      names:
      - read
      - write
    - action: SCMP_ACT_ALLOW
      args:
      - {index: 0, value: \"18446744073709551615\", valueTwo: \"9223372036854775808\", op: SCMP_CMP_MASKED_EQ}
      names:
      - personality
";
    assert_eq!(manifest.out, expected);
    let back = seccomp_with(&Files::new(&[]), &["convert", "-"], &manifest.out);
    assert_eq!((back.code, back.out.as_str()), (0, OCI));
}

#[test]
fn the_canonical_form_does_not_depend_on_how_it_was_written() {
    let shuffled = OCI.replace("\"read\",\"write\"", "\"write\",\"read\",\"read\"").replace('\n', " ");
    assert_eq!(convert("a.json", &shuffled, &[]).out, OCI);
}

#[test]
fn docker_format_is_resolved_as_stated() {
    let names = |arguments: &[&str]| {
        let ran = convert("docker.json", DOCKER, &[&["--arch", "amd64"], arguments].concat());
        assert_eq!(ran.code, 0, "{}", ran.errors);
        ["read", "chroot", "bpf", "ptrace"].map(|name| ran.out.contains(&format!("\"{name}\"")))
    };
    assert_eq!(names(&[]), [true, true, false, false]);
    assert_eq!(names(&["--cap", "bpf"]), [true, true, true, false]);
    assert_eq!(names(&["--cap-drop", "CAP_SYS_CHROOT", "--kernel", "5.11"]), [true, false, false, true]);
    assert_eq!(names(&["--cap-drop", "all", "--cap", "CAP_BPF"]), [true, false, true, false]);
    let arm = convert("docker.json", DOCKER, &["--arch", "arm64", "--cap", "bpf"]);
    assert!(arm.out.contains(r#"["SCMP_ARCH_ARM","SCMP_ARCH_AARCH64"]"#), "{}", arm.out);
    assert!(arm.out.contains("\"defaultErrnoRet\": 38"), "{}", arm.out);
    assert_eq!(
        arm.errors,
        "note: docker.json: Docker's format, read for the 14 default capabilities and CAP_BPF, on arm64, Linux 5.10; 1 rule doesn't \
         apply there\n"
    );
    assert_eq!(convert("docker.json", DOCKER, &["--kernel", "6"]).code, 2);
    assert_eq!(convert("docker.json", DOCKER, &["--cap", "CAP_ROOT"]).code, 2);
}

#[test]
fn what_a_foreign_resource_says_besides_is_never_dropped_in_silence() {
    let ran = convert("old.yaml", SPO, &["--to", "cr"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.errors.contains("spec.baseProfileName: it is only whole with runc-v1.3"), "{}", ran.errors);
    let ran = convert("old.yaml", SPO, &["--to", "cr", "--cluster", "--base", "runc"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("kind: ClusterSeccompProfile\nmetadata:\n  name: old\nspec:"), "{}", ran.out);
    assert!(ran.out.contains("  bases:\n  - kind: ClusterSeccompProfile\n    name: runc\n"), "{}", ran.out);
    assert!(ran.errors.contains("note: old.yaml: not carried over: metadata.labels"), "{}", ran.errors);
    assert_eq!(convert("old.yaml", SPO, &[]).code, 2);
    let ran = convert("old.yaml", SPO, &["--without-bases"]);
    assert!(ran.out.contains("\"defaultAction\": \"SCMP_ACT_ERRNO\""), "{}", ran.out);
}

#[test]
fn resources_keep_their_names_modes_and_bases() {
    let own = "apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nmetadata: {name: web, namespace: shop}\nspec: {mode: Audit, \
               bases: [{kind: ClusterSeccompProfile, name: base}], profile: {defaultAction: SCMP_ACT_ERRNO}}\n";
    let both = format!("{own}---\n{SPO}");
    let ran = convert("both.yaml", &both, &["--to", "cr", "--without-bases"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    assert_eq!(ran.out.matches("\n---\n").count(), 1, "{}", ran.out);
    let ran = convert("own.yaml", own, &["--to", "cr"]);
    for kept in ["  name: web\n  namespace: shop\n", "  mode: Audit\n", "    name: base\n"] {
        assert!(ran.out.contains(kept), "{kept:?} in {}", ran.out);
    }
    let ran = convert("own.yaml", own, &["--without-bases"]);
    assert!(ran.errors.contains("its mode is Audit, which an OCI document can't say"), "{}", ran.errors);
    assert_eq!(convert("both.yaml", &both, &["--without-bases"]).code, 2);
    assert_eq!(convert("both.yaml", &both, &["--to", "cr", "--name", "x"]).code, 2);
}

#[test]
fn names_that_the_api_server_refuses_are_refused() {
    for (arguments, said) in [
        (&["--to", "cr"][..], "a custom resource needs a name: write --name"),
        (&["--to", "cr", "--name", "Web"], "metadata.name \"Web\" can't be a file's name"),
        (&["--to", "cr", "--name", "web", "--namespace", "a.b"], "namespace \"a.b\" is not a DNS label"),
        (&["--name", "web"], "--name is for custom resources: add --to cr"),
        (&["--to", "cr", "--cluster", "--namespace", "x", "--name", "web"], "cannot be used with"),
    ] {
        let ran = convert("web.json", OCI, arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.errors.contains(said), "{}", ran.errors);
    }
}
