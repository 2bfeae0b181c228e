//! Calls without which no container starts, whatever the application needs.

use std::collections::BTreeMap;

use super::{
    Code, Findings,
    subject::{Fate, Subject},
};
use crate::{
    Action,
    evaluate::Runtime,
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
    let always = denied(subject, ALWAYS);
    if !always.is_empty() {
        findings.push(Code::AlwaysNeeded, path(), || format!("{} denied", are(&always)));
    }
    let runc = denied(subject, &needed(false));
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
