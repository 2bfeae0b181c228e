//! Audit profiles against evaluation, argument by argument.
#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators and the loader are used here")]
mod oracle;

use std::cell::Cell;

use oracle::{NATIVE, generate, program};
use portcullis_profile::{
    Action, Arch, Arg, Operator, Profile, Rule,
    audit::{AuditError, audit},
    compare::reachable,
    evaluate::{Evaluator, Outcome, Passage, Runtime},
    runtime_default,
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

const LOG: Outcome = Outcome::new(Action::Log, None);

type Calls = Vec<(Arch, u32, [u64; 6])>;

/// As every real profile it allows some call without conditions, so that filters look at numbers.
fn real(mut profile: Profile, architectures: Vec<Arch>) -> Profile {
    let names = vec!["getppid".to_owned()];
    profile.syscalls.push(Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() });
    profile.architectures = architectures;
    profile
}

fn case() -> impl Strategy<Value = (Profile, Profile, Calls)> {
    const DENIALS: &[Action] = &[Action::Errno, Action::KillProcess, Action::Kill];
    const LETTING: &[Action] = &[Action::Allow, Action::Log];
    let profile = prop_oneof![
        6 => generate::profile_of(DENIALS, &[Action::Allow], 4),
        2 => generate::profile_of(DENIALS, &[Action::Allow, Action::Errno, Action::Trace], 3),
        1 => generate::profile_of(LETTING, &[Action::Errno], 3),
    ];
    let baseline = generate::profile_of(DENIALS, &[Action::Allow], 4);
    let arches =
        prop_oneof![Just(vec![Arch::X86_64]), Just(vec![Arch::X86_64, Arch::X32]), generate::architectures()];
    (profile, baseline, arches).prop_flat_map(|(profile, baseline, arches)| {
        let (profile, baseline) = (real(profile, arches.clone()), real(baseline, arches));
        let call =
            select(reachable(NATIVE)).prop_flat_map(|arch| (Just(arch), select(generate::numbers(arch))));
        let calls =
            prop::collection::vec((call, generate::arguments(&[&profile, &baseline])), 120).prop_map(|all| {
                all.into_iter().map(|((arch, number), arguments)| (arch, number, arguments)).collect()
            });
        (Just(profile), Just(baseline), calls)
    })
}

/// What the profile lets through stays; what the baseline lets through besides is logged; the rest stays denied.
#[test]
fn logs_exactly_what_the_baseline_allows_and_the_profile_denies() {
    let (done, logged, left_denied, refused) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&case(), |(profile, baseline, calls)| {
        let audited = match audit(&profile, &baseline, NATIVE) {
            Ok(audited) => audited,
            Err(error) => {
                // Overlapping rules, `socketcall`, and wild masks that would need hundreds of rules.
                prop_assert!(!matches!(error, AuditError::Refused { .. }), "{error}");
                refused.set(refused.get() + 1);
                return Ok(());
            }
        };
        prop_assert!(program(&audited, Runtime::Crun).is_ok(), "libseccomp refuses {audited:?}");
        let compile =
            |profile| Evaluator::new(profile, Runtime::Crun, NATIVE).expect("no such profile is generated");
        let (mine, base, result) = (compile(&profile), compile(&baseline), compile(&audited));
        for (arch, number, arguments) in calls {
            let evaluate = |evaluator: &Evaluator| evaluator.evaluate(arch, number, arguments);
            let (mine, base, result) = (evaluate(&mine), evaluate(&base), evaluate(&result));
            prop_assert!(!result.is_contested(), "{arch} {number} {arguments:x?}: {audited:?}");
            let log =
                mine.outcome.passage() == Passage::Denied && base.outcome.passage() == Passage::Permitted;
            let expected = if log { LOG } else { mine.outcome };
            if result.outcome != expected {
                // The documented exception.
                let high = arguments.iter().any(|argument| argument >> 32 != 0);
                prop_assert!(
                    log && high && result.outcome == mine.outcome,
                    "{arch} {number} {arguments:x?}: {mine:?} {base:?} {result:?} {audited:?}"
                );
                left_denied.set(left_denied.get() + 1);
            }
            logged.set(logged.get() + u32::from(result.outcome == LOG && log));
        }
        done.set(done.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let (done, logged, left_denied, refused) = (done.get(), logged.get(), left_denied.get(), refused.get());
    let counts = format!("done {done}, refused {refused}; logged {logged}, left denied {left_denied}");
    assert!(done > 2 * refused && logged > 200 && left_denied < logged / 20, "{counts}");
}

fn rule(names: &[&str], action: Action, args: &[(u8, Operator, u64, u64)]) -> Rule {
    Rule {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        action,
        errno_ret: None,
        args: args.iter().map(|&(index, op, value, value_two)| Arg { index, value, value_two, op }).collect(),
    }
}

fn deny_but(architectures: Vec<Arch>, syscalls: Vec<Rule>) -> Profile {
    Profile {
        default_action: Action::Errno,
        default_errno_ret: None,
        architectures,
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

/// The runtime's default has conditions on `socket`, `clone` and `personality`; a typical profile allows some of
/// each.
#[test]
fn audits_a_typical_profile_against_the_runtimes_default() {
    use Operator::{Equal, MaskedEq};
    let baseline = &runtime_default(NATIVE).expect("x86-64 has a runtime default").profile;
    let profile = deny_but(
        vec![Arch::X86_64],
        vec![
            rule(&["read", "write", "exit_group"], Action::Allow, &[]),
            rule(&["socket"], Action::Allow, &[(0, Equal, 2, 0)]),
            rule(&["socket"], Action::Allow, &[(0, Equal, 1, 0)]),
            rule(&["personality"], Action::Allow, &[(0, Equal, 0xffff_ffff, 0)]),
            rule(&["clone"], Action::Allow, &[(0, MaskedEq, 0xff00_0000, 0)]),
        ],
    );
    let audited = audit(&profile, baseline, NATIVE).expect("it has an audit form");
    assert!(program(&audited, Runtime::Runc).expect("libseccomp takes it").len() < 4096);
    let evaluator = Evaluator::new(&audited, Runtime::Runc, NATIVE).expect("runc takes it");
    let action = |name: &str, first: u64| {
        let decision = evaluator.evaluate_name(NATIVE, name, [first, 0, 0, 0, 0, 0]).expect("a known name");
        assert!(!decision.is_contested(), "{name}");
        decision.outcome.action()
    };
    assert_eq!(action("read", 0), Action::Allow);
    assert_eq!(action("openat", 0), Action::Log);
    assert_eq!(action("mount", 0), Action::Errno);
    assert_eq!(["socket"; 3].map(|name| action(name, 1)), [Action::Allow; 3]);
    assert_eq!(action("socket", 10), Action::Log);
    assert_eq!(action("personality", 0xffff_ffff), Action::Allow);
    assert_eq!(action("personality", 8), Action::Log);
    assert_eq!(action("personality", 9), Action::Errno);
    assert_eq!(action("clone", 0x0100_0000), Action::Log);
    assert_eq!(action("clone", 0x1000_0000), Action::Errno);
}

/// What the profile allows altogether needs no rule more.
#[test]
fn a_profile_that_allows_the_baseline_stays_as_it_is() {
    let baseline = &runtime_default(NATIVE).expect("x86-64 has a runtime default").profile;
    assert_eq!(audit(baseline, baseline, NATIVE).as_ref(), Ok(baseline));
}

#[test]
fn says_which_call_has_no_audit_form_and_where() {
    let arches = vec![Arch::X86_64, Arch::X86];
    let profile =
        deny_but(arches.clone(), vec![rule(&["socket"], Action::Allow, &[(0, Operator::Equal, 2, 0)])]);
    let baseline = deny_but(arches, vec![rule(&["socket"], Action::Allow, &[])]);
    let error = audit(&profile, &baseline, NATIVE).expect_err("socketcall's first argument is not socket's");
    assert!(matches!(&error, AuditError::Inexpressible { arch: Arch::X86, .. }), "{error}");
    assert!(error.to_string().contains("socket") && error.to_string().contains("architectures"), "{error}");
}
