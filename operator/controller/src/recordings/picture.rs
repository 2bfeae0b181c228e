//! What is known of recordings and their parts, and what the next step for one is. Pure: no I/O, and time is given.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::ResourceExt as _;
use portcullis_api::{
    MAX_REFUSED_NODES, OldestFirst, PodSelector, RecordingStatus, SeccompRecording, SeccompRecordingPart,
    SeccompRecordingPartSpec, created_at,
};
#[cfg(test)]
use portcullis_profile::recording::Tally;
use tokio::time::Instant;

use super::{
    Key,
    invitations::{Asking, Invitations},
    judge::{Facts, beyond_limit, is_urgent},
    output::{Basis, Made, Output},
    parts::{Part, Parts, asking},
    unrecorded::{FoundPod, Recorders, Unrecorded},
};
use crate::nodes::AgentPod;

/// How long a status that says nothing urgent waits for more.
pub(super) const STATUS_PACE: Duration = Duration::from_secs(10);
/// How long a recording rests after a request failed, or while what it takes is not there yet.
const REST: Duration = Duration::from_secs(30);

/// What is to be done for a recording.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing before this time.
    Wait(Option<Instant>),
    /// Answer nodes that ask whether they may write for the recording with this UID, by whether they have pods that it selects.
    Answer { uid: String, selector: PodSelector, asking: Vec<Asking> },
    /// Look which pods the recording with this UID selects: some nodes have no recorder to tell of them.
    Look { uid: String, selector: PodSelector },
    /// Write the controller's own part, in place of that version of it, which takes over the node's part of that UID and version.
    TakeOver {
        spec: Box<SeccompRecordingPartSpec>,
        owner: OwnerReference,
        over: Option<String>,
        taken: (String, String),
    },
    /// Delete a node's part that was taken over.
    Delete { name: String, uid: String, version: String },
    /// Make the profile, and write it if it is another one.
    Make(Box<Basis>),
    /// Write the status.
    Status(Box<RecordingStatus>),
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Picture {
    synced: bool,
    /// Recordings of one namespace that are looked at, the oldest; twice as many are told that they are not.
    limit: usize,
    order: OldestFirst<Key>,
    recordings: HashMap<Key, Entry>,
    /// Parts by the recording that they are of, and by their own name.
    parts: HashMap<Key, BTreeMap<String, Part>>,
    invitations: Invitations,
    recorders: Recorders,
}

#[derive(Debug)]
struct Entry {
    recording: SeccompRecording,
    /// The part that was taken over last, and which version of it.
    taken: Option<(String, String)>,
    /// UIDs of parts that were deleted, whatever the watch still shows of them.
    deleted: HashSet<String>,
    /// Nodes that were refused.
    refused: BTreeSet<String>,
    unrecorded: Unrecorded,
    status_at: Option<Instant>,
    rest_until: Option<Instant>,
    output: Output,
}

impl Picture {
    /// Nothing is known yet; so many recordings of a namespace are looked at.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            synced: false,
            limit,
            order: OldestFirst::default(),
            recordings: HashMap::new(),
            parts: HashMap::new(),
            invitations: Invitations::default(),
            recorders: Recorders::default(),
        }
    }

    /// Both first lists are complete.
    pub(super) fn all_synced(&mut self) -> Vec<Key> {
        self.synced = true;
        self.recordings.keys().cloned().collect()
    }

    pub(super) fn recording_applied(&mut self, key: Key, mut recording: SeccompRecording) -> Vec<Key> {
        recording.metadata.managed_fields = None;
        match self.recordings.get_mut(&key) {
            Some(entry) if entry.recording.metadata.uid == recording.metadata.uid => {
                let known = entry.recording.status.take();
                let stale = |status: &RecordingStatus| {
                    let shown = recording.status.as_ref();
                    let (started, ended) = shown.map_or((false, false), |shown| {
                        (shown.started_at.is_some(), shown.ended_at.is_some())
                    });
                    (status.started_at.is_some() && !started) || (status.ended_at.is_some() && !ended)
                };
                // What was written a moment ago the watch may not show yet; a recording begins once and ends once.
                if let Some(known) = known.filter(stale) {
                    recording.status = Some(known);
                }
                entry.recording = recording;
            }
            before => {
                let before = before.map(|entry| created_at(&entry.recording.metadata));
                let created = created_at(&recording.metadata);
                let entry = Entry {
                    unrecorded: recording.status.as_ref().map(Unrecorded::of).unwrap_or_default(),
                    recording,
                    taken: None,
                    deleted: HashSet::new(),
                    refused: BTreeSet::new(),
                    status_at: None,
                    rest_until: None,
                    output: Output::default(),
                };
                self.recordings.insert(key.clone(), entry);
                return self.rank(&key, before, created);
            }
        }
        vec![key]
    }

    /// Takes a recording into its namespace's order, and forgets the newest of far too many. Gives those that this concerns.
    fn rank(&mut self, key: &Key, before: Option<Timestamp>, created: Timestamp) -> Vec<Key> {
        if let Some(before) = before {
            self.order.remove(&key.namespace, before, key);
        }
        self.order.insert(&key.namespace, created, key.clone());
        let most = self.limit.saturating_mul(2);
        let out = self.order.at_edge(&key.namespace, most).nth(1).cloned();
        if let Some(out) = out {
            self.recording_removed(&out);
        }
        self.at_edge(&key.namespace).chain([key.clone()]).collect()
    }

    /// The recordings that change sides of their namespace's bound when another comes or goes.
    fn at_edge(&self, namespace: &str) -> impl Iterator<Item = Key> {
        self.order.at_edge(namespace, self.limit).cloned()
    }

    pub(super) fn recording_removed(&mut self, key: &Key) -> Vec<Key> {
        let Some(entry) = self.recordings.remove(key) else { return Vec::new() };
        self.order.remove(&key.namespace, created_at(&entry.recording.metadata), key);
        self.at_edge(&key.namespace).collect()
    }

    pub(super) fn recordings_listed(&mut self, listed: &HashSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self.recordings.keys().filter(|key| !listed.contains(key)).cloned().collect();
        gone.iter().flat_map(|key| self.recording_removed(key)).collect()
    }

    pub(super) fn part_applied(&mut self, part: SeccompRecordingPart) -> Vec<Key> {
        let (namespace, name) = (part.namespace().unwrap_or_default(), part.name_any());
        let counts = part.counts();
        let SeccompRecordingPart { metadata, spec } = part;
        let key = Key { namespace, name: spec.recording.clone() };
        let uid = metadata.uid.unwrap_or_default();
        if self.recordings.get(&key).is_some_and(|entry| entry.deleted.contains(&uid)) {
            return Vec::new();
        }
        let content = spec.content();
        let known = self.parts.entry(key.clone()).or_default();
        // An invitation is never taken back; what the watch shows may be older.
        let counts = counts || known.get(&name).is_some_and(|known| known.counts && known.uid == uid);
        let part = Part {
            uid,
            version: metadata.resource_version.unwrap_or_default(),
            recording_uid: spec.recording_uid,
            node: spec.node,
            counts,
            content: content.map_err(|error| format!("SeccompRecordingPart {name}: {error}")),
            gone_since: known.get(&name).and_then(|known| known.gone_since),
        };
        known.insert(name, part);
        vec![key]
    }

    pub(super) fn part_removed(&mut self, namespace: &str, name: &str) -> Vec<Key> {
        // A recording's name holds no dot, so what stands before the first one is the recording's.
        let recording = name.split('.').next().unwrap_or_default();
        let key = Key { namespace: namespace.to_owned(), name: recording.to_owned() };
        let Some(parts) = self.parts.get_mut(&key) else { return Vec::new() };
        let was_there = parts.remove(name).is_some();
        if parts.is_empty() {
            self.parts.remove(&key);
        }
        if was_there { vec![key] } else { Vec::new() }
    }

    pub(super) fn parts_listed(&mut self, listed: &HashSet<(String, String)>) -> Vec<Key> {
        let gone: Vec<(String, String)> = self
            .parts
            .iter()
            .flat_map(|(key, parts)| parts.keys().map(|name| (key.namespace.clone(), name.clone())))
            .filter(|part| !listed.contains(part))
            .collect();
        gone.iter().flat_map(|(namespace, name)| self.part_removed(namespace, name)).collect()
    }

    /// The recordings that have parts of nodes that went away or came back.
    pub(super) fn with_absent_nodes(&self, here: &HashSet<String>) -> Vec<Key> {
        let moved = |part: &Part| {
            let node = part.node.as_ref().filter(|_| part.counts);
            node.is_some_and(|node| here.contains(node) == part.gone_since.is_some())
        };
        let concerned = self.parts.iter().filter(|(_, parts)| parts.values().any(moved));
        concerned.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn uid(&self, key: &Key) -> Option<&str> {
        self.recordings.get(key)?.recording.metadata.uid.as_deref()
    }

    /// What came of a recording's profile.
    pub(super) fn outcome(&self, key: &Key) -> Option<&Made> {
        self.recordings.get(key)?.output.outcome()
    }

    /// What is to be done for a recording now.
    pub(super) fn step(&mut self, key: &Key, here: &HashSet<String>, now: Instant, time: Timestamp) -> Step {
        let Some(entry) = self.recordings.get_mut(key).filter(|_| self.synced) else {
            return Step::Wait(None);
        };
        let recording = &entry.recording;
        let (Some(uid), Some(owner)) = (recording.metadata.uid.clone(), recording.owner_reference()) else {
            return Step::Wait(None);
        };
        if recording.metadata.deletion_timestamp.is_some() {
            // What is on its way out gets nothing new; its namespace may be, too.
            return Step::Wait(None);
        }
        if !self.order.is_within(&key.namespace, created_at(&recording.metadata), key, self.limit) {
            let there_are = self.order.count(&key.namespace);
            let previous = recording.status.clone().unwrap_or_default();
            let status = beyond_limit(recording, &previous, (there_are, self.limit), time);
            return if status == previous { Step::Wait(None) } else { Step::Status(Box::new(status)) };
        }
        if let Some(until) = entry.rest_until.filter(|until| *until > now) {
            return Step::Wait(Some(until));
        }
        let mut none = BTreeMap::new();
        let all = self.parts.get_mut(key).unwrap_or(&mut none);
        let (asking, answered_at) = self.invitations.due(asking(all, &uid), now);
        if !asking.is_empty() {
            return Step::Answer { uid, selector: recording.spec.pod_selector.clone(), asking };
        }
        let nodes = self.recorders.nodes(here, time);
        let goes_on = recording.status.as_ref().is_none_or(|status| status.ended_at.is_none());
        let look_at = entry.unrecorded.next_look(nodes, now, time).filter(|_| goes_on);
        if look_at.is_some_and(|at| at <= now) {
            return Step::Look { uid, selector: recording.spec.pod_selector.clone() };
        }
        let mut parts = Parts::of(all, &uid, here, now);
        if let Some(step) = parts.retire(key, &uid, &owner, entry.taken.as_ref(), now) {
            return step;
        }
        let merged = parts.merge();
        let mut wake = earliest(parts.next_gone, answered_at);
        wake = earliest(wake, earliest(look_at, entry.unrecorded.next_told(now, time)));
        // A part that can't be read holds calls that the profile would lose.
        if recording.creates_profile() && merged.problems.is_empty() {
            match entry.output.next(recording, &merged.tally, now) {
                Ok(Some(basis)) => return Step::Make(Box::new(basis)),
                Ok(None) => {}
                Err(at) => wake = earliest(wake, Some(at)),
            }
        }
        let previous = recording.status.clone().unwrap_or_default();
        let refused = parts.refused(&previous, &entry.refused);
        let facts = Facts {
            recording,
            previous: &previous,
            tally: &merged.tally,
            nodes: merged.nodes,
            refused: &refused,
            unrecorded: entry.unrecorded.told(time),
            problems: &merged.problems,
            output: entry.output.outcome().filter(|_| recording.creates_profile()),
            now: time,
        };
        let (status, ends_in) = facts.judge();
        wake = earliest(wake, ends_in.map(|left| now + left));
        if status == previous {
            return Step::Wait(wake);
        }
        let due = entry.status_at.map_or(now, |at| at + STATUS_PACE);
        if due > now && !is_urgent(&status, &previous) {
            return Step::Wait(earliest(wake, Some(due)));
        }
        Step::Status(Box::new(status))
    }

    /// The controller's own part was written: as the watch is about to show it.
    pub(super) fn took_over(&mut self, key: &Key, written: SeccompRecordingPart, taken: (String, String)) {
        self.part_applied(written);
        if let Some(entry) = self.recordings.get_mut(key) {
            entry.taken = Some(taken);
        }
    }

    /// A part that was taken over was deleted.
    pub(super) fn deleted(&mut self, key: &Key, name: &str, uid: &str) {
        if let Some(entry) = self.recordings.get_mut(key) {
            entry.deleted.insert(uid.to_owned());
        }
        self.part_removed(&key.namespace, name);
    }

    /// A node was invited, by this version of its part.
    pub(super) fn invited(&mut self, key: &Key, asking: &Asking, version: String) {
        if let Some(entry) = self.recordings.get_mut(key) {
            entry.refused.remove(&asking.node);
        }
        let part = self.parts.get_mut(key).and_then(|parts| parts.get_mut(&asking.name));
        if let Some(part) = part.filter(|part| part.uid == asking.uid) {
            part.counts = true;
            part.version = version;
        }
    }

    /// A node was refused, and its part deleted.
    pub(super) fn refused(&mut self, key: &Key, asking: &Asking, now: Instant) {
        self.invitations.refused(&asking.node, now);
        if let Some(entry) = self.recordings.get_mut(key)
            && entry.refused.len() < MAX_REFUSED_NODES
        {
            entry.refused.insert(asking.node.clone());
        }
        self.part_removed(&key.namespace, &asking.name);
    }

    /// A recorder's pod was added or changed. Recordings hear of it.
    pub(super) fn recorder_applied(&mut self, uid: String, pod: AgentPod) -> Vec<Key> {
        if self.recorders.applied(uid, pod) { self.recordings.keys().cloned().collect() } else { Vec::new() }
    }

    /// A recorder's pod is gone.
    pub(super) fn recorder_removed(&mut self, uid: &str) -> Vec<Key> {
        self.recorders.removed(uid);
        self.recordings.keys().cloned().collect()
    }

    /// The list of recorders' pods is complete.
    pub(super) fn recorders_listed(&mut self, there: &HashSet<String>) -> Vec<Key> {
        self.recorders.listed(there);
        self.recordings.keys().cloned().collect()
    }

    /// The pods that the recording with this UID selects were found.
    pub(super) fn looked(
        &mut self,
        key: &Key,
        uid: &str,
        found: &[FoundPod],
        here: &HashSet<String>,
        (now, time): (Instant, Timestamp),
    ) {
        let nodes = self.recorders.nodes(here, time);
        if let Some(entry) = self.recordings.get_mut(key)
            && entry.recording.metadata.uid.as_deref() == Some(uid)
        {
            entry.unrecorded.looked(found, nodes, now, time);
        }
    }

    /// A status was written.
    pub(super) fn wrote_status(&mut self, key: &Key, uid: &str, status: RecordingStatus, now: Instant) {
        if let Some(entry) = self.recordings.get_mut(key)
            && entry.recording.metadata.uid.as_deref() == Some(uid)
        {
            entry.recording.status = Some(status);
            entry.status_at = Some(now);
        }
    }

    /// A profile was made, or was not.
    pub(super) fn made(&mut self, key: &Key, basis: Basis, made: Made, now: Instant) {
        if let Some(entry) = self.recordings.get_mut(key) {
            entry.output.done(basis, made, now);
        }
    }

    /// What all parts come to.
    #[cfg(test)]
    pub(super) fn merged(&mut self, key: &Key) -> Tally {
        let mut none = BTreeMap::new();
        let all = self.parts.get_mut(key).unwrap_or(&mut none);
        Parts::of(all, "uid-1", &HashSet::new(), Instant::now()).merge().tally
    }

    /// A request failed, or what it takes is not there yet.
    pub(super) fn rest(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.recordings.get_mut(key) {
            entry.rest_until = Some(now + REST);
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
