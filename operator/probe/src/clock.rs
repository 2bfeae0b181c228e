//! The kernel's clock.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Turns `bpf_ktime_get_ns` (CLOCK_MONOTONIC) into the time of day. A clock that was set meanwhile shifts what lies before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The time of day at which the monotonic clock stood at zero.
    zero: SystemTime,
}

/// How long the monotonic clock has run.
fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// The same in nanoseconds, as `bpf_ktime_get_ns` and a task's `start_time` have it.
pub(crate) fn nanoseconds() -> u64 {
    u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    pub(crate) fn read() -> Self {
        Self { zero: SystemTime::now().checked_sub(monotonic()).unwrap_or(SystemTime::UNIX_EPOCH) }
    }

    pub(crate) fn at(self, nanoseconds: u64) -> SystemTime {
        self.zero.checked_add(Duration::from_nanos(nanoseconds)).unwrap_or(self.zero)
    }

    /// `None` for zero: it has not happened.
    pub(crate) fn happened(self, nanoseconds: u64) -> Option<SystemTime> {
        (nanoseconds != 0).then(|| self.at(nanoseconds))
    }
}
