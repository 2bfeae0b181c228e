//! Which nodes count, and how far each of them is: pure, from what the watches show.

mod facts;
mod notice;
mod placement;
mod rollout;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use portcullis_api::{NodeFailure, Owner, SetDigest};
use portcullis_profile::Arch;
use tokio::time::Instant;

pub(crate) use self::{
    facts::{AgentPod, NodeFacts, Report},
    notice::notice,
    placement::Placement,
    rollout::{Rollout, Wanted},
};
use crate::{
    changelog::{ChangeLog, Index},
    resolve::arch_of_label,
};

/// The label that says which architecture a node has.
const ARCH_LABEL: &str = "kubernetes.io/arch";

/// For how long a `Ready` that stands outlives a node's digest that is not known (yet). An agent may have seen a revision some
/// milliseconds before the controller's own watch shows it.
pub(crate) const UNKNOWN_GRACE: Duration = Duration::from_secs(5);

/// Whether a node counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It counts.
    Counts,
    /// It will count from its agent's first report: until then nothing was ever on it.
    Joining,
    /// Its kubelet is not Ready.
    NotReady,
    /// The agent's DaemonSet does not go there.
    NotPlaced,
}

impl Standing {
    /// Every value.
    pub(crate) const ALL: [Self; 4] = [Self::Counts, Self::Joining, Self::NotReady, Self::NotPlaced];

    /// The word in a metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counts => "counting",
            Self::Joining => "joining",
            Self::NotReady => "not_ready",
            Self::NotPlaced => "not_placed",
        }
    }
}

/// How far a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The agent pod that reported is gone or not Ready, or none has reported.
    NoAgent,
    /// The digest that it reports is not one that the controller's watch went through.
    Unknown {
        /// Since when that is so.
        since: Instant,
        /// Up to where the same agent was known to be before.
        last: Option<Index>,
    },
    /// More failed than the report can list.
    Truncated,
    /// It has processed every change up to this one.
    Known(Index),
}

/// What the controller knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) standing: Standing,
    pub(crate) progress: Progress,
    /// The agent pod that the progress is told of.
    agent: Option<String>,
    failures: Vec<NodeFailure>,
}

impl View {
    /// Whether the agent named files that it could not write.
    pub(crate) const fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }
}

/// Which profiles have to look again after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Affected {
    /// None.
    #[default]
    Nothing,
    /// These.
    Owners(BTreeSet<Owner>),
    /// All.
    Everything,
}

impl Affected {
    /// Both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Nothing, other) => other,
            (some, Self::Nothing) => some,
            (Self::Owners(mut some), Self::Owners(more)) => {
                some.extend(more);
                Self::Owners(some)
            }
        }
    }

    pub(crate) fn owners(owners: BTreeSet<Owner>) -> Self {
        if owners.is_empty() { Self::Nothing } else { Self::Owners(owners) }
    }
}

/// The nodes, their agents and what these report.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    facts: BTreeMap<String, NodeFacts>,
    /// By the pod's UID.
    agents: HashMap<String, AgentPod>,
    placement: Option<Placement>,
    reports: HashMap<String, Report>,
    by_digest: HashMap<SetDigest, BTreeSet<String>>,
    /// Nodes, by UID, that have counted: they don't join again.
    joined: HashSet<String>,
    views: BTreeMap<String, View>,
    /// Nodes whose digest is unknown and whose grace has not been seen to end.
    in_grace: BTreeSet<String>,
}

impl Nodes {
    /// A node was added or changed.
    pub(crate) fn apply_node(&mut self, node: NodeFacts, log: &ChangeLog, now: Instant) -> Affected {
        if self.facts.get(&node.name) == Some(&node) {
            return Affected::Nothing;
        }
        let name = node.name.clone();
        self.facts.insert(name.clone(), node);
        self.refresh(&name, log, now)
    }

    /// A node is gone.
    pub(crate) fn remove_node(&mut self, name: &str, log: &ChangeLog, now: Instant) -> Affected {
        if let Some(facts) = self.facts.remove(name) {
            self.joined.remove(&facts.uid);
        }
        self.refresh(name, log, now)
    }

    /// An agent pod was added or changed.
    pub(crate) fn apply_agent(
        &mut self,
        uid: String,
        pod: AgentPod,
        log: &ChangeLog,
        now: Instant,
    ) -> Affected {
        let node = pod.node.clone();
        self.agents.insert(uid, pod);
        node.map_or(Affected::Nothing, |node| self.refresh(&node, log, now))
    }

    /// An agent pod is gone.
    pub(crate) fn remove_agent(&mut self, uid: &str, log: &ChangeLog, now: Instant) -> Affected {
        let node = self.agents.remove(uid).and_then(|pod| pod.node);
        node.map_or(Affected::Nothing, |node| self.refresh(&node, log, now))
    }

    /// The agent's DaemonSet was added, changed or (none) removed.
    pub(crate) fn place(&mut self, placement: Option<Placement>, log: &ChangeLog, now: Instant) -> Affected {
        if self.placement == placement {
            return Affected::Nothing;
        }
        self.placement = placement;
        let names: Vec<String> = self.facts.keys().cloned().collect();
        names.iter().fold(Affected::Nothing, |all, name| all.and(self.refresh(name, log, now)))
    }

    /// A node's agent reported something, or (none) its object is gone.
    pub(crate) fn report(
        &mut self,
        name: &str,
        report: Option<Report>,
        log: &ChangeLog,
        now: Instant,
    ) -> Affected {
        if let Some(digest) = self.reports.get(name).and_then(|report| report.digest) {
            self.unindex(&digest, name);
        }
        match report {
            Some(report) => {
                if let Some(digest) = report.digest {
                    self.by_digest.entry(digest).or_default().insert(name.to_owned());
                }
                self.reports.insert(name.to_owned(), report);
            }
            None => drop(self.reports.remove(name)),
        }
        self.refresh(name, log, now)
    }

    /// The log has a new entry: nodes that reported its digest before it was known are known now.
    pub(crate) fn log_grew(&mut self, log: &ChangeLog, now: Instant) -> Affected {
        let names = log.newest_digest().and_then(|digest| self.by_digest.get(&digest)).cloned();
        names
            .into_iter()
            .flatten()
            .fold(Affected::Nothing, |all, name| all.and(self.refresh(&name, log, now)))
    }

    /// Time has passed: the grace of some nodes may have ended.
    pub(crate) fn tick(&mut self, now: Instant) -> Affected {
        let views = &self.views;
        let before = self.in_grace.len();
        self.in_grace.retain(|name| {
            matches!(views.get(name), Some(View { progress: Progress::Unknown { since, .. }, .. })
                if now < *since + UNKNOWN_GRACE)
        });
        if self.in_grace.len() == before { Affected::Nothing } else { Affected::Everything }
    }

    /// Every Linux node that is known.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &NodeFacts> {
        self.facts.values().filter(|facts| facts.linux)
    }

    /// What is known of each Linux node, by name.
    pub(crate) fn views(&self) -> impl Iterator<Item = (&String, &View)> {
        self.views.iter()
    }

    /// Whether a node counts; none where it is not known.
    pub(crate) fn standing(&self, name: &str) -> Option<Standing> {
        self.views.get(name).map(|view| view.standing)
    }

    /// The reports that are known, with the UID of the node that each belongs to.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (&String, &Report)> {
        self.reports.iter()
    }

    /// The architectures of the Linux nodes.
    pub(crate) fn architectures(&self) -> BTreeSet<Arch> {
        self.facts().filter_map(|facts| arch_of_label(facts.labels.get(ARCH_LABEL)?)).collect()
    }

    /// The nodes that are known and not among these.
    pub(crate) fn names_but(&self, names: &HashSet<String>) -> Vec<String> {
        self.facts.keys().filter(|name| !names.contains(*name)).cloned().collect()
    }

    /// The agent pods, by UID, that are known and not among these.
    pub(crate) fn agents_but(&self, uids: &HashSet<String>) -> Vec<String> {
        self.agents.keys().filter(|uid| !uids.contains(*uid)).cloned().collect()
    }

    /// The nodes whose report is known and that are not among these.
    pub(crate) fn reports_but(&self, names: &HashSet<String>) -> Vec<String> {
        self.reports.keys().filter(|name| !names.contains(*name)).cloned().collect()
    }

    fn unindex(&mut self, digest: &SetDigest, name: &str) {
        if let Some(names) = self.by_digest.get_mut(digest) {
            names.remove(name);
            if names.is_empty() {
                self.by_digest.remove(digest);
            }
        }
    }

    fn refresh(&mut self, name: &str, log: &ChangeLog, now: Instant) -> Affected {
        let before = self.views.get(name).cloned();
        let after = self.view(name, before.as_ref(), log, now);
        self.in_grace.remove(name);
        let affected = affected(before.as_ref(), after.as_ref(), log);
        match after {
            Some(view) => {
                if matches!(view.progress, Progress::Unknown { .. }) {
                    self.in_grace.insert(name.to_owned());
                }
                self.views.insert(name.to_owned(), view);
            }
            None => drop(self.views.remove(name)),
        }
        affected
    }

    fn view(&mut self, name: &str, before: Option<&View>, log: &ChangeLog, now: Instant) -> Option<View> {
        let facts = self.facts.get(name).filter(|facts| facts.linux)?;
        // A report about an earlier node of this name says nothing about this one.
        let report = self.reports.get(name).filter(|report| report.node_uid.as_ref() == Some(&facts.uid));
        if report.is_some_and(|report| report.digest.is_some()) {
            self.joined.insert(facts.uid.clone());
        }
        let standing = match &self.placement {
            _ if !facts.ready => Standing::NotReady,
            Some(placement) if placement.matches(name, &facts.labels, &facts.taints) => {
                if self.joined.contains(&facts.uid) { Standing::Counts } else { Standing::Joining }
            }
            _ => Standing::NotPlaced,
        };
        let agent = report.and_then(|report| report.agent_pod_uid.clone()).filter(|uid| {
            self.agents.get(uid).is_some_and(|pod| pod.ready && pod.node.as_deref() == Some(name))
        });
        let (progress, failures) = match (report, &agent) {
            (Some(report), Some(_)) => (progress(report, &agent, before, log, now), report.failures.clone()),
            _ => (Progress::NoAgent, Vec::new()),
        };
        Some(View { standing, progress, agent, failures })
    }
}

fn progress(
    report: &Report,
    agent: &Option<String>,
    before: Option<&View>,
    log: &ChangeLog,
    now: Instant,
) -> Progress {
    let Some(digest) = report.digest else { return Progress::NoAgent };
    if report.failures_truncated {
        return Progress::Truncated;
    }
    if let Some(index) = log.index_of(&digest) {
        return Progress::Known(index);
    }
    match before.filter(|before| before.agent == *agent).map(|before| &before.progress) {
        Some(Progress::Known(index)) => Progress::Unknown { since: now, last: Some(*index) },
        // Further unknown digests don't begin a new grace.
        Some(unknown @ Progress::Unknown { .. }) => unknown.clone(),
        _ => Progress::Unknown { since: now, last: None },
    }
}

/// The profiles whose readiness can differ between two views of a node.
fn affected(before: Option<&View>, after: Option<&View>, log: &ChangeLog) -> Affected {
    let counts = |view: Option<&View>| view.is_some_and(|view| view.standing == Standing::Counts);
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) if counts(Some(before)) && counts(Some(after)) => (before, after),
        (before, after) if counts(before) != counts(after) => return Affected::Everything,
        _ => return Affected::Nothing,
    };
    let failures: BTreeSet<Owner> = before
        .failures
        .iter()
        .chain(&after.failures)
        .filter(|failure| before.failures.contains(failure) != after.failures.contains(failure))
        .filter_map(owner_of)
        .collect();
    let between = |one: Index, other: Index| {
        let changed = log.changed_between(one.min(other), one.max(other));
        changed.map_or(Affected::Everything, |changed| Affected::owners(changed.cloned().collect()))
    };
    let moved = match (&before.progress, &after.progress) {
        (before, after) if before == after => Affected::Nothing,
        (Progress::Known(from), Progress::Known(to)) => between(*from, *to),
        (Progress::Unknown { last: Some(from), .. }, Progress::Known(to)) => between(*from, *to),
        // Nothing that stands is withdrawn before the grace has ended: see `Nodes::tick`.
        (Progress::Known(_), Progress::Unknown { last: Some(_), .. }) => Affected::Nothing,
        _ => Affected::Everything,
    };
    moved.and(Affected::owners(failures))
}

fn owner_of(failure: &NodeFailure) -> Option<Owner> {
    match &failure.namespace {
        Some(namespace) => Owner::namespaced(namespace, &failure.name),
        None => Owner::cluster(&failure.name),
    }
    .ok()
}

#[cfg(test)]
mod tests;
