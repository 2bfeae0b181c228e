//! What the probe counted, in the words of the model.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis_probe::{Container, Count, Recorded};
use portcullis_profile::recording::{
    self, Argument, Exit, MAX_VALUES, Mark, Observation, RECORDED_ARGUMENTS, Seen, Signals, Values,
};

/// What one container, or a command, was seen to do.
pub(super) fn of(recorded: &Recorded) -> Observation {
    let Recorded { container, calls, arguments, denied: _, killed: _, denied_arguments: _ } = recorded;
    let mut observation = Observation {
        containers: 1,
        handled: signals(&container.handled),
        losses: recording::Losses {
            calls: container.lost.calls,
            values: container.lost.values,
            denials: container.lost.denials,
        },
        ..Observation::default()
    };
    for (call, count) in calls {
        match call.arch {
            Some(arch) => observation.call(recording::Call { arch, number: call.number }, seen(count)),
            // An architecture that no profile can name.
            None => observation.losses.calls += count.count,
        }
    }
    for (at, values) in arguments {
        let name = at.call.name();
        let kept = RECORDED_ARGUMENTS.iter().any(|kept| Some(kept.call) == name && kept.index == at.index);
        if let (true, Some(arch)) = (kept, at.call.arch) {
            let call = recording::Call { arch, number: at.call.number };
            let these: BTreeSet<u64> = values.values.keys().copied().collect();
            let too_many = values.too_many || these.len() > MAX_VALUES;
            let values = if too_many { Values::TooMany } else { Values::These(these) };
            observation.values.insert(Argument { call, index: at.index }, values);
        }
    }
    mark(&mut observation, container);
    observation.observed_at(seconds(SystemTime::now()));
    observation
}

fn mark(observation: &mut Observation, container: &Container) {
    observation.marks.insert(if container.whole { Mark::StartSeen } else { Mark::StartMissed });
    if container.unfiltered {
        observation.marks.insert(Mark::Unfiltered);
    }
    // What was executed later, in a container that ran already, is not its first program.
    if let Some(exit) = container.exit.filter(|_| container.whole) {
        observation.ended(exit.signal.map_or(Exit::Status(exit.code), Exit::Signal));
    }
}

fn signals(numbers: &[u8]) -> Signals {
    let bits = numbers.iter().filter(|number| (1..=64).contains(*number));
    Signals::from_bits(bits.fold(0, |bits, number| bits | 1 << (number - 1)))
}

fn seen(count: &Count) -> Seen {
    Seen { count: count.count, first_at: seconds(count.first) }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
