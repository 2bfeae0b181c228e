//! Unions against evaluation, argument by argument.
#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators and the loader are used here")]
mod oracle;

use std::cell::Cell;

use oracle::{NATIVE, generate, program};
use portcullis_profile::{
    Action, Arch, Arg, Flag, Operator, Profile, Rule,
    compare::reachable,
    compose::{NamedProfile, UnionError, union},
    evaluate::{Decision, Evaluator, Passage, Reason, Runtime},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

type Calls = Vec<(Arch, u32, [u64; 6])>;

fn case() -> impl Strategy<Value = (Vec<Profile>, Calls)> {
    let one = prop_oneof![
        5 => generate::profile_of(&[Action::Errno], &[Action::Allow], 4),
        1 => generate::profile_of(&[Action::Errno], &[Action::Allow, Action::Log, Action::Trap], 3),
    ];
    let arches = prop_oneof![Just(vec![Arch::X86_64]), Just(vec![]), generate::architectures()];
    (prop::collection::vec(one, 2..=3), arches).prop_flat_map(|(mut profiles, arches)| {
        for profile in &mut profiles {
            let names = vec!["getppid".to_owned()];
            profile.syscalls.push(Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() });
            (profile.default_errno_ret, profile.architectures) = (None, arches.clone());
        }
        let call =
            select(reachable(NATIVE)).prop_flat_map(|arch| (Just(arch), select(generate::numbers(arch))));
        let arguments = generate::arguments(&profiles.iter().collect::<Vec<_>>());
        let calls = prop::collection::vec((call, arguments), 120).prop_map(|all| {
            all.into_iter().map(|((arch, number), arguments)| (arch, number, arguments)).collect()
        });
        (Just(profiles), calls)
    })
}

fn named(profiles: &[Profile]) -> Vec<NamedProfile<'_>> {
    profiles
        .iter()
        .zip(["first", "second", "third"])
        .map(|(profile, name)| NamedProfile { name, profile })
        .collect()
}

/// A call gets as far as in any of the profiles, with the least strict action; rules' denials stay.
#[test]
fn allows_exactly_what_any_profile_allows() {
    let (done, refused) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&case(), |(profiles, calls)| {
        let whole = match union(&named(&profiles)) {
            Ok(whole) => whole,
            Err(error) => {
                // Overlapping rules, `socketcall`, and wild masks that would need hundreds of rules.
                let rules = matches!(
                    error,
                    UnionError::Contested { .. } | UnionError::Rules(_) | UnionError::Inexpressible { .. }
                );
                prop_assert!(rules, "{error}");
                refused.set(refused.get() + 1);
                return Ok(());
            }
        };
        prop_assert!(program(&whole, Runtime::Crun).is_ok(), "libseccomp refuses {whole:?}");
        let compile =
            |profile| Evaluator::new(profile, Runtime::Crun, NATIVE).expect("no such profile is generated");
        let parts: Vec<Evaluator> = profiles.iter().map(compile).collect();
        let whole = compile(&whole);
        for (arch, number, arguments) in calls {
            let result = whole.evaluate(arch, number, arguments);
            prop_assert!(!result.is_contested(), "{arch} {number} {arguments:x?}");
            let parts: Vec<Decision> =
                parts.iter().map(|part| part.evaluate(arch, number, arguments)).collect();
            let outcomes = || parts.iter().map(|part| part.outcome);
            let through = outcomes().filter(|outcome| outcome.passage() != Passage::Denied);
            let denied =
                parts.iter().find(|part| matches!(part.reason, Reason::Rule(_))).map(|part| part.outcome);
            let expected = through.min_by_key(|outcome| outcome.strictness()).or(denied);
            let expected = expected.unwrap_or(parts[0].outcome);
            prop_assert_eq!(result.outcome, expected, "{} {} {:x?}", arch, number, arguments);
        }
        done.set(done.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(done.get() > 2 * refused.get(), "done {}, refused {}", done.get(), refused.get());
}

/// Names, an action, and conditions: index, operator, value.
type Written<'a> = (&'a [&'a str], Action, &'a [(u8, Operator, u64)]);

fn profile(rules: &[Written<'_>]) -> Profile {
    let rule = |&(names, action, args): &Written<'_>| Rule {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        action,
        errno_ret: None,
        args: args.iter().map(|&(index, op, value)| Arg { index, value, value_two: 0, op }).collect(),
    };
    Profile {
        default_action: Action::Errno,
        default_errno_ret: None,
        architectures: vec![Arch::X86_64],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: rules.iter().map(rule).collect(),
    }
}

fn message(profiles: &[Profile]) -> String {
    union(&named(profiles)).expect_err("they conflict").to_string()
}

#[test]
fn adds_only_what_is_missing() {
    use Action::Allow;
    let own = profile(&[(&["read", "ioctl"], Allow, &[]), (&["socket"], Allow, &[(0, Operator::Equal, 2)])]);
    let base = profile(&[(&["write", "read"], Allow, &[]), (&["socket"], Allow, &[(0, Operator::Equal, 1)])]);
    let expected = profile(&[
        (&["read", "ioctl"], Allow, &[]),
        (&["write"], Allow, &[]),
        (&["socket"], Allow, &[(0, Operator::Equal, 2)]),
        (&["socket"], Allow, &[(0, Operator::Equal, 1)]),
    ]);
    assert_eq!(union(&named(&[own.clone(), base])), Ok(expected));
    assert_eq!(union(&named(&[own.clone(), own.clone()])), Ok(own));
    assert_eq!(union(&[]), Err(UnionError::Nothing));
}

#[test]
fn names_both_sides_and_the_rules_of_a_conflict() {
    let own = profile(&[(&["read", "clone3"], Action::Allow, &[])]);
    let base = profile(&[(&["write"], Action::Allow, &[]), (&["clone3"], Action::Trap, &[])]);
    assert_eq!(
        message(&[own, base]),
        "clone3 on SCMP_ARCH_X86_64 with any arguments: first has SCMP_ACT_ALLOW in syscalls[0], second has SCMP_ACT_TRAP in \
         syscalls[1]: take the call out of one of the rules"
    );
}

#[test]
fn names_the_field_of_a_conflict() {
    let own = profile(&[(&["read"], Action::Allow, &[])]);
    let mut other = own.clone();
    other.default_errno_ret = Some(38);
    let expected =
        "defaultAction: first has SCMP_ACT_ERRNO(1), second has SCMP_ACT_ERRNO(38): make them equal";
    assert_eq!(message(&[own.clone(), other]), expected);

    let mut other = own.clone();
    other.architectures.push(Arch::X86);
    let expected = "architectures: first has SCMP_ARCH_X86_64, second has SCMP_ARCH_X86, SCMP_ARCH_X86_64: make them equal";
    assert_eq!(message(&[own.clone(), other]), expected);

    let mut logs = own.clone();
    logs.flags = vec![Flag::Log];
    let mut waits = own.clone();
    waits.flags = vec![Flag::SpecAllow];
    assert!(
        message(&[logs.clone(), waits]).starts_with("flags: first has SECCOMP_FILTER_FLAG_LOG, second has")
    );
    assert_eq!(union(&named(&[own.clone(), logs.clone()])).map(|union| union.flags), Ok(logs.flags));

    let mut open = own.clone();
    open.default_action = Action::Allow;
    assert!(message(&[own, open]).starts_with("second: defaultAction: SCMP_ACT_ALLOW doesn't deny"));
}

/// An absent list is no statement about architectures.
#[test]
fn takes_the_architectures_from_the_profile_that_lists_them() {
    let own = profile(&[(&["read"], Action::Allow, &[])]);
    let mut base = profile(&[(&["write"], Action::Allow, &[])]);
    base.architectures.clear();
    assert_eq!(union(&named(&[base, own])).map(|union| union.architectures), Ok(vec![Arch::X86_64]));
}
