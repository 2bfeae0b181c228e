//! Documents at the limits of the custom resource's schema, each made to cost whoever judges it as much as possible.

use portcullis_profile::{Action, Arch, Arg, Operator, Profile, Rule, syscalls};

/// Rules of a document, names of a rule and bytes of a document that the schema takes.
const MAX_RULES: usize = 1024;
const MAX_NAMES: usize = 512;
const MAX_BYTES: usize = 256 << 10;

/// Every architecture of the nodes that images are built for, and those that their kernels run besides.
const ARCHES: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

fn profile(syscalls: Vec<Rule>) -> Profile {
    Profile {
        default_action: Action::Errno,
        default_errno_ret: Some(38),
        architectures: ARCHES.to_vec(),
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

/// As many of these rules as the schema takes.
fn as_many(rules: impl Iterator<Item = Rule>) -> Profile {
    let mut bytes = 0;
    let fits = |rule: &Rule| {
        bytes += serde_json::to_string(rule).expect("a rule is JSON").len() + 1;
        bytes < MAX_BYTES - 1024
    };
    profile(rules.take(MAX_RULES).take_while(fits).collect())
}

fn rule(names: Vec<String>, at: usize, args: Vec<Arg>) -> Rule {
    Rule { names, action: [Action::Allow, Action::Log][at % 2], errno_ret: None, args }
}

fn arg(index: u8, op: Operator, value: u64, value_two: u64) -> Arg {
    Arg { index, value, value_two, op }
}

fn known() -> Vec<String> {
    let mut names: Vec<String> =
        syscalls::calls(Arch::X86_64).into_iter().flatten().map(|(name, _)| name.to_owned()).collect();
    names.truncate(MAX_NAMES);
    names
}

/// Numbers that look random, the same each time.
fn scattered() -> impl FnMut(u64) -> u64 {
    let mut state = 1u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn repeated_name(last: bool) -> Profile {
    let mut document = as_many((0..).map(|at| {
        rule(vec!["dup".to_owned(); MAX_NAMES], at, vec![arg(0, Operator::Equal, 1000 + at as u64, 0)])
    }));
    if last {
        document.syscalls.push(rule(vec!["dup".to_owned()], 0, Vec::new()));
    }
    document
}

fn one_call(op: Operator, conditions: u8) -> Profile {
    as_many((0..).map(|at| {
        let value = 1000 + at as u64;
        let args = (0..conditions).map(|index| arg(index, op, value + u64::from(index), value)).collect();
        rule(vec!["ioctl".to_owned()], at, args)
    }))
}

/// Rules that a runtime splits into one for each condition.
fn alternatives() -> Profile {
    as_many((0..).map(|at| {
        let args = (0..6).map(|one| arg(0, Operator::MaskedEq, u64::MAX, at as u64 * 6 + one)).collect();
        rule(vec!["ioctl".to_owned(), "fcntl".to_owned()], at, args)
    }))
}

fn every_call(conditions: u8) -> Profile {
    let names = known();
    as_many((0..).map(move |at| {
        let args = (0..conditions).map(|index| arg(index, Operator::NotEqual, at as u64, 0)).collect();
        rule(names.clone(), at, args)
    }))
}

/// Holes of a few bits each, in which it is hard to find a value or that there is none.
fn holes(name: &str) -> Profile {
    let mut next = scattered();
    let name = name.to_owned();
    as_many((0..).map(move |at| {
        let args = (0..6).map(|index| {
            let mut mask = 0u64;
            while mask.count_ones() < 4 {
                mask |= 1 << next(64);
            }
            let datum = mask & (next(1 << 31) << 33 | next(1 << 31) << 2 | next(4));
            arg(index, Operator::MaskedEq, mask, datum)
        });
        rule(vec![name.clone()], at, args.collect())
    }))
}

fn unknown_names(letters: usize) -> Profile {
    let mut number = 0usize;
    as_many((0..).map(move |at| {
        let names = (0..MAX_NAMES).map(|_| {
            number += 1;
            format!("x{number:0letters$}")
        });
        let args = vec![arg(0, Operator::Equal, at as u64, 0)];
        rule(names.collect(), at, if at % 2 == 0 { args } else { Vec::new() })
    }))
}

/// An unknown name in every rule, each with other conditions.
fn unknown_name() -> Profile {
    as_many((0..).map(|at| {
        let args = (0..3).map(|index| arg(index, Operator::Equal, at as u64, 0)).collect();
        rule(vec!["brand_new".to_owned(), "newer_still".to_owned()], at, args)
    }))
}

fn denials() -> Profile {
    let mut document = every_call(1);
    document.default_action = Action::Allow;
    document.default_errno_ret = None;
    for rule in &mut document.syscalls {
        (rule.action, rule.errno_ret) = (Action::Errno, Some(1));
    }
    document
}

/// Each with what it is for.
pub(crate) fn documents() -> Vec<(&'static str, Profile)> {
    vec![
        ("one name 512 times in a rule", repeated_name(false)),
        ("the same, replaced by a rule without conditions", repeated_name(true)),
        ("a thousand values of one call", one_call(Operator::Equal, 1)),
        ("a thousand holes of one call", one_call(Operator::NotEqual, 1)),
        ("a thousand rules of six orders for one call", one_call(Operator::GreaterThan, 6)),
        ("six alternatives in each rule", alternatives()),
        ("every call in every rule", every_call(0)),
        ("every call with a condition", every_call(1)),
        ("every call with six conditions", every_call(6)),
        ("scattered bits of a call of the runtime default's", holes("clone")),
        ("scattered bits of a call made through another", holes("socket")),
        ("one-letter unknown names", unknown_names(1)),
        ("long unknown names", unknown_names(50)),
        ("an unknown name with a thousand conditions", unknown_name()),
        ("denials of every call", denials()),
    ]
}

/// Parts of a union, as many as the controller takes.
pub(crate) fn unions() -> Vec<(&'static str, Vec<Profile>)> {
    const PARTS: usize = 32;
    let with = |make: &dyn Fn(u64) -> Profile| (0..PARTS as u64).map(make).collect();
    let few = |mut document: Profile, rules: usize| {
        document.syscalls.truncate(rules);
        document
    };
    let shifted = |document: Profile, by: u64| {
        let mut document = document;
        for arg in document.syscalls.iter_mut().flat_map(|rule| &mut rule.args) {
            arg.value_two = arg.value_two.wrapping_add(by);
        }
        document
    };
    vec![
        ("every call, many times", with(&|_| few(every_call(0), 1))),
        ("every call with a condition, many times", with(&|_| few(every_call(1), 1))),
        ("a hundred values of one call in each", with(&|_| few(one_call(Operator::Equal, 1), 100))),
        ("scattered bits in each", with(&|by| shifted(few(holes("clone"), 8), by))),
        (
            "other actions for every call",
            with(&|by| {
                let mut document = few(every_call(0), 1);
                document.syscalls[0].action = [Action::Allow, Action::Log, Action::Trace][by as usize % 3];
                document
            }),
        ),
    ]
}
