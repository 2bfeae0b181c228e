//! How often one path is repaired: at once, but a fight with another writer is not fought at full speed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Repairs of one path that are made without a pause.
const BURST: f64 = 50.0;
/// Repairs of one path a second after that, for as long as the other writer goes on.
const PER_SECOND: f64 = 10.0;

/// A token bucket for each path that was repaired lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    buckets: BTreeMap<String, (f64, Instant)>,
    postponed: BTreeMap<String, Instant>,
}

impl Pace {
    /// Whether a path may be repaired now. If not, it is due later.
    pub(crate) fn allow(&mut self, path: &str, now: Instant) -> bool {
        let (tokens, filled) = self.buckets.entry(path.to_owned()).or_insert((BURST, now));
        *tokens = now.duration_since(*filled).as_secs_f64().mul_add(PER_SECOND, *tokens).min(BURST);
        *filled = now;
        if *tokens >= 1.0 {
            *tokens -= 1.0;
            self.postponed.remove(path);
            true
        } else {
            let wait = Duration::from_secs_f64((1.0 - *tokens) / PER_SECOND);
            self.postponed.insert(path.to_owned(), now + wait);
            false
        }
    }

    /// When the next postponed repair is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.postponed.values().min().copied()
    }

    /// The paths whose repair is due, and forgets those that were left alone for long enough.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<String> {
        let due: Vec<_> = self.postponed.extract_if(.., |_, at| *at <= now).map(|(path, _)| path).collect();
        let full = Duration::from_secs_f64(BURST / PER_SECOND);
        self.buckets.retain(|_, (_, filled)| now.duration_since(*filled) < full);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_a_fight_down_and_never_gives_up() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut repairs = 0;
        // Another writer changes the file every millisecond, for a minute.
        for millisecond in 0..60_000 {
            let now = start + Duration::from_millis(millisecond);
            if pace.allow("a.json", now) {
                repairs += 1;
            }
        }
        assert!((600..=660).contains(&repairs), "{repairs} repairs in a minute");
        assert!(pace.allow("b.json", start), "another path waits for it");
        let due = pace.due().expect("the last repair is still to come");
        assert_eq!(pace.take_due(due), ["a.json"]);
        assert!(pace.allow("a.json", due));
    }
}
