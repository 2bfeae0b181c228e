mod cases;

use std::collections::BTreeSet;

use super::*;
use crate::{
    Action,
    evaluate::{Evaluator, Runtime},
    runtime_default,
};
use cases::{Case, allowing, arg, cases, denying, denying_but_openat, rule};

fn context() -> LintContext {
    LintContext {
        node_architectures: BTreeSet::from([Arch::X86_64]),
        oldest_runc: Some((1, 1)),
        ..LintContext::default()
    }
}

fn read(document: &str) -> Profile {
    Profile::parse(compact(document).as_bytes()).expect("a valid document")
}

fn compact(document: &str) -> String {
    document.lines().map(str::trim).collect()
}

#[test]
fn finds_each_trap_at_its_place() {
    for Case { code, source, document, path, says } in cases() {
        let id = code.as_str();
        let findings = lint(&read(&document), &context());
        let found: Vec<&Finding> =
            findings.iter().filter(|finding| finding.code == code && finding.path == path).collect();
        let [finding] = found.as_slice() else { panic!("{id} at {path:?}: {findings:#?}") };
        assert!(finding.message.contains(says), "{id}: {says:?} is not in {:?}", finding.message);
        assert!(code.source().contains(source), "{id}: {source:?} is not its source");
        assert_eq!(finding.severity, code.severity());
    }
}

#[test]
fn every_code_has_a_case() {
    // Whoever reads a file tells of these.
    let of_files = [Code::NotJson, Code::UnknownKey];
    let tested: BTreeSet<Code> = cases().iter().map(|case| case.code).chain(of_files).collect();
    let untested: Vec<&Code> = Code::ALL.iter().filter(|code| !tested.contains(code)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn codes_are_unique_and_in_order() {
    let ids: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
}

/// What each case changes is all that there is to find: the same profile without it has nothing but what is said here.
#[test]
fn finds_nothing_in_a_profile_without_traps() {
    assert_eq!(lint(&read(&denying_but_openat("")), &context()), []);
    let masked = rule("openat", "ALLOW", &arg(2, "MASKED_EQ", 3, 0));
    assert_eq!(lint(&read(&denying(&masked)), &context()), []);
    let denied = rule("ioctl", "ERRNO", &arg(1, "MASKED_EQ", 0xffff_ffff, 0x5412));
    assert_eq!(lint(&read(&allowing(&denied)), &context()), []);
}

/// The runtime default isn't perfect, but nothing of it is refused.
#[test]
fn refuses_nothing_of_the_runtime_defaults() {
    for default in crate::runtime_defaults() {
        let context =
            LintContext { node_architectures: BTreeSet::from([default.arch]), ..LintContext::default() };
        let findings = lint(&default.profile, &context);
        let worse = findings.iter().filter(|finding| finding.severity > Severity::Info);
        // i386 has a socketcall that no filter sees through, and every runtime allows it.
        let escape = (default.arch == Arch::X86_64).then_some(Code::CarrierEscape);
        assert_eq!(
            worse.map(|finding| finding.code).collect::<Vec<_>>(),
            escape.into_iter().chain([Code::NoDefaultErrno]).collect::<Vec<_>>(),
            "{findings:#?}"
        );
    }
}

/// What SP001 to SP004 claim, asked of the model that is tested against libseccomp.
#[test]
fn the_model_agrees_about_conditions() {
    let passes = |document: &str, arguments: [u64; 6]| {
        let evaluator = Evaluator::new(&read(document), Runtime::Runc, Arch::X86_64).expect("it starts");
        let decision = evaluator.evaluate_name(Arch::X86_64, "openat", arguments).expect("it has a number");
        decision.outcome.action() == Action::Allow
    };
    let with = |args: &[String]| denying(&rule("openat", "ALLOW", &args.join(",")));
    let range = with(&[arg(1, "GE", 4, 0), arg(1, "LE", 5, 0)]);
    assert!(passes(&range, [0, 9, 0, 0, 0, 0]), "one of the two conditions is enough");
    let neither = with(&[arg(1, "NE", 1, 0), arg(1, "NE", 2, 0)]);
    assert!(passes(&neither, [0, 1, 0, 0, 0, 0]) && passes(&neither, [0, 2, 0, 0, 0, 0]));
    let textbook = with(&[arg(2, "MASKED_EQ", 0, 2)]);
    for flags in [0, 1, 2, 3, 0x8_0000] {
        assert!(passes(&textbook, [0, 0, flags, 0, 0, 0]), "the textbook's example allows every open");
    }
    let partly = with(&[arg(2, "MASKED_EQ", 3, 4)]);
    assert!(passes(&partly, [0, 0, 0, 0, 0, 0]) && !passes(&partly, [0, 0, 4 + 1, 0, 0, 0]));
}

/// As CRI-O's default without CAP_AUDIT_WRITE does for `socket`: what several rules let through is exactly what no other denies.
#[test]
fn rules_that_load_exactly_are_no_error() {
    let (eq, ne) = (|index, value| arg(index, "EQ", value, 0), |index, value| arg(index, "NE", value, 0));
    let rules = [
        rule("keyctl", "TRAP", &[eq(1, 5), eq(3, 6)].join(",")),
        rule("keyctl", "ALLOW", &ne(3, 6)),
        rule("keyctl", "ALLOW", &ne(1, 5)),
        rule("keyctl", "ALLOW", &ne(3, 6)),
    ];
    let findings = lint(&read(&denying_but_openat(&rules.join(","))), &context());
    assert!(findings.iter().all(|finding| finding.severity < Severity::Error), "{findings:#?}");
    let carried =
        [rule("ipc", "ALLOW", &arg(0, "GT", 4, 0)), rule("ipc", "ALLOW", &[eq(0, 4), eq(2, 1)].join(","))];
    let findings = lint(&read(&denying_but_openat(&carried.join(","))), &context());
    assert!(findings.iter().all(|finding| finding.severity < Severity::Error), "{findings:#?}");
}

/// A default that denies what no container starts without may be a part of a profile; a rule that does is an error, and so is a whole filter
/// that allows nothing.
#[test]
fn what_no_container_starts_without_is_an_error_to_deny() {
    let refused = |rules: &str| {
        let findings = lint(&read(&allowing(rules)), &context());
        findings.iter().any(|finding| finding.code == Code::NothingStarts)
    };
    for action in ["ERRNO", "TRAP", "KILL", "KILL_PROCESS"] {
        assert!(refused(&rule("execve", action, "")) && refused(&rule("write", action, "")), "{action}");
    }
    assert!(!refused(&rule("execve", "TRACE", "")) && !refused(&rule("execve", "LOG", "")));
    assert!(
        !refused(&rule("write", "ERRNO", &arg(0, "EQ", 9, 0))) && !refused(&rule("execveat", "KILL", ""))
    );
    // A program whose exit_group fails ends by exit.
    assert!(!refused(&rule("exit_group", "ERRNO", "")) && refused(&rule("exit_group", "TRAP", "")));
    let errors = |document: &str, is_whole: bool| {
        let findings = lint(&read(document), &LintContext { is_whole, ..context() });
        let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| (finding.path, finding.message)).collect::<Vec<_>>()
    };
    let nothing = r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[]}"#;
    let why = "denies every call, execve, write, exit_group among them, and no rule allows one";
    assert_eq!(errors(nothing, true), [("defaultAction".to_owned(), why.to_owned())]);
    assert_eq!(errors(nothing, false), []);
    let some =
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
    assert_eq!(errors(some, true), []);
    let logged = r#"{"defaultAction":"SCMP_ACT_LOG"}"#;
    assert_eq!(errors(logged, true), []);
}

#[test]
fn bounds_the_findings_of_a_hostile_profile() {
    let names: Vec<String> = (0..20_000).map(|number| format!("\"n{number}\"")).collect();
    let document = allowing(&format!(r#"{{"names":[{}],"action":"SCMP_ACT_ERRNO"}}"#, names.join(",")));
    let findings = lint(&read(&document), &context());
    let unknown: Vec<&Finding> =
        findings.iter().filter(|finding| finding.code == Code::UnknownCall).collect();
    assert_eq!(unknown.len(), MAX_OF_A_CODE);
    let last = unknown.last().expect("there are 20");
    assert!(last.message.ends_with("(and 19980 more of SP010)"), "{}", last.message);
}

#[test]
fn the_worst_comes_first() {
    let document = r#"{"defaultAction":"SCMP_ACT_NOTIFY","flags":["SECCOMP_FILTER_FLAG_TSYNC"]}"#;
    let severities: Vec<Severity> =
        lint(&read(document), &context()).iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted_by(|one, other| one >= other), "{severities:?}");
    assert_eq!(severities.first(), Some(&Severity::Error));
}

#[test]
fn a_finding_says_where_what_and_what_to_do() {
    let textbook = denying(&rule("openat", "ALLOW", &arg(2, "MASKED_EQ", 0, 2)));
    let finding = lint(&read(&textbook), &context()).remove(0).within("spec.profile");
    let text = finding.to_string();
    assert!(text.starts_with("spec.profile.syscalls[1].args[0]: value 0 is the mask"), "{text}");
    assert!(text.contains("(SP003)") && text.contains("Put every bit of `valueTwo` into `value`."), "{text}");
}

#[test]
fn a_newer_runc_takes_the_flags() {
    let document = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#;
    let paths = |oldest_runc| {
        let context = LintContext { oldest_runc, ..context() };
        let findings = lint(&read(document), &context);
        let flags = findings.into_iter().filter(|finding| finding.code == Code::FlagNeedsRunc);
        flags.map(|finding| finding.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(None), ["flags[0]", "flags[1]"]);
    assert_eq!(paths(Some((1, 2))), ["flags[1]"]);
    assert_eq!(paths(Some((1, 5))), [""; 0]);
}

/// With ENOSYS as the default runc does without openat2, as on an old kernel, and without what Go's runtime calls now and then: a recording of
/// one start shows some of them.
#[test]
fn what_no_version_needs_may_be_missing_where_the_default_is_enosys() {
    let untried = ["openat2", "statx", "newfstatat", "epoll_pwait", "nanosleep", "tgkill"];
    let document = untried.iter().fold(denying_but_openat(""), |document, name| {
        assert!(document.contains(&format!("\"{name}\"")), "{name}");
        document.replace(&format!("\"{name}\","), "")
    });
    assert_eq!(lint(&read(&document), &context()), []);
    let eperm = document.replace("\"defaultErrnoRet\":38", "\"defaultErrnoRet\":1");
    let codes: Vec<Code> = lint(&read(&eperm), &context()).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::RuntimeCalls]);
}

#[test]
fn calls_that_newer_runtimes_alone_make_say_since_which() {
    let without = denying_but_openat("").replace("\"fstat\",", "");
    let findings = lint(&read(&without), &context());
    let [finding] = &findings[..] else { panic!("one finding: {findings:?}") };
    assert_eq!(
        (finding.code, finding.message.as_str()),
        (Code::RuntimeCalls, "fstat is denied; runc makes fstat since 1.2.8 and 1.3.3")
    );
}

#[test]
fn a_wrong_name_is_explained() {
    let messages = |names: &str| -> Vec<String> {
        let document = denying_but_openat(&format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW"}}"#));
        lint(&read(&document), &context()).into_iter().map(|finding| finding.message).collect()
    };
    assert_eq!(
        messages(r#""getuidgetgid""#),
        ["\"getuidgetgid\" is no system call; did you mean getuid and getgid, two names?"]
    );
    assert_eq!(messages(r#""pread""#), ["\"pread\" is no system call; did you mean pread64?"]);
    let arm = denying_but_openat(r#"{"names":["umount"],"action":"SCMP_ACT_ALLOW"}"#)
        .replace("\"SCMP_ARCH_X86\",", "");
    let hint =
        |document: &str| lint(&read(document), &context()).into_iter().map(|finding| finding.message).next();
    assert_eq!(hint(&arm).as_deref(), Some("only other architectures have umount; did you mean umount2?"));
    let both = arm.replace("\"umount\"", "\"umount\",\"umount2\"");
    assert_eq!(hint(&both).as_deref(), Some("only other architectures have umount"));
}

#[test]
fn an_unknown_cluster_asks_for_less() {
    let default = runtime_default(Arch::X86_64).expect("it has one");
    let unknown = lint(&default.profile, &LintContext::default());
    assert!(unknown.iter().all(|finding| finding.code != Code::NodeArchitectureMissing));
}

#[test]
fn the_reference_has_a_section_for_every_code() {
    let reference = reference_markdown();
    for code in Code::ALL {
        assert!(
            reference.contains(&format!("\n## {}\n\n**{}.**\n", code.as_str(), code.title())),
            "{}",
            code.as_str()
        );
    }
}
