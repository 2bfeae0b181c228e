//! Distributions of measured times.

use std::time::Duration;

/// Measured times, sorted.
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this share of the samples does not exceed (nearest rank).
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// `p50 / p99 (max, n)` in milliseconds.
    pub(crate) fn text(&self) -> String {
        let last = self.0.last().copied().unwrap_or_default();
        format!(
            "{} / {} ms (max {}, n={})",
            milliseconds(self.percentile(50)),
            milliseconds(self.percentile(99)),
            milliseconds(last),
            self.0.len()
        )
    }
}

/// Milliseconds with one digit.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
