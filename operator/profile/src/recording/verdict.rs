//! Whether a recording is complete, and what it has not seen.

use std::{collections::BTreeMap, fmt};

use super::{Absence, Mark, OTHERS, Observation, Signals, Subject, Tally};

/// A phase of a container's life, in each of which programs make calls that they make in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// From the container's first instruction.
    Start,
    /// Some time without a new call.
    Steady,
    /// A command that the runtime ran in it.
    Exec,
    /// A handler ran for a signal by which programs are told something.
    SignalHandled,
    /// A log was opened again after SIGHUP or SIGUSR1.
    LogReopened,
    /// It ended as it should.
    GracefulStop,
    /// It ended with an error.
    NonZeroExit,
}

/// What there is to say that a phase was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// Something that can't be chance.
    Proof,
    /// Something that the program may do by itself at any time.
    Hint,
    Nothing,
}

impl Phase {
    /// Every phase, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::Steady,
        Self::Exec,
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
            Self::Exec => "Exec",
            Self::SignalHandled => "SignalHandled",
            Self::LogReopened => "LogReopened",
            Self::GracefulStop => "GracefulStop",
            Self::NonZeroExit => "NonZeroExit",
        }
    }

    /// By what it is seen, as `docs/recording.md` has it.
    #[must_use]
    pub const fn seen_when(self) -> &'static str {
        match self {
            Self::Start => "the container's cgroup was made while it was watched",
            Self::Steady => "a minute went by without a new call, or the first process ended with 0 unasked",
            Self::Exec => {
                "the runtime ran a command in the running container: an exec probe, a lifecycle hook, `kubectl exec`"
            }
            Self::SignalHandled => {
                "a handler ran for a signal from outside, one of those by which programs are told something"
            }
            Self::LogReopened => {
                "after a handler took SIGHUP or SIGUSR1 from outside, a file was opened to append to it that had been before"
            }
            Self::GracefulStop => {
                "the first process ended with 0, or as a signal has it that asks for an end and that it handled"
            }
            Self::NonZeroExit => "the first process ended by itself with another status",
        }
    }

    fn evidence(self, observation: &Observation) -> Evidence {
        let Observation { marks, handled, outside, .. } = observation;
        let marked = |any: &[Mark]| any.iter().any(|mark| marks.contains(mark));
        let told = handled.and(*outside);
        let proof = match self {
            Self::Start => marked(&[Mark::StartSeen]),
            // What ended by itself has no other state to be seen in.
            Self::Steady => marked(&[Mark::Steady, Mark::Completed]),
            Self::Exec => marked(&[Mark::ExecSeen]),
            Self::SignalHandled => !told.control().is_empty(),
            Self::LogReopened => marked(&[Mark::LogReopened]),
            Self::GracefulStop => marked(&[Mark::GracefulStop, Mark::Completed]),
            Self::NonZeroExit => marked(&[Mark::NonZeroExit]),
        };
        let hint = match self {
            Self::SignalHandled => !handled.control().is_empty(),
            // Where an operator's signal was handled, what the program does then was seen, with a log or without.
            Self::LogReopened => !handled.reopens().is_empty() && told.reopens().is_empty(),
            _ => false,
        };
        match (proof, hint) {
            (true, _) => Evidence::Proof,
            (false, true) => Evidence::Hint,
            (false, false) => Evidence::Nothing,
        }
    }

    fn is_seen(self, observation: &Observation) -> bool {
        self.evidence(observation) == Evidence::Proof
    }
}

/// What was and was not seen of the containers of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerVerdict {
    /// The phases that were seen.
    pub seen: Vec<Phase>,
    /// Those of which there is a hint that may be chance.
    pub maybe: Vec<Phase>,
    /// Those that were not.
    pub not_seen: Vec<Phase>,
    /// The signals from outside that handlers ran for, of those by which programs are told something.
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
    /// Pods came and went while a node's recorder was away.
    Away(Absence),
    /// Calls, values or denials were lost.
    Lost {
        /// The container's name.
        container: String,
    },
    /// A container's cgroup is deeper than the probe looks.
    TooDeep {
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
    /// Its pod says that commands run in it, and none was seen.
    NeverExecuted {
        /// The container's name, and its image where several were recorded.
        container: String,
    },
    /// Of some phases there is a hint alone.
    Unproven {
        /// The container's name, and its image where several were recorded.
        container: String,
        /// The phases.
        phases: Vec<Phase>,
        /// The signals that handlers ran for, and that it sent itself.
        signals: Signals,
    },
    /// It was never seen to end as it should.
    NeverStopped {
        /// The container's name, and its image where several were recorded.
        container: String,
        /// Whether it was told to stop, and was killed.
        killed: bool,
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
            Self::Away(_) => "RecorderAway",
            Self::Lost { .. } => "EventsLost",
            Self::TooDeep { .. } => "CgroupTooDeep",
            Self::StartMissed { .. } => "StartMissed",
            Self::NeverSteady { .. } => "NeverSteady",
            Self::NeverExecuted { .. } => "ExecNotSeen",
            Self::Unproven { .. } => "PhasesUnproven",
            Self::NeverStopped { .. } => "GracefulStopNotSeen",
            Self::Unnamed { .. } => "UnnamedCalls",
        }
    }
}

/// One sentence: what is missing, and after a semicolon what to do.
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
            Self::Away(absence) => {
                let missing = if absence.has_pods() { ", and is not in the recording" } else { "" };
                let remedy = match absence.until {
                    Some(_) => "make another recording, and run it again",
                    None => "see why daemonset/portcullis-recorder has no Ready pod there",
                };
                write!(f, "{absence}{missing}; {remedy}")
            }
            Self::Lost { container } => {
                write!(f, "{container}: more was called than is known; record again in another recording")
            }
            Self::TooDeep { container } => write!(
                f,
                "{container}: nothing of it was counted on a node where its cgroup is more than 15 levels deep; run the kubelet in a cgroup \
                 nearer to the root"
            ),
            Self::StartMissed { container } => {
                write!(f, "{container}: its start was missed, as it ran before; restart its pod")
            }
            Self::NeverSteady { container } => {
                write!(f, "{container}: no minute went by without a new call; let it run on")
            }
            Self::NeverExecuted { container } => write!(
                f,
                "{container}: its pod has an exec probe or a hook that runs a command in it, and none ran; let it run while recording"
            ),
            Self::Unproven { container, phases, signals } => write!(
                f,
                "{container}: {} may be chance, as the {signals} that it handled came from itself; send it one from outside, as an operator \
                 does",
                words(phases)
            ),
            Self::NeverStopped { container, killed: false } => {
                write!(f, "{container}: no graceful stop was seen; delete its pod while recording")
            }
            Self::NeverStopped { container, killed: true } => write!(
                f,
                "{container}: told to stop, it was killed; let it handle SIGTERM, or give it longer (terminationGracePeriodSeconds)"
            ),
            Self::Unnamed { container } => {
                write!(
                    f,
                    "{container}: it made calls without a name in this version, which the profile will deny; update Portcullis"
                )
            }
        }
    }
}

fn words(phases: &[Phase]) -> String {
    phases.iter().map(|phase| phase.as_str()).collect::<Vec<_>>().join(", ")
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

    /// In sentences: what is missing, or that nothing is, and each container's phases that were not seen besides.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let mut said: Vec<String> = self.gaps.iter().map(ToString::to_string).collect();
        if said.is_empty() {
            said.push(COMPLETE.to_owned());
        }
        said.extend(self.not_seen());
        said
    }

    /// Each container's phases that were not seen and that no gap speaks of, in a sentence for each container that has any.
    pub fn not_seen(&self) -> impl Iterator<Item = String> {
        self.containers.iter().filter_map(|(name, container)| {
            let said = |phase: &&Phase| self.gaps.iter().any(|gap| gap.speaks_of(name, **phase));
            let unseen: Vec<Phase> =
                container.not_seen.iter().filter(|phase| !said(phase)).copied().collect();
            (!unseen.is_empty()).then(|| {
                format!("{name}: not seen: {}; cause those that it has while recording", words(&unseen))
            })
        })
    }
}

impl Gap {
    /// Whether it says of the containers of a name that a phase is missing.
    fn speaks_of(&self, name: &str, phase: Phase) -> bool {
        let (of, container) = match self {
            Self::StartMissed { container } => (Phase::Start, container),
            Self::NeverSteady { container } => (Phase::Steady, container),
            Self::NeverExecuted { container } => (Phase::Exec, container),
            Self::NeverStopped { container, .. } => (Phase::GracefulStop, container),
            _ => return false,
        };
        of == phase
            && (container == name
                || container.strip_prefix(name).is_some_and(|rest| rest.starts_with(" (image ")))
    }
}

/// Judges a recording.
///
/// A command that was run in it, a handled signal, a reopened log and an error are no gaps where they were not seen: not every program has
/// them. They are among the phases that were not seen, because a program that has them makes calls there that nothing else shows. Where its
/// pod says that it has an exec probe, or a handler ran, it has them: then they are gaps until they were seen for certain.
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
    gaps.extend(tally.absences.iter().cloned().map(Gap::Away));
    for (name, container) in &containers {
        gaps.extend(gaps_of(name, container));
    }
    containers.retain(|_, container| !is_of_none(&container.all));
    let judge = |container: &Container| {
        let (_, judged) = container.newest();
        let with = |evidence| {
            Phase::ALL.iter().filter(|phase| phase.evidence(judged) == evidence).copied().collect()
        };
        ContainerVerdict {
            seen: with(Evidence::Proof),
            maybe: with(Evidence::Hint),
            not_seen: with(Evidence::Nothing),
            signals: judged.handled.and(judged.outside).control(),
        }
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
    let marked = |mark| judged.marks.contains(&mark);
    let hints: Vec<Phase> =
        Phase::ALL.into_iter().filter(|phase| phase.evidence(judged) == Evidence::Hint).collect();
    // One that ends by itself is told nothing by anybody.
    let unproven = !hints.is_empty() && !marked(Mark::Completed);
    let signals = judged.handled.without(judged.outside).control();
    let killed = marked(Mark::Killed) && !judged.outside.stops().is_empty();
    [
        (!all.losses.is_none(), Gap::Lost { container: container() }),
        (all.marks.contains(&Mark::TooDeep), Gap::TooDeep { container: container() }),
        (!seen(Phase::Start), Gap::StartMissed { container: judged_container() }),
        (!seen(Phase::Steady), Gap::NeverSteady { container: judged_container() }),
        (
            marked(Mark::ExecExpected) && !seen(Phase::Exec),
            Gap::NeverExecuted { container: judged_container() },
        ),
        (unproven, Gap::Unproven { container: judged_container(), phases: hints, signals }),
        (!seen(Phase::GracefulStop), Gap::NeverStopped { container: judged_container(), killed }),
        (unnamed, Gap::Unnamed { container: container() }),
    ]
    .into_iter()
    .filter_map(|(holds, gap)| holds.then_some(gap))
    .collect()
}
