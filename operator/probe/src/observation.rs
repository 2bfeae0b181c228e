//! What was counted, in the words of the model.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_profile::recording::{
    Argument, Call, Exit, Losses, Mark, Observation, Seen, Signals, Values, recorded_argument,
};

use crate::snapshot::{self, Recorded};

/// What a container was seen to do until now. `told` is how the runtime says that it ended.
#[must_use]
pub fn observation(recorded: &Recorded, told: Option<Exit>) -> Observation {
    let container = &recorded.container;
    let lost = container.lost;
    let mut observation = Observation {
        containers: 1,
        handled: signals(&container.handled),
        outside: signals(&container.outside),
        losses: Losses { calls: lost.calls, values: lost.values, denials: lost.denials },
        ..Observation::default()
    };
    for (call, count) in &recorded.calls {
        match known(*call) {
            Some(call) => observation.call(call, seen(count)),
            // No profile can list an architecture that has no name.
            None => observation.losses.calls = observation.losses.calls.saturating_add(count.count),
        }
    }
    for (call, count) in recorded.denied.iter().chain(&recorded.killed) {
        match known(*call) {
            Some(call) => drop(observation.denied.insert(call, seen(count))),
            None => observation.losses.denials = observation.losses.denials.saturating_add(count.count),
        }
    }
    for (argument, values) in &recorded.arguments {
        let Some(call) = known(argument.call) else { continue };
        let wanted =
            call.name().and_then(recorded_argument).is_some_and(|known| known.index == argument.index);
        if wanted {
            let values = if values.too_many {
                Values::TooMany
            } else {
                Values::These(values.values.keys().copied().collect())
            };
            observation.values.insert(Argument { call, index: argument.index }, values);
        }
    }
    observation.marks.insert(if container.whole { Mark::StartSeen } else { Mark::StartMissed });
    if container.unfiltered {
        observation.marks.insert(Mark::Unfiltered);
    }
    if container.reopened.is_some() {
        observation.marks.insert(Mark::LogReopened);
    }
    if container.entered.is_some() {
        observation.marks.insert(Mark::ExecSeen);
    }
    // Of a container whose start was missed, the kernel can't tell which process is its first.
    let exit = container.exit.filter(|_| container.whole).map(how);
    let exit = exit.or_else(|| told.map(|told| told.as_told(observation.handled)));
    if let Some(exit) = exit {
        observation.ended(exit);
    }
    observation
}

fn how(exit: snapshot::Exit) -> Exit {
    exit.signal.map_or(Exit::Status(exit.code), Exit::Signal)
}

fn known(call: snapshot::Call) -> Option<Call> {
    Some(Call { arch: call.arch?, number: call.number })
}

fn seen(count: &snapshot::Count) -> Seen {
    Seen { count: count.count, first_at: seconds(count.first) }
}

fn signals(numbers: &[u8]) -> Signals {
    let bit = |number: &u8| 1_u64.checked_shl(u32::from(number.saturating_sub(1))).unwrap_or(0);
    Signals::from_bits(numbers.iter().map(bit).fold(0, |bits, bit| bits | bit))
}

/// A time as the model has it: seconds since the epoch.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
