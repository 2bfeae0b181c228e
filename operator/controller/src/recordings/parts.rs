//! The parts of one recording: which of them count, what they come to, and which are to be taken over.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use portcullis_api::{Archive, MAX_REFUSED_NODES, PartContent, RecordingStatus, merge_parts};
use portcullis_profile::recording::Tally;
use tokio::time::Instant;

use super::{Key, invitations::Asking, picture::Step};

/// How long a node must be gone before its part is taken over: its pods are deleted within minutes of it, and then no recorder of
/// its can write any more.
pub(super) const GONE_FOR: Duration = Duration::from_secs(600);

/// A part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) recording_uid: String,
    pub(super) node: Option<String>,
    /// Whether its node is invited, or it is of none.
    pub(super) counts: bool,
    pub(super) content: Result<PartContent, String>,
    pub(super) gone_since: Option<Instant>,
}

/// The parts of this very recording by which nodes ask.
pub(super) fn asking(all: &BTreeMap<String, Part>, uid: &str) -> impl Iterator<Item = Asking> {
    let asking = all.iter().filter(move |(_, part)| part.recording_uid == uid && !part.counts);
    asking.filter_map(|(name, part)| {
        let (node, uid, version) = (part.node.clone()?, part.uid.clone(), part.version.clone());
        Some(Asking { name: name.clone(), node, uid, version })
    })
}

/// The parts of one recording that count.
pub(super) struct Parts<'p> {
    parts: Vec<(&'p String, &'p mut Part)>,
    /// When the next part of a node that is gone may be taken over.
    pub(super) next_gone: Option<Instant>,
}

/// What all parts come to.
pub(super) struct Merged {
    pub(super) tally: Tally,
    pub(super) nodes: u32,
    pub(super) problems: Vec<String>,
}

impl<'p> Parts<'p> {
    /// Those of this very recording that count; notes which of their nodes are gone.
    pub(super) fn of(
        all: &'p mut BTreeMap<String, Part>,
        uid: &str,
        here: &HashSet<String>,
        now: Instant,
    ) -> Self {
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
    pub(super) fn refused(&self, previous: &RecordingStatus, lately: &BTreeSet<String>) -> Vec<String> {
        let writes = |node: &str| self.parts.iter().any(|(_, part)| part.node.as_deref() == Some(node));
        let refused: BTreeSet<&String> = previous.refused_nodes.iter().chain(lately).collect();
        refused.into_iter().filter(|node| !writes(node)).take(MAX_REFUSED_NODES).cloned().collect()
    }

    fn is_there(&self, uid: &str) -> bool {
        self.parts.iter().any(|(_, part)| part.uid == uid)
    }

    /// The next step by which the part of a node that is gone is taken over.
    pub(super) fn retire(
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

    pub(super) fn merge(&self) -> Merged {
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
