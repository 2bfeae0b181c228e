//! Which nodes count, and how far each of them is: pure, from what the watches show.

mod architectures;
mod conditions;
mod facts;
mod notice;
mod placement;
mod rollout;
mod steadiness;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use portcullis_api::{NodeFailure, Owner, SetDigest};
use portcullis_profile::Arch;
use tokio::time::Instant;

use self::{
    architectures::Architectures,
    conditions::{AGENT_AWAY, Agent, conditions},
    steadiness::Steadiness,
    told::{Told, owner_of},
};
pub(crate) use self::{
    facts::{AgentPod, Machine, NodeFacts, Report},
    notice::{Notice, notice, notice_of_word},
    placement::Placement,
    rollout::{Rollout, Wanted},
};
use crate::{
    changelog::{ChangeLog, Index},
    settings::Lasting,
};

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
    /// What its agent reports falls back again and again: it counts once it has not for a while.
    LeftOut,
}

impl Standing {
    /// Every value.
    pub(crate) const ALL: [Self; 5] =
        [Self::Counts, Self::Joining, Self::NotReady, Self::NotPlaced, Self::LeftOut];

    /// The word in a metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counts => "counting",
            Self::Joining => "joining",
            Self::NotReady => "not_ready",
            Self::NotPlaced => "not_placed",
            Self::LeftOut => "left_out",
        }
    }
}

/// How far a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing was reported of this machine and this directory.
    NoReport,
    /// The digest that it reports is not one that the controller's watch went through.
    Unknown,
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
    /// Whether the pod of the agent that reported is Ready. What it reported is true without it: files don't go when an agent stops.
    pub(crate) has_agent: bool,
    failures: Vec<NodeFailure>,
    /// What profiles were told of it; none where it does not count.
    told: Option<Told>,
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
#[derive(Debug)]
pub(crate) struct Nodes {
    /// The directory below the kubelet's that reports have to be of.
    subdirectory: String,
    lasting: Lasting,
    facts: BTreeMap<String, NodeFacts>,
    /// By the pod's UID.
    agents: HashMap<String, AgentPod>,
    placement: Option<Placement>,
    reports: HashMap<String, Report>,
    by_digest: HashMap<SetDigest, BTreeSet<String>>,
    /// Nodes, by UID, that have counted, and the machine that each was then: they don't join again.
    joined: HashMap<String, String>,
    views: BTreeMap<String, View>,
    /// Nodes whose word is less than what profiles were told of them.
    fallen: BTreeSet<String>,
    steadiness: HashMap<String, Steadiness>,
    /// Whether nodes have begun or ceased to count, and no profile was told yet.
    set_changed: bool,
    architectures: Architectures,
    /// Nodes whose agent does not run, and since when.
    without_agent: BTreeMap<String, Instant>,
}

impl Nodes {
    /// No node. Reports count that are of this sub-directory.
    pub(crate) fn new(subdirectory: String, lasting: Lasting) -> Self {
        Self {
            subdirectory,
            lasting,
            facts: BTreeMap::new(),
            agents: HashMap::new(),
            placement: None,
            reports: HashMap::new(),
            by_digest: HashMap::new(),
            joined: HashMap::new(),
            views: BTreeMap::new(),
            fallen: BTreeSet::new(),
            steadiness: HashMap::new(),
            set_changed: false,
            architectures: Architectures::default(),
            without_agent: BTreeMap::new(),
        }
    }

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
        self.steadiness.remove(name);
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
        let before = self.reports.remove(name);
        if let Some(digest) = before.as_ref().and_then(|report| report.digest) {
            self.unindex(&digest, name);
        }
        let is_news = match (&before, &report) {
            (Some(before), Some(report)) => !before.says_the_same(report),
            (before, report) => before.is_some() != report.is_some(),
        };
        if let Some(report) = report {
            if let Some(digest) = report.digest {
                self.by_digest.entry(digest).or_default().insert(name.to_owned());
            }
            let is_of_node = |facts: &NodeFacts| report.node_uid.as_ref() == Some(&facts.uid);
            let said = if self.facts.get(name).is_some_and(is_of_node) { &*report.conditions } else { &[] };
            if !self.steadiness.contains_key(name) {
                self.steadiness.insert(name.to_owned(), Steadiness::as_said(said, now));
            }
            self.reports.insert(name.to_owned(), report);
        }
        self.refresh_reported(name, is_news, log, now)
    }

    /// The log has a new entry: nodes that reported its digest before it was known are known now.
    pub(crate) fn log_grew(&mut self, log: &ChangeLog, now: Instant) -> Affected {
        let names = log.newest_digest().and_then(|digest| self.by_digest.get(&digest)).cloned();
        names
            .into_iter()
            .flatten()
            .fold(Affected::Nothing, |all, name| all.and(self.refresh(&name, log, now)))
    }

    /// Time has passed: what has lasted is told, and who was steady for long counts again.
    pub(crate) fn tick(&mut self, log: &ChangeLog, now: Instant) -> Affected {
        let steady = self.lasting.steady();
        let recovered = self
            .steadiness
            .iter_mut()
            .filter_map(|(name, steadiness)| steadiness.recovers(steady, now).then(|| name.clone()));
        let mut affected = Affected::Nothing;
        for name in recovered.collect::<Vec<_>>() {
            affected = affected.and(self.refresh(&name, log, now));
        }
        let Self { views, fallen, lasting, .. } = self;
        fallen.retain(|name| {
            let Some(view) = views.get_mut(name) else { return false };
            let Some(mut told) = view.told.take() else { return false };
            let is_over = told.fell().is_some_and(|fell| fell + lasting.fall() <= now);
            if is_over {
                affected = std::mem::take(&mut affected).and(told.settle(view, log));
            }
            view.told = Some(told);
            !is_over
        });
        if std::mem::take(&mut self.set_changed) { Affected::Everything } else { affected }
    }

    /// The architectures that no node has had for long.
    pub(crate) fn architectures_gone(&mut self, now: Instant) -> BTreeSet<Arch> {
        let there = self.facts().filter_map(NodeFacts::arch).collect();
        self.architectures.tick(&there, now)
    }

    /// A node has this architecture. Says whether that is news.
    pub(crate) fn add_architecture(&mut self, arch: Arch) -> bool {
        self.architectures.add(arch)
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

    /// Whether a node's word falls back again and again, so that it does not count.
    pub(crate) fn is_left_out(&self, name: &str) -> bool {
        self.steadiness.get(name).is_some_and(Steadiness::is_left_out)
    }

    /// The reports that are known, with the UID of the node that each belongs to.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (&String, &Report)> {
        self.reports.iter()
    }

    /// The conditions of a node's report, where they are other than what it says.
    pub(crate) fn conditions(
        &self,
        name: &str,
        report: &Report,
        now: Instant,
        clock: Timestamp,
    ) -> Option<Vec<Condition>> {
        let standing = self.standing(name)?;
        let agent = match self.without_agent.get(name) {
            None => Agent::Runs,
            Some(since) if now < *since + AGENT_AWAY => Agent::JustAway,
            Some(_) => Agent::Away,
        };
        let left_out = self.is_left_out(name).then(|| self.lasting.steady());
        conditions(&report.conditions, standing, agent, left_out, clock)
    }

    /// The architectures of the Linux nodes, and those that one has had of late.
    pub(crate) fn architectures(&self) -> BTreeSet<Arch> {
        self.architectures.all()
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
        self.refresh_reported(name, false, log, now)
    }

    /// Looks at a node again. `reported`: its agent has said something new.
    fn refresh_reported(&mut self, name: &str, reported: bool, log: &ChangeLog, now: Instant) -> Affected {
        let before = self.views.remove(name);
        let after = self.view(name, before.as_ref(), reported, log, now);
        match &after {
            Some(view) if !view.has_agent => drop(self.without_agent.entry(name.to_owned()).or_insert(now)),
            _ => drop(self.without_agent.remove(name)),
        }
        self.fallen.remove(name);
        let told_before = before.and_then(|view| view.told);
        let counts = after.as_ref().is_some_and(|view| view.standing == Standing::Counts);
        self.set_changed |= counts != told_before.is_some();
        let Some(mut view) = after else { return Affected::Nothing };
        let mut affected = Affected::Nothing;
        if counts {
            let mut told = told_before.unwrap_or_else(|| Told::nothing_amiss(log.newest()));
            affected = told.rise(&view, log, now);
            if told.fell().is_some() {
                self.fallen.insert(name.to_owned());
            }
            view.told = Some(told);
        }
        self.views.insert(name.to_owned(), view);
        affected
    }

    fn view(
        &mut self,
        name: &str,
        before: Option<&View>,
        reported: bool,
        log: &ChangeLog,
        now: Instant,
    ) -> Option<View> {
        let facts = self.facts.get(name).filter(|facts| facts.linux)?;
        // A report about an earlier node of this name, or another machine, says nothing about this one.
        let report = self.reports.get(name).filter(|report| report.is_of(facts));
        if report.is_some_and(|report| report.digest.is_some()) {
            self.joined.insert(facts.uid.clone(), facts.machine.id.clone());
        }
        let has_agent = report
            .and_then(|report| self.agents.get(report.agent_pod_uid.as_ref()?))
            .is_some_and(|pod| pod.ready && pod.node.as_deref() == Some(name));
        let of_here = report.filter(|report| report.subdirectory.as_ref() == Some(&self.subdirectory));
        let (progress, failures) = of_here.map_or((Progress::NoReport, Vec::new()), |report| {
            (progress(report, log), report.failures.clone())
        });
        let failed_before = before.map(|before| before.failures.as_slice()).unwrap_or_default();
        let lost = |reached: Index| {
            let is_new = |owner: &Owner| failed_before.iter().all(|failure| !failure.is_of(owner));
            let mut owners = failures.iter().filter_map(owner_of).filter(is_new);
            owners.any(|owner| log.last_change(&owner) <= reached)
        };
        if let Some(steadiness) = self.steadiness.get_mut(name) {
            steadiness.observe(&progress, reported, lost, now);
        }
        let standing = match &self.placement {
            _ if !facts.ready => Standing::NotReady,
            Some(placement) if placement.matches(name, &facts.labels, &facts.taints) => {
                if self.joined.get(&facts.uid) != Some(&facts.machine.id) {
                    Standing::Joining
                } else if self.is_left_out(name) {
                    Standing::LeftOut
                } else {
                    Standing::Counts
                }
            }
            _ => Standing::NotPlaced,
        };
        Some(View { standing, progress, has_agent, failures, told: None })
    }
}

fn progress(report: &Report, log: &ChangeLog) -> Progress {
    match &report.digest {
        None => Progress::NoReport,
        Some(_) if report.failures_truncated => Progress::Truncated,
        Some(digest) => log.index_of(digest).map_or(Progress::Unknown, Progress::Known),
    }
}

#[cfg(test)]
mod tests;
