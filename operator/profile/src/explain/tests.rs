use super::*;
use crate::runtime_defaults;

fn profile(json: &str) -> Profile {
    Profile::parse(json.as_bytes()).expect("a profile")
}

fn explained(json: &str) -> Explanation {
    explain(&profile(json), Runtime::Runc, Arch::X86_64, &Baseline::strictest()).expect("it is explained")
}

fn group<'a>(explanation: &'a Explanation, name: &str) -> Vec<(&'a str, Reach, bool)> {
    let group = explanation.groups.iter().find(|one| one.group.name == name).expect("a group");
    group.calls.iter().map(|call| (call.name, call.reach, call.beyond)).collect()
}

#[test]
fn the_default_is_not_beyond_itself() {
    for default in runtime_defaults() {
        let explanation = explain(&default.profile, Runtime::Runc, default.arch, &Baseline::strictest())
            .expect("it is explained");
        let against = explanation.against.as_ref().expect("a default");
        assert_eq!((against.beyond.len(), against.less.len()), (0, 0), "{}", default.arch);
        for name in ["kernel modules", "BPF", "kernel keys", "reboot and kexec"] {
            assert_eq!(group(&explanation, name), [], "{name} on {}", default.arch);
        }
        assert!(group(&explanation, "namespaces").contains(&("clone", Reach::Depends, false)));
    }
}

#[test]
fn what_goes_beyond_is_marked_and_counted() {
    let explanation = explained(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
            {"names": ["bpf", "clone", "read", "ptrace"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["umount2"], "action": "SCMP_ACT_LOG"}]}"#,
    );
    assert_eq!(group(&explanation, "BPF"), [("bpf", Reach::Allowed, true)]);
    assert_eq!(group(&explanation, "namespaces"), [("clone", Reach::Allowed, true)]);
    assert_eq!(group(&explanation, "tracing"), [("ptrace", Reach::Allowed, false)]);
    assert_eq!(
        group(&explanation, "mounts"),
        [("mount", Reach::Delegated, true), ("umount2", Reach::Logged, true)]
    );
    let counts = explanation.counts;
    assert_eq!((counts.allowed, counts.delegated, counts.depends), (5, 1, 0));
    assert!(counts.denied > 300, "{counts:?}");
    let beyond: Vec<&str> =
        explanation.against.iter().flat_map(|against| &against.beyond).filter_map(|one| one.name).collect();
    assert!(beyond.contains(&"bpf") && beyond.contains(&"clone") && !beyond.contains(&"read"), "{beyond:?}");
    assert_eq!(explanation.companions, []);
}

#[test]
fn arguments_are_restricted_in_words() {
    let explanation = explained(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
                {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_EQ"}]},
            {"names": ["unshare"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 268435456, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    );
    let words: Vec<(&str, &str)> =
        explanation.restrictions.iter().map(|one| (one.name, one.words.as_str())).collect();
    assert_eq!(
        words,
        [
            (
                "socket",
                "is allowed if domain is AF_UNIX or AF_INET; fails with EINVAL if domain is AF_NETLINK and arg2 == 9; \
                 else fails with ENOSYS"
            ),
            ("unshare", "is allowed if flags without CLONE_NEWUSER; else fails with ENOSYS"),
        ]
    );
}

#[test]
fn outcomes_are_said_plainly() {
    let said = |action, errno| outcome(Outcome::new(action, errno));
    assert_eq!(said(crate::Action::Errno, None), "fails with EPERM");
    assert_eq!(said(crate::Action::Errno, Some(4000)), "fails with errno 4000");
    assert_eq!(said(crate::Action::Errno, Some(0)), "does nothing and reports success");
    assert_eq!(said(crate::Action::Kill, Some(1)), "kills the thread");
}
