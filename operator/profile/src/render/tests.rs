use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    Arch, Flag,
    evaluate::{Evaluator, Runtime},
};

fn action() -> impl Strategy<Value = Action> {
    select(Action::ALL)
}

fn arg() -> impl Strategy<Value = Arg> {
    (0..6_u8, select(vec![0, 1, 2, u64::MAX]), 0..3_u64, select(Operator::ALL))
        .prop_map(|(index, value, value_two, op)| Arg { index, value, value_two, op })
}

fn rule() -> impl Strategy<Value = Rule> {
    let names = select(vec!["read", "write", "socket", "socketcall", "ipc", "semop"]);
    (vec(names.prop_map(str::to_owned), 1..4), action(), proptest::option::of(0..3_u32), vec(arg(), 0..3))
        .prop_map(|(names, action, errno_ret, args)| Rule { names, action, errno_ret, args })
}

fn profile() -> impl Strategy<Value = Profile> {
    (
        action(),
        proptest::option::of(any::<u32>()),
        vec(select(Arch::ALL), 0..4),
        vec(select(Flag::ALL), 0..3),
        proptest::option::of(".{0,8}"),
        vec(rule(), 0..8),
    )
        .prop_map(|(default_action, default_errno_ret, architectures, flags, listener, syscalls)| {
            Profile {
                default_action,
                default_errno_ret,
                architectures,
                flags,
                listener_path: listener.clone(),
                listener_metadata: listener,
                syscalls,
            }
        })
}

/// The rules that a runtime gives libseccomp for one call, in order.
fn rules_of<'p>(profile: &'p Profile, name: &str) -> Vec<&'p Rule> {
    profile.syscalls.iter().filter(|rule| rule.names.iter().any(|other| other == name)).collect()
}

/// Whether two rules may change places: no call is in both, or their actions are one.
fn may_swap(one: &Rule, other: &Rule) -> bool {
    let same = one_spelling(one.action) == one_spelling(other.action) && one.errno_ret == other.errno_ret;
    let list = |name: &String| carrier(name).map_or_else(|| name.clone(), str::to_owned);
    same || !one.names.iter().any(|name| other.names.iter().any(|other| list(name) == list(other)))
}

/// Another document of equal content, made by changes that the module's documentation declares irrelevant.
fn shuffled(mut profile: Profile, seed: &[usize]) -> Profile {
    let mut seed = seed.iter().copied().cycle();
    let mut draw = |below: usize| seed.next().unwrap_or(0) % below.max(1);
    profile.architectures.reverse();
    profile.architectures.extend(profile.architectures.first().copied());
    profile.flags.reverse();
    profile.default_action = other_spelling(profile.default_action);
    let mut rules = Vec::new();
    for mut rule in profile.syscalls {
        rule.action = other_spelling(rule.action);
        rule.args.reverse();
        for arg in rule.args.iter_mut().filter(|arg| arg.op != Operator::MaskedEq) {
            arg.value_two = 7;
        }
        rule.names.reverse();
        let rest = rule.names.split_off(draw(rule.names.len()));
        rules.push(Rule { names: rest, ..rule.clone() });
        if draw(3) == 0 {
            rules.push(rule.clone());
        }
        rules.push(rule);
    }
    rules.retain(|rule| !rule.names.is_empty());
    for _ in 0..rules.len() {
        let at = draw(rules.len());
        if at + 1 < rules.len() && may_swap(&rules[at], &rules[at + 1]) {
            rules.swap(at, at + 1);
        }
    }
    Profile { syscalls: rules, ..profile }
}

fn other_spelling(action: Action) -> Action {
    match action {
        Action::Kill => Action::KillThread,
        Action::KillThread => Action::Kill,
        other => other,
    }
}

proptest! {
    #[test]
    fn what_is_rendered_reads_back_as_the_one_form(profile in profile()) {
        prop_assert_eq!(Profile::parse(&profile.render()), Ok(profile.canonical()));
    }

    #[test]
    fn the_one_form_is_its_own(profile in profile()) {
        prop_assert_eq!(profile.canonical().canonical(), profile.canonical());
    }

    #[test]
    fn equal_content_has_one_digest(profile in profile(), seed in vec(any::<usize>(), 1..40)) {
        let other = shuffled(profile.clone(), &seed);
        prop_assert_eq!(
            profile.digest(), other.digest(), "{}\n{}",
            String::from_utf8_lossy(&profile.render()), String::from_utf8_lossy(&other.render())
        );
    }

    /// Nothing is lost, and rules of one call keep their order where their actions differ.
    #[test]
    fn each_call_keeps_its_rules_in_order(profile in profile()) {
        let canonical = profile.canonical();
        for name in ["read", "write", "socket", "socketcall", "ipc", "semop"] {
            let before: Vec<Effect> = rules_of(&profile, name).into_iter().map(effect).collect();
            let after: Vec<Effect> = rules_of(&canonical, name).into_iter().map(effect).collect();
            let distinct: BTreeSet<&Effect> = before.iter().collect();
            prop_assert_eq!(&distinct, &after.iter().collect());
            prop_assert_eq!(distinct.len(), after.len());
            let first = |effect: &Effect| before.iter().position(|other| other == effect);
            for (position, earlier) in after.iter().enumerate() {
                for later in &after[position + 1..] {
                    let same = (earlier.action, earlier.errno_ret) == (later.action, later.errno_ret);
                    prop_assert!(same || first(earlier) < first(later), "{}", name);
                }
            }
        }
    }
}

fn read(document: &str) -> Profile {
    Profile::parse(document.as_bytes()).expect("a valid document")
}

#[test]
fn renders_one_rule_a_line() {
    let profile = read(
        r#"{"syscalls":[
            {"names":["write","read"],"action":"SCMP_ACT_ALLOW","args":[]},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"valueTwo":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["exit","read"],"action":"SCMP_ACT_ALLOW"}],
          "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"defaultErrnoRet":38,"defaultAction":"SCMP_ACT_ERRNO"}"#,
    );
    let expected = r#"{
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 38,
  "architectures": ["SCMP_ARCH_X86","SCMP_ARCH_X86_64"],
  "syscalls": [
    {"names":["exit","read","write"],"action":"SCMP_ACT_ALLOW"},
    {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}
  ]
}
"#;
    assert_eq!(String::from_utf8_lossy(&profile.render()), expected);
}

/// Facts of libseccomp: of overlapping rules with different actions the order decides.
#[test]
fn another_order_of_actions_on_one_call_is_other_content() {
    let rule = |action: &str, value: u8| {
        format!(
            r#"{{"names":["ioctl"],"action":"{action}","args":[{{"index":1,"value":{value},"op":"SCMP_CMP_GE"}}]}}"#
        )
    };
    let (one, other) = (rule("SCMP_ACT_ALLOW", 1), rule("SCMP_ACT_LOG", 2));
    let document = |rules: [&str; 2]| {
        read(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, rules.join(",")))
    };
    assert_ne!(document([&one, &other]).digest(), document([&other, &one]).digest());
}

#[test]
fn what_a_runtime_sees_differently_has_another_digest() {
    let plain = read(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
    for other in [
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","listenerPath":"/x"}"#,
        r#"{"defaultAction":"SCMP_ACT_KILL"}"#,
    ] {
        assert_ne!(read(other).digest(), plain.digest(), "{other}");
    }
}

proptest! {
    /// The filter stays the same, as far as the model can tell.
    #[test]
    fn the_one_form_is_the_same_filter(mut profile in profile(), arguments in vec(select(vec![0, 1, 2, 3, u64::MAX]), 6)) {
        profile.architectures.retain(|&arch| matches!(arch, Arch::X86 | Arch::X32 | Arch::X86_64 | Arch::Aarch64));
        let canonical = profile.canonical();
        let arguments: [u64; 6] = arguments.try_into().expect("six were asked for");
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let evaluators = [&profile, &canonical].map(|profile| Evaluator::new(profile, runtime, Arch::X86_64));
            let [Ok(before), Ok(after)] = evaluators else {
                prop_assert!(evaluators.iter().all(Result::is_err));
                continue;
            };
            for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
                for name in ["read", "write", "socket", "socketcall", "ipc", "semop", "openat", "listns"] {
                    let [before, after] = [&before, &after].map(|evaluator| {
                        evaluator
                            .evaluate_name(arch, name, arguments)
                            .map(|found| found.outcome.strictness()..=found.strictest().strictness())
                    });
                    // Of a rule that stands twice, the model says less than of one that stands once.
                    let within = match (&before, &after) {
                        (Some(before), Some(after)) => before.start() <= after.start() && after.end() <= before.end(),
                        _ => before == after,
                    };
                    prop_assert!(within, "{} on {}: {:?} became {:?}", name, arch, before, after);
                }
            }
        }
    }
}
