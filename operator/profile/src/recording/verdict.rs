//! Whether a recording is complete, and what it has not seen.

use std::{collections::BTreeMap, fmt};

use super::{Mark, OTHERS, Observation, Signals, Subject, Tally};

/// A phase of a container's life, in each of which programs make calls that they make in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// From the container's first instruction.
    Start,
    /// Some time without a new call.
    Steady,
    /// A handler ran for a signal by which programs are told something.
    SignalHandled,
    /// Files were opened again after SIGHUP or SIGUSR1.
    LogReopened,
    /// It ended as it should.
    GracefulStop,
    /// It ended with an error.
    NonZeroExit,
}

impl Phase {
    /// Every phase, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Start,
        Self::Steady,
        Self::SignalHandled,
        Self::LogReopened,
        Self::GracefulStop,
        Self::NonZeroExit,
    ];

    /// The word in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Steady => "Steady",
            Self::SignalHandled => "SignalHandled",
            Self::LogReopened => "LogReopened",
            Self::GracefulStop => "GracefulStop",
            Self::NonZeroExit => "NonZeroExit",
        }
    }

    fn is_seen(self, observation: &Observation) -> bool {
        let marked = |mark| observation.marks.contains(&mark);
        match self {
            Self::Start => marked(Mark::StartSeen),
            // What ended by itself has no other state to be seen in.
            Self::Steady => marked(Mark::Steady) || marked(Mark::Completed),
            Self::SignalHandled => !observation.handled.control().is_empty(),
            Self::LogReopened => marked(Mark::LogReopened),
            Self::GracefulStop => marked(Mark::GracefulStop) || marked(Mark::Completed),
            Self::NonZeroExit => marked(Mark::NonZeroExit),
        }
    }
}

/// What was and was not seen of the containers of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerVerdict {
    /// The phases that were seen.
    pub seen: Vec<Phase>,
    /// Those that were not.
    pub not_seen: Vec<Phase>,
    /// The signals that handlers ran for, by which programs are told something.
    pub signals: Signals,
}

/// Something for which a recording is not complete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// Nothing was recorded.
    Nothing,
    /// Nothing was recorded of a container that is named as one to record.
    NothingOf {
        /// The container's name.
        container: String,
    },
    /// Calls, values or denials were lost.
    Lost {
        /// The container's name.
        container: String,
    },
    /// A container ran before the recording began, and none was seen to start.
    StartMissed {
        /// The container's name, and its image where several were recorded.
        container: String,
    },
    /// It always made new calls.
    NeverSteady {
        /// The container's name, and its image where several were recorded.
        container: String,
    },
    /// It was never seen to end as it should.
    NeverStopped {
        /// The container's name, and its image where several were recorded.
        container: String,
    },
    /// Calls were made whose numbers have no name, so that a profile can't allow them.
    Unnamed {
        /// The container's name.
        container: String,
    },
}

impl Gap {
    /// A word for it: a condition's reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Nothing | Self::NothingOf { .. } => "NothingRecorded",
            Self::Lost { .. } => "EventsLost",
            Self::StartMissed { .. } => "StartMissed",
            Self::NeverSteady { .. } => "NeverSteady",
            Self::NeverStopped { .. } => "GracefulStopNotSeen",
            Self::Unnamed { .. } => "UnnamedCalls",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing was recorded"),
            Self::NothingOf { container } => {
                write!(
                    f,
                    "{container}: nothing was recorded of it; run it while recording, or correct spec.containers"
                )
            }
            Self::Lost { container } => {
                write!(f, "{container}: events lost: more was called than is known")
            }
            Self::StartMissed { container } => {
                write!(
                    f,
                    "{container}: start missed: the container ran before the recording began; restart its pod"
                )
            }
            Self::NeverSteady { container } => {
                write!(f, "{container}: steady state never seen: it made new calls to the end; let it run on")
            }
            Self::NeverStopped { container } => {
                write!(f, "{container}: graceful stop never seen; delete its pod while recording")
            }
            Self::Unnamed { container } => {
                write!(
                    f,
                    "{container}: made calls that have no name in this version, which the profile will deny"
                )
            }
        }
    }
}

/// How much of an image's digest is shown: `sha256:` and 12 digits.
const SHOWN: usize = 19;

/// What is said of a recording that has no gap.
pub const COMPLETE: &str = "Every container was seen to start, to be steady and to stop";

/// What a recording has seen and what it has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Each container's phases, by its name.
    pub containers: BTreeMap<String, ContainerVerdict>,
    /// What is missing; a recording without any is complete.
    pub gaps: Vec<Gap>,
}

impl Verdict {
    /// Whether nothing is missing that every container has: a start, a steady state and an end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// The same of a recording that names its containers: each must have been recorded.
    #[must_use]
    pub fn expecting(mut self, names: &[String]) -> Self {
        if !self.gaps.contains(&Gap::Nothing) {
            let absent = names.iter().filter(|name| !self.containers.contains_key(*name));
            let absent: Vec<_> = absent.map(|name| Gap::NothingOf { container: name.clone() }).collect();
            self.gaps.splice(..0, absent);
        }
        self
    }

    /// In sentences: what is missing, or that nothing is, and each container's phases that were not seen.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let mut said: Vec<String> = self.gaps.iter().map(ToString::to_string).collect();
        if said.is_empty() {
            said.push(COMPLETE.to_owned());
        }
        said.extend(self.not_seen());
        said
    }

    /// Each container's phases that were not seen, in a sentence for each container that has any.
    pub fn not_seen(&self) -> impl Iterator<Item = String> {
        self.containers.iter().filter(|(_, container)| !container.not_seen.is_empty()).map(
            |(name, container)| {
                let unseen: Vec<&str> = container.not_seen.iter().map(|phase| phase.as_str()).collect();
                format!("{name}: not seen: {}", unseen.join(", "))
            },
        )
    }
}

/// Judges a recording.
///
/// A handled signal, a reopened log and an error are no gaps where they were not seen: not every program has them. They are among the
/// phases that were not seen, because a program that has them makes calls there that nothing else shows.
///
/// Where several images of a container were recorded, its phases are those of the newest one, the one that was seen first last: that an
/// older image was seen to stop says nothing of how this one does. What was lost, and calls without a name, concern the profile whichever
/// image they are of.
#[must_use]
pub fn verdict(tally: &Tally) -> Verdict {
    let mut containers: BTreeMap<&str, Container> = BTreeMap::new();
    for (subject, observation) in &tally.subjects {
        containers.entry(&subject.container).or_default().add(subject, observation);
    }
    let mut gaps = Vec::new();
    if containers.values().all(|container| container.all.calls.is_empty()) {
        gaps.push(Gap::Nothing);
    }
    for (name, container) in &containers {
        gaps.extend(gaps_of(name, container));
    }
    containers.retain(|_, container| !is_of_none(&container.all));
    let judge = |container: &Container| {
        let (_, judged) = container.newest();
        let (seen, not_seen) = Phase::ALL.iter().partition(|phase| phase.is_seen(judged));
        ContainerVerdict { seen, not_seen, signals: judged.handled.control() }
    };
    let containers =
        containers.iter().map(|(name, container)| ((*name).to_owned(), judge(container))).collect();
    Verdict { containers, gaps }
}

/// What was seen of the containers of one name.
#[derive(Default)]
struct Container<'a> {
    all: Observation,
    /// By image, without those of which the image is not known.
    images: BTreeMap<&'a str, Observation>,
}

impl<'a> Container<'a> {
    fn add(&mut self, subject: &'a Subject, observation: &Observation) {
        self.all.add(observation);
        if !subject.image.is_empty() && subject.image != OTHERS {
            self.images.entry(&subject.image).or_default().add(observation);
        }
    }

    /// What its phases are judged by, and the image where that is one of several.
    fn newest(&self) -> (Option<&str>, &Observation) {
        let first_seen =
            |observation: &Observation| observation.calls.values().map(|seen| seen.first_at).min();
        let newest = self.images.iter().max_by_key(|(_, observation)| first_seen(observation));
        match newest {
            Some((image, observation)) if self.images.len() > 1 => (Some(image), observation),
            _ => (None, &self.all),
        }
    }
}

/// Whether it is of no container at all: what was lost and can't be told of any.
fn is_of_none(observation: &Observation) -> bool {
    observation.containers == 0 && observation.calls.is_empty()
}

fn gaps_of(name: &str, of: &Container<'_>) -> Vec<Gap> {
    let (all, (image, judged)) = (&of.all, of.newest());
    let container = || name.to_owned();
    let judged_container = || match image {
        Some(image) => format!("{name} (image {})", image.get(..SHOWN).unwrap_or(image)),
        None => name.to_owned(),
    };
    let unnamed = all.calls.keys().any(|call| call.name().is_none());
    let seen = |phase: Phase| is_of_none(all) || phase.is_seen(judged);
    [
        (!all.losses.is_none(), Gap::Lost { container: container() }),
        (!seen(Phase::Start), Gap::StartMissed { container: judged_container() }),
        (!seen(Phase::Steady), Gap::NeverSteady { container: judged_container() }),
        (!seen(Phase::GracefulStop), Gap::NeverStopped { container: judged_container() }),
        (unnamed, Gap::Unnamed { container: container() }),
    ]
    .into_iter()
    .filter_map(|(holds, gap)| holds.then_some(gap))
    .collect()
}
