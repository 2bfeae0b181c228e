//! Everything that the controller knows, in one place: what the watches show, what follows from it, and which profiles a change
//! concerns. Pure: no I/O, and time is given.

mod baseline;
mod bases;
mod bounds;
mod collectable;
mod decide;
mod entry;
mod forced;
mod revocation;
mod shelf;
mod standing;
mod step;
mod summary;
mod tempo;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use portcullis_api::{MAX_CONTENT_BYTES, OldestFirst, Owner, ProfileStatus, RevisionMeta, created_at};
use portcullis_profile::{Arch, Digest};
use tokio::time::Instant;

pub(crate) use self::{
    bounds::usize_of,
    entry::{Entry, Held, InUse, Observed, Seen, Spec, Taken, Trouble},
    revocation::News,
    step::Step,
    summary::State,
    tempo::{Buckets, Rate},
};
use self::{
    shelf::Shelf,
    tempo::{FanOut, Tempo},
};
use crate::{
    nodes::{Affected, AgentPod, NodeFacts, Nodes, Placement, Report},
    plan::Known,
    queue::Keyed as _,
    resolve::{MAX_GATHERED_BYTES, Resolved},
    revisions::Revisions,
    settings::{Bounds, Lasting},
    status::Stall,
    usage::Usage,
};

/// For how long after a change of leader a `Ready` that stands is not withdrawn because a node's digest is not known.
pub(crate) const LEADER_GRACE: Duration = Duration::from_secs(30);
/// When what was given up is worked out again.
const TRY_AGAIN: Duration = Duration::from_secs(600);

/// Everything that the controller knows.
#[derive(Debug)]
pub(crate) struct World {
    subdirectory: String,
    led_since: Instant,
    leader_grace_ended: bool,
    /// Whether every first list is complete: before that nothing is said of any profile and nothing is collected.
    synced: bool,
    bounds: Bounds,
    profiles: HashMap<Owner, Entry>,
    /// Every profile that there is, the oldest of each namespace first.
    order: OldestFirst<Owner>,
    /// Profiles that are so far beyond the bound of their namespace that nothing else is kept of them, and when they were made.
    far_beyond: HashMap<Owner, Timestamp>,
    /// Profiles of each namespace whose new revisions are refused: they look again when another goes.
    refused: HashMap<String, BTreeSet<Owner>>,
    tempo: Tempo,
    fan_out: FanOut,
    /// What each profile builds on directly, and the other way round.
    bases: HashMap<Owner, Vec<Owner>>,
    dependents: HashMap<Owner, BTreeSet<Owner>>,
    shelf: Shelf,
    revisions: Revisions,
    nodes: Nodes,
    /// What profiles are held against, where it is not the runtime default.
    baseline: Option<baseline::Chosen>,
    /// Namespaces whose profiles may be looser than the baseline.
    permitted: HashSet<String>,
    /// Owners of revisions that are no profiles, and since when.
    orphans: HashMap<Owner, Instant>,
    /// UIDs of profiles whose finalizer somebody took off, of which revisions are left.
    forced: HashMap<Owner, HashSet<String>>,
    /// Revocations that nobody was told of yet.
    revocations: BTreeMap<(Owner, Digest), News>,
    /// Owners that have revisions too many.
    crowded: BTreeSet<Owner>,
}

impl World {
    /// A controller that leads from now on and knows nothing.
    pub(crate) fn new(subdirectory: String, bounds: Bounds, lasting: Lasting, now: Instant) -> Self {
        let every = Duration::from_secs(bounds.seconds_per_revision.into());
        Self {
            tempo: Tempo::new(Rate { burst: bounds.revision_burst, every }),
            fan_out: FanOut::new(bounds.dependents_per_second),
            bounds,
            order: OldestFirst::default(),
            far_beyond: HashMap::new(),
            refused: HashMap::new(),
            nodes: Nodes::new(subdirectory.clone(), lasting),
            subdirectory,
            led_since: now,
            leader_grace_ended: false,
            synced: false,
            profiles: HashMap::new(),
            bases: HashMap::new(),
            dependents: HashMap::new(),
            shelf: Shelf::default(),
            revisions: Revisions::default(),
            baseline: None,
            permitted: HashSet::new(),
            orphans: HashMap::new(),
            forced: HashMap::new(),
            revocations: BTreeMap::new(),
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
        let created = created_at(&metadata);
        if !self.takes_up(&owner, &metadata, created) {
            return Affected::Nothing;
        }
        let bases = spec.as_ref().map(|spec| bases::of(&owner, spec));
        let spec = spec.map(|spec| {
            let size = spec.source.as_ref().map_or(MAX_CONTENT_BYTES, |source| source.bytes());
            let held = spec.source.map_or_else(Held::Refused, |source| {
                self.shelf.keep(&owner, source).map_or(Held::LetGo, Held::Here)
            });
            Taken { wishes: spec.wishes, size, held }
        });
        let same_object = |entry: &&mut Entry| Some(entry.uid.as_str()) == metadata.uid.as_deref();
        let (changed, spec_changed) = match (self.profiles.get_mut(&owner).filter(same_object), spec) {
            (Some(entry), spec) => {
                let epoch = entry.epoch;
                let changed = entry.update(metadata, status, spec, now);
                (changed, entry.epoch != epoch)
            }
            (None, Some(spec)) => {
                let before =
                    self.profiles.insert(owner.clone(), Entry::new(metadata, status, spec, arrived, now));
                self.note_forced(&owner, before.as_ref());
                self.rank(&owner, before.map(|before| before.created), created);
                (true, true)
            }
            // Nobody leaves the spec of a new object out.
            (None, None) => (false, false),
        };
        if !spec_changed {
            return if changed { only(owner) } else { Affected::Nothing };
        }
        self.link(&owner, bases.unwrap_or_default());
        let at_edge = self.at_edge(&owner);
        self.invalidate_dependents(&owner, now).and(only(owner)).and(at_edge)
    }

    /// The watch shows that a profile is gone.
    pub(crate) fn profile_removed(&mut self, owner: &Owner, now: Instant) -> Affected {
        let entry = self.profiles.remove(owner);
        self.note_forced(owner, entry.as_ref());
        let created = entry.map(|entry| entry.created);
        if let Some(created) = created.or(self.far_beyond.remove(owner)) {
            self.order.remove(owner.tenant(), created, owner);
        }
        self.note_refusal(owner, false);
        self.crowded.remove(owner);
        self.link(owner, Vec::new());
        self.note_orphan(owner, now);
        self.note_baseline(owner);
        let at_edge = self.at_edge(owner);
        self.invalidate_dependents(owner, now).and(at_edge).and(self.spread_baseline())
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
            .chain(self.far_beyond.keys())
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
        bytes: u64,
        now: Instant,
    ) -> Affected {
        self.note_revocation(meta);
        let changed = self.revisions.apply(meta, object_uid, bytes);
        self.note_orphan(&meta.owner, now);
        self.log_grew(changed, now).and(only(meta.owner.clone()))
    }

    /// The watch shows that a revision is gone.
    pub(crate) fn revision_removed(&mut self, owner: &Owner, digest: &Digest, now: Instant) -> Affected {
        let changed = self.revisions.remove(owner, digest);
        self.revocations.remove(&(owner.clone(), *digest));
        self.note_orphan(owner, now);
        self.forget_forced(owner);
        let waiting = self.refused.get(owner.tenant()).cloned().unwrap_or_default();
        self.log_grew(changed, now).and(only(owner.clone())).and(Affected::owners(waiting))
    }

    /// After a complete list: revisions that it did not show are gone.
    pub(crate) fn revisions_listed(&mut self, listed: &HashSet<(Owner, Digest)>, now: Instant) -> Affected {
        let set = self.revisions.log().set();
        let gone: Vec<(Owner, Digest)> = set
            .owners()
            .flat_map(|owner| {
                let all = set.revisions(owner).chain(set.revoked(owner));
                all.map(|(digest, _)| (owner.clone(), *digest))
            })
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
        let arch = node.arch().filter(|_| node.linux);
        let new: BTreeSet<Arch> =
            arch.into_iter().filter(|arch| self.nodes.add_architecture(*arch)).collect();
        let affected = self.nodes.apply_node(node, self.revisions.log(), now);
        self.heed_architectures(&new).and(affected)
    }

    /// Architectures of nodes are new, or are gone. Profiles of which there is something else to say now are worked out again.
    fn heed_architectures(&mut self, changed: &BTreeSet<Arch>) -> Affected {
        if changed.is_empty() {
            return Affected::Nothing;
        }
        let mut concerned = BTreeSet::new();
        for (owner, entry) in &mut self.profiles {
            let resolved = entry.resolution.as_ref().and_then(|resolution| resolution.as_ref().ok());
            if resolved.is_none_or(|resolved| !changed.is_subset(&resolved.indifferent_to)) {
                entry.invalidate();
                concerned.insert(owner.clone());
            }
        }
        Affected::owners(concerned)
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
        let gone = self.nodes.architectures_gone(now);
        let heeded = self.heed_architectures(&gone);
        self.nodes.tick(self.revisions.log(), now).and(graced).and(heeded)
    }

    /// A document was read for the work on a profile: its own, or a base's. Says whether it was taken: not where the object is another by
    /// now, which the watch is about to show.
    pub(crate) fn fetched(&mut self, worked_on: &Owner, observed: Observed) -> bool {
        let Observed { owner, metadata, status: _, spec } = observed;
        let Some(entry) = self.profiles.get_mut(&owner) else { return false };
        let generation = entry.generation;
        if metadata.uid.as_deref() != Some(&entry.uid) || metadata.generation != Some(generation) {
            return false;
        }
        let uid = entry.uid.clone();
        match spec.map(|spec| spec.source) {
            Some(Ok(source)) => {
                if let Some(entry) = self.profiles.get_mut(worked_on) {
                    entry.lend(owner, uid, generation, source);
                }
            }
            Some(Err(problem)) => entry.held = Held::Refused(problem),
            None => {}
        }
        true
    }

    /// Whether what was read for the work on a profile is as much as may go into one already.
    pub(crate) fn has_read_enough(&self, owner: &Owner) -> bool {
        self.profiles.get(owner).is_some_and(|entry| entry.lent_bytes() > MAX_GATHERED_BYTES)
    }

    /// The work on a profile has come to an end, or to where it waits: what was read for it goes.
    pub(crate) fn put_away(&mut self, owner: &Owner) -> Affected {
        self.revisions.end(owner);
        if let Some(entry) = self.profiles.get_mut(owner) {
            entry.give_back();
        }
        self.spread_baseline()
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
            entry.give_back();
        }
        self.note_baseline(owner);
    }

    /// Working the content out was given up: it is tried again after a while, in case something else took the processors' time.
    pub(crate) fn gave_up(&mut self, owner: &Owner, epoch: u64, stall: Stall, now: Instant) {
        self.resolved(owner, epoch, Err(stall));
        if let Some(entry) = self.profiles.get_mut(owner).filter(|entry| entry.epoch == epoch) {
            entry.try_again = Some(now + TRY_AGAIN);
        }
    }

    /// The controller wrote a revision.
    pub(crate) fn wrote_revision(&mut self, meta: RevisionMeta, now: Instant) {
        let RevisionMeta { owner, owner_uid, digest, sequence, revoked: _ } = meta;
        self.tempo.wrote(&owner, now);
        self.revisions.wrote(&owner, Known { digest, sequence, owner_uid, revoked: false }, now);
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
        if status.is_some() && entry.take_by_nodes() {
            self.tempo.said_of_nodes(owner, now);
        }
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
        self.revisions.end(owner);
        if let Some(entry) = self.profiles.get_mut(owner) {
            entry.trouble = Some(trouble);
            // What could not be written is made again for the next attempt: it may be long until then, and many may wait.
            entry.let_go_of_content();
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
