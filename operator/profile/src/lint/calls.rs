//! Names of calls, and rules for the same call.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Code, Findings, list, shortened,
    subject::{Fate, Subject},
};
use crate::syscalls::{self, Lookup};

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    names(subject, findings);
    shadowed(subject, findings);
    same_as_default(subject, findings);
    carriers(subject, findings);
    clone3(subject, findings);
}

fn names(subject: &Subject<'_>, findings: &mut Findings) {
    let architectures = subject.architectures();
    for (position, rule) in subject.rules() {
        let mut elsewhere = Vec::new();
        for (place, name) in rule.names.iter().enumerate() {
            if !syscalls::is_known_anywhere(name) {
                findings.push(Code::UnknownCall, format!("syscalls[{position}].names[{place}]"), || {
                    unknown(name)
                });
            } else if !architectures.is_empty()
                && architectures.iter().all(|&arch| syscalls::lookup(arch, name) == Lookup::Elsewhere)
            {
                elsewhere.push(name.as_str());
            }
        }
        if !elsewhere.is_empty() {
            findings.push(Code::CallElsewhere, format!("syscalls[{position}].names"), || {
                format!("only other architectures have {}{}", list(&elsewhere), here(subject, &elsewhere))
            });
        }
    }
}

/// That a name is no call, and what may be meant.
fn unknown(name: &str) -> String {
    let shown = shortened(name);
    if let Some((first, second)) = syscalls::glued(name) {
        return format!("{shown:?} is no system call; did you mean {first} and {second}, two names?");
    }
    match syscalls::suggest(name) {
        Some(meant) => format!("{shown:?} is no system call; did you mean {meant}?"),
        None => format!("{shown:?} is no system call"),
    }
}

/// What calls of other architectures are called on the profile's, where it does not name that.
fn here(subject: &Subject<'_>, elsewhere: &[&str]) -> String {
    let named = |now: &str| subject.rules().any(|(_, rule)| rule.names.iter().any(|name| name == now));
    let meant: BTreeSet<&str> =
        elsewhere.iter().filter_map(|name| syscalls::renamed(name)).filter(|now| !named(now)).collect();
    if meant.is_empty() {
        return String::new();
    }
    format!("; did you mean {}?", Vec::from_iter(meant).join(", "))
}

/// Rules for a call that another one decides about, because it has no conditions: of another action they never take effect, of the
/// same their conditions do nothing.
fn shadowed(subject: &Subject<'_>, findings: &mut Findings) {
    let mut by_rule: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    let mut whole: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for (name, rules) in subject.calls() {
        let Some((decider, deciding)) =
            subject.decider(rules).and_then(|position| Some((position, subject.rule(position)?)))
        else {
            continue;
        };
        for &position in rules.iter().filter(|&&position| position != decider) {
            let Some(rule) = subject.rule(position) else { continue };
            if rule.action != deciding.action || rule.errno_ret != deciding.errno_ret {
                by_rule.entry((position, decider)).or_default().push(name);
            } else if !rule.args.is_empty() {
                whole.entry((position, decider)).or_default().push(name);
            }
        }
    }
    for ((position, decider), names) in by_rule {
        findings.push(Code::ShadowedRule, format!("syscalls[{position}]"), || {
            format!("syscalls[{decider}] has no conditions and decides about {}", list(&names))
        });
    }
    for ((position, decider), names) in whole {
        findings.push(Code::DeadCondition, format!("syscalls[{position}].args"), || {
            format!(
                "the conditions of syscalls[{position}] do nothing: syscalls[{decider}] has the same action for {} without conditions",
                list(&names)
            )
        });
    }
}

fn same_as_default(subject: &Subject<'_>, findings: &mut Findings) {
    for (position, rule) in subject.rules().filter(|(_, rule)| subject.is_default(rule)) {
        findings.push(Code::SameAsDefault, format!("syscalls[{position}]"), || {
            format!("{} is the default action", rule.action)
        });
    }
}

fn carriers(subject: &Subject<'_>, findings: &mut Findings) {
    let architectures = subject.architectures();
    for carrier in ["socketcall", "ipc"] {
        if subject.fate(carrier) != Fate::Passes {
            continue;
        }
        let restricted: BTreeSet<&str> = syscalls::names()
            .filter(|name| {
                architectures
                    .iter()
                    .any(|&arch| syscalls::multiplexed(arch, name).is_some_and(|way| way.through == carrier))
                    && subject.fate(name) != Fate::Passes
            })
            .collect();
        if !restricted.is_empty() {
            let names: Vec<&str> = restricted.into_iter().collect();
            findings.push(Code::CarrierEscape, place(subject, carrier), || {
                format!("{carrier} is let through, and {} restricted", list(&names))
            });
        }
    }
}

fn clone3(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.fate("clone") == Fate::Depends && subject.fate("clone3") == Fate::Passes {
        findings.push(Code::Clone3Escape, place(subject, "clone3"), || {
            "clone has conditions, and clone3 is let through".to_owned()
        });
    }
}

/// The rule that decides about a call, else the default action.
fn place(subject: &Subject<'_>, name: &str) -> String {
    subject
        .decider_of(name)
        .map_or_else(|| "defaultAction".to_owned(), |position| format!("syscalls[{position}]"))
}
