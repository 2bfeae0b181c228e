use serde_json::json;

use super::*;
use crate::{Action, Arch};

fn context(arch: Arch, kernel: &str, added: &[&str]) -> Context {
    let mut context = Context::default_capabilities(arch, kernel.parse().expect("a version"));
    context.capabilities.extend(added.iter().map(ToString::to_string));
    context
}

fn usual() -> Context {
    context(Arch::X86_64, "6.1", &[])
}

fn names(document: &Value, context: &Context) -> Vec<String> {
    let resolved = resolve(document, context).expect("it resolves");
    resolved.profile.syscalls.into_iter().flat_map(|rule| rule.names).collect()
}

fn problems(document: &Value) -> Vec<String> {
    let errors = resolve(document, &usual()).expect_err("it has problems");
    errors.errors().iter().map(ToString::to_string).collect()
}

/// Rules as moby's and containers/common's default profiles have them.
fn document() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "defaultErrno": "ENOSYS",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": [
            {"name": "read", "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}, "excludes": {}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"]},
             "args": [{"index": 0, "value": 2_114_060_288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errno": "EINVAL", "errnoRet": 22, "args": [
                {"index": 0, "value": 18_446_744_073_709_551_615_u64, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]},
        ],
    })
}

#[test]
fn rules_apply_by_capability_architecture_and_kernel() {
    assert!(is_docker(&document()));
    assert_eq!(names(&document(), &usual()), ["read", "ptrace", "arch_prctl", "clone", "socket"]);
    assert_eq!(
        names(&document(), &context(Arch::X86_64, "4.7", &[])),
        ["read", "arch_prctl", "clone", "socket"]
    );
    assert_eq!(
        names(&document(), &context(Arch::Aarch64, "4.8", &[])),
        ["read", "ptrace", "clone", "socket"]
    );
    // Every include must hold, and one exclude is enough.
    let one = context(Arch::X86_64, "6.1", &["CAP_BPF"]);
    assert_eq!(names(&document(), &one), ["read", "ptrace", "arch_prctl", "clone", "socket"]);
    let both = context(Arch::X86_64, "6.1", &["CAP_BPF", "CAP_SYS_ADMIN"]);
    assert_eq!(names(&document(), &both), ["read", "ptrace", "bpf", "arch_prctl", "socket"]);
    assert_eq!(names(&document(), &context(Arch::S390, "6.1", &[])), ["read", "ptrace", "socket"]);
}

#[test]
fn what_is_left_out_is_said_with_its_condition() {
    let resolved = resolve(&document(), &usual()).expect("it resolves");
    assert_eq!(resolved.origins, [0, 1, 3, 4, 5]);
    let [left_out] = &resolved.left_out[..] else { panic!("{:?}", resolved.left_out) };
    assert_eq!((left_out.rule, left_out.because.as_str()), (2, "includes.caps: CAP_BPF is not held"));
}

#[test]
fn fields_become_those_of_oci() {
    let profile = resolve(&document(), &usual()).expect("it resolves").profile;
    assert_eq!((profile.default_action, profile.default_errno_ret), (Action::Errno, Some(38)));
    assert_eq!(profile.architectures, [Arch::X86_64, Arch::X86, Arch::X32]);
    assert_eq!(profile.syscalls[4].errno_ret, Some(22));
    assert_eq!(profile.syscalls[4].args[0].value, u64::MAX);
    // libseccomp filters the native architecture alone where the map lacks it.
    let profile = resolve(&document(), &context(Arch::Riscv64, "6.1", &[])).expect("it resolves").profile;
    assert_eq!(profile.architectures, []);
}

#[test]
fn an_oci_document_comes_out_as_it_is() {
    let oci = json!({"defaultAction": "SCMP_ACT_KILL", "architectures": ["SCMP_ARCH_ARM"], "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]});
    assert!(!is_docker(&oci));
    let resolved = resolve(&oci, &usual()).expect("it resolves");
    assert_eq!(resolved.profile, Profile::from_value(&oci, crate::Dialect::Oci).expect("a profile"));
}

#[test]
fn every_problem_has_its_path_in_the_document() {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrno": "ENOSUCH",
        "architectures": ["SCMP_ARCH_ARM"],
        "archMap": [{"architecture": "amd64", "subArchitectures": "SCMP_ARCH_ARM", "sub": 1}],
        "syscalls": [
            {"name": "read", "names": ["write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["SYS_ADMIN"], "arches": ["x86_64"], "minKernel": 4.8}},
            {"name": 7, "action": "SCMP_ACT_ERRNO", "errno": "EPERM", "errnoRet": 2, "excludes": {"kernel": "5.1"}},
        ],
    });
    let problems = problems(&document);
    let paths: Vec<_> = problems.iter().filter_map(|problem| problem.split(": ").next()).collect();
    assert_eq!(
        paths,
        [
            "archMap",
            "archMap[0].sub",
            "archMap[0].architecture",
            "archMap[0].subArchitectures",
            "defaultErrno",
            "syscalls[0].name",
            "syscalls[1].includes.caps[0]",
            "syscalls[1].includes.arches[0]",
            "syscalls[1].includes.minKernel",
            "syscalls[2].excludes.kernel",
            "syscalls[2].errno",
            "syscalls[2].name",
        ]
    );
    assert!(problems[6].contains("did you mean CAP_SYS_ADMIN?"), "{}", problems[6]);
    assert!(problems[10].contains("is 1, and errnoRet 2"), "{}", problems[10]);
}

/// A rule that doesn't apply here may apply elsewhere.
#[test]
fn rules_that_do_not_apply_are_checked_too() {
    let document = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["bpf"], "action": "SCMP_ACT_ALOW", "includes": {"caps": ["CAP_BPF"]}}]});
    assert!(problems(&document)[0].starts_with("syscalls[0].action: "));
}

#[test]
fn bytes_are_read_in_either_format_and_as_strictly() {
    let parsed = parse(document().to_string().as_bytes(), &usual()).expect("it is one");
    assert_eq!(parsed, Parsed::Docker(resolve(&document(), &usual()).expect("it resolves")));
    let oci = br#"{"defaultAction": "SCMP_ACT_ERRNO"}"#;
    assert!(matches!(parse(oci, &usual()), Ok(Parsed::Oci(_))));
    for twice in [
        &b"{\"defaultAction\": \"SCMP_ACT_LOG\", \"defaultAction\": \"SCMP_ACT_LOG\"}"[..],
        &b"{\"archMap\": [], \"archMap\": []}"[..],
    ] {
        assert!(parse(twice, &usual()).expect_err("twice").to_string().contains("stands twice"));
    }
}

#[test]
fn the_release_of_a_kernel_is_its_version() {
    for (release, version) in [
        ("6.1.0-44-amd64", "6.1"),
        ("5.10", "5.10"),
        ("6.12-rc3", "6.12"),
        ("4.18.0-553.el8.x86_64", "4.18"),
        ("6.6.87+", "6.6"),
    ] {
        assert_eq!(Kernel::of_release(release), Ok(version.parse().expect("a version")), "{release}");
    }
    for wrong in ["", "6", "6.", "v6.1", "6.x", "amd64", "6.300", "6.ä"] {
        let said = Kernel::of_release(wrong).expect_err(wrong).to_string();
        assert!(said.starts_with(&format!("{wrong:?} is no kernel version")), "{said}");
    }
}

#[test]
fn kernel_versions_are_two_numbers() {
    assert!("4.8".parse::<Kernel>().expect("a version") < "4.18".parse().expect("a version"));
    for wrong in ["", "4", "4.8.1", "4.x", "+4.8", "4.256", "4."] {
        assert!(wrong.parse::<Kernel>().is_err(), "{wrong:?}");
    }
}

/// Docker's own word for a node of i386 is Go's, and Podman's is libseccomp's: neither is a mistake.
#[test]
fn an_architecture_goes_by_gos_name_and_by_libseccomps() {
    for (name, arch) in
        [("386", Arch::X86), ("x86", Arch::X86), ("mipsle", Arch::Mipsel), ("mipsel", Arch::Mipsel)]
    {
        assert_eq!(arch_of(name), Some(arch), "{name}");
    }
    assert_eq!(arch_name(Arch::X86), "x86");
}
