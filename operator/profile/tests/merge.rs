//! Unions and intersections by strictness against evaluation, argument by argument.
#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators and the loader are used here")]
mod oracle;

use std::cell::Cell;

use oracle::{NATIVE, generate, program};
use portcullis_profile::{
    Action, Arch, Arg, Flag, Operator, Profile, Rule,
    compare::{Relation, looser, reachable},
    compose::NamedProfile,
    evaluate::{Decision, Evaluator, Outcome, Reason, Runtime},
    merge::{Combined, MergeError, intersect, merge},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

type Calls = Vec<(Arch, u32, [u64; 6])>;

fn case() -> impl Strategy<Value = (Vec<Profile>, Calls)> {
    const DENIALS: &[Action] = &[Action::Errno, Action::Kill, Action::Trap, Action::KillProcess];
    const ANY: &[Action] = &[Action::Errno, Action::Allow, Action::Log, Action::KillProcess];
    let one = prop_oneof![
        4 => generate::profile_of(&[Action::Errno], &[Action::Allow], 4),
        2 => generate::profile_of(DENIALS, &[Action::Allow], 4),
        1 => generate::profile_of(ANY, &[Action::Allow, Action::Errno], 3),
        1 => generate::profile_of(ANY, Action::ALL, 2),
    ];
    // Alike, as those of replicas are, or as the profiles have them.
    let arches = prop_oneof![
        2 => Just(Some(vec![Arch::X86_64])),
        1 => Just(Some(vec![])),
        1 => generate::architectures().prop_map(Some),
        1 => Just(None),
    ];
    (prop::collection::vec(one, 2..=3), arches).prop_flat_map(|(mut profiles, arches)| {
        for profile in &mut profiles {
            // Without a call that is decided whatever its arguments libseccomp can forget to load the number.
            let names = vec!["exit_group".to_owned()];
            profile.syscalls.push(Rule { names, action: Action::Allow, errno_ret: None, args: Vec::new() });
            if let Some(arches) = &arches {
                profile.architectures.clone_from(arches);
            }
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

type Combine = fn(&[NamedProfile<'_>]) -> Result<Combined, MergeError>;

fn combined(profiles: &[Profile], combine: Combine) -> Result<Profile, MergeError> {
    let names = ["first", "second", "third"];
    let named: Vec<NamedProfile<'_>> =
        profiles.iter().zip(names).map(|(profile, name)| NamedProfile { name, profile }).collect();
    combine(&named).map(|combined| combined.profile)
}

/// The order that the outcomes are to be taken in, written down once more.
fn rank(outcome: Outcome) -> (usize, u32) {
    use Action::{Allow, Errno, KillProcess, KillThread, Log, Notify, Trace, Trap};
    let actions = [Allow, Log, Trace, Notify, Errno, Trap, KillThread, KillProcess];
    let place = actions.iter().position(|action| *action == outcome.action()).expect("an action");
    let errno = outcome.errno().map_or(0, u32::from);
    (place, if errno == 38 { 0 } else { errno + 1 })
}

fn evaluator(profile: &Profile, runtime: Runtime) -> Evaluator {
    Evaluator::new(profile, runtime, NATIVE).expect("no such profile is generated")
}

/// What a result has to do with a call: exactly, unless runc's stub answers for somebody. Then it passes where it should,
/// or, in a union, where a profile's rules say so and its own stub hides that they do.
fn check(
    parts: &[Decision],
    wanted: Outcome,
    by_rules: Option<Outcome>,
    result: Decision,
    place: &str,
) -> Result<(), TestCaseError> {
    prop_assert!(!result.is_contested(), "{place}");
    if parts.iter().chain([&result]).any(|one| one.reason == Reason::EnosysStub) {
        let passes = result.outcome.passage() == wanted.passage() || Some(result.outcome) == by_rules;
        prop_assert!(passes, "{place}: {result:?} instead of {wanted}: {parts:?}");
    } else {
        prop_assert_eq!(result.outcome, wanted, "{}: {:?}", place, parts);
    }
    Ok(())
}

/// Runs a property on random profiles, and sees to it that enough of them can be combined: some six of ten can, and a quarter is far
/// outside what chance makes of that.
fn on_random_profiles(
    cases: u32,
    combine: Combine,
    property: impl Fn(&[Profile], &Profile, &Calls) -> Result<(), TestCaseError>,
) {
    let (done, refused) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&case(), |(profiles, calls)| {
        match combined(&profiles, combine) {
            Ok(result) => {
                prop_assert!(program(&result, Runtime::Crun).is_ok(), "libseccomp refuses {result:?}");
                property(&profiles, &result, &calls)?;
                done.set(done.get() + 1);
            }
            Err(error) => {
                // Overlapping rules, `socketcall`, wild masks that need hundreds of rules, and conditions on the
                // name that nobody has.
                let known = matches!(
                    error,
                    MergeError::Contested { .. }
                        | MergeError::Inexpressible { .. }
                        | MergeError::TooMany { .. }
                        | MergeError::Unknown { .. }
                );
                prop_assert!(known, "{error}");
                refused.set(refused.get() + 1);
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(done.get() * 3 > refused.get(), "done {}, refused {}", done.get(), refused.get());
}

/// Every call gets the least strict outcome that any profile gives it, with the architectures of all; and nothing
/// that a profile lets through is denied.
#[test]
fn a_union_gives_every_call_the_least_strict_outcome() {
    on_random_profiles(100, merge, |profiles, result, calls| {
        let everywhere = |runtime| -> Vec<Evaluator> {
            let with = |profile: &Profile| Profile {
                architectures: result.architectures.clone(),
                ..profile.clone()
            };
            profiles.iter().map(|profile| evaluator(&with(profile), runtime)).collect()
        };
        let (by_runc, by_rules) = (everywhere(Runtime::Runc), everywhere(Runtime::Crun));
        for (runtime, parts) in [(Runtime::Runc, &by_runc), (Runtime::Crun, &by_rules)] {
            let whole = evaluator(result, runtime);
            for &(arch, number, arguments) in calls {
                let decisions = |parts: &[Evaluator]| -> Vec<Decision> {
                    parts.iter().map(|part| part.evaluate(arch, number, arguments)).collect()
                };
                let least = |parts: &[Decision]| {
                    parts.iter().map(|part| part.outcome).min_by_key(|one| rank(*one)).expect("one")
                };
                let parts = decisions(parts);
                let place = format!("{runtime:?} {arch} {number} {arguments:x?}");
                let result = whole.evaluate(arch, number, arguments);
                check(&parts, least(&parts), Some(least(&decisions(&by_rules))), result, &place)?;
            }
        }
        for profile in profiles {
            // A call of an architecture that a profile doesn't list kills the thread, and its default may be stricter.
            let everywhere = Profile { architectures: result.architectures.clone(), ..profile.clone() };
            let stricter = looser(&everywhere, result, Runtime::Crun, NATIVE, Relation::Strictness);
            prop_assert_eq!(stricter, Ok(Vec::new()));
            for runtime in [Runtime::Runc, Runtime::Crun] {
                let blocked = looser(profile, result, runtime, NATIVE, Relation::Passage);
                prop_assert_eq!(blocked, Ok(Vec::new()));
            }
        }
        Ok(())
    });
}

/// Every call gets the strictest outcome that any profile gives it; and nowhere is the result looser than a profile.
#[test]
fn an_intersection_gives_every_call_the_strictest_outcome() {
    on_random_profiles(100, intersect, |profiles, result, calls| {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let parts: Vec<Evaluator> = profiles.iter().map(|profile| evaluator(profile, runtime)).collect();
            let whole = evaluator(result, runtime);
            for &(arch, number, arguments) in calls {
                let decision = whole.evaluate(arch, number, arguments);
                let parts: Vec<Decision> =
                    parts.iter().map(|part| part.evaluate(arch, number, arguments)).collect();
                if decision.reason == Reason::UnlistedArchitecture {
                    prop_assert!(parts.iter().any(|part| part.reason == Reason::UnlistedArchitecture));
                    continue;
                }
                let strictest =
                    parts.iter().map(|part| part.outcome).max_by_key(|one| rank(*one)).expect("one");
                let place = format!("{runtime:?} {arch} {number} {arguments:x?}");
                check(&parts, strictest, None, decision, &place)?;
            }
        }
        for profile in profiles {
            let listed = |arch| arch == NATIVE || result.architectures.contains(&arch);
            let mut looser_calls = looser(result, profile, Runtime::Crun, NATIVE, Relation::Strictness)
                .expect("no such profile is generated");
            looser_calls.retain(|difference| listed(difference.arch));
            prop_assert_eq!(looser_calls, Vec::new());
            let passing = looser(result, profile, Runtime::Runc, NATIVE, Relation::Passage);
            prop_assert_eq!(passing, Ok(Vec::new()));
        }
        Ok(())
    });
}

/// In whatever order and however often profiles are given, the result does the same.
#[test]
fn order_and_repetition_do_not_matter() {
    for combine in [merge as Combine, intersect as Combine] {
        on_random_profiles(30, combine, |profiles, result, calls| {
            let whole = evaluator(result, Runtime::Crun);
            let backwards: Vec<Profile> = profiles.iter().rev().cloned().collect();
            // Another order may find no rules where this one did; what it finds does the same.
            let Ok(other) = combined(&backwards, combine) else { return Ok(()) };
            let other = evaluator(&other, Runtime::Crun);
            for &(arch, number, arguments) in calls {
                prop_assert_eq!(
                    other.evaluate(arch, number, arguments).outcome,
                    whole.evaluate(arch, number, arguments).outcome
                );
            }
            let again = combined(&[result.clone(), result.clone()], combine);
            prop_assert_eq!(again.as_ref(), Ok(result));
            Ok(())
        });
    }
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
        default_errno_ret: Some(38),
        architectures: vec![Arch::X86_64],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: rules.iter().map(rule).collect(),
    }
}

#[test]
fn recordings_of_several_replicas_become_one_profile() {
    use Action::Allow;
    let domain =
        |value| profile(&[(&["read"], Allow, &[]), (&["socket"], Allow, &[(0, Operator::Equal, value)])]);
    let recordings = [domain(1), domain(2), domain(1)];
    let expected = profile(&[
        (&["read"], Allow, &[]),
        (&["socket"], Allow, &[(0, Operator::Equal, 1)]),
        (&["socket"], Allow, &[(0, Operator::Equal, 2)]),
    ]);
    assert_eq!(combined(&recordings, merge), Ok(expected.canonical()));
    let neither = profile(&[(&["read"], Allow, &[])]);
    assert_eq!(combined(&recordings, intersect), Ok(neither.canonical()));
}

/// A hundred recordings, each with a request of its own.
#[test]
fn a_hundred_recordings_are_merged() {
    let recordings: Vec<Profile> = (0..100)
        .map(|request| {
            profile(&[
                (&["read", "write", "openat"], Action::Allow, &[]),
                (&["ioctl"], Action::Allow, &[(1, Operator::Equal, 0x5400 + request)]),
            ])
        })
        .collect();
    let named: Vec<NamedProfile<'_>> =
        recordings.iter().map(|profile| NamedProfile { name: "recording", profile }).collect();
    let combined = merge(&named).expect("they can be merged");
    assert_eq!(combined.profile.syscalls.len(), 101);
    assert!(
        combined.contributions[1..].iter().all(|one| one.arguments == ["ioctl"] && one.changed.is_empty())
    );
}

#[test]
fn says_who_brought_what_and_what_was_chosen() {
    use Action::Allow;
    let one = profile(&[(&["read", "write"], Allow, &[])]);
    let mut other = profile(&[(&["read", "mmap"], Allow, &[])]);
    other.default_errno_ret = None;
    other.architectures = vec![Arch::X86_64, Arch::X86];
    let named = [NamedProfile { name: "a", profile: &one }, NamedProfile { name: "b", profile: &other }];
    let union = merge(&named).expect("they can be merged");
    assert_eq!((union.contributions[0].calls, union.contributions[1].calls), (2, 2));
    assert_eq!(union.contributions[1].changed, ["mmap"]);
    let notes: Vec<String> = union.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(notes[0], "defaultAction is SCMP_ACT_ERRNO(38) of a; b has SCMP_ACT_ERRNO(1)");
    assert!(notes[1].starts_with("a does not list SCMP_ARCH_X86, whose calls its filter kills"), "{notes:?}");
    let common = intersect(&named).expect("they can be intersected");
    assert_eq!(common.profile.architectures, [Arch::X86_64]);
    assert_eq!(common.contributions[1].changed, ["write"]);
    assert_eq!(common.profile.default_errno_ret, None);

    let open = Profile { default_action: Action::Allow, default_errno_ret: None, ..profile(&[]) };
    let named = [named[0], NamedProfile { name: "open", profile: &open }];
    let common = intersect(&named).expect("they can be intersected");
    let says = "defaultAction is SCMP_ACT_ERRNO(38) of a; open has SCMP_ACT_ALLOW, so calls that no profile names are denied";
    assert_eq!(common.notes[0].to_string(), says);
}

#[test]
fn fields_without_an_order_must_agree() {
    let one = Profile { flags: vec![Flag::Log], ..profile(&[]) };
    let other = Profile { flags: vec![Flag::SpecAllow], ..profile(&[]) };
    let error = combined(&[one, other], merge).expect_err("they differ").to_string();
    assert!(error.starts_with("flags: first has SECCOMP_FILTER_FLAG_LOG, second has"), "{error}");
    assert_eq!(combined(&[], merge), Err(MergeError::Nothing));
    assert_eq!(combined(&[], intersect), Err(MergeError::Nothing));
}

/// i386 makes `accept4` through `socketcall` too, where a rule without conditions decides: as in CRI-O's and Podman's default.
#[test]
fn a_rule_for_what_calls_are_made_through_settles_them() {
    use Action::{Allow, Errno};
    use Operator::{Equal, NotEqual};
    let mut stock = profile(&[
        (&["getppid", "socketcall"], Allow, &[]),
        (&["accept4"], Errno, &[(3, Equal, 8)]),
        (&["accept4"], Allow, &[(3, NotEqual, 8)]),
    ]);
    stock.syscalls[1].errno_ret = Some(22);
    let mut nothing = profile(&[]);
    for one in [&mut stock, &mut nothing] {
        one.architectures = vec![Arch::X86_64, Arch::X86];
    }
    let profiles = [stock, nothing];
    let passes = |profile: &Profile, arch, name, fourth| {
        let evaluator = Evaluator::new(profile, Runtime::Crun, NATIVE).expect("it starts");
        let decision = evaluator.evaluate_name(arch, name, [18, 0, 0, fourth, 0, 0]).expect("a known name");
        assert!(!decision.is_contested(), "{name}");
        decision.outcome.action() == Allow
    };
    let union = combined(&profiles, merge).expect("they can be merged");
    for arch in [Arch::X86_64, Arch::X86] {
        assert!(passes(&union, arch, "accept4", 7) && !passes(&union, arch, "accept4", 8));
    }
    assert!(passes(&union, Arch::X86, "socketcall", 8));
    let common = combined(&profiles, intersect).expect("they can be intersected");
    for (arch, name) in [(Arch::X86_64, "accept4"), (Arch::X86, "accept4"), (Arch::X86, "socketcall")] {
        assert!(!passes(&common, arch, name, 7) && !passes(&common, arch, name, 8));
    }
}

/// The words say which file to change and how, to whoever has never heard of libseccomp.
#[test]
fn profiles_that_can_not_be_combined_are_said_what_to_do_about() {
    use Action::{Allow, Errno};
    use Operator::{Equal, NotEqual};
    let pair = profile(&[
        (&["socketcall", "read"], Allow, &[]),
        (&["socket"], Errno, &[(0, Equal, 40)]),
        (&["socket"], Allow, &[(0, NotEqual, 40)]),
    ]);
    let whole = profile(&[(&["socket", "socketcall"], Allow, &[])]);
    let mut profiles = [pair, whole];
    profiles[0].syscalls[1].errno_ret = Some(1);
    for one in &mut profiles {
        one.default_errno_ret = Some(38);
        one.architectures = vec![Arch::X86_64, Arch::X86];
    }
    let error = combined(&profiles, intersect).expect_err("no rules do it").to_string();
    for words in [
        "first lets socket through with some arguments alone",
        "arm64 nodes",
        "one rule without conditions (`args`)",
    ] {
        assert!(error.contains(words), "{words:?} is missing: {error}");
    }
    // What it says helps.
    profiles[0].syscalls.truncate(1);
    assert!(combined(&profiles, intersect).is_ok());
    profiles[0].syscalls[0].names.push("socket".to_owned());
    assert!(combined(&profiles, intersect).is_ok());
}
