//! Calls without which no container starts, whatever the application needs.

use std::collections::BTreeMap;

use super::{
    Code, Findings,
    subject::{Fate, Subject},
};
use crate::{
    Action,
    evaluate::{Outcome, Passage, Runtime},
    runtime_base::{self, ALWAYS, BaseCall, Denied},
    syscalls::{self, Lookup},
};

const ENOSYS: u32 = 38;

/// runc's calls without which no container starts, or may not; with no_new_privs, or those that it makes without it alone.
fn needed(escalation: bool) -> Vec<&'static str> {
    runtime_base::calls(Runtime::Runc)
        .iter()
        .filter(|call| call.escalation == escalation && call.denied != Denied::Starts)
        .map(|call| call.name)
        .collect()
}

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    let path = || "syscalls".to_owned();
    let said = nothing_starts(subject, findings);
    let mut always = denied(subject, ALWAYS);
    always.retain(|name| !said.contains(name));
    if !always.is_empty() {
        findings.push(Code::AlwaysNeeded, path(), || format!("{} denied", are(&always)));
    }
    let mut runc = denied(subject, &needed(false));
    runc.retain(|name| !said.contains(name));
    if !runc.is_empty() {
        let kills =
            matches!(subject.profile.default_action, Action::Kill | Action::KillThread | Action::KillProcess);
        let code = if kills { Code::KillsRuntime } else { Code::RuntimeCalls };
        findings.push(code, path(), || format!("{} denied{}", are(&runc), newer(&runc)));
    }
    let escalation = denied(subject, &needed(true));
    if !escalation.is_empty() {
        findings.push(Code::EscalationCalls, path(), || {
            format!("{} denied{}", are(&escalation), newer(&escalation))
        });
    }
}

fn lets_nothing_through(subject: &Subject<'_>) -> bool {
    let passes = |outcome: Outcome| outcome.passage() != Passage::Denied;
    let by_rule = subject.rules().any(|(_, rule)| !rule.names.is_empty() && passes(Outcome::of_rule(rule)));
    !by_rule && !passes(Outcome::of_default(subject.profile))
}

/// Whether no container works where a call has this outcome.
///
/// A program whose `exit_group` fails ends by `exit`, as glibc and musl do; one that is killed for it can end in no other way.
fn stops_everything(name: &str, outcome: Outcome) -> bool {
    let is_denied = outcome.passage() == Passage::Denied;
    is_denied
        && (runtime_base::INDISPENSABLE.contains(&name)
            || name == "exit_group" && outcome.action() != Action::Errno)
}

/// Rules by which no container works, whatever the arguments; and a whole filter that lets no call through at all. Where a filter lets some
/// through, what it lacks is warned about: it may be meant to be merged.
fn nothing_starts(subject: &Subject<'_>, findings: &mut Findings) -> Vec<&'static str> {
    let mut by_rule: BTreeMap<usize, Vec<&'static str>> = BTreeMap::new();
    let mut by_default: Vec<&'static str> = Vec::new();
    let nothing_passes = subject.context.is_whole && lets_nothing_through(subject);
    for name in runtime_base::INDISPENSABLE.iter().copied().chain(["exit_group"]) {
        match subject.decider_of(name) {
            Some(position) => {
                let outcome = subject.rule(position).map(Outcome::of_rule);
                if outcome.is_some_and(|outcome| stops_everything(name, outcome)) {
                    by_rule.entry(position).or_default().push(name);
                }
            }
            None if nothing_passes && stops_everything(name, Outcome::of_default(subject.profile)) => {
                by_default.push(name);
            }
            None => {}
        }
    }
    if !by_default.is_empty() {
        findings.push(Code::NothingStarts, "defaultAction".to_owned(), || {
            format!("denies every call, {} among them, and no rule allows one", by_default.join(", "))
        });
    }
    let mut said = by_default;
    for (position, names) in by_rule {
        findings.push(Code::NothingStarts, format!("syscalls[{position}]"), || {
            format!("{} denied, whatever the arguments", are(&names))
        });
        said.extend(names);
    }
    said
}

/// Which of the calls only newer versions make: whoever runs an older one needs not mind them.
fn newer(names: &[&str]) -> String {
    let mut by_version: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for call in runtime_base::calls(Runtime::Runc).iter().filter(|call| names.contains(&call.name)) {
        if let Some(version) = call.since {
            by_version.entry(version).or_default().push(call.name);
        }
    }
    by_version
        .into_iter()
        .map(|(version, names)| format!("; runc makes {} since {version}", names.join(", ")))
        .collect()
}

/// All of them: whoever reads the message wants to copy the list.
fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn denied<'n>(subject: &Subject<'_>, names: &[&'n str]) -> Vec<&'n str> {
    let architectures = subject.architectures();
    let exists = |name: &str| {
        architectures.is_empty()
            || architectures.iter().any(|&arch| matches!(syscalls::lookup(arch, name), Lookup::Known { .. }))
    };
    names
        .iter()
        .copied()
        .filter(|name| exists(name) && subject.fate(name) == Fate::Denied && !falls_back(subject, name))
        .collect()
}

/// Whether runc does without a call where it fails with ENOSYS: every version that was tried starts without those that no measurement shows it
/// to need. Another errno may be taken for a real failure, as openat2's is.
///
/// Source: what [`crate::runtime_base`] was measured with; the releases of github.com/cyphar/filepath-securejoin that runc 1.2.8 and 1.3.3 use.
fn falls_back(subject: &Subject<'_>, name: &str) -> bool {
    let profile = subject.profile;
    let is_needed = |call: &BaseCall| call.name == name && call.denied != Denied::Untried;
    !runtime_base::calls(Runtime::Runc).iter().any(is_needed)
        && !ALWAYS.contains(&name)
        && profile.default_action == Action::Errno
        && profile.default_errno_ret == Some(ENOSYS)
        && subject.calls().all(|(call, _)| call != name)
}
