use super::{table::Table, *};
use crate::{Profile, evaluate::Runtime, runtime_default};

fn evaluator(rules: &str) -> Evaluator {
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{rules}]}}"#
    );
    let profile = Profile::parse(text.as_bytes()).expect("a profile");
    Evaluator::new(&profile, Runtime::Runc, Arch::X86_64).expect("it loads")
}

fn kept(rules: &str) -> Vec<String> {
    let kept = kept_privileges(&evaluator(rules), None, Arch::X86_64, &Budget::default());
    kept.iter().map(ToString::to_string).collect()
}

#[test]
fn a_faked_success_keeps_what_should_go() {
    for call in ["setuid", "setgid", "setgroups", "setresuid", "setresgid", "capget", "prctl"] {
        let found = kept(&format!(r#"{{"names": ["{call}"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}}"#));
        assert_eq!(found.len(), 1, "{call}: {found:?}");
        assert!(found[0].starts_with(call), "{found:?}");
    }
}

#[test]
fn an_errno_that_the_runtime_ignores_keeps_what_should_go() {
    let drop = r#""args": [{"index": 0, "value": 24, "op": "SCMP_CMP_EQ"}]"#;
    let found =
        kept(&format!(r#"{{"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, {drop}}}"#));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("PR_CAPBSET_DROP") && found[0].contains("bounding"), "{found:?}");
    assert_eq!(
        kept(&format!(r#"{{"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, {drop}}}"#)),
        [""; 0]
    );
}

#[test]
fn what_ends_the_task_or_is_let_through_keeps_nothing() {
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"] {
        let names: Vec<String> = CALLS.iter().map(|call| format!("{call:?}")).collect();
        let rule = format!(r#"{{"names": [{}], "action": "{action}"}}"#, names.join(","));
        assert_eq!(kept(&rule), [""; 0], "{action}");
    }
}

#[test]
fn the_usual_denials_keep_nothing() {
    for errno in USUAL {
        let names: Vec<String> = CALLS.iter().map(|call| format!("{call:?}")).collect();
        let rule =
            format!(r#"{{"names": [{}], "action": "SCMP_ACT_ERRNO", "errnoRet": {errno}}}"#, names.join(","));
        assert_eq!(kept(&rule), [""; 0], "{errno}");
    }
}

#[test]
fn nobody_else_answers_for_the_kernel() {
    for action in ["SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"] {
        let found = kept(&format!(r#"{{"names": ["setuid", "mkdir"], "action": "{action}"}}"#));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("another process"), "{found:?}");
    }
}

#[test]
fn what_was_not_measured_is_not_trusted() {
    // No errno of Linux is that high, so that none was tried.
    let found = kept(r#"{"names": ["setuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4000}"#);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("may go on"), "{found:?}");
}

#[test]
fn an_errno_is_measured_where_every_runtime_got_it_or_does_not_make_the_call() {
    let head = "# a comment\nruntime\tversion\tno_new_privs\tway\trequest\tgiven\tcall\targument\toutcomes\teffect\n";
    let table = |lines: &[&str]| Table::parse(&format!("{head}{}\n", lines.join("\n"))).expect("a table");
    let runc = "runc\t1.2,1.3\tfalse,true\tstart\tuser\t-\tsetuid\t-\tERRNO 0-133\tfails";
    let not_made = "crun\t1.8\ttrue\tstart\tuser\t-\tsetuid\t-\t-\tnot made";
    let one = "crun\t1.8\tfalse\tstart\tuser\t-\tsetuid\t-\tERRNO 1\tfails";
    let errno = |number| Outcome::new(Action::Errno, Some(number));
    let partly = table(&[runc, not_made, one]);
    assert!(partly.is_measured("setuid", errno(1)));
    assert!(!partly.is_measured("setuid", errno(13)), "crun 1.8 got no 13 without no_new_privs");
    let whole = table(&[runc, not_made, &one.replace("ERRNO 1", "ERRNO 1-20,22")]);
    assert!(whole.is_measured("setuid", errno(13)));
    assert!(!whole.is_measured("setuid", errno(21)) && !whole.is_measured("setgid", errno(1)));
    // Another answer beforehand is another case.
    let given = one.replace("user\t-", "user\tcapget ERRNO 1").replace("ERRNO 1\tfails", "ERRNO 13\tfails");
    assert!(!table(&[runc, not_made, one, &given]).is_measured("setuid", errno(13)));
}

/// What the runtime default does is the runtime's own choice.
#[test]
fn a_baseline_s_own_answers_count_for_nothing() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let default = &runtime_default(arch).expect("it has one").profile;
        let compiled = Evaluator::new(default, Runtime::Runc, arch).expect("it loads");
        assert_eq!(kept_privileges(&compiled, Some(&compiled), arch, &Budget::default()), []);
    }
    let denied = evaluator(r#"{"names": ["setuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}"#);
    assert_eq!(kept_privileges(&denied, Some(&denied), Arch::X86_64, &Budget::default()), []);
}

#[test]
fn hard_conditions_are_not_trusted() {
    let spent = Budget::default();
    while spent.step(1000) {}
    let drop = r#""args": [{"index": 1, "value": 24, "op": "SCMP_CMP_LT"}]"#;
    let rule = format!(r#"{{"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, {drop}}}"#);
    let found = kept_privileges(&evaluator(&rule), None, Arch::X86_64, &spent);
    assert!(found.iter().any(|one| one.condition.contains("too hard")), "{found:?}");
}
