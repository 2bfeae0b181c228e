//! The model against the programs that libseccomp makes of the same profiles.
#![cfg(target_arch = "x86_64")]

mod oracle;

use std::cell::Cell;

use oracle::{NATIVE, audit_arch, bpf, generate, outcome, program};
use portcullis_profile::{
    Action, Arch, Arg, Operator, Profile, Rule,
    compare::{Dispute, DisputeCause, disputes},
    evaluate::{Evaluator, Outcome, Reason, Runtime},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

const RUNTIMES: &[Runtime] = &[Runtime::Runc, Runtime::Crun];
const ARCHES: &[Arch] = &[Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::Riscv64];

type Calls = Vec<(Arch, u32, [u64; 6])>;

fn calls(profile: &Profile) -> impl Strategy<Value = Calls> + use<> {
    let call = select(ARCHES).prop_flat_map(|arch| (Just(arch), select(generate::numbers(arch))));
    prop::collection::vec((call, generate::arguments(&[profile])), 120).prop_map(|all| {
        all.into_iter().map(|((arch, number), arguments)| (arch, number, arguments)).collect()
    })
}

fn case() -> impl Strategy<Value = (Profile, Runtime, Calls)> {
    (generate::profile(), select(RUNTIMES)).prop_flat_map(|(profile, runtime)| {
        let calls = calls(&profile);
        (Just(profile), Just(runtime), calls)
    })
}

/// Every profile's program and the model give the same answer to every call; where the model gives a span, the
/// program's answer lies in it.
#[test]
fn evaluates_as_libseccomps_program_does() {
    let (certain, contested, refused) = (Cell::new(0u64), Cell::new(0u64), Cell::new(0u64));
    let config = ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&case(), |(profile, runtime, calls)| {
        let evaluator = Evaluator::new(&profile, runtime, NATIVE).expect("no such profile is generated");
        let Ok(program) = program(&profile, runtime) else {
            let said = disputes(&profile, runtime, NATIVE).expect("no such profile is generated");
            prop_assert!(!said.is_empty(), "refused and undisputed");
            refused.set(refused.get() + 1);
            return Ok(());
        };
        for (arch, number, arguments) in calls {
            // x32's numbers go with x86-64's audit architecture.
            let number = if arch == Arch::X32 { number | 1 << 30 } else { number };
            let actual = outcome(bpf::run(&program, audit_arch(arch), number, &arguments));
            let decision = evaluator.evaluate(arch, number, arguments);
            let Reason::Contested { strictest } = decision.reason else {
                prop_assert_eq!(
                    decision.outcome,
                    actual,
                    "{} {} {:x?} {:?}",
                    arch,
                    number,
                    arguments,
                    decision
                );
                certain.set(certain.get() + 1);
                continue;
            };
            let span = decision.outcome.strictness()..=strictest.strictness();
            prop_assert!(
                span.contains(&actual.strictness()),
                "{arch} {number} {arguments:x?}: {actual} is not in {decision:?}"
            );
            contested.set(contested.get() + 1);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let (certain, contested, refused) = (certain.get(), contested.get(), refused.get());
    let counts = format!("certain {certain}, contested {contested}, refused {refused}");
    assert!(certain > 300_000 && contested < certain / 20 && refused > 20, "{counts}");
}

/// For each argument the values at the boundaries of what rules compare it with.
fn corners(profile: &Profile) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6]];
    for index in 0..3u8 {
        let args = profile.syscalls.iter().flat_map(|rule| &rule.args).filter(|arg| arg.index == index);
        let mut values: Vec<u64> = args
            .flat_map(|arg| match arg.op {
                Operator::MaskedEq => {
                    [arg.value_two & arg.value, arg.value_two | !arg.value, !arg.value_two, 0]
                }
                _ => [arg.value, arg.value.wrapping_add(1), arg.value.wrapping_sub(1), arg.value ^ 1 << 32],
            })
            .chain([0, u64::MAX])
            .collect();
        values.sort_unstable();
        values.dedup();
        let extended = |one: &[u64; 6]| {
            let mut one = *one;
            values
                .iter()
                .map(move |&value| {
                    one[usize::from(index)] = value;
                    one
                })
                .collect::<Vec<_>>()
        };
        all = all.iter().flat_map(extended).collect();
    }
    all
}

/// What the program does with the arguments that matter of every call that may be tangled.
fn answers(profile: &Profile, program: &[bpf::Instruction]) -> Vec<(Arch, u32, [u64; 6], Outcome)> {
    let corners = corners(profile);
    let listed = ARCHES.iter().filter(|arch| **arch == NATIVE || profile.architectures.contains(arch));
    let mut all = Vec::new();
    for &arch in listed {
        let numbers = ["socket", "socketcall", "ioctl"]
            .into_iter()
            .filter_map(|name| portcullis_profile::syscalls::number(arch, name));
        for number in numbers {
            for &arguments in &corners {
                all.push((
                    arch,
                    number,
                    arguments,
                    outcome(bpf::run(program, audit_arch(arch), number, &arguments)),
                ));
            }
        }
    }
    all
}

/// Groups of rules that libseccomp may merge wrongly: where the model is sure, the program does as it says for every kind of
/// arguments; where it says that they are refused or merged wrongly, they are.
#[test]
fn tangled_rules_are_judged_by_libseccomps_own_algorithm() {
    let [faithful, wrong, unseen, refused, endless] = [const { Cell::new(0) }; 5];
    let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
    let config = ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&generate::tangled(), |profile| {
        let said = disputes(&profile, Runtime::Crun, NATIVE).expect("no such profile is generated");
        if said.iter().any(|dispute| dispute.cause == DisputeCause::Endless) {
            count(&endless);
            return Ok(());
        }
        let refusal = said.iter().any(|dispute| dispute.cause == DisputeCause::Refused);
        let Ok(program) = program(&profile, Runtime::Crun) else {
            prop_assert!(!said.is_empty(), "refused and undisputed");
            count(&refused);
            return Ok(());
        };
        prop_assert!(!refusal, "not refused: {said:?}");
        let evaluator =
            Evaluator::new(&profile, Runtime::Crun, NATIVE).expect("no such profile is generated");
        let answers = answers(&profile, &program);
        for &(arch, number, arguments, actual) in &answers {
            let decision = evaluator.evaluate(arch, number, arguments);
            if !decision.is_contested() {
                prop_assert_eq!(decision.outcome, actual, "{} {} {:x?}", arch, number, arguments);
            }
        }
        // What is said of `socket` through `socketcall` has no words of its own here.
        let wrongly = said.iter().filter(|dispute| dispute.cause == DisputeCause::Merge);
        match wrongly.clone().find(|dispute| dispute.call != "socketcall").or(wrongly.clone().next()) {
            Some(dispute) if dispute.call == "socketcall" => {}
            Some(dispute) => {
                count(if is_wrong(&profile, &program, dispute) { &wrong } else { &unseen });
            }
            None => count(&faithful),
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let counts = [&faithful, &wrong, &refused, &endless].map(Cell::get);
    assert!(counts[0] > 500 && counts[1] > 20 && counts[2] > 4, "{counts:?}");
    // A wrong answer to few of very many arguments isn't met by chance.
    assert!(unseen.get() <= wrong.get() / 2, "{} of {}", unseen.get(), wrong.get());
}

/// Whether the program does something else than the rules say, with some arguments of the words that they compare with.
fn is_wrong(profile: &Profile, program: &[bpf::Instruction], dispute: &Dispute) -> bool {
    let number = portcullis_profile::syscalls::number(dispute.arch, &dispute.call).expect("a known name");
    let mut words: Vec<u64> = profile
        .syscalls
        .iter()
        .flat_map(|rule| &rule.args)
        .flat_map(|arg| [arg.value, arg.value_two, arg.value & arg.value_two, !arg.value])
        .flat_map(|value| [value & 0xffff_ffff, value >> 32])
        .flat_map(|word| [word, word.wrapping_add(1), word.wrapping_sub(1)])
        .chain([0, 1])
        .map(|word| word & 0xffff_ffff)
        .collect();
    words.sort_unstable();
    words.dedup();
    let mut state = 1u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        words[(state >> 33) as usize % words.len()]
    };
    let mut arguments = || [(); 6].map(|()| word() << 32 | word());
    (0..50_000).map(|_| arguments()).any(|arguments| {
        let actual = outcome(bpf::run(program, audit_arch(dispute.arch), number, &arguments));
        says(profile, dispute.arch, number, &arguments).is_some_and(|said| said != actual)
    })
}

/// What the rules say of a call by their words, where those that match agree.
fn says(profile: &Profile, arch: Arch, number: u32, arguments: &[u64; 6]) -> Option<Outcome> {
    let narrow = matches!(arch, Arch::X86 | Arch::X32 | Arch::Arm);
    let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
    let holds = |arg: &Arg| {
        let (argument, value) = (cut(arguments[usize::from(arg.index)]), cut(arg.value));
        match arg.op {
            Operator::NotEqual => argument != value,
            Operator::LessThan => argument < value,
            Operator::LessOrEqual => argument <= value,
            Operator::Equal => argument == value,
            Operator::GreaterOrEqual => argument >= value,
            Operator::GreaterThan => argument > value,
            Operator::MaskedEq => argument & value == arg.value_two & value,
        }
    };
    let name = portcullis_profile::syscalls::name(arch, number)?;
    let mut matching = profile
        .syscalls
        .iter()
        .filter(|rule| rule.names.iter().any(|one| one == name) && rule.args.iter().all(holds))
        .map(Outcome::of_rule);
    let first = matching.next().unwrap_or(Outcome::of_default(profile));
    matching.all(|other| other == first).then_some(first)
}

fn rule(name: &str, action: Action, args: &[(u8, Operator, u64, u64)]) -> Rule {
    let args =
        args.iter().map(|&(index, op, value, value_two)| Arg { index, value, value_two, op }).collect();
    Rule { names: vec![name.to_owned()], action, errno_ret: None, args }
}

fn deny_but(rules: Vec<Rule>) -> Profile {
    Profile {
        default_action: Action::Errno,
        default_errno_ret: None,
        architectures: vec![NATIVE],
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls: rules,
    }
}

fn both(profile: &Profile, name: &str, arguments: [u64; 6]) -> (Action, Action, Reason) {
    let number = portcullis_profile::syscalls::number(NATIVE, name).expect("a known name");
    let program = program(profile, Runtime::Crun).expect("libseccomp takes the profile");
    let evaluator = Evaluator::new(profile, Runtime::Crun, NATIVE).expect("crun takes the profile");
    let decision = evaluator.evaluate(NATIVE, number, arguments);
    (
        outcome(bpf::run(&program, audit_arch(NATIVE), number, &arguments)).action(),
        decision.outcome.action(),
        decision.reason,
    )
}

/// `(flags & 0) == 2` holds for every open: libseccomp drops the datum's bits outside the mask, and a condition
/// without a mask.
#[test]
fn a_masked_comparison_drops_the_datums_other_bits() {
    let profile = deny_but(vec![
        rule("openat", Action::Allow, &[(2, Operator::MaskedEq, 0, 2)]),
        rule("ioctl", Action::Allow, &[(1, Operator::MaskedEq, 1, 2)]),
    ]);
    assert_eq!(both(&profile, "openat", [0, 0, 1, 0, 0, 0]), (Action::Allow, Action::Allow, Reason::Rule(0)));
    assert_eq!(both(&profile, "ioctl", [0, 2, 0, 0, 0, 0]), (Action::Allow, Action::Allow, Reason::Rule(1)));
    assert_eq!(both(&profile, "ioctl", [0, 3, 0, 0, 0, 0]), (Action::Errno, Action::Errno, Reason::Default));
}

/// Two rules that each deny `a0 = 5, a1 = 1`, in a filter that allows it.
#[test]
fn a_wrong_merge_is_contested() {
    use Operator::{Equal, NotEqual};
    let profile = deny_but(vec![
        rule("ioctl", Action::Allow, &[(0, NotEqual, 5, 0), (1, Equal, 1, 0)]),
        rule("ioctl", Action::Allow, &[(0, NotEqual, 7, 0), (1, Equal, 2, 0)]),
    ]);
    let (actual, loosest, reason) = both(&profile, "ioctl", [5, 1, 0, 0, 0, 0]);
    assert_eq!((actual, loosest), (Action::Allow, Action::Allow));
    assert!(matches!(reason, Reason::Contested { strictest } if strictest.action() == Action::Errno));
}

/// Every rule of a filter for x86-64 and x32 without effect, because it looks at no number.
#[test]
fn a_filter_that_looks_at_no_number_is_contested() {
    let mut profile = deny_but(vec![
        rule("socketcall", Action::Allow, &[]),
        rule("ioctl", Action::Allow, &[(1, Operator::Equal, 5, 0)]),
    ]);
    profile.architectures.push(Arch::X32);
    let (actual, loosest, reason) = both(&profile, "ioctl", [0, 5, 0, 0, 0, 0]);
    assert_eq!((actual, loosest), (Action::Errno, Action::Allow));
    assert!(matches!(reason, Reason::Contested { .. }));
    profile.syscalls.push(rule("getppid", Action::Allow, &[]));
    assert_eq!(both(&profile, "ioctl", [0, 5, 0, 0, 0, 0]), (Action::Allow, Action::Allow, Reason::Rule(1)));
}

/// libseccomp refuses a foreign byte order and so does the model, with the reason.
#[test]
fn a_foreign_byte_order_is_refused() {
    let mut profile = deny_but(vec![rule("read", Action::Allow, &[])]);
    profile.architectures.push(Arch::S390x);
    assert!(program(&profile, Runtime::Runc).is_err());
    let refusal = Evaluator::new(&profile, Runtime::Runc, NATIVE).expect_err("runc refuses it").to_string();
    assert!(refusal.contains("SCMP_ARCH_S390X") && refusal.contains("architectures"), "{refusal}");
}
