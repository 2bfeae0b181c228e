//! What a recording's status says: pure, from what was seen.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{SignedDuration, Timestamp},
};
use portcullis_api::{
    ContainerSummary, LostCounts, MAX_LISTED_CALLS, MAX_LISTED_CONTAINERS, MAX_LISTED_DENIED,
    MAX_LISTED_IMAGES, MAX_LISTED_RUNS, MAX_WARNINGS, RecordingCondition, RecordingReason, RecordingStatus,
    RunSummary, SeccompRecording, UnrecordedNode, bounded_message, parse_duration,
};
use portcullis_profile::recording::{Call, Observation, Tally, Verdict, only_in, verdict};

use super::output::Made;

/// All that a status follows from.
pub(super) struct Facts<'a> {
    pub(super) recording: &'a SeccompRecording,
    pub(super) previous: &'a RecordingStatus,
    pub(super) tally: &'a Tally,
    /// Nodes that have a part and are there.
    pub(super) nodes: u32,
    /// Nodes that asked, and had no pod of it.
    pub(super) refused: &'a [String],
    /// Nodes that had pods of it and no recorder.
    pub(super) unrecorded: Vec<UnrecordedNode>,
    /// Parts that can't be read.
    pub(super) problems: &'a [String],
    /// What came of the profile, where one is to be created and was tried.
    pub(super) output: Option<&'a Made>,
    pub(super) now: Timestamp,
}

/// When and why a recording ended.
struct End {
    at: Timestamp,
    reason: RecordingReason,
    message: String,
}

impl Facts<'_> {
    /// The status, and how long until the recording ends if nothing new comes.
    pub(super) fn judge(&self) -> (RecordingStatus, Option<Duration>) {
        let total = self.tally.total();
        let started = self.previous.started_at.as_ref().map_or_else(|| whole(self.now), |time| time.0);
        let (end, ends_in) = self.end(started, &total);
        let verdict =
            verdict(&with_absences(self.tally, &self.unrecorded)).expecting(&self.recording.spec.containers);
        let names = |calls: &mut dyn Iterator<Item = &Call>, limit| -> Vec<String> {
            calls.map(|call| name(*call)).collect::<BTreeSet<_>>().into_iter().take(limit).collect()
        };
        let mut conditions =
            vec![self.recording_condition(end.as_ref(), &total), self.complete_condition(&verdict)];
        conditions.extend(self.output.map(|made| self.profile_condition(made)));
        let status = RecordingStatus {
            observed_generation: self.recording.metadata.generation,
            conditions,
            started_at: Some(Time(started)),
            ended_at: self.previous.ended_at.clone().or_else(|| end.map(|end| Time(end.at))),
            missing: self.missing(&verdict),
            calls: u32::try_from(total.calls.len()).unwrap_or(u32::MAX),
            call_names: names(&mut total.calls.keys(), MAX_LISTED_CALLS),
            denied_calls: names(&mut total.denied.keys(), MAX_LISTED_DENIED),
            runs: self.runs(),
            containers: self.containers(&verdict),
            nodes: self.nodes,
            refused_nodes: self.refused.to_vec(),
            unrecorded: self.unrecorded.clone(),
            last_new_call_time: total.last_new_at().and_then(time_of).map(Time),
            lost: LostCounts::of(total.losses),
            notes: self.output.map(Made::notes).unwrap_or_default(),
        };
        (status, ends_in)
    }

    /// How the recording ended, or how long until it does.
    fn end(&self, started: Timestamp, total: &Observation) -> (Option<End>, Option<Duration>) {
        if let Some(ended) = &self.previous.ended_at {
            let said = find(self.previous, RecordingCondition::Recording);
            let reason = match said.map(|condition| condition.reason.as_str()) {
                Some("NoNewCalls") => RecordingReason::NoNewCalls,
                _ => RecordingReason::DurationOver,
            };
            let message = said.map(|condition| condition.message.clone()).unwrap_or_default();
            return (Some(End { at: ended.0, reason, message }), None);
        }
        let Some(wished) = &self.recording.spec.end else { return (None, None) };
        let length = |text: &Option<String>| text.as_deref().and_then(parse_duration);
        let over =
            length(&wished.duration).map(|length| (after(started, length), RecordingReason::DurationOver));
        let last = total.last_new_at().and_then(time_of).map(|last| last.max(started));
        let quiet = last
            .zip(length(&wished.no_new_call_for))
            .map(|(last, length)| (after(last, length), RecordingReason::NoNewCalls));
        let Some((at, reason)) = over.into_iter().chain(quiet).min_by_key(|(at, _)| *at) else {
            return (None, None);
        };
        let left = at.duration_since(self.now);
        if left > SignedDuration::ZERO {
            // A moment later rather than earlier, so that the end has come by then.
            return (None, Some(left.unsigned_abs() + Duration::from_millis(100)));
        }
        let why = match reason {
            RecordingReason::NoNewCalls => "no container made a new call for spec.end.noNewCallFor",
            _ => "spec.end.duration is over",
        };
        let message = format!("Ended at {at}: {why}. Make another recording to go on");
        (Some(End { at, reason, message }), None)
    }

    fn recording_condition(&self, end: Option<&End>, total: &Observation) -> Condition {
        let kind = RecordingCondition::Recording;
        if let Some(End { reason, message, .. }) = end {
            return self.condition(kind, "False", reason, message);
        }
        if total.containers == 0 && total.calls.is_empty() {
            let message = "Nothing was recorded yet: no pod that spec.podSelector matches has run on a node with a recorder, or it \
                           has made no call under a filter";
            return self.condition(kind, "True", &RecordingReason::WaitingForPods, message);
        }
        let containers: BTreeSet<&str> =
            self.tally.subjects.keys().map(|subject| subject.container.as_str()).collect();
        let containers: Vec<&str> = containers.into_iter().collect();
        let message = format!("Recording {}", containers.join(", "));
        self.condition(kind, "True", &RecordingReason::Active, &message)
    }

    fn complete_condition(&self, verdict: &Verdict) -> Condition {
        let kind = RecordingCondition::Complete;
        if let Some(problem) = self.problems.first() {
            let message = format!("{problem}; what it holds counts for nothing");
            return self.condition(kind, "False", &RecordingReason::InvalidPart, &message);
        }
        let said = verdict.in_words().join(". ");
        match verdict.gaps.first() {
            Some(gap) => self.condition(kind, "False", &RecordingReason::Missing(gap.clone()), &said),
            None => self.condition(kind, "True", &RecordingReason::AllSeen, &said),
        }
    }

    fn missing(&self, verdict: &Verdict) -> Vec<String> {
        let gaps = verdict.gaps.iter().map(ToString::to_string).chain(verdict.not_seen());
        let all = self.problems.iter().cloned().chain(gaps);
        all.take(MAX_WARNINGS).map(|missing| bounded_message(&missing)).collect()
    }

    fn profile_condition(&self, made: &Made) -> Condition {
        let (holds, reason, message) = made.said();
        let status = if holds { "True" } else { "False" };
        self.condition(RecordingCondition::ProfileCreated, status, &reason, &message)
    }

    /// A condition. Where its status is what it was, so is its `lastTransitionTime`.
    fn condition(
        &self,
        kind: RecordingCondition,
        status: &str,
        reason: &RecordingReason,
        message: &str,
    ) -> Condition {
        let previous = find(self.previous, kind).filter(|condition| condition.status == status);
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: bounded_message(message),
            observed_generation: self.recording.metadata.generation,
            last_transition_time: previous
                .map_or_else(|| Time(whole(self.now)), |condition| condition.last_transition_time.clone()),
        }
    }

    fn runs(&self) -> Vec<RunSummary> {
        let runs: BTreeSet<&str> = self.tally.subjects.keys().map(|subject| subject.run.as_str()).collect();
        let count = |calls: usize| u32::try_from(calls).unwrap_or(u32::MAX);
        let calls_of = |run: &str| {
            let mine = self.tally.subjects.iter().filter(|(subject, _)| subject.run == run);
            mine.flat_map(|(_, observation)| observation.calls.keys()).collect::<BTreeSet<_>>().len()
        };
        let summary = |run: &str| RunSummary {
            name: run.to_owned(),
            calls: count(calls_of(run)),
            only_here: count(only_in(self.tally, run).len()),
        };
        runs.into_iter().take(MAX_LISTED_RUNS).map(summary).collect()
    }

    fn containers(&self, verdict: &Verdict) -> Vec<ContainerSummary> {
        let images = |name: &str| -> Vec<String> {
            let mine = self.tally.subjects.keys().filter(|subject| subject.container == name);
            let images: BTreeSet<&str> =
                mine.map(|subject| subject.image.as_str()).filter(|image| !image.is_empty()).collect();
            images.into_iter().take(MAX_LISTED_IMAGES).map(str::to_owned).collect()
        };
        let containers = verdict.containers.iter().take(MAX_LISTED_CONTAINERS);
        containers
            .map(|(name, container)| ContainerSummary {
                name: name.clone(),
                images: images(name),
                seen: container.seen.iter().map(|phase| (*phase).into()).collect(),
                maybe: container.maybe.iter().map(|phase| (*phase).into()).collect(),
                not_seen: container.not_seen.iter().map(|phase| (*phase).into()).collect(),
                signals: container.signals.names().collect(),
            })
            .collect()
    }
}

/// What was recorded, and of which nodes no recorder told.
fn with_absences(tally: &Tally, unrecorded: &[UnrecordedNode]) -> Tally {
    let mut all = tally.clone();
    all.absences.extend(unrecorded.iter().map(UnrecordedNode::absence));
    all
}

/// The status of a recording that is not among the oldest of its namespace, as many as are recorded. What was seen of it stays.
pub(super) fn beyond_limit(
    recording: &SeccompRecording,
    previous: &RecordingStatus,
    (there_are, limit): (usize, usize),
    now: Timestamp,
) -> RecordingStatus {
    let namespace = recording.metadata.namespace.as_deref().unwrap_or_default();
    let facts = Facts {
        recording,
        previous,
        tally: &Tally::default(),
        nodes: 0,
        refused: &[],
        unrecorded: Vec::new(),
        problems: &[],
        output: None,
        now,
    };
    let message = format!(
        "namespace {namespace} has {there_are} SeccompRecordings, of which the {limit} oldest are recorded: delete some that have ended, or have \
         an administrator raise bounds.recordingsPerNamespace (--max-recordings-per-namespace)"
    );
    let kind = RecordingCondition::Recording;
    let others = previous.conditions.iter().filter(|condition| condition.type_ != kind.as_str());
    let refused = facts.condition(kind, "False", &RecordingReason::NamespaceLimit, &message);
    RecordingStatus {
        observed_generation: recording.metadata.generation,
        conditions: std::iter::once(refused).chain(others.cloned()).collect(),
        ..previous.clone()
    }
}

/// Whether a status says something that should not wait: what a condition says in one word, that the recording began or that it ended.
pub(super) fn is_urgent(status: &RecordingStatus, previous: &RecordingStatus) -> bool {
    let words = |status: &RecordingStatus| -> Vec<(String, String, String)> {
        let conditions = status.conditions.iter();
        conditions.map(|one| (one.type_.clone(), one.status.clone(), one.reason.clone())).collect()
    };
    status.ended_at != previous.ended_at
        || status.observed_generation != previous.observed_generation
        || words(status) != words(previous)
}

fn find(status: &RecordingStatus, kind: RecordingCondition) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

fn name(call: Call) -> String {
    call.name().map_or_else(|| format!("{}:{}", call.arch, call.number), str::to_owned)
}

/// The API keeps whole seconds; a finer time would differ from what is read back.
pub(super) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn time_of(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// A time so much later, or the last one there is.
fn after(time: Timestamp, length: Duration) -> Timestamp {
    time.checked_add(length).unwrap_or(Timestamp::MAX)
}
