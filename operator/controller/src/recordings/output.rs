//! The profile that a recording creates: when to make it, what is in it, and what came of it. Pure.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_api::{
    ProfileSpec, RECORDED_DIGEST_ANNOTATION, RECORDING_UID_ANNOTATION, RecordingReason, SeccompProfile,
    SeccompProfileSpec, SeccompRecording, SeccompRecordingPartSpec,
};
use portcullis_profile::{
    Digest,
    recording::{Ledger, Tally},
};
use serde_json::json;
use tokio::time::Instant;

/// How often the profile is written while a recording goes on: each content becomes a revision on every node.
const PROFILE_PACE: Duration = Duration::from_secs(60);
/// How soon it is tried again where a profile of that name is in the way or a base is missing.
const TRY_AGAIN: Duration = Duration::from_secs(300);

/// What a profile is made of. Equal ones make equal profiles of equal bases.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Basis {
    pub(super) recording: SeccompRecording,
    /// What was seen, without how often.
    pub(super) tally: Tally,
    /// Whether the recording has ended, so that the profile is about to be its user's.
    pub(super) ended: bool,
}

impl Basis {
    /// A digest of what the profile is made of, apart from its bases' content: the same in every version, as the format of parts is.
    fn digest(&self) -> String {
        let seen = SeccompRecordingPartSpec::of_node("", "", "", &Ledger::with_settled(self.tally.clone()));
        let content = json!([self.recording.spec.profile, seen.platforms, seen.entries]);
        Digest::of(content.to_string().as_bytes()).to_string()
    }

    fn of(recording: &SeccompRecording, tally: &Tally) -> Self {
        let ended = recording.status.as_ref().is_some_and(|status| status.ended_at.is_some());
        let mut recording = recording.clone();
        // What the controller itself writes must not make it look again.
        recording.status = None;
        recording.metadata.resource_version = None;
        let uncounted = tally
            .subjects
            .iter()
            .map(|(subject, observation)| (subject.clone(), observation.without_counts()));
        let tally =
            Tally { subjects: uncounted.collect(), platforms: tally.platforms.clone(), ..Tally::default() };
        Self { recording, tally, ended }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// The profile is there and up to date.
    Created { name: String, notes: Vec<String> },
    /// A profile of that name is there that the recording did not create.
    NameTaken { name: String },
    /// None can be made.
    Impossible(String),
    /// It could not be written.
    NotWritten(String),
}

impl Made {
    /// Whether it is there, and why or why not.
    pub(super) fn said(&self) -> (bool, RecordingReason, String) {
        match self {
            Self::Created { name, .. } => {
                (true, RecordingReason::Created, format!("SeccompProfile {name} holds what was recorded"))
            }
            Self::NameTaken { name } => (
                false,
                RecordingReason::NameTaken,
                format!(
                    "SeccompProfile {name} is there and this recording did not create it, so it is left alone: name another one in \
                     spec.profile.name, or `kubectl seccomp record export --update` it"
                ),
            ),
            Self::Impossible(why) => (false, RecordingReason::NotMade, why.clone()),
            Self::NotWritten(why) => (false, RecordingReason::NotWritten, why.clone()),
        }
    }

    /// What whoever reviews the profile has to know.
    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Self::Created { notes, .. } => notes.clone(),
            _ => Vec::new(),
        }
    }
}

/// Where a recording is with its profile.
#[derive(Debug, Default)]
pub(super) struct Output {
    done: Option<(Basis, Made, Instant)>,
}

impl Output {
    /// What came of the last attempt.
    pub(super) fn outcome(&self) -> Option<&Made> {
        self.done.as_ref().map(|(_, made, _)| made)
    }

    /// What to make the profile of now, if there is a reason to; the error is when there will be one.
    pub(super) fn next(
        &self,
        recording: &SeccompRecording,
        tally: &Tally,
        now: Instant,
    ) -> Result<Option<Basis>, Instant> {
        if tally.subjects.values().all(|observation| observation.calls.is_empty()) {
            return Ok(None);
        }
        let basis = Basis::of(recording, tally);
        let Some((done, made, at)) = &self.done else { return Ok(Some(basis)) };
        if done.recording.metadata.generation != basis.recording.metadata.generation {
            return Ok(Some(basis));
        }
        let pace = match made {
            Made::Created { .. } if *done == basis => return Ok(None),
            Made::Created { .. } => PROFILE_PACE,
            _ if *done == basis => TRY_AGAIN,
            _ => PROFILE_PACE,
        };
        // Once it has ended, there is nothing to wait for; what failed still waits.
        if (basis.ended && *done != basis) || *at + pace <= now { Ok(Some(basis)) } else { Err(*at + pace) }
    }

    pub(super) fn done(&mut self, basis: Basis, made: Made, now: Instant) {
        self.done = Some((basis, made, now));
    }
}

/// What to do about a profile, given the one that is there.
#[derive(Debug)]
pub(super) enum Write {
    /// It is as it should be.
    Nothing,
    /// It is another's.
    Leave,
    /// There is none.
    Create(Box<SeccompProfile>),
    /// It is this recording's own and says something else.
    Replace(Box<SeccompProfile>),
}

/// Decides by the annotations that a recording leaves on what it created. Without its UID, as when a user took it away to keep the profile as
/// it is, the profile is another's. What a user set beside the content (the mode, a pin, the history's limit) stays, and the content as well
/// once the recording has ended and the profile was made of all that it saw.
pub(super) fn write(basis: &Basis, existing: Option<SeccompProfile>, spec: ProfileSpec) -> Write {
    let recording = &basis.recording;
    let uid = recording.metadata.uid.clone().unwrap_or_default();
    let digest = basis.digest();
    let Some(mut existing) = existing else {
        let annotations =
            [(RECORDING_UID_ANNOTATION.to_owned(), uid), (RECORDED_DIGEST_ANNOTATION.to_owned(), digest)];
        let metadata = ObjectMeta {
            name: Some(recording.profile_name()),
            namespace: recording.metadata.namespace.clone(),
            annotations: Some(BTreeMap::from(annotations)),
            ..ObjectMeta::default()
        };
        let spec = SeccompProfileSpec { profile: spec };
        return Write::Create(Box::new(SeccompProfile { metadata, spec, status: None }));
    };
    let annotations = existing.metadata.annotations.get_or_insert_default();
    if annotations.get(RECORDING_UID_ANNOTATION) != Some(&uid)
        || existing.metadata.deletion_timestamp.is_some()
    {
        return Write::Leave;
    }
    let is_told = annotations.get(RECORDED_DIGEST_ANNOTATION) == Some(&digest);
    if is_told && basis.ended {
        return Write::Nothing;
    }
    let ProfileSpec { mode: _, profile, bases, recorded_from, pin: _, revision_history_limit: _ } = spec;
    let now = existing.spec.profile.clone();
    let wished = ProfileSpec { profile, bases, recorded_from, ..now.clone() };
    if is_told && wished == now {
        return Write::Nothing;
    }
    annotations.insert(RECORDED_DIGEST_ANNOTATION.to_owned(), digest);
    existing.spec.profile = wished;
    existing.status = None;
    Write::Replace(Box::new(existing))
}
