//! What is known of recordings and their parts, and what the next step for one is. Pure: no I/O, and time is given.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::ResourceExt as _;
use portcullis_api::{
    Archive, MAX_REFUSED_NODES, OldestFirst, PartContent, PodSelector, RecordingStatus, SeccompRecording,
    SeccompRecordingPart, SeccompRecordingPartSpec, created_at, merge_parts,
};
use portcullis_profile::recording::Tally;
use tokio::time::Instant;

use super::{
    Key,
    invitations::{Asking, Invitations},
    judge::{Facts, beyond_limit, is_urgent},
    output::{Basis, Made, Output},
};

/// How long a node must be gone before its part is taken over: its pods are deleted within minutes of it, and then no recorder of
/// its can write any more.
pub(super) const GONE_FOR: Duration = Duration::from_secs(600);
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
    status_at: Option<Instant>,
    rest_until: Option<Instant>,
    output: Output,
}

#[derive(Debug)]
struct Part {
    uid: String,
    version: String,
    recording_uid: String,
    node: Option<String>,
    /// Whether its node is invited, or it is of none.
    counts: bool,
    content: Result<PartContent, String>,
    gone_since: Option<Instant>,
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
        let mut parts = Parts::of(all, &uid, here, now);
        if let Some(step) = parts.retire(key, &uid, &owner, entry.taken.as_ref(), now) {
            return step;
        }
        let merged = parts.merge();
        let mut wake = earliest(parts.next_gone, answered_at);
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

/// The parts of this very recording by which nodes ask.
fn asking(all: &BTreeMap<String, Part>, uid: &str) -> impl Iterator<Item = Asking> {
    let asking = all.iter().filter(move |(_, part)| part.recording_uid == uid && !part.counts);
    asking.filter_map(|(name, part)| {
        let (node, uid, version) = (part.node.clone()?, part.uid.clone(), part.version.clone());
        Some(Asking { name: name.clone(), node, uid, version })
    })
}

/// The parts of one recording that count.
struct Parts<'p> {
    parts: Vec<(&'p String, &'p mut Part)>,
    /// When the next part of a node that is gone may be taken over.
    next_gone: Option<Instant>,
}

/// What all parts come to.
struct Merged {
    tally: Tally,
    nodes: u32,
    problems: Vec<String>,
}

impl<'p> Parts<'p> {
    /// Those of this very recording that count; notes which of their nodes are gone.
    fn of(all: &'p mut BTreeMap<String, Part>, uid: &str, here: &HashSet<String>, now: Instant) -> Self {
        let mut parts: Vec<_> =
            all.iter_mut().filter(|(_, part)| part.recording_uid == uid && part.counts).collect();
        for (_, part) in &mut parts {
            let gone = part.node.as_ref().is_some_and(|node| !here.contains(node));
            part.gone_since = gone.then(|| part.gone_since.unwrap_or(now));
        }
        let waits = parts.iter().filter_map(|(_, part)| part.gone_since).map(|since| since + GONE_FOR);
        let next_gone = waits.filter(|at| *at > now).min();
        Self { parts, next_gone }
    }

    /// The controller's own part, and which version it is; none where there is none.
    fn archive(&self) -> (Archive, Option<String>) {
        let archive = self.parts.iter().find_map(|(_, part)| match &part.content {
            Ok(PartContent::Archive(archive)) => Some((archive.clone(), Some(part.version.clone()))),
            _ => None,
        });
        archive.unwrap_or_default()
    }

    /// The nodes that were refused and have not been invited since.
    fn refused(&self, previous: &RecordingStatus, lately: &BTreeSet<String>) -> Vec<String> {
        let writes = |node: &str| self.parts.iter().any(|(_, part)| part.node.as_deref() == Some(node));
        let refused: BTreeSet<&String> = previous.refused_nodes.iter().chain(lately).collect();
        refused.into_iter().filter(|node| !writes(node)).take(MAX_REFUSED_NODES).cloned().collect()
    }

    fn is_there(&self, uid: &str) -> bool {
        self.parts.iter().any(|(_, part)| part.uid == uid)
    }

    /// The next step by which the part of a node that is gone is taken over.
    fn retire(
        &mut self,
        key: &Key,
        uid: &str,
        owner: &OwnerReference,
        taken: Option<&(String, String)>,
        now: Instant,
    ) -> Option<Step> {
        if self.parts.iter().any(|(_, part)| part.node.is_none() && part.content.is_err()) {
            // What can't be read must not be written over.
            return None;
        }
        let (archive, over) = self.archive();
        let pending = archive.pending.as_ref().map(|pending| pending.part.as_str());
        let gone = |part: &Part| part.gone_since.is_some_and(|since| since + GONE_FOR <= now);
        let mut ended: Vec<_> = self
            .parts
            .iter()
            .filter_map(|(name, part)| match &part.content {
                Ok(PartContent::Node(tally)) if gone(part) => Some((*name, &**part, tally)),
                _ => None,
            })
            .collect();
        // What is under way is finished first.
        ended.sort_by_key(|(_, part, _)| pending != Some(part.uid.as_str()));
        let (name, part, tally) = ended.first()?;
        let version = (part.uid.clone(), part.version.clone());
        if pending == Some(part.uid.as_str()) && taken == Some(&version) {
            let (uid, version) = version;
            return Some(Step::Delete { name: (*name).clone(), uid, version });
        }
        let spec = archive.take_over(&part.uid, tally, |uid| self.is_there(uid)).to_spec(&key.name, uid);
        Some(Step::TakeOver { spec: Box::new(spec), owner: owner.clone(), over, taken: version })
    }

    fn merge(&self) -> Merged {
        let contents = self.parts.iter().map(|(_, part)| (part.uid.as_str(), &part.content));
        let mut merged = Merged { tally: merge_parts(contents), nodes: 0, problems: Vec::new() };
        for (_, part) in &self.parts {
            match &part.content {
                // One that only answers a new generation has seen nothing yet.
                Ok(PartContent::Node(tally)) => {
                    merged.nodes += u32::from(part.gone_since.is_none() && !tally.is_empty());
                }
                Ok(PartContent::Archive(_)) => {}
                Err(problem) => merged.problems.push(problem.clone()),
            }
        }
        merged
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
