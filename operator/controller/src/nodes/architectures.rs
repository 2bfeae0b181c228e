//! The architectures of the cluster's nodes. Profiles are judged by them, so one that comes and goes must not have all judged anew each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use portcullis_profile::Arch;
use tokio::time::Instant;

/// For how long an architecture may be gone and still be reckoned with.
const GONE_FOR: Duration = Duration::from_secs(600);

/// The architectures that are reckoned with.
#[derive(Debug, Default)]
pub(super) struct Architectures {
    /// Each, and since when no node has it.
    gone: BTreeMap<Arch, Option<Instant>>,
}

impl Architectures {
    /// A node has this one. Says whether that is news.
    pub(super) fn add(&mut self, arch: Arch) -> bool {
        self.gone.insert(arch, None).is_none()
    }

    /// Time has passed, and nodes have these. Returns those that have been gone for long.
    pub(super) fn tick(&mut self, there: &BTreeSet<Arch>, now: Instant) -> BTreeSet<Arch> {
        for (arch, gone) in &mut self.gone {
            *gone = if there.contains(arch) { None } else { gone.or(Some(now)) };
        }
        let is_over = |gone: &Option<Instant>| gone.is_some_and(|gone| gone + GONE_FOR <= now);
        let over: BTreeSet<Arch> =
            self.gone.iter().filter(|(_, gone)| is_over(gone)).map(|(arch, _)| *arch).collect();
        self.gone.retain(|arch, _| !over.contains(arch));
        over
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeSet<Arch> {
        self.gone.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_flips_is_news_once_and_gone_once() {
        let mut architectures = Architectures::default();
        let mut now = Instant::now();
        assert!(architectures.add(Arch::X86_64));
        let without = BTreeSet::from([Arch::X86_64]);
        assert!(architectures.add(Arch::Aarch64));
        for _ in 0..100 {
            now += GONE_FOR / 2;
            assert_eq!(architectures.tick(&without, now), BTreeSet::new());
            assert!(!architectures.add(Arch::Aarch64));
        }
        assert_eq!(architectures.tick(&without, now), BTreeSet::new());
        now += GONE_FOR;
        assert_eq!(architectures.tick(&without, now), BTreeSet::from([Arch::Aarch64]));
        assert_eq!(architectures.tick(&without, now), BTreeSet::new());
        assert_eq!(architectures.all(), without);
    }
}
