//! Observations by whom they are of, and by who reports them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Absence, Observation, absence::fit_absences};

/// What observations are kept apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The digest of the container's image, `sha256:...`; empty where the runtime told none.
    pub image: String,
    /// The container's name in its pod.
    pub container: String,
    /// The test run, as the pod's label says; empty where it has none.
    pub run: String,
}

/// Whose counters they are: one container's, in one life of a recorder's counters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The container's id.
    pub container: String,
    /// Changes whenever the counters begin at nothing again: not with a restart that finds them.
    pub instance: String,
}

/// Where it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// The kernel's release, `6.18.2`.
    pub kernel: String,
    /// The container runtime, as the node says: `containerd://1.7.24`.
    pub runtime: String,
}

/// Observations added up, by subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What was seen of each.
    pub subjects: BTreeMap<Subject, Observation>,
    /// Where.
    pub platforms: BTreeSet<Platform>,
    /// When a node's recorder was away.
    pub absences: BTreeSet<Absence>,
}

impl Tally {
    /// Takes in what others saw, of other sources.
    pub fn add(&mut self, other: &Self) {
        for (subject, observation) in &other.subjects {
            self.add_one(subject.clone(), observation);
        }
        self.platforms.extend(other.platforms.iter().cloned());
        self.absences.extend(other.absences.iter().cloned());
    }

    /// Takes in what one source saw.
    pub fn add_one(&mut self, subject: Subject, observation: &Observation) {
        self.subjects.entry(subject).or_default().add(observation);
    }

    /// Everything together.
    #[must_use]
    pub fn total(&self) -> Observation {
        self.subjects.values().fold(Observation::default(), |mut total, observation| {
            total.add(observation);
            total
        })
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }
}

/// What one recorder saw for one recording: sources that may report again, and what the others came to.
///
/// A recorder that starts anew reads its ledger back, reports whatever counters it finds, and settles the sources whose counters are
/// gone. It may settle a source only when those counters can't be read again, or they would be counted twice.
///
/// Losses that can't be told of any container (a node had no room for one more) are reported as a source of their own, of no container,
/// under the container name [`OTHERS`](super::OTHERS).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub(super) settled: Tally,
    pub(super) open: BTreeMap<Source, (Subject, Observation)>,
}

impl Ledger {
    /// One that begins with what is settled already.
    #[must_use]
    pub const fn with_settled(settled: Tally) -> Self {
        Self { settled, open: BTreeMap::new() }
    }

    /// Takes in a source's report: the whole of its counters until now. Again, or an earlier one, does no harm. Of one source the
    /// subject never changes, so the first one stays.
    pub fn report(&mut self, source: Source, subject: Subject, observation: &Observation) {
        self.open.entry(source).or_insert_with(|| (subject, Observation::default())).1.join(observation);
    }

    /// Notes where this is recorded.
    pub fn on(&mut self, platform: Platform) {
        self.settled.platforms.insert(platform);
    }

    /// Notes that the node's recorder was away, and that pods of this recording may be missing for it.
    pub fn missed(&mut self, absence: Absence) {
        self.settled.absences.insert(absence);
        fit_absences(&mut self.settled.absences);
    }

    /// A source will not report again. False where it is not an open one.
    pub fn settle(&mut self, source: &Source) -> bool {
        let Some((subject, observation)) = self.open.remove(source) else { return false };
        self.settled.add_one(subject, &observation);
        true
    }

    /// The sources that may report again.
    pub fn open(&self) -> impl Iterator<Item = (&Source, &Subject, &Observation)> {
        self.open.iter().map(|(source, (subject, observation))| (source, subject, observation))
    }

    /// What a source reported last.
    #[must_use]
    pub fn reported(&self, source: &Source) -> Option<&Observation> {
        self.open.get(source).map(|(_, observation)| observation)
    }

    /// What is settled.
    #[must_use]
    pub const fn settled(&self) -> &Tally {
        &self.settled
    }

    /// Everything, each source once.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.settled.clone();
        for (subject, observation) in self.open.values() {
            total.add_one(subject.clone(), observation);
        }
        total
    }
}
