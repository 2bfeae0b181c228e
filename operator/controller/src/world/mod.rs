//! Everything that the controller knows, in one place: what the watches show, what follows from it, and which profiles a change
//! concerns. Pure: no I/O, and time is given.

mod bases;
mod collectable;
mod decide;
mod entry;
mod step;
mod summary;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_api::{Owner, ProfileStatus, RevisionMeta};
use portcullis_profile::Digest;
use tokio::time::Instant;

pub(crate) use self::{
    entry::{Entry, Held, InUse, Observed, Seen, Spec, Trouble},
    step::Step,
    summary::State,
};
use crate::{
    nodes::{Affected, AgentPod, NodeFacts, Nodes, Placement, Report},
    plan::Known,
    resolve::Resolved,
    revisions::Revisions,
    status::Stall,
    usage::Usage,
};

/// For how long after a change of leader a `Ready` that stands is not withdrawn because a node's digest is not known.
pub(crate) const LEADER_GRACE: Duration = Duration::from_secs(30);
/// Everything that the controller knows.
#[derive(Debug)]
pub(crate) struct World {
    subdirectory: String,
    led_since: Instant,
    leader_grace_ended: bool,
    /// Whether every first list is complete: before that nothing is said of any profile and nothing is collected.
    synced: bool,
    profiles: HashMap<Owner, Entry>,
    /// What each profile builds on directly, and the other way round.
    bases: HashMap<Owner, Vec<Owner>>,
    dependents: HashMap<Owner, BTreeSet<Owner>>,
    revisions: Revisions,
    nodes: Nodes,
    /// Namespaces whose profiles may be looser than the runtime default.
    permitted: HashSet<String>,
    /// Owners of revisions that are no profiles, and since when.
    orphans: HashMap<Owner, Instant>,
    /// Owners that have revisions too many.
    crowded: BTreeSet<Owner>,
}

impl World {
    /// A controller that leads from now on and knows nothing.
    pub(crate) fn new(subdirectory: String, now: Instant) -> Self {
        Self {
            subdirectory,
            led_since: now,
            leader_grace_ended: false,
            synced: false,
            profiles: HashMap::new(),
            bases: HashMap::new(),
            dependents: HashMap::new(),
            revisions: Revisions::default(),
            nodes: Nodes::default(),
            permitted: HashSet::new(),
            orphans: HashMap::new(),
            crowded: BTreeSet::new(),
        }
    }

    /// Every first list is complete.
    pub(crate) fn all_synced(&mut self) -> Affected {
        self.synced = true;
        Affected::Everything
    }

    /// The watch shows a profile. `arrived`: as an event, not in a list.
    pub(crate) fn profile_applied(&mut self, observed: Observed, arrived: bool, now: Instant) -> Affected {
        let Observed { owner, metadata, status, spec } = observed;
        self.orphans.remove(&owner);
        let bases = spec.as_ref().map(|spec| bases::of(&owner, spec));
        let same_object = |entry: &&mut Entry| Some(entry.uid.as_str()) == metadata.uid.as_deref();
        let (changed, spec_changed) = match (self.profiles.get_mut(&owner).filter(same_object), spec) {
            (Some(entry), spec) => {
                let epoch = entry.epoch;
                let changed = entry.update(metadata, status, spec, now);
                (changed, entry.epoch != epoch)
            }
            (None, Some(spec)) => {
                self.profiles.insert(owner.clone(), Entry::new(metadata, status, spec, arrived, now));
                (true, true)
            }
            // Nobody leaves the spec of a new object out.
            (None, None) => (false, false),
        };
        if !spec_changed {
            return if changed { only(owner) } else { Affected::Nothing };
        }
        self.link(&owner, bases.unwrap_or_default());
        self.invalidate_dependents(&owner).and(only(owner))
    }

    /// The watch shows that a profile is gone.
    pub(crate) fn profile_removed(&mut self, owner: &Owner, now: Instant) -> Affected {
        self.profiles.remove(owner);
        self.crowded.remove(owner);
        self.link(owner, Vec::new());
        self.note_orphan(owner, now);
        self.invalidate_dependents(owner)
    }

    /// After a complete list: profiles of that kind that it did not show are gone.
    pub(crate) fn profiles_listed(
        &mut self,
        is_listed_kind: impl Fn(&Owner) -> bool,
        listed: &HashSet<Owner>,
        now: Instant,
    ) -> Affected {
        let gone: Vec<Owner> = self
            .profiles
            .keys()
            .filter(|owner| is_listed_kind(owner) && !listed.contains(*owner))
            .cloned()
            .collect();
        gone.iter().fold(Affected::Nothing, |all, owner| all.and(self.profile_removed(owner, now)))
    }

    /// Whether this generation of this object is known, so that there is no need to parse its document again.
    pub(crate) fn has_seen(&self, owner: &Owner, uid: &str, generation: i64) -> bool {
        self.profiles.get(owner).is_some_and(|entry| entry.uid == uid && entry.generation == generation)
    }

    /// The watch shows a revision.
    pub(crate) fn revision_applied(
        &mut self,
        meta: &RevisionMeta,
        object_uid: Option<String>,
        now: Instant,
    ) -> Affected {
        let changed = self.revisions.apply(meta, object_uid);
        self.note_orphan(&meta.owner, now);
        self.log_grew(changed, now).and(only(meta.owner.clone()))
    }

    /// The watch shows that a revision is gone.
    pub(crate) fn revision_removed(&mut self, owner: &Owner, digest: &Digest, now: Instant) -> Affected {
        let changed = self.revisions.remove(owner, digest);
        self.note_orphan(owner, now);
        self.log_grew(changed, now).and(only(owner.clone()))
    }

    /// After a complete list: revisions that it did not show are gone.
    pub(crate) fn revisions_listed(&mut self, listed: &HashSet<(Owner, Digest)>, now: Instant) -> Affected {
        let set = self.revisions.log().set();
        let gone: Vec<(Owner, Digest)> = set
            .owners()
            .flat_map(|owner| set.revisions(owner).map(|(digest, _)| (owner.clone(), *digest)))
            .filter(|revision| !listed.contains(revision))
            .collect();
        let removed = gone.iter().fold(Affected::Nothing, |all, (owner, digest)| {
            all.and(self.revision_removed(owner, digest, now))
        });
        self.revisions.first_list_done();
        removed
    }

    /// A node was added or changed.
    pub(crate) fn node_applied(&mut self, node: NodeFacts, now: Instant) -> Affected {
        let before = self.nodes.architectures();
        let affected = self.nodes.apply_node(node, self.revisions.log(), now);
        if self.nodes.architectures().is_subset(&before) {
            return affected;
        }
        // The linter has something to say of architectures that are there; of one that went away it may go on saying it.
        self.profiles.values_mut().for_each(Entry::invalidate);
        Affected::Everything
    }

    /// A node is gone.
    pub(crate) fn node_removed(&mut self, name: &str, now: Instant) -> Affected {
        self.nodes.remove_node(name, self.revisions.log(), now)
    }

    /// After a complete list: nodes that it did not show are gone.
    pub(crate) fn nodes_listed(&mut self, listed: &HashSet<String>, now: Instant) -> Affected {
        let gone = self.nodes.names_but(listed);
        gone.iter().fold(Affected::Nothing, |all, name| all.and(self.node_removed(name, now)))
    }

    /// After a complete list: agent pods, by UID, that it did not show are gone.
    pub(crate) fn agents_listed(&mut self, listed: &HashSet<String>, now: Instant) -> Affected {
        let gone = self.nodes.agents_but(listed);
        gone.iter().fold(Affected::Nothing, |all, uid| all.and(self.agent_removed(uid, now)))
    }

    /// After a complete list: reports that it did not show are gone.
    pub(crate) fn reports_listed(&mut self, listed: &HashSet<String>, now: Instant) -> Affected {
        let gone = self.nodes.reports_but(listed);
        gone.iter().fold(Affected::Nothing, |all, name| all.and(self.reported(name, None, now)))
    }

    /// An agent's pod was added or changed.
    pub(crate) fn agent_applied(&mut self, uid: String, pod: AgentPod, now: Instant) -> Affected {
        self.nodes.apply_agent(uid, pod, self.revisions.log(), now)
    }

    /// An agent's pod is gone.
    pub(crate) fn agent_removed(&mut self, uid: &str, now: Instant) -> Affected {
        self.nodes.remove_agent(uid, self.revisions.log(), now)
    }

    /// The agents' DaemonSet was added, changed or removed.
    pub(crate) fn placed(&mut self, placement: Option<Placement>, now: Instant) -> Affected {
        self.nodes.place(placement, self.revisions.log(), now)
    }

    /// A node's agent reported, or its object is gone.
    pub(crate) fn reported(&mut self, node: &str, report: Option<Report>, now: Instant) -> Affected {
        self.nodes.report(node, report, self.revisions.log(), now)
    }

    /// An administrator permits looser profiles in a namespace, or no longer.
    pub(crate) fn permit(&mut self, namespace: &str, permitted: bool) -> Affected {
        let changed = if permitted {
            self.permitted.insert(namespace.to_owned())
        } else {
            self.permitted.remove(namespace)
        };
        if !changed {
            return Affected::Nothing;
        }
        let mut concerned = BTreeSet::new();
        for (owner, entry) in &mut self.profiles {
            if owner.namespace() == Some(namespace) {
                entry.invalidate();
                concerned.insert(owner.clone());
            }
        }
        Affected::owners(concerned)
    }

    /// After a complete list: only these namespaces are permitted.
    pub(crate) fn permitted_listed(&mut self, listed: &HashSet<String>) -> Affected {
        let withdrawn: Vec<String> = self.permitted.difference(listed).cloned().collect();
        withdrawn.iter().fold(Affected::Nothing, |all, namespace| all.and(self.permit(namespace, false)))
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Affected {
        let graced = if !self.leader_grace_ended && now >= self.leader_grace() {
            self.leader_grace_ended = true;
            Affected::Everything
        } else {
            Affected::Nothing
        };
        self.nodes.tick(now).and(graced)
    }

    /// The document of a profile was read again. Says whether it was taken: not where the object is another by now, which the
    /// watch is about to show.
    pub(crate) fn fetched(&mut self, observed: Observed) -> bool {
        let Some(entry) = self.profiles.get_mut(&observed.owner) else { return false };
        let same = observed.metadata.uid.as_deref() == Some(&entry.uid)
            && observed.metadata.generation == Some(entry.generation);
        if let Some(spec) = observed.spec.filter(|_| same) {
            entry.held = spec.source.map_or_else(Held::Refused, Held::Here);
        }
        same
    }

    /// The content of the revision that a pin names was read.
    pub(crate) fn fetched_revision(&mut self, owner: &Owner, digest: Digest, content: std::sync::Arc<str>) {
        if let Some(entry) = self.profiles.get_mut(owner) {
            entry.pinned = Some((digest, content));
        }
    }

    /// The content was worked out, from the state of things that the epoch names.
    pub(crate) fn resolved(&mut self, owner: &Owner, epoch: u64, resolution: Result<Resolved, Stall>) {
        if let Some(entry) = self.profiles.get_mut(owner).filter(|entry| entry.epoch == epoch) {
            entry.resolution = Some(resolution);
            entry.pinned = None;
        }
    }

    /// The controller wrote a revision.
    pub(crate) fn wrote_revision(&mut self, meta: RevisionMeta, now: Instant) {
        let RevisionMeta { owner, owner_uid, digest, sequence } = meta;
        self.revisions.wrote(&owner, Known { digest, sequence, owner_uid }, now);
    }

    /// The controller wrote a profile's finalizer or (if given) status. Says how long the profile took to its first `Ready` of
    /// this generation, if this is it.
    pub(crate) fn wrote_profile(
        &mut self,
        owner: &Owner,
        metadata: ObjectMeta,
        status: Option<ProfileStatus>,
        now: Instant,
    ) -> Option<Duration> {
        let entry = self.profiles.get_mut(owner)?;
        if status.is_some() {
            entry.trouble.take_if(|trouble| trouble.in_status);
        }
        // The watch may have shown this very status already, so the status before is no guide.
        let ready = status.as_ref().is_some_and(|status| {
            crate::status::is_ready(status) && status.observed_generation == Some(entry.generation)
        });
        entry.wrote(metadata, status, now);
        ready.then(|| entry.take_age(now)).flatten()
    }

    /// It was asked which pods name a profile's paths.
    pub(crate) fn usage_known(&mut self, owner: &Owner, usage: &Usage, now: Instant) {
        let users =
            usage.of_owner(owner, self.revisions.log().set().revisions(owner).map(|(digest, _)| digest));
        if let Some(entry) = self.profiles.get_mut(owner) {
            let times = entry.in_use.as_ref().map_or(0, |in_use| in_use.times) + 1;
            entry.in_use = Some(InUse { users, asked: now, times });
        }
    }

    /// Something failed for a profile. Says when to try again.
    pub(crate) fn failed(
        &mut self,
        owner: &Owner,
        message: String,
        in_status: bool,
        now: Instant,
    ) -> Instant {
        let before = self.profiles.get(owner).and_then(|entry| entry.trouble.as_ref());
        let trouble = Trouble::after(before, message, in_status, now);
        let retry_at = trouble.retry_at;
        if let Some(entry) = self.profiles.get_mut(owner) {
            entry.trouble = Some(trouble);
        }
        retry_at
    }

    /// Whether a revision is the one that its owner's path serves.
    pub(crate) fn is_served(&self, owner: &Owner, digest: &Digest) -> bool {
        self.revisions.log().set().current(owner).as_ref() == Some(digest)
    }

    /// The nodes and what is known of them.
    pub(crate) const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The UID of a profile.
    pub(crate) fn uid(&self, owner: &Owner) -> Option<String> {
        self.profiles.get(owner).map(|entry| entry.uid.clone())
    }

    /// The digest of what nodes are to serve.
    #[cfg(test)]
    pub(crate) fn served_digest(&self) -> portcullis_api::SetDigest {
        self.revisions.log().set().digest()
    }

    /// Every profile.
    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.profiles.keys()
    }

    fn leader_grace(&self) -> Instant {
        self.led_since + LEADER_GRACE
    }

    fn log_grew(&mut self, grew: bool, now: Instant) -> Affected {
        if grew { self.nodes.log_grew(self.revisions.log(), now) } else { Affected::Nothing }
    }
}

fn only(owner: Owner) -> Affected {
    Affected::Owners([owner].into())
}

#[cfg(test)]
mod tests;
