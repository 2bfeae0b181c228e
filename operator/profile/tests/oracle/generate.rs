//! Random profiles, and calls at the boundaries of their rules.

use portcullis_profile::{Action, Arch, Arg, Operator, Profile, Rule};
use proptest::{prelude::*, sample::select};

/// Names of every kind: with other numbers elsewhere, on some architectures only, made through `socketcall` and
/// `ipc`, those two themselves, and one that nobody has.
pub(crate) const NAMES: &[&str] = &[
    "read",
    "getppid",
    "clone",
    "socket",
    "accept4",
    "sendmmsg",
    "semop",
    "shmctl",
    "msgget",
    "socketcall",
    "ipc",
    "stat64",
    "_llseek",
    "ioctl",
    "openat2",
    "no_such_call",
];

const ACTIONS: &[Action] = Action::ALL;

/// Values near each other, so that conditions meet; those of `wide` differ in the high word too.
fn value(wide: bool) -> BoxedStrategy<u64> {
    let small = prop_oneof![0..8u64, select(&[u32::MAX as u64 - 1, u32::MAX as u64][..])];
    if wide {
        let high = select(&[1u64 << 32, 1 << 33, u64::MAX - 7][..]);
        prop_oneof![small.clone(), (high, 0..8u64).prop_map(|(high, low)| high | low)].boxed()
    } else {
        small.boxed()
    }
}

fn mask(wide: bool) -> BoxedStrategy<u64> {
    let prefix = (1..32u32).prop_map(|bits| u64::MAX << bits);
    let small = prop_oneof![0..8u64, prefix];
    if wide { prop_oneof![small, any::<u64>()].boxed() } else { small.boxed() }
}

fn arg(operators: &'static [Operator], wide: bool) -> impl Strategy<Value = Arg> {
    (0..3u8, value(wide), mask(wide), value(wide), select(operators)).prop_map(
        |(index, value, mask, value_two, op)| match op {
            Operator::MaskedEq => Arg { index, value: mask, value_two, op },
            _ => Arg { index, value, value_two: 0, op },
        },
    )
}

/// Conditions that libseccomp merges faithfully: one a rule with any operator, or several of the two that compare
/// bits. Indexes may repeat.
pub(crate) fn args() -> impl Strategy<Value = Vec<Arg>> {
    prop_oneof![
        3 => Just(Vec::new()),
        3 => prop::collection::vec(arg(Operator::ALL, false), 1),
        2 => prop::collection::vec(arg(Operator::ALL, true), 1),
        4 => prop::collection::vec(arg(&[Operator::Equal, Operator::MaskedEq], true), 1..=4),
    ]
}

fn action(actions: &'static [Action]) -> impl Strategy<Value = (Action, Option<u32>)> {
    (select(actions), prop_oneof![3 => Just(None), 1 => select(&[1u32, 38][..]).prop_map(Some)]).prop_map(
        |(action, errno)| match action {
            Action::Errno | Action::Trace => (action, errno),
            _ => (action, None),
        },
    )
}

fn rule(actions: &'static [Action]) -> impl Strategy<Value = Rule> {
    (prop::collection::vec(select(NAMES), 1..4), action(actions), args()).prop_map(
        |(names, (action, errno_ret), args)| Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            errno_ret,
            args,
        },
    )
}

pub(crate) fn architectures() -> impl Strategy<Value = Vec<Arch>> {
    prop::sample::subsequence(vec![Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::X86_64], 0..=5)
}

/// A profile with up to `rules` rules of some of the actions.
pub(crate) fn profile_of(
    defaults: &'static [Action],
    actions: &'static [Action],
    rules: usize,
) -> impl Strategy<Value = Profile> {
    (action(defaults), architectures(), prop::collection::vec(rule(actions), 0..=rules)).prop_map(
        |((default_action, default_errno_ret), architectures, syscalls)| Profile {
            default_action,
            default_errno_ret,
            architectures,
            flags: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            syscalls,
        },
    )
}

/// Any profile that both runtimes start.
pub(crate) fn profile() -> impl Strategy<Value = Profile> {
    const DEFAULTS: &[Action] =
        &[Action::Errno, Action::KillProcess, Action::Kill, Action::Allow, Action::Log, Action::Trap];
    prop_oneof![
        profile_of(DEFAULTS, &[Action::Allow, Action::Errno], 8),
        profile_of(DEFAULTS, ACTIONS, 5),
        profile_of(DEFAULTS, ACTIONS, 24),
    ]
}

/// A rule of one to three conditions of any kind, which few of the short rules for a faithful filter cover.
fn tangled_rule(names: &'static [&'static str], actions: &'static [Action]) -> impl Strategy<Value = Rule> {
    let conditions = prop_oneof![
        4 => prop::collection::vec(arg(Operator::ALL, false), 1..=3),
        1 => prop::collection::vec(arg(Operator::ALL, true), 1..=3),
    ]
    .prop_map(|mut args| {
        args.sort_by_key(|arg| arg.index);
        args.dedup_by_key(|arg| arg.index);
        args
    });
    (select(names), action(actions), conditions).prop_map(|(name, (action, errno_ret), args)| Rule {
        names: vec![name.to_owned()],
        action,
        errno_ret,
        args,
    })
}

/// A profile of rules for few calls, whose conditions libseccomp has to merge.
pub(crate) fn tangled() -> impl Strategy<Value = Profile> {
    const CALLS: &[&str] = &["socket", "socketcall", "ioctl"];
    let some = |actions, rules| {
        prop::collection::vec(tangled_rule(CALLS, actions), rules).prop_map(|syscalls| (syscalls, Vec::new()))
    };
    let rules = prop_oneof![
        3 => some(&[Action::Allow], 2..=4),
        2 => some(&[Action::Allow, Action::Errno], 2..=4),
        1 => (some(&[Action::Allow, Action::Log], 2..=4), rule(&[Action::Allow]))
            .prop_map(|((rules, _), last)| (rules, vec![Rule { args: Vec::new(), ..last }])),
    ];
    (action(&[Action::Errno, Action::Trap, Action::KillProcess]), architectures(), rules).prop_map(
        |((default_action, default_errno_ret), architectures, (rules, last))| Profile {
            default_action,
            default_errno_ret,
            architectures,
            flags: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            // A call without conditions has the number loaded.
            syscalls: [rules, last, vec![whole("getppid")]].concat(),
        },
    )
}

fn whole(name: &str) -> Rule {
    Rule { names: vec![name.to_owned()], action: Action::Allow, errno_ret: None, args: Vec::new() }
}

/// A value for an argument: at the boundaries of what the rules compare it with.
pub(crate) fn argument(profiles: &[&Profile], index: u8) -> BoxedStrategy<u64> {
    let mut values: Vec<u64> = profiles
        .iter()
        .flat_map(|profile| &profile.syscalls)
        .flat_map(|rule| &rule.args)
        .filter(|arg| arg.index == index)
        .flat_map(|arg| [arg.value, arg.value_two, arg.value & arg.value_two, !arg.value | arg.value_two])
        .flat_map(|value| {
            [value, value.wrapping_sub(1), value.wrapping_add(1), value ^ (1 << 32), value & 0xffff_ffff]
        })
        .chain([0, 1, u64::MAX])
        .collect();
    values.sort_unstable();
    values.dedup();
    prop_oneof![6 => select(values), 2 => 0..20u64, 1 => any::<u64>()].boxed()
}

pub(crate) fn arguments(profiles: &[&Profile]) -> impl Strategy<Value = [u64; 6]> + use<> {
    let first: Vec<BoxedStrategy<u64>> = (0..3).map(|index| argument(profiles, index)).collect();
    (first, any::<[u64; 3]>())
        .prop_map(|(first, rest)| [first[0], first[1], first[2], rest[0], rest[1], rest[2]])
}

/// The numbers of the names above on an architecture, their neighbours, and the ends.
pub(crate) fn numbers(arch: Arch) -> Vec<u32> {
    let named = NAMES.iter().filter_map(|name| portcullis_profile::syscalls::number(arch, name));
    named
        .flat_map(|number| [number.wrapping_sub(1), number, number + 1])
        .chain([0, 102, 117, 500, 1 << 30, (1 << 30) + 500, u32::MAX, u32::MAX - 1])
        .collect()
}
