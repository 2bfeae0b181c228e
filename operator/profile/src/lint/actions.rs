//! Actions, errnos and listeners.

use super::{
    Code, Findings,
    subject::{Fate, Subject, has_errno},
};
use crate::{Action, evaluate::Outcome};

/// The largest errno that the kernel returns to a program (`MAX_ERRNO`, include/linux/err.h).
const MAX_ERRNO: u32 = 4095;

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    denies_nothing(subject, findings);
    notify(subject, findings);
    let profile = subject.profile;
    errno("defaultErrnoRet".to_owned(), profile.default_action, profile.default_errno_ret, findings);
    for (position, rule) in subject.rules() {
        errno(format!("syscalls[{position}].errnoRet"), rule.action, rule.errno_ret, findings);
    }
    if profile.default_action == Action::Errno && profile.default_errno_ret.is_none() {
        findings.push(Code::NoDefaultErrno, "defaultErrnoRet".to_owned(), || "is missing".to_owned());
    }
}

fn denies_nothing(subject: &Subject<'_>, findings: &mut Findings) {
    let action = subject.profile.default_action;
    let lets_through = matches!(action, Action::Allow | Action::Log);
    if lets_through && subject.calls().all(|(name, _)| subject.fate(name) == Fate::Passes) {
        findings.push(Code::DeniesNothing, "defaultAction".to_owned(), || {
            format!("the default is {action}, and no rule denies a call")
        });
    }
}

fn notify(subject: &Subject<'_>, findings: &mut Findings) {
    let profile = subject.profile;
    if profile.default_action == Action::Notify {
        findings.push(Code::NotifyByDefault, "defaultAction".to_owned(), || {
            "SCMP_ACT_NOTIFY is for single calls".to_owned()
        });
    }
    let mut notifies = profile.default_action == Action::Notify;
    for (position, rule) in subject.rules().filter(|(_, rule)| rule.action == Action::Notify) {
        notifies = true;
        if let Some(place) = rule.names.iter().position(|name| name == "write") {
            findings.push(Code::NotifyOnWrite, format!("syscalls[{position}].names[{place}]"), || {
                "runc itself needs write to hand the listener over".to_owned()
            });
        }
    }
    let named = profile.listener_path.as_deref().is_some_and(|path| !path.is_empty());
    if notifies && !named {
        findings.push(Code::NotifyWithoutListener, "listenerPath".to_owned(), || "is missing".to_owned());
    }
    if !notifies && (profile.listener_path.is_some() || profile.listener_metadata.is_some()) {
        let field = if profile.listener_path.is_some() { "listenerPath" } else { "listenerMetadata" };
        findings.push(Code::ListenerWithoutNotify, field.to_owned(), || {
            "no rule has the action SCMP_ACT_NOTIFY".to_owned()
        });
    }
}

fn errno(path: String, action: Action, errno: Option<u32>, findings: &mut Findings) {
    let Some(errno) = errno else { return };
    if !has_errno(action) {
        findings.push(Code::ErrnoOnOtherAction, path, || format!("{action} returns no errno"));
    } else if errno > MAX_ERRNO {
        findings.push(Code::ErrnoTooLarge, path, || format!("{errno} is over {MAX_ERRNO}"));
    } else if action == Action::Errno && Outcome::new(action, Some(errno)).errno() == Some(0) {
        findings.push(Code::ErrnoZero, path, || "0 means success".to_owned());
    }
}
