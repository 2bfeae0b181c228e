//! What one container was seen to do, or several.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{Exit, Mark, Signals};
use crate::{Arch, syscalls};

/// Values of one argument that are kept; one more makes it [`Values::TooMany`].
pub const MAX_VALUES: usize = 32;
/// A container that made no new call for so many seconds was seen in its steady state.
pub const STEADY_SECONDS: u64 = 60;

/// A system call: by number, because a recorder sees nothing else, and a number may have no name yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// The architecture that it was made through.
    pub arch: Arch,
    /// Its number in that architecture's table; x32's carry bit 30.
    pub number: u32,
}

impl Call {
    /// The call's name, where the table has the number.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        syscalls::name(self.arch, self.number)
    }
}

/// How often, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How often; 0 where that is not known.
    pub count: u64,
    /// When for the first time: seconds since the epoch.
    pub first_at: u64,
}

/// One argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Argument {
    /// The call.
    pub call: Call,
    /// Which argument, 0 to 5.
    pub index: u8,
}

/// The values that an argument was seen with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// These, at most [`MAX_VALUES`].
    These(BTreeSet<u64>),
    /// More than that, or some may have been missed: nothing can be said of them.
    TooMany,
}

impl Values {
    /// All values that either was seen with.
    fn unite(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::These(mine), Self::These(theirs)) => {
                mine.extend(theirs);
                if mine.len() > MAX_VALUES {
                    *self = Self::TooMany;
                }
            }
            _ => *self = Self::TooMany,
        }
    }
}

/// What could not be kept. Anything but zeros means that more was called than is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Calls.
    pub calls: u64,
    /// Argument values.
    pub values: u64,
    /// Denied calls.
    pub denials: u64,
}

impl Losses {
    /// Whether nothing was lost.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.calls == 0 && self.values == 0 && self.denials == 0
    }

    fn combine(self, other: Self, counters: fn(u64, u64) -> u64) -> Self {
        Self {
            calls: counters(self.calls, other.calls),
            values: counters(self.values, other.values),
            denials: counters(self.denials, other.denials),
        }
    }
}

/// What was seen of one container, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// How many containers this is of.
    pub containers: u64,
    /// The calls that were made, as a filter sees them.
    pub calls: BTreeMap<Call, Seen>,
    /// The calls that the container's present filter denied.
    pub denied: BTreeMap<Call, Seen>,
    /// Values of the arguments that are recorded ([`super::RECORDED_ARGUMENTS`]), of calls that were made.
    pub values: BTreeMap<Argument, Values>,
    /// Marks of the container's life.
    pub marks: BTreeSet<Mark>,
    /// Signals that a handler of the container's ran for.
    pub handled: Signals,
    /// Signals that came from outside of the container's own program, those that it ignores among them: from its runtime, from another
    /// container, or from a command that was executed in it.
    pub outside: Signals,
    /// What could not be kept.
    pub losses: Losses,
}

impl Observation {
    /// Takes in another report of the same source. Commutative, associative, idempotent: of a counter the larger value counts.
    pub fn join(&mut self, other: &Self) {
        self.combine(other, u64::max);
    }

    /// Takes in another source's. Commutative and associative: counters add up (and stay at the largest number there is).
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    fn combine(&mut self, other: &Self, counters: fn(u64, u64) -> u64) {
        let Self { containers, calls, denied, values, marks, handled, outside, losses } = other;
        self.containers = counters(self.containers, *containers);
        unite(&mut self.calls, calls, counters);
        unite(&mut self.denied, denied, counters);
        for (argument, theirs) in values {
            match self.values.entry(*argument) {
                Entry::Vacant(vacant) => drop(vacant.insert(theirs.clone())),
                Entry::Occupied(mut mine) => mine.get_mut().unite(theirs),
            }
        }
        self.marks.extend(marks);
        self.handled = self.handled.with(*handled);
        self.outside = self.outside.with(*outside);
        self.losses = self.losses.combine(*losses, counters);
    }

    /// The same without its counters, so that it may be added while its source still reports. That something was lost stays said, how much
    /// does not.
    #[must_use]
    pub fn without_counts(&self) -> Self {
        let uncounted = |seen: &BTreeMap<Call, Seen>| {
            seen.iter().map(|(call, seen)| (*call, Seen { count: 0, ..*seen })).collect()
        };
        Self {
            containers: 0,
            calls: uncounted(&self.calls),
            denied: uncounted(&self.denied),
            losses: self.losses.combine(Losses { calls: 1, values: 1, denials: 1 }, u64::min),
            ..self.clone()
        }
    }

    /// Notes a call.
    pub fn call(&mut self, call: Call, seen: Seen) {
        unite(&mut self.calls, &BTreeMap::from([(call, seen)]), u64::max);
    }

    /// When the last call that was new then was made: seconds since the epoch.
    #[must_use]
    pub fn last_new_at(&self) -> Option<u64> {
        self.calls.values().map(|seen| seen.first_at).max()
    }

    /// Notes that the container was still observed at a time: seconds since the epoch.
    pub fn observed_at(&mut self, now: u64) {
        if self.last_new_at().is_some_and(|last| now.saturating_sub(last) >= STEADY_SECONDS) {
            self.marks.insert(Mark::Steady);
        }
    }

    /// Notes how the container's first process ended.
    pub fn ended(&mut self, exit: Exit) {
        self.marks.extend(exit.marks(self.handled));
    }

    /// What was seen since an earlier report of the same source: for somebody who looks on from then, `at` seconds since the epoch.
    ///
    /// When a value of an argument was seen again can't be said, so of a call that was made since all values count.
    #[must_use]
    pub fn since(&self, earlier: &Self, at: u64) -> Self {
        let calls = grown(&self.calls, &earlier.calls, at);
        let values = self.values.iter().filter(|(argument, _)| calls.contains_key(&argument.call));
        let marks = self.marks.difference(&earlier.marks).filter(|mark| **mark != Mark::StartSeen);
        Self {
            containers: self.containers,
            values: values.map(|(argument, values)| (*argument, values.clone())).collect(),
            calls,
            denied: grown(&self.denied, &earlier.denied, at),
            marks: marks.copied().collect(),
            handled: self.handled.without(earlier.handled),
            outside: self.outside.without(earlier.outside),
            losses: self.losses.combine(earlier.losses, u64::saturating_sub),
        }
    }

    /// Whether this says more than an earlier report, apart from how often: what is worth a write.
    #[must_use]
    pub fn is_news_after(&self, earlier: &Self) -> bool {
        let new_in = |now: &BTreeMap<Call, Seen>, before: &BTreeMap<Call, Seen>| {
            now.keys().any(|call| !before.contains_key(call))
        };
        new_in(&self.calls, &earlier.calls)
            || new_in(&self.denied, &earlier.denied)
            || self.values != earlier.values
            || self.marks != earlier.marks
            || self.handled != earlier.handled
            || self.outside != earlier.outside
            || self.losses.is_none() != earlier.losses.is_none()
    }
}

/// The calls that were made more often than before.
fn grown(now: &BTreeMap<Call, Seen>, before: &BTreeMap<Call, Seen>, at: u64) -> BTreeMap<Call, Seen> {
    let grown = now.iter().filter_map(|(call, seen)| {
        let Some(known) = before.get(call) else { return Some((*call, *seen)) };
        let count = seen.count.saturating_sub(known.count);
        (count > 0).then_some((*call, Seen { count, first_at: seen.first_at.max(at) }))
    });
    grown.collect()
}

/// Unites two maps of calls: the earlier time counts, and the counters by their own rule.
fn unite(mine: &mut BTreeMap<Call, Seen>, theirs: &BTreeMap<Call, Seen>, counters: fn(u64, u64) -> u64) {
    for (call, seen) in theirs {
        mine.entry(*call)
            .and_modify(|known| {
                known.count = counters(known.count, seen.count);
                known.first_at = known.first_at.min(seen.first_at);
            })
            .or_insert(*seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str) -> Call {
        let number = syscalls::number(Arch::X86_64, name).unwrap();
        Call { arch: Arch::X86_64, number }
    }

    fn seen(calls: &[(&str, u64)]) -> Observation {
        let calls = calls.iter().map(|(name, count)| (call(name), Seen { count: *count, first_at: 100 }));
        Observation { containers: 1, calls: calls.collect(), ..Observation::default() }
    }

    #[test]
    fn a_minute_without_a_new_call_is_the_steady_state() {
        let mut container = seen(&[("read", 1)]);
        container.observed_at(159);
        assert!(container.marks.is_empty());
        container.observed_at(160);
        assert!(container.marks.contains(&Mark::Steady));
        let mut silent = Observation::default();
        silent.observed_at(u64::MAX);
        assert!(silent.marks.is_empty(), "a container of which nothing was seen is in no state");
    }

    #[test]
    fn what_was_before_is_not_seen_by_who_came_later() {
        let socket = Argument { call: call("socket"), index: 0 };
        let read = Argument { call: call("ioctl"), index: 1 };
        let mut before = seen(&[("read", 3), ("ioctl", 1)]);
        before.marks = [Mark::StartSeen].into();
        before.handled = Signals::of(&["SIGHUP"]);
        before.values.insert(read, Values::These([1].into()));
        let mut now = seen(&[("read", 5), ("ioctl", 1), ("socket", 2)]);
        now.marks = [Mark::StartSeen, Mark::GracefulStop].into();
        now.handled = Signals::of(&["SIGHUP", "SIGTERM"]);
        now.values = [(read, Values::These([1].into())), (socket, Values::These([2].into()))].into();
        let since = now.since(&before, 200);
        assert_eq!(since.calls[&call("read")], Seen { count: 2, first_at: 200 });
        assert_eq!(since.calls[&call("socket")], Seen { count: 2, first_at: 100 });
        assert!(!since.calls.contains_key(&call("ioctl")) && !since.values.contains_key(&read));
        assert_eq!(since.values[&socket], Values::These([2].into()));
        assert_eq!(since.marks, [Mark::GracefulStop].into());
        assert_eq!(since.handled, Signals::of(&["SIGTERM"]));
    }

    #[test]
    fn a_count_alone_is_no_news() {
        let before = seen(&[("read", 1)]);
        assert!(!seen(&[("read", 9)]).is_news_after(&before));
        assert!(seen(&[("read", 1), ("write", 1)]).is_news_after(&before));
        let marked = Observation { marks: [Mark::Steady].into(), ..before.clone() };
        assert!(marked.is_news_after(&before));
    }
}
