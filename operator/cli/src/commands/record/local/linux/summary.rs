//! What is said of a recording on standard error: how it was made, what it saw, and what not.

use std::{collections::BTreeSet, time::Duration};

use portcullis_profile::{
    docker,
    recording::{Exit, Gap, Mark, Observation, Phase, Tally, Values, signal_name, verdict},
};

use crate::{
    commands::import::origin::counted,
    console::{self, Console},
};

/// What is told.
#[derive(Debug)]
pub(super) struct Told<'a> {
    /// The command or container.
    pub(super) what: &'a str,
    /// How it was recorded.
    pub(super) means: &'a str,
    /// For how long.
    pub(super) took: Duration,
    pub(super) tally: &'a Tally,
    /// How a command ended.
    pub(super) exit: Option<Exit>,
}

/// A shell's status of a command that ended so.
pub(super) const fn code(exit: Exit) -> u8 {
    match exit {
        Exit::Status(status) => status,
        Exit::Signal(signal) => 128_u8.saturating_add(signal),
    }
}

/// `153 calls of 29 names`.
pub(super) fn found(observation: &Observation) -> String {
    let all = observation.calls.values().map(|seen| seen.count).fold(0, u64::saturating_add);
    let names: BTreeSet<_> = observation
        .calls
        .keys()
        .map(|call| call.name().map_or_else(|| call.number.to_string(), str::to_owned))
        .collect();
    format!("{} of {}", counted(all, "call"), counted(names.len() as u64, "name"))
}

pub(super) fn say(told: &Told<'_>, console: &mut Console) {
    let Told { what, means, took, tally, exit } = told;
    let total = tally.total();
    let ended = exit.map_or_else(String::new, |exit| match exit {
        Exit::Status(status) => format!("; it exited with {status}"),
        Exit::Signal(signal) => format!("; {} ended it", signal_name(signal)),
    });
    console.say(format_args!("recorded  {what}, by {means}, for {:.1} s{ended}", took.as_secs_f64()));
    let arches: BTreeSet<&str> = total.calls.keys().map(|call| docker::arch_name(call.arch)).collect();
    let arches: Vec<&str> = arches.into_iter().collect();
    console.say(format_args!("saw       {}, through {}; {}", found(&total), arches.join(", "), lost(&total)));
    let verdict = verdict(tally);
    for container in verdict.containers.values() {
        console.say(format_args!("seen      {}", phases(&container.seen, &total)));
        if !container.maybe.is_empty() {
            console.say(format_args!("maybe     {}", phases(&container.maybe, &total)));
        }
        // Nobody runs a command in a command.
        let not_seen: Vec<Phase> = container
            .not_seen
            .iter()
            .filter(|phase| exit.is_none() || **phase != Phase::Exec)
            .copied()
            .collect();
        console.say(format_args!("not seen  {}", phases(&not_seen, &total)));
    }
    let failed = [Mark::NonZeroExit, Mark::Killed].iter().any(|mark| total.marks.contains(mark));
    let missed = total.marks.contains(&Mark::StartMissed);
    for gap in &verdict.gaps {
        let is_said_otherwise = match gap {
            // What failed had no other end to show.
            Gap::NeverSteady { .. } => failed,
            // How a container ended is not known of one whose first process was not seen.
            Gap::NeverStopped { .. } => failed || missed,
            _ => false,
        };
        if let Some(advice) = advice(gap).filter(|_| !is_said_otherwise) {
            console::note(advice);
        }
    }
    if failed {
        console::note("it failed: record a run that goes well too, with --merge");
    } else if total.handled.control().is_empty() {
        console::note(
            "only a run that went well was seen: what it calls on an error, a signal or a reload is denied by this profile; \
             record those runs too, with --merge",
        );
    }
    if total.marks.contains(&Mark::Unfiltered) {
        console::note(
            "it has no seccomp filter, so what counts begins with its program, and the runtime's calls are not seen",
        );
    }
}

fn lost(total: &Observation) -> String {
    let losses = total.losses;
    let values = total.values.values().filter(|values| **values == Values::TooMany).count();
    let mut text = if losses.is_none() {
        "none lost".to_owned()
    } else {
        format!("LOST {} and {}", counted(losses.calls, "call"), counted(losses.values, "argument value"))
    };
    if values > 0 {
        text += &format!("; too many values of {}", counted(values as u64, "argument"));
    }
    text
}

fn phases(phases: &[Phase], total: &Observation) -> String {
    let words: Vec<String> = phases
        .iter()
        .map(|phase| match phase {
            Phase::SignalHandled if !total.handled.control().is_empty() => {
                let outside = total.handled.and(total.outside).control();
                let signals = if outside.is_empty() { total.handled.control() } else { outside };
                format!("{} ({signals})", phase.as_str())
            }
            _ => phase.as_str().to_owned(),
        })
        .collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

/// What to do about a gap; nothing where another note says it.
const fn advice(gap: &Gap) -> Option<&'static str> {
    match gap {
        Gap::Nothing
        | Gap::NothingOf { .. }
        | Gap::Unnamed { .. }
        | Gap::Away(_)
        | Gap::TooDeep { .. }
        | Gap::NeverExecuted { .. } => None,
        Gap::Lost { .. } => {
            Some("more was called than is known, so this profile may lack calls: record again")
        }
        Gap::Unproven { .. } => Some(
            "it sent the signals that it handled itself: send it one from outside, as an operator does, while it is recorded",
        ),
        Gap::StartMissed { .. } => Some(
            "it ran already, so what it calls while it starts is missing: begin to record before it starts",
        ),
        Gap::NeverSteady { .. } => {
            Some("no minute passed without a new call: let it run for longer, with what its users do to it")
        }
        Gap::NeverStopped { .. } => {
            Some("it was not seen to stop as it should: stop it as its users do while it is recorded")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_a_signal_ended_exits_as_in_a_shell() {
        assert_eq!([code(Exit::Status(3)), code(Exit::Signal(15)), code(Exit::Signal(64))], [3, 143, 192]);
    }
}
