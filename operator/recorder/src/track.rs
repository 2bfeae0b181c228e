//! How one container is followed for a recording: its source, and what of its counters counts for it.

use std::time::SystemTime;

use portcullis_probe::{Recorded, seconds};
use portcullis_profile::recording::{Ledger, Mark, Observation, Source};

use crate::pods::{Identity, Pod};

/// How a container is followed for a recording.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) source: Source,
    pub(crate) run: String,
    /// What was counted before it was recorded, or before its present run, and when that was noted.
    before: Option<(Observation, u64)>,
    /// Whether it was recorded only after something else had watched it already.
    late: bool,
    /// All that was counted when it was last looked at.
    pub(crate) counted: Observation,
    /// The version in which its end is told.
    pub(crate) ended_in: Option<u64>,
}

/// A container of a pod, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting<'a> {
    pub(crate) recorded: &'a Recorded,
    pub(crate) pod: &'a Pod,
    pub(crate) identity: &'a Identity,
    /// Whether it will do nothing more.
    pub(crate) ended: bool,
    pub(crate) now: SystemTime,
}

impl Track {
    /// Goes on where an earlier recorder ended, or begins.
    pub(crate) fn begin(
        ledger: &Ledger,
        created: u64,
        sighting: Sighting<'_>,
        counted: &Observation,
        run: &str,
    ) -> Self {
        let Sighting { recorded, now, .. } = sighting;
        let container = &recorded.container;
        let first = source(recorded, 0);
        let cut = |open: &Source| {
            let (counters, cut) = counters_of(open)?;
            (open.container == first.container && counters == container.instance).then_some(cut)
        };
        let open = ledger.open().filter(|(open, ..)| cut(open).is_some());
        let open = open.max_by_key(|(open, ..)| cut(open));
        let earlier_recording = seconds(container.seen) < created && !recorded.calls.is_empty();
        let late = open.is_none() && earlier_recording;
        Self {
            source: open.map_or(first, |(source, ..)| source.clone()),
            run: open.map_or(run, |(_, subject, _)| &subject.run).to_owned(),
            before: late.then(|| (counted.clone(), seconds(now))),
            late,
            counted: counted.clone(),
            ended_in: None,
        }
    }

    /// Begins another source, for another run of the same container. What was reported until now stays the earlier run's.
    pub(crate) fn cut(&mut self, ledger: &mut Ledger, run: &str, now: SystemTime) {
        ledger.settle(&self.source);
        if let Some((counters, cut)) = counters_of(&self.source) {
            self.source.instance = instance(counters, cut.saturating_add(1));
        }
        run.clone_into(&mut self.run);
        self.before = Some((self.counted.clone(), seconds(now)));
        self.late = false;
    }

    /// What of it counts for this source.
    pub(crate) fn seen(&self, counted: &Observation) -> Observation {
        let Some((before, at)) = &self.before else { return counted.clone() };
        let mut seen = counted.since(before, *at);
        if self.late {
            seen.marks.insert(Mark::StartMissed);
        }
        seen
    }
}

/// A container's source: the instance is the counters' own, and a number that grows with every run.
pub(crate) fn source(recorded: &Recorded, cut: u32) -> Source {
    let container = recorded.container.id.map(|id| id.to_string()).unwrap_or_default();
    Source { container, instance: instance(recorded.container.instance, cut) }
}

/// The counters that a source is of, and the number of its run: what [`source`] writes.
pub(crate) fn counters_of(source: &Source) -> Option<(u64, u32)> {
    let (instance, cut) = source.instance.split_once('.')?;
    Some((u64::from_str_radix(instance, 16).ok()?, cut.parse().ok()?))
}

fn instance(counters: u64, cut: u32) -> String {
    format!("{counters:x}.{cut}")
}
