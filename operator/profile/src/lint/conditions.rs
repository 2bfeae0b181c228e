//! Conditions on arguments.

use std::collections::BTreeSet;

use super::{
    Code, Findings, shortened,
    subject::{Subject, denies},
};
use crate::{Arch, Arg, Operator, Rule};

const LOW: u64 = 0xffff_ffff;

/// Calls and those of their arguments of which the kernel takes 32 bits (`int`, `unsigned int`).
///
/// Source: the prototypes in Linux' include/linux/syscalls.h. Only arguments that profiles restrict; not complete.
const NARROW: &[(&str, &[u8])] = &[
    ("bpf", &[0, 2]),
    ("fanotify_init", &[0, 1]),
    ("fanotify_mark", &[0, 1]),
    ("fcntl", &[0, 1]),
    ("futex", &[1, 2]),
    ("getsockopt", &[0, 1, 2]),
    ("ioctl", &[0, 1]),
    ("keyctl", &[0]),
    ("kill", &[0, 1]),
    ("open", &[1, 2]),
    ("openat", &[0, 2, 3]),
    ("personality", &[0]),
    ("pidfd_open", &[0, 1]),
    ("prctl", &[0]),
    ("quotactl", &[0]),
    ("setns", &[0, 1]),
    ("setsockopt", &[0, 1, 2]),
    ("socket", &[0, 1, 2]),
    ("socketpair", &[0, 1, 2]),
    ("umount2", &[1]),
];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    for (position, rule) in subject.rules() {
        repeated(position, rule, findings);
        for (arg, condition) in rule.args.iter().enumerate() {
            let path = format!("syscalls[{position}].args[{arg}]");
            one(&path, condition, findings);
            width(subject, &path, rule, condition, findings);
        }
    }
    merged(subject, findings);
}

fn repeated(position: usize, rule: &Rule, findings: &mut Findings) {
    for index in 0..=5 {
        let same: Vec<&Arg> = rule.args.iter().filter(|arg| arg.index == index).collect();
        if same.len() < 2 {
            continue;
        }
        let differing = same.iter().filter(|arg| arg.op == Operator::NotEqual).count();
        let code = if differing > 1 { Code::RepeatedNotEqual } else { Code::RepeatedArgument };
        findings.push(code, format!("syscalls[{position}].args"), || {
            format!("{} conditions are on argument {index}", same.len())
        });
    }
}

fn one(path: &str, arg: &Arg, findings: &mut Findings) {
    let (value, datum) = (arg.value, arg.value_two);
    match arg.op {
        Operator::MaskedEq if datum & !value != 0 => {
            findings.push(Code::MaskedBitsDropped, path.to_owned(), || {
                let meant = if value == 0 {
                    "every argument matches".to_owned()
                } else {
                    format!("what is compared is (argument & {value}) == {}", datum & value)
                };
                format!(
                    "value {value} is the mask and lacks bits {:#x} of valueTwo {datum}, so {meant}",
                    datum & !value
                )
            });
        }
        Operator::LessThan if value == 0 => {
            findings.push(Code::NeverMatches, path.to_owned(), || "nothing is less than 0".to_owned());
        }
        Operator::GreaterThan if value == u64::MAX => {
            findings.push(Code::NeverMatches, path.to_owned(), || format!("nothing is greater than {value}"));
        }
        Operator::MaskedEq if value == 0 => {
            findings.push(Code::AlwaysMatches, path.to_owned(), || {
                "value 0 is the mask: (argument & 0) == 0 always holds".to_owned()
            });
        }
        Operator::GreaterOrEqual if value == 0 => {
            findings.push(Code::AlwaysMatches, path.to_owned(), || "everything is at least 0".to_owned());
        }
        Operator::LessOrEqual if value == u64::MAX => {
            findings.push(Code::AlwaysMatches, path.to_owned(), || format!("everything is at most {value}"));
        }
        _ => {}
    }
    if arg.op != Operator::MaskedEq && datum != 0 {
        findings.push(Code::ValueTwoIgnored, format!("{path}.valueTwo"), || {
            format!("valueTwo {datum} isn't read with {}", arg.op)
        });
    }
}

fn width(subject: &Subject<'_>, path: &str, rule: &Rule, arg: &Arg, findings: &mut Findings) {
    let architectures = subject.architectures();
    let narrow_machine = !architectures.is_empty() && architectures.iter().all(|&arch| is_32_bit(arch));
    let narrow_call = rule.names.iter().find(|name| is_narrow(name, arg.index));
    let wide = arg.value > LOW || (arg.op == Operator::MaskedEq && arg.value_two > LOW);
    let what = || match narrow_call {
        Some(name) => format!("argument {} of {} has 32 bits", arg.index, shortened(name)),
        None => "every listed architecture has 32 bits".to_owned(),
    };
    // A mask of all bits asks for upper bits of 0, which is how one says 'exactly'.
    let too_wide = wide && !(arg.op == Operator::MaskedEq && arg.value_two <= LOW);
    if too_wide && (narrow_call.is_some() || narrow_machine) {
        findings
            .push(Code::ValueTooWide, path.to_owned(), || format!("{}, and the comparison has more", what()));
    } else if narrow_call.is_some() && !narrow_machine && upper_bits_escape(subject, rule, arg) {
        findings.push(Code::UpperBitsEscape, path.to_owned(), || {
            format!("{}, and {} compares 64", what(), arg.op)
        });
    }
}

/// Whether setting an upper bit gets a call round a denial, or into a permission.
fn upper_bits_escape(subject: &Subject<'_>, rule: &Rule, arg: &Arg) -> bool {
    let denies = denies(rule.action);
    if subject.is_default(rule) || denies == subject.denies_by_default() {
        return false;
    }
    match arg.op {
        Operator::Equal | Operator::LessThan | Operator::LessOrEqual => denies,
        Operator::MaskedEq => denies && arg.value > LOW,
        Operator::NotEqual | Operator::GreaterThan | Operator::GreaterOrEqual => !denies,
    }
}

fn is_narrow(name: &str, index: u8) -> bool {
    NARROW.iter().any(|(call, indexes)| *call == name && indexes.contains(&index))
}

pub(super) const fn is_32_bit(arch: Arch) -> bool {
    matches!(
        arch,
        Arch::X86
            | Arch::Arm
            | Arch::Mips
            | Arch::Mipsel
            | Arch::Ppc
            | Arch::S390
            | Arch::Parisc
            | Arch::M68k
            | Arch::Sh
            | Arch::Sheb
    )
}

fn merged(subject: &Subject<'_>, findings: &mut Findings) {
    let mut said = BTreeSet::new();
    for (name, rules) in subject.calls() {
        if subject.decider(rules).is_some() {
            continue;
        }
        let conditional: Vec<&Rule> = rules.iter().filter_map(|&rule| subject.rule(rule)).collect();
        let exact = conditional.iter().flat_map(|rule| &rule.args).all(|arg| arg.op == Operator::Equal);
        let (Some(&first), true) = (rules.first(), conditional.len() > 1 && !exact) else { continue };
        if said.insert(first) {
            findings.push(Code::MergedComparisons, format!("syscalls[{first}]"), || {
                format!("{} rules have conditions on {}", conditional.len(), shortened(name))
            });
        }
    }
}
