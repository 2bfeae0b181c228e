use std::io::{Read, Seek};

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{Arg, Operator, Profile, Rule, lint::LintContext, runtime_default, syscalls};

/// How many instructions libseccomp makes of a profile, as runc asks it to.
fn actual(profile: &Profile) -> usize {
    let mut filter = ScmpFilterContext::new(ScmpAction::Errno(38)).expect("a filter");
    for arch in &profile.architectures {
        let arch = match arch {
            Arch::X86 => ScmpArch::X86,
            Arch::X32 => ScmpArch::X32,
            _ => ScmpArch::X8664,
        };
        filter.add_arch(arch).expect("an architecture");
    }
    // runc asks for a binary tree from 33 rules on: a rule for each name.
    if profile.syscalls.iter().map(|rule| rule.names.len()).sum::<usize>() > 32 {
        filter.set_ctl_optimize(2).expect("libseccomp 2.5 has it");
    }
    for rule in &profile.syscalls {
        for name in &rule.names {
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(condition).collect();
            // A rule that another one covers is refused with EEXIST, which runtimes take for success.
            let _ = filter.add_rule_conditional(ScmpAction::Allow, call, &conditions);
        }
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    filter.export_bpf(&file).expect("a program");
    let mut program = Vec::new();
    file.rewind().expect("a file can be rewound");
    file.read_to_end(&mut program).expect("the program");
    program.len() / 8
}

fn condition(arg: &Arg) -> ScmpArgCompare {
    let op = match arg.op {
        Operator::NotEqual => ScmpCompareOp::NotEqual,
        Operator::LessThan => ScmpCompareOp::Less,
        Operator::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Operator::Equal => ScmpCompareOp::Equal,
        Operator::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
        Operator::GreaterThan => ScmpCompareOp::Greater,
        Operator::MaskedEq => ScmpCompareOp::MaskedEqual(arg.value),
    };
    let datum = if arg.op == Operator::MaskedEq { arg.value_two } else { arg.value };
    ScmpArgCompare::new(u32::from(arg.index), op, datum)
}

fn estimate(profile: &Profile) -> usize {
    instructions(&Subject::new(profile, &LintContext::default()))
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    // The installed libseccomp skips names newer than itself.
    let names: Vec<&'static str> =
        syscalls::names().filter(|name| ScmpSyscall::from_name(name).is_ok()).collect();
    let arg = (any::<u64>(), any::<u64>(), select(Operator::ALL));
    let args = vec(arg, 0..4).prop_map(|args| {
        let args = (0..).zip(args);
        args.map(|(index, (value, datum, op))| Arg { index, value, value_two: datum & value, op }).collect()
    });
    let rule = (vec(select(names).prop_map(str::to_owned), 1..20), args);
    let rule = rule.prop_map(|(mut names, args): (Vec<String>, Vec<Arg>)| {
        // libseccomp makes equal conditions of several calls once, which the estimate doesn't count on.
        names.truncate(if args.is_empty() { names.len() } else { 1 });
        Rule { names, action: Action::Allow, errno_ret: None, args }
    });
    vec(rule, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The estimate is never too low, and not so high that it would cry wolf.
    #[test]
    fn the_estimate_bounds_what_libseccomp_makes(syscalls in rules(), many in any::<bool>()) {
        let architectures = if many { vec![Arch::X86, Arch::X86_64, Arch::X32] } else { vec![Arch::X86_64] };
        let default_action = Action::Errno;
        let profile = Profile {
            default_action, default_errno_ret: Some(38), architectures, flags: vec![], listener_path: None,
            listener_metadata: None, syscalls,
        };
        let (actual, estimate) = (actual(&profile), estimate(&profile));
        prop_assert!(actual <= estimate, "{} instructions, estimated at {}", actual, estimate);
        prop_assert!(estimate <= 3 * actual + 64, "{} instructions, estimated at {}", actual, estimate);
    }
}

#[test]
fn the_runtime_default_is_far_from_the_limit() {
    let profile = &runtime_default(Arch::X86_64).expect("it has one").profile;
    let (actual, estimate) = (actual(profile), estimate(profile));
    assert!(
        actual <= estimate && estimate < MAX_INSTRUCTIONS,
        "{actual} instructions, estimated at {estimate}"
    );
}

proptest! {
    /// The document is rendered only where it may be too long.
    #[test]
    fn the_cheap_bound_is_never_below_the_documents_length(
        names in vec("[a-z\u{7f}\"é]{0,20}", 0..40),
        values in vec(any::<u64>(), 0..8),
        errno in any::<Option<u32>>(),
        path in proptest::option::of(".{0,20}"),
    ) {
        let args = values.iter().map(|value| Arg {
            index: 5, value: *value, value_two: *value, op: Operator::GreaterOrEqual,
        });
        let rule = Rule { names, action: Action::KillProcess, errno_ret: errno, args: args.collect() };
        let profile = Profile {
            default_action: Action::KillThread,
            default_errno_ret: errno,
            architectures: Arch::ALL.to_vec(),
            flags: crate::Flag::ALL.to_vec(),
            listener_path: path.clone(),
            listener_metadata: path,
            syscalls: vec![rule.clone(), rule],
        };
        let context = LintContext::default();
        prop_assert!(at_most(&Subject::new(&profile, &context)) >= profile.render().len());
    }
}
