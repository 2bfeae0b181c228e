//! Nodes without a recorder, and pods of a recording that are there. Pure: time is given.
//!
//! A recorder tells itself of the time in which it was away, once it is back. Of one that does not come back, and of pods that were gone by
//! then, nobody tells but whoever looked meanwhile. So while a node has no recorder, the controller looks which pods of each recording are
//! there.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_api::{RecordingStatus, UnrecordedNode, UnrecordedPod};
use portcullis_profile::recording::{MAX_ABSENCES, MAX_ABSENT_PODS};
use tokio::time::Instant;

use super::judge::whole;
use crate::nodes::AgentPod;

/// How often it is looked for pods where a recorder went lately.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long that is.
const LATELY: Duration = Duration::from_secs(300);
/// How often it is looked for pods after that.
const LOOK_SELDOM: Duration = Duration::from_secs(60);
/// How long a recorder may be away before pods that are still there count as unrecorded: a restart takes less, and loses nothing of them.
const RESTART: Duration = Duration::from_secs(30);
/// Most pods of a node that are kept in mind.
const MAX_PODS: usize = 1000;

/// The recorders' pods, and the nodes that have none.
#[derive(Debug, Default)]
pub(super) struct Recorders {
    pods: HashMap<String, AgentPod>,
    /// Nodes without a recorder that is Ready, and since when.
    without: BTreeMap<String, Timestamp>,
}

/// Which nodes there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nodes<'a> {
    /// Those in the API.
    here: &'a HashSet<String>,
    /// Those without a recorder, and since when.
    without: &'a BTreeMap<String, Timestamp>,
}

impl Recorders {
    /// A recorder's pod was added or changed. False where that changes nothing here.
    pub(super) fn applied(&mut self, uid: String, pod: AgentPod) -> bool {
        self.pods.get(&uid) != Some(&pod) && {
            self.pods.insert(uid, pod);
            true
        }
    }

    /// A recorder's pod is gone.
    pub(super) fn removed(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// A list is complete: other pods are gone.
    pub(super) fn listed(&mut self, there: &HashSet<String>) {
        self.pods.retain(|uid, _| there.contains(uid));
    }

    /// The nodes, as they are now.
    pub(super) fn nodes<'a>(&'a mut self, here: &'a HashSet<String>, time: Timestamp) -> Nodes<'a> {
        let ready = self.pods.values().filter(|pod| pod.ready);
        let covered: HashSet<&str> = ready.filter_map(|pod| pod.node.as_deref()).collect();
        let lacks = |node: &str| here.contains(node) && !covered.contains(node);
        self.without.retain(|node, _| lacks(node));
        for node in here.iter().filter(|node| lacks(node)) {
            self.without.entry(node.clone()).or_insert(time);
        }
        Nodes { here, without: &self.without }
    }
}

/// A pod that a recording selects, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundPod {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) node: String,
    pub(super) created: Timestamp,
    /// Whether it has ended.
    pub(super) over: bool,
}

/// What one recording has to know of nodes without a recorder.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    /// Nodes without a recorder on which pods of it were.
    open: BTreeMap<String, Seen>,
    /// Those that have one again, or are gone, and where pods had gone meanwhile. The latest ones.
    closed: Vec<UnrecordedNode>,
    looked: Option<Instant>,
}

/// What was seen on a node without a recorder.
#[derive(Debug)]
struct Seen {
    since: Timestamp,
    /// Pods that were there at the last look: names by UID.
    there: BTreeMap<String, String>,
    /// Pods that are gone.
    gone: BTreeMap<String, String>,
    /// How many there were that are not kept in mind, or that an earlier controller did not name.
    others: u32,
}

impl Unrecorded {
    /// Goes on from what an earlier controller wrote.
    pub(super) fn of(status: &RecordingStatus) -> Self {
        let (closed, open): (Vec<_>, Vec<_>) =
            status.unrecorded.iter().cloned().partition(|node| node.until.is_some());
        let seen = |node: UnrecordedNode| {
            let there = node.pods.into_iter().map(|pod| (pod.uid, pod.name)).collect();
            let seen = Seen { since: node.since.0, there, gone: BTreeMap::new(), others: node.others };
            (node.node, seen)
        };
        Self { open: open.into_iter().map(seen).collect(), closed, looked: None }
    }

    /// When it is to be looked where the recording's pods are; none where every node has a recorder, and nothing is left to find out.
    pub(super) fn next_look(&self, nodes: Nodes<'_>, now: Instant, time: Timestamp) -> Option<Instant> {
        if self.open.keys().any(|node| !nodes.without.contains_key(node)) {
            return Some(now);
        }
        let newest = nodes.without.values().max()?;
        let every = if lasted(*newest, time) < LATELY { LOOK_EVERY } else { LOOK_SELDOM };
        Some(self.looked.map_or(now, |looked| looked + every))
    }

    /// Takes in which pods the recording selects.
    pub(super) fn looked(&mut self, found: &[FoundPod], nodes: Nodes<'_>, now: Instant, time: Timestamp) {
        self.looked = Some(now);
        for pod in found {
            let Some(since) = nodes.without.get(&pod.node) else { continue };
            // What had ended before the recorder went, it told of.
            if !pod.over || pod.created >= *since {
                let seen = self.open.entry(pod.node.clone()).or_insert_with(|| Seen::new(*since));
                seen.note(&pod.uid, &pod.name);
            }
        }
        let there: HashSet<&str> = found.iter().map(|pod| pod.uid.as_str()).collect();
        for seen in self.open.values_mut() {
            seen.part_with(|uid| !there.contains(uid));
        }
        let ended: Vec<String> =
            self.open.keys().filter(|node| !nodes.without.contains_key(*node)).cloned().collect();
        for node in ended {
            let Some(mut seen) = self.open.remove(&node) else { continue };
            if nodes.here.contains(&node) {
                // The recorder is back, and tells of those that it finds.
                seen.there.clear();
            } else {
                seen.part_with(|_| true);
            }
            if !seen.gone.is_empty() || seen.others > 0 {
                self.closed.push(seen.told(node, Some(time)));
            }
        }
        let surplus = self.closed.len().saturating_sub(MAX_ABSENCES);
        self.closed.drain(..surplus);
    }

    /// What there is to tell: the latest ones, and those that are not over first.
    pub(super) fn told(&self, time: Timestamp) -> Vec<UnrecordedNode> {
        let open = self.open.iter().filter(|(_, seen)| seen.counts_at(time));
        let open = open.map(|(node, seen)| seen.told(node.clone(), None));
        open.chain(self.closed.iter().rev().cloned()).take(MAX_ABSENCES).collect()
    }

    /// When what is told changes though nothing is looked at.
    pub(super) fn next_told(&self, now: Instant, time: Timestamp) -> Option<Instant> {
        let waiting = self.open.values().filter(|seen| !seen.counts_at(time));
        waiting.map(|seen| now + RESTART.saturating_sub(lasted(seen.since, time))).min()
    }
}

impl Seen {
    const fn new(since: Timestamp) -> Self {
        Self { since, there: BTreeMap::new(), gone: BTreeMap::new(), others: 0 }
    }

    fn note(&mut self, uid: &str, name: &str) {
        if self.there.contains_key(uid) || self.gone.contains_key(uid) {
            return;
        }
        if self.there.len() + self.gone.len() >= MAX_PODS {
            self.others = self.others.saturating_add(1);
            return;
        }
        self.there.insert(uid.to_owned(), name.to_owned());
        // One of those that an earlier controller had no room to name.
        self.others = self.others.saturating_sub(1);
    }

    /// Pods are gone.
    fn part_with(&mut self, is_gone: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.there.keys().filter(|uid| is_gone(uid)).cloned().collect();
        for uid in gone {
            if let Some(name) = self.there.remove(&uid) {
                self.gone.insert(uid, name);
            }
        }
    }

    fn counts_at(&self, time: Timestamp) -> bool {
        !self.gone.is_empty() || lasted(self.since, time) >= RESTART
    }

    fn told(&self, node: String, until: Option<Timestamp>) -> UnrecordedNode {
        let all = self.gone.len() + self.there.len();
        let named = self.gone.iter().chain(&self.there).take(MAX_ABSENT_PODS);
        let unnamed = u32::try_from(all.saturating_sub(MAX_ABSENT_PODS)).unwrap_or(u32::MAX);
        UnrecordedNode {
            node,
            since: Time(whole(self.since)),
            until: until.map(|until| Time(whole(until))),
            pods: named.map(|(uid, name)| UnrecordedPod { name: name.clone(), uid: uid.clone() }).collect(),
            others: self.others.saturating_add(unnamed),
        }
    }
}

/// How long it is since then.
fn lasted(since: Timestamp, time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(since)).unwrap_or_default()
}
