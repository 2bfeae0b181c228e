//! Actions, calls and reasons in words.

use std::fmt::Write as _;

use portcullis_profile::{
    Action, Arch, Profile, Rule, constants, errno,
    evaluate::{Decision, Outcome, Reason, Runtime},
    syscalls,
};

pub(super) const fn runtime(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Runc => "runc",
        Runtime::Crun => "crun",
    }
}

/// `runc, crun`.
pub(super) fn runtimes(runtimes: &[Runtime]) -> String {
    runtimes.iter().copied().map(runtime).collect::<Vec<_>>().join(", ")
}

/// A call's name, or its number where it has none.
pub(super) fn call(arch: Arch, number: u32) -> String {
    syscalls::name(arch, number).map_or_else(|| format!("call {number}"), str::to_owned)
}

/// A call with its arguments up to the last that isn't 0; `?` for those that aren't known.
pub(super) fn call_with(arch: Arch, number: u32, values: &[Option<u64>]) -> String {
    let name = call(arch, number);
    let used = values.iter().rposition(|value| *value != Some(0)).map_or(0, |last| last + 1);
    // Behind the last known one nothing is worth saying.
    let known = values.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let mut shown: Vec<String> = Vec::new();
    for (index, value) in values.iter().enumerate().take(used.min(known)) {
        shown.push(match value {
            Some(value) => argument(arch, &name, index, *value),
            None => "?".to_owned(),
        });
    }
    if known < used {
        shown.push("..".to_owned());
    }
    format!("{name}({})", shown.join(", "))
}

/// An argument by the names that the kernel's headers have for it, or as a number.
fn argument(arch: Arch, call: &str, index: usize, value: u64) -> String {
    let number = || match value.cast_signed() {
        // AT_FDCWD, -1 and the like.
        small @ -4096..1024 => small.to_string(),
        _ => format!("{value:#x}"),
    };
    constants::names(arch, call, index, value).unwrap_or_else(number)
}

/// What an outcome is for the caller.
pub(super) fn consequence(outcome: Outcome) -> String {
    match outcome.action() {
        Action::Allow => "the call is made".to_owned(),
        Action::Log => "the call is made, and logged by the audit subsystem".to_owned(),
        Action::Errno => {
            let number = outcome.errno().map_or(0, u32::from);
            match errno::name(number) {
                Some(name) => format!("the call fails with {name}"),
                None => format!("the call is not made and returns {}", -i64::from(number)),
            }
        }
        Action::Trap => "the thread gets SIGSYS, which kills the process unless it handles it".to_owned(),
        Action::Trace => "a tracer decides; without one the call fails with ENOSYS".to_owned(),
        Action::Notify => "a supervisor outside the container decides".to_owned(),
        Action::Kill | Action::KillThread => "the thread is killed".to_owned(),
        Action::KillProcess => "the process is killed".to_owned(),
    }
}

/// Why a decision is what it is.
pub(super) fn reason(decision: &Decision, profile: &Profile, name: &str) -> String {
    match decision.reason {
        Reason::Default if names(profile, name) => {
            "no rule for the call matches these arguments: defaultAction".to_owned()
        }
        Reason::Default => "no rule names the call: defaultAction".to_owned(),
        Reason::Rule(index) => match profile.syscalls.get(index) {
            Some(rule) => format!("syscalls[{index}]: {}", rule_text(rule, name)),
            None => format!("syscalls[{index}]"),
        },
        Reason::UnlistedArchitecture => {
            "the profile does not list the architecture, so the thread is killed whatever its default"
                .to_owned()
        }
        Reason::EnosysStub => {
            "the call is newer than every call that the profile names, and runc answers ENOSYS to such calls"
                .to_owned()
        }
        Reason::Contested { strictest } => format!(
            "the rules for the call leave it open: depending on libseccomp and its version it may also be {strictest}"
        ),
    }
}

fn names(profile: &Profile, name: &str) -> bool {
    profile.syscalls.iter().any(|rule| rule.names.iter().any(|one| one == name))
}

/// A rule with one of its names.
fn rule_text(rule: &Rule, name: &str) -> String {
    let others = rule.names.iter().filter(|one| *one != name).count();
    let mut text = if rule.names.len() == others { rule.names.join(", ") } else { name.to_owned() };
    if others > 0 && rule.names.len() > others {
        // Writing to a String can't fail.
        let _ = write!(text, " (and {others} more)");
    }
    let _ = write!(text, " {}", Outcome::of_rule(rule));
    for (at, arg) in rule.args.iter().enumerate() {
        let value = |value: u64| if value < 1024 { value.to_string() } else { format!("{value:#x}") };
        let op = match arg.op {
            portcullis_profile::Operator::NotEqual => "!=",
            portcullis_profile::Operator::LessThan => "<",
            portcullis_profile::Operator::LessOrEqual => "<=",
            portcullis_profile::Operator::Equal => "==",
            portcullis_profile::Operator::GreaterOrEqual => ">=",
            portcullis_profile::Operator::GreaterThan => ">",
            portcullis_profile::Operator::MaskedEq => {
                let joint = if at == 0 { "where" } else { "and" };
                let (mask, datum) = (value(arg.value), value(arg.value_two));
                let _ = write!(text, " {joint} arg{} & {mask} == {datum}", arg.index);
                continue;
            }
        };
        let joint = if at == 0 { "where" } else { "and" };
        let _ = write!(text, " {joint} arg{} {op} {}", arg.index, value(arg.value));
    }
    text
}
