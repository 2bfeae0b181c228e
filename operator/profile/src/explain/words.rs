//! Outcomes and rules in words.

use crate::{
    Action, Arch, arguments, errno,
    evaluate::{Group, Outcome, Row},
};

/// What happens to a call, as the end of a sentence: `fails with EPERM`.
#[must_use]
pub fn outcome(outcome: Outcome) -> String {
    match (outcome.action(), outcome.errno()) {
        (Action::Errno, Some(0)) => "does nothing and reports success".to_owned(),
        (Action::Errno, Some(number)) => {
            let name = errno::name(u32::from(number));
            format!("fails with {}", name.map_or_else(|| format!("errno {number}"), str::to_owned))
        }
        (action, _) => self::action(action).to_owned(),
    }
}

/// What an action does to a call, without its errno.
#[must_use]
pub const fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "is allowed",
        Action::Log => "is allowed and logged",
        Action::Errno => "fails",
        Action::Trap => "sends SIGSYS",
        Action::Trace => "is left to a tracer, and fails with ENOSYS without one",
        Action::Notify => "is left to a supervisor",
        Action::Kill | Action::KillThread => "kills the thread",
        Action::KillProcess => "kills the process",
    }
}

/// What the rules for one call say, and what happens otherwise.
pub(crate) fn restriction(group: &Group, arch: Arch, call: &str) -> String {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for row in &group.rows {
        if !outcomes.contains(&row.outcome) {
            outcomes.push(row.outcome);
        }
    }
    let parts: Vec<String> = outcomes
        .iter()
        .map(|&one| {
            let rows = group.rows.iter().filter(|row| row.outcome == one);
            format!("{} if {}", outcome(one), alternatives(rows, arch, call))
        })
        .collect();
    format!("{}; else {}", parts.join("; "), outcome(group.default))
}

/// `domain is AF_UNIX, AF_INET or AF_INET6`, where rules differ in one value only; else one after the other.
fn alternatives<'a>(rows: impl Iterator<Item = &'a Row>, arch: Arch, call: &str) -> String {
    let mut joined: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let conditions: Vec<String> =
            row.conditions.iter().map(|condition| arguments::condition(arch, call, condition)).collect();
        let text = conditions.join(" and ");
        let split = match conditions.len() {
            1 => [" is ", " == "]
                .iter()
                .find_map(|is| text.split_once(is).map(|(name, value)| (name, *is, value))),
            _ => None,
        };
        match split {
            None => joined.push((text, Vec::new())),
            Some((name, is, value)) => {
                let start = format!("{name}{is}");
                match joined.iter_mut().find(|(one, _)| *one == start) {
                    Some((_, values)) => values.push(value.to_owned()),
                    None => joined.push((start, vec![value.to_owned()])),
                }
            }
        }
    }
    let texts: Vec<String> = joined
        .into_iter()
        .map(|(start, values)| match values.split_last() {
            None => start,
            Some((last, [])) => format!("{start}{last}"),
            Some((last, rest)) => format!("{start}{} or {last}", rest.join(", ")),
        })
        .collect();
    texts.join(", or if ")
}
