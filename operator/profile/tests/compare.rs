//! Comparisons against evaluation: what is found is so, and nothing is overlooked.

#![cfg(target_arch = "x86_64")]

#[expect(dead_code, reason = "only the generators and the loader are used here")]
mod oracle;

use std::cell::Cell;

use oracle::{NATIVE, generate, program};
use portcullis_profile::{
    Action, Arch, Arg, Operator, Profile, Rule,
    compare::{Difference, DisputeCause, Relation, compare, disputes, looser, reachable},
    evaluate::{Evaluator, Outcome, Runtime},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

const RELATIONS: &[Relation] = &[Relation::Passage, Relation::Strictness];

/// Pairs that have much in common, so that 'not looser' is common too.
fn pair() -> impl Strategy<Value = (Profile, Profile)> {
    let unrelated = (generate::profile(), generate::profile());
    let kin = (generate::profile(), prop::collection::vec(any::<bool>(), 24), any::<bool>()).prop_map(
        |(profile, keep, swap)| {
            let mut smaller = profile.clone();
            let mut keep = keep.into_iter().chain(std::iter::repeat(true));
            smaller.syscalls.retain(|_| keep.next().unwrap_or(true));
            if swap { (smaller, profile) } else { (profile, smaller) }
        },
    );
    prop_oneof![1 => unrelated, 2 => kin]
}

type Calls = Vec<(Arch, u32, [u64; 6])>;

fn case() -> impl Strategy<Value = (Profile, Profile, Runtime, Relation, Calls)> {
    (pair(), select(&[Runtime::Runc, Runtime::Crun][..]), select(RELATIONS)).prop_flat_map(
        |((a, b), runtime, relation)| {
            let call =
                select(reachable(NATIVE)).prop_flat_map(|arch| (Just(arch), select(generate::numbers(arch))));
            let calls = prop::collection::vec((call, generate::arguments(&[&a, &b])), 100).prop_map(|all| {
                all.into_iter().map(|((arch, number), arguments)| (arch, number, arguments)).collect()
            });
            (Just(a), Just(b), Just(runtime), Just(relation), calls)
        },
    )
}

#[test]
fn finds_what_evaluation_finds_and_proves_it() {
    let (tight, found) = (Cell::new(0u32), Cell::new(0u32));
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&case(), |(a, b, runtime, relation, calls)| {
        let a = Evaluator::new(&a, runtime, NATIVE).expect("no such profile is generated");
        let b = Evaluator::new(&b, runtime, NATIVE).expect("no such profile is generated");
        let differences = compare(&a, &b, NATIVE, relation);
        for difference in &differences {
            let Difference { arch, number, mine, theirs, .. } = *difference;
            let arguments = difference.arguments.expect("none of these is hard");
            let (one, other) = (a.evaluate(arch, number, arguments), b.evaluate(arch, number, arguments));
            prop_assert!(
                relation.is_looser(one.outcome, other.strictest()),
                "{difference}: {one:?}, {other:?}"
            );
            if difference.certain {
                prop_assert_eq!((one.outcome, other.outcome), (mine, theirs), "{}", difference);
            }
        }
        for (arch, number, arguments) in calls {
            // Neither a call's number nor x32's but -1 and its like, which no process can make.
            if number >= 1 << 30 {
                continue;
            }
            let number = if arch == Arch::X32 { number | 1 << 30 } else { number };
            let (one, other) = (a.evaluate(arch, number, arguments), b.evaluate(arch, number, arguments));
            if relation.is_looser(one.outcome, other.strictest()) {
                let named = differences
                    .iter()
                    .any(|difference| (difference.arch, difference.number) == (arch, number));
                // Of the numbers without a name or a rule one stands for all.
                let nameless = portcullis_profile::syscalls::name(arch, number).is_none()
                    && differences.iter().any(|difference| {
                        difference.arch == arch && difference.name.is_none() && difference.mine == one.outcome
                    });
                prop_assert!(named || nameless, "{arch} {number} {arguments:x?}: {one:?}, {other:?}");
            }
        }
        let counter = if differences.is_empty() { &tight } else { &found };
        counter.set(counter.get() + 1);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(tight.get() > 50 && found.get() > 50, "not looser {}, looser {}", tight.get(), found.get());
}

/// A name, an action, and conditions: index, operator, both values.
type Written<'a> = (&'a str, Action, &'a [(u8, Operator, u64, u64)]);

fn profile(default_action: Action, rules: &[Written<'_>]) -> Profile {
    let rule = |&(name, action, args): &Written<'_>| Rule {
        names: vec![name.to_owned()],
        action,
        errno_ret: None,
        args: args.iter().map(|&(index, op, value, value_two)| Arg { index, value, value_two, op }).collect(),
    };
    Profile {
        default_action,
        default_errno_ret: None,
        architectures: vec![Arch::X86_64],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: rules.iter().map(rule).collect(),
    }
}

fn passage(a: &Profile, b: &Profile) -> Vec<String> {
    let all = looser(a, b, Runtime::Runc, NATIVE, Relation::Passage).expect("runc takes both");
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn names_the_argument_that_makes_it_looser() {
    use Action::{Allow, Errno};
    use Operator::{Equal, LessThan, NotEqual};
    let base = profile(Errno, &[("socket", Allow, &[(0, NotEqual, 40, 0)])]);
    let narrow = profile(Errno, &[("socket", Allow, &[(0, LessThan, 40, 0)])]);
    let vsock = profile(Errno, &[("socket", Allow, &[(0, Equal, 40, 0)])]);
    assert_eq!(passage(&narrow, &base), Vec::<String>::new());
    let expected = "socket on SCMP_ARCH_X86_64 with arg0 == 40: SCMP_ACT_ALLOW instead of SCMP_ACT_ERRNO(1)";
    assert_eq!(passage(&vsock, &base), [expected]);
}

#[test]
fn bits_that_no_argument_has_in_common_are_no_difference() {
    use Action::{Allow, Errno};
    use Operator::{Equal, MaskedEq};
    let namespaces = 0x7e02_0000;
    let base = profile(Errno, &[("clone", Allow, &[(0, MaskedEq, namespaces, 0)])]);
    let threads = profile(Errno, &[("clone", Allow, &[(0, Equal, 0x003d_0f00, 0)])]);
    let user_namespace = profile(Errno, &[("clone", Allow, &[(0, MaskedEq, 0x1000_0000, 0x1000_0000)])]);
    assert_eq!(passage(&threads, &base), Vec::<String>::new());
    assert_eq!(passage(&user_namespace, &base).len(), 1);
}

#[test]
fn an_architecture_that_the_other_lacks_is_looser() {
    use Action::{Allow, Errno};
    let base = profile(Errno, &[("read", Allow, &[])]);
    let mut compat = base.clone();
    compat.architectures.push(Arch::X86);
    assert_eq!(passage(&base, &compat), Vec::<String>::new());
    let expected = "read on SCMP_ARCH_X86 with any arguments: SCMP_ACT_ALLOW instead of SCMP_ACT_KILL_THREAD";
    assert_eq!(passage(&compat, &base), [expected]);
    // A node of this kind can't make calls of Arm.
    let mut foreign = base.clone();
    foreign.architectures.push(Arch::Arm);
    assert_eq!(passage(&foreign, &base), Vec::<String>::new());
}

/// A tracer may be one of the container's own processes.
#[test]
fn tracing_lets_a_call_further_than_denying_it() {
    use Action::{Allow, Errno, Log, Trace};
    let base = profile(Errno, &[("read", Allow, &[])]);
    let traced = profile(Errno, &[("read", Allow, &[]), ("mount", Trace, &[])]);
    let logged = profile(Errno, &[("read", Log, &[])]);
    assert_eq!(passage(&traced, &base).len(), 1);
    assert_eq!(passage(&traced, &traced), Vec::<String>::new());
    assert_eq!(passage(&base, &logged), Vec::<String>::new());
    let strict =
        looser(&base, &logged, Runtime::Runc, NATIVE, Relation::Strictness).expect("runc takes both");
    let outcomes: Vec<Outcome> = strict.iter().map(|difference| difference.theirs).collect();
    assert_eq!(outcomes, [Outcome::new(Log, None)]);
}

/// libseccomp merges these two rules into a filter that lets more through than either says.
#[test]
fn a_contested_filter_counts_as_looser() {
    use Action::{Allow, Errno};
    use Operator::{Equal, NotEqual};
    let base =
        profile(Errno, &[("ioctl", Allow, &[(1, Equal, 1, 0)]), ("ioctl", Allow, &[(1, Equal, 2, 0)])]);
    let hidden = profile(
        Errno,
        &[
            ("ioctl", Allow, &[(0, NotEqual, 5, 0), (1, Equal, 1, 0)]),
            ("ioctl", Allow, &[(0, NotEqual, 7, 0), (1, Equal, 2, 0)]),
        ],
    );
    let differences =
        looser(&hidden, &base, Runtime::Crun, NATIVE, Relation::Passage).expect("crun takes both");
    assert!(
        !differences.is_empty() && differences.iter().all(|difference| !difference.certain),
        "{differences:?}"
    );
}

#[test]
fn names_the_rules_that_are_at_odds() {
    use Action::{Allow, Errno, Log};
    use Operator::{Equal, LessThan, NotEqual};
    let overlapping =
        profile(Errno, &[("ioctl", Allow, &[(1, LessThan, 5, 0)]), ("ioctl", Log, &[(1, Equal, 4, 0)])]);
    let all = disputes(&overlapping, Runtime::Runc, NATIVE).expect("runc takes it");
    assert_eq!((all[0].call.as_str(), &all[0].rules[..]), ("ioctl", &[0, 1][..]));
    let DisputeCause::Overlap { condition } = &all[0].cause else { panic!("{all:?}") };
    assert!(condition.contains("arg1 == 4"), "{condition}");

    // These two make libseccomp 2.5.4 loop for ever, so that they must not be loaded here.
    let endless = profile(
        Errno,
        &[
            ("read", Allow, &[]),
            ("ioctl", Allow, &[(0, NotEqual, 3, 0), (1, NotEqual, 8, 0)]),
            ("ioctl", Allow, &[(2, NotEqual, 1, 0), (0, NotEqual, 3, 0)]),
        ],
    );
    let all = disputes(&endless, Runtime::Runc, NATIVE).expect("runc takes it");
    assert_eq!((all.len(), &all[0].rules[..], &all[0].cause), (1, &[1, 2][..], &DisputeCause::Endless));
    let mut replaced = endless;
    replaced.syscalls.push(Rule { args: Vec::new(), ..replaced.syscalls[1].clone() });
    let all = disputes(&replaced, Runtime::Runc, NATIVE).expect("runc takes it");
    assert_eq!((all.len(), &all[0].rules[..], &all[0].cause), (1, &[1, 2][..], &DisputeCause::Endless));
}

/// libseccomp merges the rules of a call up to the first unconditional one, which replaces them: it refuses what it can't merge until
/// then, and no more.
#[test]
fn names_the_rules_that_keep_a_profile_from_being_loaded() {
    use Action::{Allow, Errno, Log};
    use Operator::{Equal, GreaterThan, LessOrEqual, LessThan, MaskedEq, NotEqual};
    type Rules<'a> = &'a [Written<'a>];
    let (four, too): (Written<'_>, Written<'_>) =
        (("ioctl", Allow, &[(1, Equal, 4, 0)]), ("ioctl", Log, &[(1, Equal, 4, 0)]));
    let always: Written<'_> = ("ioctl", Allow, &[]);
    let two: (Written<'_>, Written<'_>) = (
        ("ioctl", Allow, &[(1, Equal, 4, 0), (2, Equal, 5, 0)]),
        ("ioctl", Log, &[(2, Equal, 5, 0), (1, Equal, 4, 0)]),
    );
    let refused: &[Rules<'_>] = &[
        &[four, too, always],
        &[two.0, two.1, always],
        &[two.0, too, always],
        &[
            ("_llseek", Allow, &[(1, Equal, 4, 0)]),
            ("_llseek", Log, &[(1, Equal, 4, 0)]),
            ("read", Allow, &[]),
        ],
        // No argument is below 0.
        &[("ioctl", Allow, &[(1, LessThan, 0, 0)]), ("ioctl", Log, &[(1, LessThan, 0, 0)])],
    ];
    for rules in refused {
        let profile = profile(Errno, rules);
        assert!(program(&profile, Runtime::Crun).is_err(), "libseccomp takes {rules:?}");
        let all = disputes(&profile, Runtime::Crun, NATIVE).expect("crun takes it");
        assert_eq!((all.len(), &all[0].rules[..]), (1, &[0, 1][..]), "{rules:?}");
        assert_eq!(all[0].cause, DisputeCause::Refused, "{rules:?}");
    }
    let loaded: &[Rules<'_>] = &[
        &[four, always, too],
        &[always, four, too],
        &[four, ("ioctl", Log, &[(2, Equal, 5, 0)]), always],
        &[four, ("ioctl", Log, &[(1, MaskedEq, 4, 4)]), always],
        &[four, ("ioctl", Log, &[(1, LessThan, 5, 0)]), always],
        &[("ioctl", Allow, &[(1, GreaterThan, 4, 0)]), ("ioctl", Log, &[(1, GreaterThan, 5, 0)]), always],
        &[too, two.0, always],
        &[four, four, always],
        // The same to the kernel, and not to libseccomp.
        &[four, ("ioctl", Log, &[(1, MaskedEq, u64::MAX, 4)]), always],
        &[("ioctl", Allow, &[(1, LessThan, 6, 0)]), ("ioctl", Log, &[(1, LessOrEqual, 5, 0)]), always],
        // Merged wrongly, if they came into the filter.
        &[
            ("ioctl", Allow, &[(0, NotEqual, 5, 0), (1, Equal, 1, 0)]),
            ("ioctl", Allow, &[(0, NotEqual, 7, 0), (1, Equal, 2, 0)]),
            always,
        ],
    ];
    for rules in loaded {
        let profile = profile(Errno, rules);
        assert!(program(&profile, Runtime::Crun).is_ok(), "libseccomp refuses {rules:?}");
        assert_eq!(disputes(&profile, Runtime::Crun, NATIVE), Ok(Vec::new()), "{rules:?}");
    }
}

/// The baseline of every decision is sure of itself, and not looser than itself.
#[test]
fn the_runtimes_default_is_undisputed() {
    for default in portcullis_profile::runtime_defaults() {
        let (arch, profile) = (default.arch, &default.profile);
        for runtime in [Runtime::Runc, Runtime::Crun] {
            assert_eq!(disputes(profile, runtime, arch), Ok(Vec::new()));
            assert_eq!(looser(profile, profile, runtime, arch, Relation::Strictness), Ok(Vec::new()));
        }
    }
}
