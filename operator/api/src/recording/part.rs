//! `SeccompRecordingPart`: what one node's recorder saw for one recording.

use kube::{CustomResource, KubeSchema};
use portcullis_profile::recording::{
    Absence, Entry, InvalidText, Ledger, Losses, Observation, Platform, Signals, Source, Subject,
    decode_entry, encode_entry,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::constants::MAX_IMAGE_LENGTH;

/// What one node's recorder saw for one recording: named `<recording>.<node>`. Without a node, named as the recording: what nodes saw
/// that are gone, written by the controller.
///
/// # Who writes what, and how often
/// A node's recorder creates the node's part empty, with the recording as its owner, once the node has pods of the recording. That asks
/// the controller, which invites the node or deletes the part (annotation portcullis.dev/invited). Then the recorder writes it alone; admission
/// policies hold it to all that, by the node's name in its token. It writes when there is something new
/// ([`portcullis_profile::recording::Observation::is_news_after`]) or a container ended, at most every ten seconds; counts alone cause
/// no write. A new generation of the recording is answered at once, where the node has pods of it or a part: it reads all counters
/// under the run that went before, and then writes `observedGeneration`. By that `kubectl seccomp record run` knows that a run has
/// begun everywhere, and at the end that the last counts are written down.
///
/// # Why nothing is lost or counted twice
/// A part is the whole of what its node saw, so a later one replaces an earlier one. A recorder that starts anew reads it back
/// ([`SeccompRecordingPart::ledger`]); see [`Ledger`] for what is counted when.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompRecordingPart",
    plural = "seccomprecordingparts",
    shortname = "srecp",
    namespaced,
    derive = "Default",
    doc = "What one node's recorder saw for one SeccompRecording. Written by that recorder alone, once the controller has seen pods of the recording on the node (annotation portcullis.dev/invited); one without a node holds what nodes saw that are gone, and is the controller's.",
    printcolumn(
        name = "Recording",
        type_ = "string",
        json_path = ".spec.recording",
        description = "The recording's name"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.node",
        description = "The node; none for what nodes saw that are gone"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.recording + (has(self.spec.node) ? '.' + self.spec.node : '')")
        .message("metadata.name must be <recording>.<node>, or the recording's name for what nodes saw that are gone"),
    validation = Rule::new("self.spec.recordingUid == oldSelf.spec.recordingUid && has(self.spec.node) == has(oldSelf.spec.node)")
        .message("a part is of one recording for ever: delete it and write another")
        .field_path(".spec.recordingUid"),
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompRecordingPartSpec {
    /// The recording's name, in the same namespace.
    #[schemars(schema_with = "dns_label")]
    pub recording: String,
    /// The recording's UID: a part of an earlier recording of that name counts for nothing.
    #[schemars(length(min = 1, max = 64))]
    pub recording_uid: String,
    /// The node; none for what nodes saw that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = crate::MAX_RECORDED_NODE_LENGTH))]
    pub node: Option<String>,
    /// The recording's metadata.generation that the recorder has taken in: what containers did before that is in the entries, under
    /// the run that went before it. None for what nodes saw that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the node's own counters of losses said when the recording began there: what they say beyond that was lost while it went on.
    /// None for what nodes saw that are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_before: Option<LostCounts>,
    /// Kernels and container runtimes that it was recorded on, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_PLATFORMS))]
    pub platforms: Vec<RecordingPlatform>,
    /// When the node's recorder was away while pods came and went, at most 16 times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = portcullis_profile::recording::MAX_ABSENCES))]
    pub absences: Vec<RecordedAbsence>,
    /// What was seen: for each image, container and run what ended containers come to, then the containers that still run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::MAX_PART_ENTRIES))]
    pub entries: Vec<RecordedEntry>,
}

/// Where it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingPlatform {
    /// The kernel's release.
    #[schemars(length(max = crate::constants::MAX_PLATFORM_LENGTH))]
    pub kernel: String,
    /// The container runtime and its version, as the node says.
    #[schemars(length(max = crate::constants::MAX_PLATFORM_LENGTH))]
    pub runtime: String,
}

/// A time in which a node's recorder was away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedAbsence {
    /// The node's name.
    #[schemars(length(min = 1, max = crate::MAX_RECORDED_NODE_LENGTH))]
    pub node: String,
    /// Seconds since the epoch, from which on it was away.
    #[schemars(range(min = 0))]
    pub since: i64,
    /// Seconds since the epoch, at which it was back.
    #[schemars(range(min = 0))]
    pub until: i64,
    /// The recording's pods that lived meanwhile and had ended when it was back, the first ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pods")]
    pub pods: Vec<String>,
    /// How many more there were, and how many pods that are not in the API any more.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub others: i64,
    /// Whether pods may have come and gone of which nobody took note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unnoted: bool,
}

/// What was seen of some containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedEntry {
    /// The digest of the containers' image; empty where it is not known.
    #[schemars(length(max = MAX_IMAGE_LENGTH))]
    pub image: String,
    /// Their name in their pods.
    #[schemars(length(max = 63))]
    pub container: String,
    /// The test run; empty where the pods have no such label.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub run: String,
    /// The one container that this is of and that still runs; none for those that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<RecordedSource>,
    /// The UID of the node's part that this was taken over from: it counts once that part is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub part: Option<String>,
    /// How many containers this is of.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub containers: i64,
    /// Seconds since the epoch that the times in calls and denied are counted from.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub since: i64,
    /// The calls: for each architecture number:count:seconds, for example SCMP_ARCH_X86_64=0:15:0,257:40:2. A count of 0 is unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = portcullis_profile::recording::MAX_CALLS_TEXT))]
    pub calls: String,
    /// The calls that the containers' filter denied, in the same form.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = portcullis_profile::recording::MAX_DENIED_TEXT))]
    pub denied: String,
    /// Values of arguments: number.index:hex/hex, or * for too many, for example SCMP_ARCH_X86_64=41.0:1/2,16.1:*.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = portcullis_profile::recording::MAX_VALUES_TEXT))]
    pub values: String,
    /// Marks of the containers' lives, such as StartSeen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "marks")]
    pub marks: Vec<String>,
    /// Signals that handlers ran for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "signals")]
    pub signals: Vec<String>,
    /// Signals that came from outside of the containers' own programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "signals")]
    pub outside_signals: Vec<String>,
    /// What could not be kept; nothing where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostCounts>,
}

/// A container whose counters may grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedSource {
    /// The container's id.
    #[schemars(length(max = 64))]
    pub container_id: String,
    /// Changes whenever the recorder's counters began at nothing again.
    #[schemars(length(max = 64))]
    pub instance: String,
}

/// What could not be kept: more was called than is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LostCounts {
    /// How many calls.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub calls: i64,
    /// How many values of arguments.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub values: i64,
    /// How many denied calls.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub denials: i64,
}

/// A part that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.entries[{index}].{problem}")]
pub struct InvalidPart {
    /// Which entry.
    pub index: usize,
    /// What is wrong with it.
    pub problem: InvalidText,
}

impl SeccompRecordingPartSpec {
    /// Writes down what a node's recorder saw, as much as fits ([`Ledger::fit`]).
    #[must_use]
    pub fn of_node(recording: &str, recording_uid: &str, node: &str, ledger: &Ledger) -> Self {
        let ledger = ledger.fit();
        let mut spec = Self::with_settled(recording, recording_uid, ledger.settled());
        spec.node = Some(node.to_owned());
        for (source, subject, observation) in ledger.open() {
            let source =
                RecordedSource { container_id: source.container.clone(), instance: source.instance.clone() };
            spec.entries
                .push(RecordedEntry { source: Some(source), ..RecordedEntry::of(subject, observation) });
        }
        spec
    }

    pub(super) fn with_settled(
        recording: &str,
        recording_uid: &str,
        tally: &portcullis_profile::recording::Tally,
    ) -> Self {
        let platforms = tally.platforms.iter().take(crate::MAX_PLATFORMS);
        Self {
            recording: recording.to_owned(),
            recording_uid: recording_uid.to_owned(),
            node: None,
            observed_generation: None,
            lost_before: None,
            platforms: platforms
                .map(|Platform { kernel, runtime }| RecordingPlatform {
                    kernel: cut(kernel),
                    runtime: cut(runtime),
                })
                .collect(),
            absences: tally.absences.iter().map(RecordedAbsence::of).collect(),
            entries: tally
                .subjects
                .iter()
                .map(|(subject, observation)| RecordedEntry::of(subject, observation))
                .collect(),
        }
    }

    /// The same, saying which generation of the recording was taken in before it was written down.
    #[must_use]
    pub fn observing(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }

    /// The same, saying what the node's own counters of losses said when the recording began there.
    #[must_use]
    pub fn beginning_with(mut self, lost: Losses) -> Self {
        self.lost_before = Some(LostCounts::any(lost));
        self
    }

    /// Whether everything that was done before a generation of the recording is in it.
    #[must_use]
    pub fn has_observed(&self, generation: i64) -> bool {
        self.observed_generation.is_some_and(|observed| observed >= generation)
    }

    /// The name of the object.
    #[must_use]
    pub fn object_name(&self) -> String {
        match &self.node {
            Some(node) => format!("{}.{node}", self.recording),
            None => self.recording.clone(),
        }
    }

    /// What is written down.
    ///
    /// # Errors
    /// Where an entry is not in the format.
    pub fn ledger(&self) -> Result<Ledger, InvalidPart> {
        let mut settled = portcullis_profile::recording::Tally {
            platforms: self.read_platforms(),
            absences: self.read_absences(),
            ..Default::default()
        };
        let mut open = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let observation = entry.read(index)?;
            match &entry.source {
                None => settled.add_one(entry.subject(), &observation),
                Some(RecordedSource { container_id, instance }) => {
                    let source = Source { container: container_id.clone(), instance: instance.clone() };
                    open.push((source, entry.subject(), observation));
                }
            }
        }
        let mut ledger = Ledger::with_settled(settled);
        for (source, subject, observation) in open {
            ledger.report(source, subject, &observation);
        }
        Ok(ledger)
    }

    pub(super) fn read_absences(&self) -> std::collections::BTreeSet<Absence> {
        self.absences.iter().map(RecordedAbsence::read).collect()
    }

    pub(super) fn read_platforms(&self) -> std::collections::BTreeSet<Platform> {
        let read = |RecordingPlatform { kernel, runtime }: &RecordingPlatform| Platform {
            kernel: kernel.clone(),
            runtime: runtime.clone(),
        };
        self.platforms.iter().map(read).collect()
    }
}

impl RecordedAbsence {
    fn of(absence: &Absence) -> Self {
        let Absence { node, since, until, pods, others, unnoted } = absence;
        Self {
            node: node.clone(),
            since: signed(*since),
            // A recorder writes of its own absences, and only once it is back.
            until: signed(until.unwrap_or(*since)),
            pods: pods.clone(),
            others: signed(*others),
            unnoted: *unnoted,
        }
    }

    fn read(&self) -> Absence {
        let Self { node, since, until, pods, others, unnoted } = self;
        Absence {
            node: node.clone(),
            since: unsigned(*since),
            until: Some(unsigned(*until)),
            pods: pods.clone(),
            others: unsigned(*others),
            unnoted: *unnoted,
        }
    }
}

impl RecordedEntry {
    pub(super) fn of(subject: &Subject, observation: &Observation) -> Self {
        let Entry { containers, since, calls, denied, values, marks, handled, outside, losses } =
            encode_entry(observation);
        Self {
            image: subject.image.chars().take(MAX_IMAGE_LENGTH).collect(),
            container: subject.container.clone(),
            run: subject.run.clone(),
            source: None,
            part: None,
            containers: signed(containers),
            since: signed(since),
            calls,
            denied,
            values,
            marks,
            signals: Signals::from_bits(handled).names().collect(),
            outside_signals: Signals::from_bits(outside).names().collect(),
            lost: LostCounts::of(losses),
        }
    }

    pub(super) fn subject(&self) -> Subject {
        Subject { image: self.image.clone(), container: self.container.clone(), run: self.run.clone() }
    }

    pub(super) fn read(&self, index: usize) -> Result<Observation, InvalidPart> {
        let bits =
            |names: &[String]| Signals::of(&names.iter().map(String::as_str).collect::<Vec<_>>()).bits();
        let entry = Entry {
            containers: unsigned(self.containers),
            since: unsigned(self.since),
            calls: self.calls.clone(),
            denied: self.denied.clone(),
            values: self.values.clone(),
            marks: self.marks.clone(),
            handled: bits(&self.signals),
            outside: bits(&self.outside_signals),
            losses: self.lost.unwrap_or_default().losses(),
        };
        decode_entry(&entry).map_err(|problem| InvalidPart { index, problem })
    }
}

impl LostCounts {
    /// None where nothing was lost.
    #[must_use]
    pub fn of(losses: Losses) -> Option<Self> {
        (!losses.is_none()).then(|| Self::any(losses))
    }

    /// The counts as the model has them.
    #[must_use]
    pub fn losses(self) -> Losses {
        let Self { calls, values, denials } = self;
        Losses { calls: unsigned(calls), values: unsigned(values), denials: unsigned(denials) }
    }

    fn any(losses: Losses) -> Self {
        Self { calls: signed(losses.calls), values: signed(losses.values), denials: signed(losses.denials) }
    }
}

/// The API server keeps integers below 2^63 exactly.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn cut(text: &str) -> String {
    text.chars().take(crate::constants::MAX_PLATFORM_LENGTH).collect()
}

fn dns_label(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    })
}

fn pods(_: &mut SchemaGenerator) -> Schema {
    let most = portcullis_profile::recording::MAX_ABSENT_PODS;
    json_schema!({"type": "array", "maxItems": most, "items": {"type": "string", "maxLength": 253}})
}

fn marks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 16, "items": {"type": "string", "maxLength": 16}})
}

fn signals(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 9}})
}
