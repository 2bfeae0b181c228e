//! For each code a document that has the trap.

use crate::{Arch, lint::Code, syscalls};

/// Calls that the checks of `startup` ask for, so that a case shows one finding alone.
const STARTUP: &str = r#"{"names":["capget","capset","chdir","close","close_range","epoll_ctl","epoll_pwait","execve",
    "exit","exit_group","faccessat2","fchown","fcntl","fstat","fstatfs","futex","getcwd","getdents64","getppid","mmap",
    "nanosleep","newfstatat","openat2","prctl","read","restart_syscall","rt_sigreturn","setgid","setgroups","setuid",
    "statx","tgkill","write"],"action":"SCMP_ACT_ALLOW"}"#;

/// A default-deny profile with some rules besides those that a container needs to start.
pub(super) fn denying(rules: &str) -> String {
    let comma = if rules.is_empty() { "" } else { "," };
    format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
            "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
            "syscalls":[{STARTUP}{comma}{rules}]}}"#
    )
}

/// The same with `openat` allowed.
pub(super) fn denying_but_openat(rules: &str) -> String {
    let comma = if rules.is_empty() { "" } else { "," };
    denying(&format!(r#"{{"names":["openat"],"action":"SCMP_ACT_ALLOW"}}{comma}{rules}"#))
}

/// A default-allow profile with some rules.
pub(super) fn allowing(rules: &str) -> String {
    format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
            "syscalls":[{rules}]}}"#
    )
}

pub(super) fn rule(name: &str, action: &str, args: &str) -> String {
    format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_{action}","args":[{args}]}}"#)
}

pub(super) fn arg(index: u8, op: &str, value: u64, value_two: u64) -> String {
    format!(r#"{{"index":{index},"op":"SCMP_CMP_{op}","value":{value},"valueTwo":{value_two}}}"#)
}

/// A document, and the place where a code must be found in it.
pub(super) struct Case {
    pub(super) code: Code,
    /// Who says so; must be in the code's own source.
    pub(super) source: &'static str,
    pub(super) document: String,
    pub(super) path: &'static str,
    /// What the message must say.
    pub(super) says: &'static str,
}

fn case(code: Code, source: &'static str, document: String, path: &'static str, says: &'static str) -> Case {
    Case { code, source, document, path, says }
}

fn conditions() -> Vec<Case> {
    let openat = |args: &str| denying(&rule("openat", "ALLOW", args));
    let (eq, ne, masked) = ("EQ", "NE", "MASKED_EQ");
    vec![
        case(
            Code::RepeatedArgument,
            "hasMultipleArgs",
            openat(&[arg(1, "GE", 1, 0), arg(1, "LE", 5, 0)].join(",")),
            "syscalls[1].args",
            "2 conditions are on argument 1",
        ),
        case(
            Code::RepeatedNotEqual,
            "hasMultipleArgs",
            openat(&[arg(1, ne, 1, 0), arg(1, ne, 2, 0)].join(",")),
            "syscalls[1].args",
            "2 conditions are on argument 1",
        ),
        case(
            Code::MaskedBitsDropped,
            "SCMP_CMP_MASKED_EQ",
            openat(&arg(2, masked, 0, 2)),
            "syscalls[1].args[0]",
            "lacks bits 0x2 of valueTwo 2, so every argument matches",
        ),
        case(
            Code::NeverMatches,
            "unsigned",
            openat(&arg(1, "LT", 0, 0)),
            "syscalls[1].args[0]",
            "less than 0",
        ),
        case(
            Code::NeverMatches,
            "unsigned",
            allowing(&rule("openat", "ERRNO", &arg(1, "GT", u64::MAX, 0))),
            "syscalls[0].args[0]",
            "greater than 18446744073709551615",
        ),
        case(
            Code::AlwaysMatches,
            "unsigned",
            openat(&arg(1, masked, 0, 0)),
            "syscalls[1].args[0]",
            "always holds",
        ),
        case(
            Code::AlwaysMatches,
            "unsigned",
            openat(&arg(1, "GE", 0, 0)),
            "syscalls[1].args[0]",
            "at least 0",
        ),
        case(
            Code::ValueTwoIgnored,
            "runtime-spec",
            openat(&arg(1, eq, 1, 2)),
            "syscalls[1].args[0].valueTwo",
            "valueTwo 2 isn't read with SCMP_CMP_EQ",
        ),
        case(
            Code::ValueTooWide,
            "syscalls.h",
            openat(&arg(0, eq, u64::MAX, 0)),
            "syscalls[1].args[0]",
            "argument 0 of openat has 32 bits",
        ),
        case(
            Code::UpperBitsEscape,
            "CVE-2019-10063",
            allowing(&rule("ioctl", "ERRNO", &arg(1, eq, 0x5412, 0))),
            "syscalls[0].args[0]",
            "argument 1 of ioctl has 32 bits",
        ),
        case(
            Code::UpperBitsEscape,
            "CVE-2019-10063",
            denying(&rule("socket", "ALLOW", &arg(0, ne, 40, 0))),
            "syscalls[1].args[0]",
            "argument 0 of socket has 32 bits",
        ),
        case(
            Code::MergedComparisons,
            "GHSA-4q85-33p6-j5g6",
            denying(
                &[rule("mmap2", "ALLOW", &arg(2, "LE", 3, 0)), rule("mmap2", "ALLOW", &arg(2, "GE", 9, 0))]
                    .join(","),
            ),
            "syscalls[1]",
            "2 rules have conditions on mmap2",
        ),
        case(
            Code::WrongMerge,
            "_db_tree_add",
            denying(
                &[
                    rule("ioctl", "ALLOW", &[arg(0, ne, 3, 0), arg(1, ne, 8, 0)].join(",")),
                    rule("ioctl", "ALLOW", &[arg(0, ne, 3, 0), arg(2, ne, 1, 0)].join(",")),
                ]
                .join(","),
            ),
            "syscalls[1]",
            "ioctl in syscalls[1], syscalls[2]",
        ),
        case(
            Code::Overlap,
            "EEXIST",
            denying(
                &[rule("ioctl", "ALLOW", &arg(1, "LT", 5, 0)), rule("ioctl", "LOG", &arg(1, eq, 4, 0))]
                    .join(","),
            ),
            "syscalls[1]",
            "different actions for ioctl with arg1 == 4",
        ),
    ]
}

fn calls() -> Vec<Case> {
    vec![
        case(
            Code::UnknownCall,
            "unknown seccomp syscall ignored",
            allowing(r#"{"names":["mount","ptrce"],"action":"SCMP_ACT_ERRNO"}"#),
            "syscalls[0].names[1]",
            "did you mean ptrace?",
        ),
        case(
            Code::CallElsewhere,
            "pseudo system call numbers",
            denying_but_openat(&rule("set_tls", "ALLOW", "")),
            "syscalls[2].names",
            "only other architectures have set_tls",
        ),
        case(
            Code::ShadowedRule,
            "db_rule_add",
            denying(&[rule("openat", "LOG", &arg(2, "EQ", 1, 0)), rule("openat", "ALLOW", "")].join(",")),
            "syscalls[1]",
            "syscalls[2] has no conditions and decides about openat",
        ),
        case(
            Code::DeadCondition,
            "db_rule_add",
            denying(&[rule("openat", "ALLOW", &arg(2, "EQ", 1, 0)), rule("openat", "ALLOW", "")].join(",")),
            "syscalls[1].args",
            "the conditions of syscalls[1] do nothing: syscalls[2] has the same action for openat",
        ),
        case(
            Code::SameAsDefault,
            "This rule is redundant",
            denying_but_openat(r#"{"names":["bpf"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#),
            "syscalls[2]",
            "is the default action",
        ),
        case(
            Code::CarrierEscape,
            "socketcall(2)",
            denying_but_openat(&rule("socketcall", "ALLOW", "")),
            "syscalls[2]",
            "socketcall is let through, and accept,",
        ),
        case(
            Code::Clone3Escape,
            "42681",
            denying(
                &[rule("clone", "ALLOW", &arg(0, "MASKED_EQ", 0x7e02_0000, 0)), rule("clone3", "ALLOW", "")]
                    .join(","),
            ),
            "syscalls[2]",
            "clone3 is let through",
        ),
        case(
            Code::SiblingPasses,
            "FAMILIES",
            allowing(r#"{"names":["rename","renameat"],"action":"SCMP_ACT_ERRNO"}"#),
            "syscalls[0]",
            "rename, renameat are denied, and renameat2 is let through on SCMP_ARCH_X86, SCMP_ARCH_X86_64, SCMP_ARCH_X32",
        ),
        case(
            Code::ReplacementDenied,
            "unistd.h",
            denying_but_openat(&rule("dup2", "ALLOW", "")).replace("SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"),
            "syscalls[2]",
            "programs on SCMP_ARCH_AARCH64 make dup3 in place of dup2",
        ),
        case(
            Code::NumberNotLoaded,
            "_gen_bpf_syscalls",
            allowing(
                &[rule("semtimedop_time64", "ERRNO", ""), rule("ptrace", "ERRNO", &arg(0, "EQ", 16, 0))]
                    .join(","),
            ),
            "syscalls[1]",
            "whatever syscalls[1] says: semtimedop_time64, a call that is not there, comes first",
        ),
        case(Code::TooHard, "BPF_MAXINSNS", denying(&many_rules()), "syscalls", "more than 4096 rules"),
    ]
}

/// Each call in each of many rules, none of them twice.
fn many_rules() -> String {
    let names: Vec<String> = syscalls::calls(Arch::X86_64)
        .into_iter()
        .flatten()
        .take(300)
        .map(|(name, _)| format!("{name:?}"))
        .collect();
    let rule = |value: u64| {
        let args = arg(0, "EQ", value, 0);
        format!(r#"{{"names":[{}],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#, names.join(","))
    };
    (0..15).map(rule).collect::<Vec<_>>().join(",")
}

fn actions() -> Vec<Case> {
    let listener = r#""listenerPath":"/run/l.sock","#;
    vec![
        case(Code::DeniesNothing, "seccomp(2)", allowing(""), "defaultAction", "no rule denies"),
        case(
            Code::NotifyByDefault,
            "InitSeccomp",
            format!(r#"{{{listener}"defaultAction":"SCMP_ACT_NOTIFY"}}"#),
            "defaultAction",
            "single calls",
        ),
        case(
            Code::NotifyOnWrite,
            "InitSeccomp",
            format!(
                r#"{{{listener}"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#,
                rule("write", "NOTIFY", "")
            ),
            "syscalls[0].names[0]",
            "needs write",
        ),
        case(
            Code::NotifyWithoutListener,
            "procSeccomp",
            allowing(&rule("mount", "NOTIFY", "")),
            "listenerPath",
            "missing",
        ),
        case(
            Code::ListenerWithoutNotify,
            "listenerPath",
            format!(r#"{{{listener}"defaultAction":"SCMP_ACT_ALLOW"}}"#),
            "listenerPath",
            "no rule has the action",
        ),
        case(
            Code::ErrnoOnOtherAction,
            "seccomp_action_supports_errno",
            denying(r#"{"names":["openat"],"action":"SCMP_ACT_ALLOW","errnoRet":1}"#),
            "syscalls[1].errnoRet",
            "SCMP_ACT_ALLOW returns no errno",
        ),
        case(
            Code::ErrnoTooLarge,
            "MAX_ERRNO",
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#.into(),
            "defaultErrnoRet",
            "4096 is over 4095",
        ),
        case(
            Code::ErrnoZero,
            "SECCOMP_RET_ERRNO",
            allowing(r#"{"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":0}"#),
            "syscalls[0].errnoRet",
            "success",
        ),
        case(
            Code::NoDefaultErrno,
            "issue 2151",
            r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.into(),
            "defaultErrnoRet",
            "is missing",
        ),
    ]
}

fn platform() -> Vec<Case> {
    let architectures =
        |list: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":[{list}]}}"#);
    vec![
        case(
            Code::NoArchitectures,
            "SCMP_FLTATR_ACT_BADARCH",
            architectures(""),
            "architectures",
            "is empty",
        ),
        case(
            Code::NodeArchitectureMissing,
            "seccomp_init(3)",
            architectures(r#""SCMP_ARCH_AARCH64""#),
            "architectures",
            "SCMP_ARCH_X86_64 of some nodes",
        ),
        case(
            Code::CompanionMissing,
            "SCMP_FLTATR_ACT_BADARCH",
            architectures(r#""SCMP_ARCH_X86_64""#),
            "architectures",
            "SCMP_ARCH_X86 and SCMP_ARCH_X32 aren't listed",
        ),
        case(
            Code::FlagNeedsRunc,
            "setFlag",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#.into(),
            "flags[0]",
            "needs runc 1.2",
        ),
        case(
            Code::MixedByteOrder,
            "db_col_db_add",
            architectures(r#""SCMP_ARCH_X86_64","SCMP_ARCH_S390X""#),
            "architectures",
            "SCMP_ARCH_S390X is big-endian",
        ),
        case(
            Code::NoTable,
            "seccomp_arch_add(3)",
            architectures(r#""SCMP_ARCH_M68K""#),
            "architectures[0]",
            "no table of SCMP_ARCH_M68K",
        ),
    ]
}

fn startup_and_limits() -> Vec<Case> {
    let many: Vec<String> = (0..800).map(|value| rule("ioctl", "ALLOW", &arg(2, "EQ", value, 0))).collect();
    let around = super::compact(&allowing(r#"{"names":[""],"action":"SCMP_ACT_ERRNO"}"#)).len();
    let fill = "x".repeat(crate::MAX_REVISION_BYTES - around);
    vec![
        case(
            Code::AlwaysNeeded,
            "restart_syscall(2)",
            allowing(&rule("rt_sigreturn", "ERRNO", "")),
            "syscalls",
            "rt_sigreturn is denied",
        ),
        case(
            Code::NothingStarts,
            "INDISPENSABLE",
            allowing(r#"{"names":["write","exit","exit_group"],"action":"SCMP_ACT_TRAP"}"#),
            "syscalls[0]",
            "write, exit_group are denied",
        ),
        case(Code::RuntimeCalls, "standard_init_linux.go", denying(""), "syscalls", "openat is denied"),
        case(
            Code::EscalationCalls,
            "standard_init_linux.go",
            allowing(&rule("setuid", "ERRNO", "")),
            "syscalls",
            "setuid is denied",
        ),
        case(
            Code::KillsRuntime,
            "SECCOMP_RET_KILL_PROCESS",
            r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#.into(),
            "syscalls",
            "execve",
        ),
        case(
            Code::KeepsPrivileges,
            "privileges.tsv",
            allowing(
                r#"{"names":["prctl"],"action":"SCMP_ACT_ERRNO","errnoRet":22,
                    "args":[{"index":0,"value":24,"op":"SCMP_CMP_EQ"}]}"#,
            ),
            "syscalls[0]",
            "PR_CAPBSET_DROP",
        ),
        case(Code::ProgramTooLong, "BPF_MAXINSNS", denying(&many.join(",")), "syscalls", "over 4096"),
        case(
            Code::DocumentTooLong,
            "TotalAnnotationSizeLimitB",
            allowing(&format!(r#"{{"names":["{fill}"],"action":"SCMP_ACT_ERRNO"}}"#)),
            "",
            "over 262144",
        ),
        case(
            Code::NoArtifact,
            "KEP-6061",
            denying(&many[..129].join(",")),
            "syscalls",
            "ioctl has 129 entries",
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [conditions(), calls(), actions(), platform(), startup_and_limits()].into_iter().flatten().collect()
}
