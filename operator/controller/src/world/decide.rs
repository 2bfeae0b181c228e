//! What to do next for one profile.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{Mode, Owner, ProfileStatus, Reason, RevisionMeta};
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::{
    Entry, Held, Step, World,
    bounds::{new_revision, newest_of_too_many, usize_of},
    revocation::revoked,
};
use crate::{
    nodes::{Rollout, Wanted},
    plan::{Known, plan},
    queue::Keyed as _,
    resolve::{Gathered, Job, Lookup, gather},
    status::{Announcement, Facts, Outcome, Stall, is_stalled},
};

/// For how long an answer that no pod names a profile holds.
const UNUSED_FOR: std::time::Duration = std::time::Duration::from_secs(10);

/// How often it is looked whether there is room by now for what was refused; most often what makes room says so itself.
const REFUSED_FOR: std::time::Duration = std::time::Duration::from_secs(60);

/// For how long what a status says of a refusal is not said again in other numbers: they change with every object of the namespace.
const REFUSAL_HOLDS: std::time::Duration = std::time::Duration::from_secs(600);

/// For how long at least a profile is not looked at again for a node that has just lost what it is said to have.
const LOOK_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// A status, and what goes with it.
struct Saying {
    status: ProfileStatus,
    announcement: Option<Announcement>,
    /// When what it says of nodes may have changed without a word.
    look_again: Option<Instant>,
}

/// What is to be done to come from a spec to something to serve.
enum Resolving {
    Done,
    Step(Step),
}

impl World {
    /// The next step for a profile.
    pub(crate) fn step(&mut self, owner: &Owner, now: Instant, clock: Timestamp) -> Step {
        let Some(entry) = self.profiles.get_mut(owner) else { return Step::Wait(None) };
        entry.expire(now);
        let blocked = entry.trouble.as_ref().filter(|trouble| now < trouble.retry_at);
        if let Some(trouble) = blocked.filter(|trouble| trouble.in_status) {
            return Step::Wait(Some(trouble.retry_at));
        }
        let blocked = blocked.map(|trouble| trouble.retry_at);
        entry.refusal = None;
        if entry.deleting && self.synced {
            return self.step_of_deleted(owner, blocked, now, clock);
        }
        if blocked.is_none() && !entry.deleting && !self.is_beyond(owner) {
            if let Some(at) = self.postponed(owner, now) {
                return Step::Wait(Some(at));
            }
            match self.resolve(owner, now) {
                Resolving::Step(step) => return step,
                Resolving::Done => {}
            }
            if let Some(step) = self.publish(owner, now) {
                return step;
            }
        }
        self.say(owner, blocked, now, clock)
    }

    /// Refuses a profile that is not among the oldest of its namespace, as many as there may be. Before all are known nobody is.
    fn is_beyond(&mut self, owner: &Owner) -> bool {
        let (Some(namespace), Some(entry)) = (owner.namespace(), self.profiles.get_mut(owner)) else {
            return false;
        };
        let limit = usize_of(self.bounds.max_profiles_per_namespace);
        if !self.synced || self.order.is_within(namespace, entry.created, owner, limit) {
            return false;
        }
        entry.refuse(newest_of_too_many(&self.bounds, namespace, self.order.count(namespace)));
        true
    }

    /// When a profile may be worked out that has to wait: for its turn after a base changed, because it had many revisions just now, or
    /// because nothing could be written of it yet.
    fn postponed(&self, owner: &Owner, now: Instant) -> Option<Instant> {
        let entry = self.profiles.get(owner).filter(|entry| entry.resolution.is_none())?;
        let turn = entry.turn.filter(|turn| *turn > now);
        turn.max(self.tempo.waits(owner, now)).max(self.tempo.write_waits(owner, entry.size, now))
    }

    /// Brings the resolution up to date.
    fn resolve(&mut self, owner: &Owner, now: Instant) -> Resolving {
        let known = self.revisions.known(owner, now);
        let Some(entry) = self.profiles.get(owner) else { return Resolving::Done };
        if entry.resolution.is_some() {
            return Resolving::Done;
        }
        let epoch = entry.epoch;
        let next = match &entry.wishes.pin {
            Some(pin) => self.resolve_pin(owner, entry, pin, &known),
            None => self.resolve_spec(owner, entry),
        };
        match next {
            Ok(Ok(job)) => Resolving::Step(Step::Resolve { job: Box::new(job), epoch }),
            Ok(Err(step)) => Resolving::Step(step),
            Err(stall) => {
                self.resolved(owner, epoch, Err(stall));
                Resolving::Done
            }
        }
    }

    /// A job, or what has to be read first.
    fn resolve_spec(&self, owner: &Owner, entry: &Entry) -> Result<Result<Job, Step>, Stall> {
        let lookup = |other: &Owner| {
            let Some(known) = self.profiles.get(other) else { return Lookup::Absent };
            match &known.held {
                Held::LetGo => entry.lent(other, known).map_or(Lookup::NotHeld, Lookup::Found),
                Held::Refused(problem) => Lookup::Refused(problem.clone()),
                Held::Here(kept) => Lookup::Found(kept.source.clone()),
            }
        };
        let source = match lookup(owner) {
            Lookup::Found(source) => source,
            Lookup::Refused(message) => return Err(Stall { reason: Reason::InvalidProfile, message }),
            Lookup::NotHeld | Lookup::Absent => return Ok(Err(Step::Fetch(vec![owner.clone()]))),
        };
        Ok(match gather(owner, &source, lookup)? {
            Gathered::Needs(owners) => Err(Step::Fetch(owners)),
            Gathered::Parts(parts) => {
                let mode = entry.wishes.mode;
                let Some(baseline) = self.baseline_of(owner, mode)? else {
                    return Ok(Err(Step::Wait(None)));
                };
                Ok(Job::Compose {
                    owner: owner.clone(),
                    mode,
                    parts,
                    architectures: self.nodes.architectures(),
                    may_be_looser: self.may_be_looser(owner),
                    baseline,
                })
            }
        })
    }

    fn resolve_pin(
        &self,
        owner: &Owner,
        entry: &Entry,
        pin: &str,
        known: &[Known],
    ) -> Result<Result<Job, Step>, Stall> {
        let digest = pin
            .parse::<Digest>()
            .map_err(|error| Stall { reason: Reason::PinNotFound, message: format!("spec.pin: {error}") })?;
        if !known.iter().any(|known| known.digest == digest) {
            let mut kept: Vec<String> =
                known.iter().filter(|known| !known.revoked).map(|known| known.digest.to_string()).collect();
            kept.sort_unstable();
            let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
            return Err(Stall {
                reason: Reason::PinNotFound,
                message: format!("spec.pin: revision {digest} is not kept; kept are: {kept}"),
            });
        }
        let Some(baseline) = self.baseline_of(owner, Mode::Enforce)? else {
            return Ok(Err(Step::Wait(None)));
        };
        Ok(match &entry.pinned {
            Some((fetched, content)) if *fetched == digest => Ok(Job::Pin {
                owner: owner.clone(),
                digest,
                content: Arc::clone(content),
                architectures: self.nodes.architectures(),
                may_be_looser: self.may_be_looser(owner),
                baseline,
            }),
            _ => Err(Step::FetchRevision { digest }),
        })
    }

    /// Whether the gate is open: cluster profiles are the administrator's own, a namespace may be labelled by one.
    pub(super) fn may_be_looser(&self, owner: &Owner) -> bool {
        owner.namespace().is_none_or(|namespace| self.permitted.contains(namespace))
    }

    /// What there is to write so that nodes serve the content; nothing for a stalled profile.
    fn publish(&mut self, owner: &Owner, now: Instant) -> Option<Step> {
        let known = self.revisions.known(owner, now);
        let has_dependents = self.dependents.contains_key(owner);
        let entry = self.profiles.get_mut(owner)?;
        let Some(Ok(resolved)) = &mut entry.resolution else { return None };
        let plan = plan(&known, &resolved.digest, &entry.uid, entry.wishes.history_limit);
        if let Some(reason) = self.revisions.revocation(owner, &resolved.digest) {
            let stall = revoked(&resolved.digest, reason);
            entry.refuse(stall);
            return None;
        }
        if !plan.collect.is_empty() {
            self.crowded.insert(owner.clone());
        }
        if plan.write.is_none() && self.refused.contains_key(owner.tenant()) {
            self.note_refusal(owner, false);
        }
        let entry = self.profiles.get_mut(owner)?;
        let Some(Ok(resolved)) = &mut entry.resolution else { return None };
        let is_new = known.iter().all(|known| known.digest != resolved.digest);
        let (digest, bytes) = (resolved.digest, resolved.bytes);
        if plan.write.is_some() {
            // Which profiles of a namespace are beyond its bound is known once all are.
            if !self.synced && owner.namespace().is_some() {
                entry.let_go_of_content();
                return Some(Step::Wait(None));
            }
            let of_namespace = self.revisions.amount(owner.tenant(), now);
            let of_all = self.revisions.number();
            let refusal = new_revision(&self.bounds, owner, of_namespace, of_all, bytes).filter(|_| is_new);
            self.note_refusal(owner, refusal.is_some());
            let entry = self.profiles.get_mut(owner)?;
            if let Some(stall) = refusal {
                entry.refuse(stall);
                return None;
            }
            if let Some(at) = self.tempo.waits(owner, now) {
                entry.let_go_of_content();
                return Some(Step::Wait(Some(at)));
            }
        }
        let entry = self.profiles.get_mut(owner)?;
        let Some(Ok(resolved)) = &mut entry.resolution else { return None };
        let revision = match (plan.write, &resolved.content) {
            (None, _) => {
                resolved.content = None;
                None
            }
            (Some(sequence), Some(content)) => {
                let owner_uid = entry.uid.clone();
                let meta = RevisionMeta {
                    owner: owner.clone(),
                    owner_uid,
                    digest: resolved.digest,
                    sequence,
                    revoked: None,
                };
                Some((meta, Arc::clone(content)))
            }
            // The revision that held the content is gone, and the content was let go: work it out again.
            (Some(_), None) => {
                entry.invalidate();
                return match self.resolve(owner, now) {
                    Resolving::Step(step) => Some(step),
                    Resolving::Done => None,
                };
            }
        };
        let finalizer = !entry.is_held_back(now);
        if revision.is_none() && !finalizer {
            entry.trouble.take_if(|trouble| !trouble.in_status);
            if !has_dependents && matches!(entry.held, Held::Here(_)) {
                entry.held = Held::LetGo;
            }
            return None;
        }
        if finalizer {
            self.tempo.writes(owner, entry.size, now);
        }
        if revision.is_some() && is_new {
            self.revisions.begin(owner, digest, bytes);
        }
        Some(Step::Publish { finalizer, revision })
    }

    /// Writes the status, when it is time to.
    fn say(&mut self, owner: &Owner, blocked: Option<Instant>, now: Instant, clock: Timestamp) -> Step {
        let revisions = self.revisions.known(owner, now);
        if !self.synced {
            return Step::Wait(None);
        }
        let Some(entry) = self.profiles.get(owner) else { return Step::Wait(None) };
        let outcome = match (&entry.refusal, &entry.resolution) {
            (Some(stall), _) | (None, Some(Err(stall))) => Outcome::Stalled(stall),
            (None, Some(Ok(resolved))) => Outcome::Resolved {
                digest: &resolved.digest,
                mode: resolved.mode,
                warnings: &resolved.warnings,
            },
            (None, None) => return Step::Wait(blocked),
        };
        let look_again = entry.refusal.as_ref().map(|_| now + REFUSED_FOR);
        let saying = self.status(owner, entry, outcome, &revisions, now, clock);
        let ahead = self.revisions.ahead_until(owner);
        if let (Some(stall), Some(previous)) = (&entry.refusal, entry.status(now))
            && is_stalled(previous, stall.reason, entry.generation)
            && entry.since_written(now).is_some_and(|written| written < REFUSAL_HOLDS)
        {
            return Step::Wait(look_again);
        }
        let due =
            [blocked, entry.ahead_until(), entry.try_again, ahead, look_again].into_iter().flatten().min();
        let size = entry.size;
        let step = self.paced(owner, saying, due, now);
        if !matches!(step, Step::Status(..)) {
            return step;
        }
        if let Some(at) = self.tempo.write_waits(owner, size, now) {
            return Step::Wait(Some(at));
        }
        self.tempo.writes(owner, size, now);
        step
    }

    fn status(
        &self,
        owner: &Owner,
        entry: &Entry,
        outcome: Outcome<'_>,
        revisions: &[Known],
        now: Instant,
        clock: Timestamp,
    ) -> Saying {
        let served = self.revisions.log().set().current(owner);
        let shown = match &outcome {
            Outcome::Resolved { digest, .. } => Some(**digest),
            Outcome::Stalled(_) | Outcome::Deleting { .. } => served,
        };
        let rollout = shown.map_or_else(Rollout::default, |digest| {
            let wanted = Wanted { owner, digest: &digest };
            self.nodes.rollout(wanted, self.revisions.log(), self.leader_grace())
        });
        let facts = Facts {
            owner,
            generation: entry.generation,
            outcome,
            served,
            revisions: revisions
                .iter()
                .filter(|known| !known.revoked)
                .map(|known| (known.digest, known.sequence))
                .collect(),
            rollout: &rollout,
            trouble: entry.trouble.as_ref().map(|trouble| trouble.message.as_str()),
            subdirectory: &self.subdirectory,
            previous: entry.status(now),
            now: (now, clock),
        };
        let look_again = rollout.look_again.map(|at| at.max(now + LOOK_AGAIN_AFTER));
        Saying { status: facts.status(), announcement: facts.announcement(), look_again }
    }

    /// A deleted profile stays while pods name its paths; then its revisions go, then the profile.
    fn step_of_deleted(
        &mut self,
        owner: &Owner,
        blocked: Option<Instant>,
        now: Instant,
        clock: Timestamp,
    ) -> Step {
        let revisions = self.revisions.known(owner, now);
        let Some(entry) = self.profiles.get(owner) else { return Step::Wait(None) };
        if !entry.is_held_back(now) {
            return Step::Wait(entry.ahead_until());
        }
        if let Some(until) = blocked {
            return Step::Wait(Some(until));
        }
        let Some(in_use) = &entry.in_use else { return Step::AskUsage };
        let Some(users) = &in_use.users else {
            if now.saturating_duration_since(in_use.asked) >= UNUSED_FOR {
                return Step::AskUsage;
            }
            return Step::Release {
                revisions: self.revisions.all(owner),
                finalizers: entry.finalizers(now).to_vec(),
            };
        };
        let again = in_use.ask_again();
        if now >= again {
            return Step::AskUsage;
        }
        let message = format!(
            "It is being deleted, but stays while pods name its path: {}. It goes when they have gone; to have it go \
             at once, remove the finalizer {}",
            users.describe(),
            portcullis_api::FINALIZER
        );
        let outcome = Outcome::Deleting { reason: Reason::InUse, message: &message };
        let saying = self.status(owner, entry, outcome, &revisions, now, clock);
        self.paced(owner, saying, Some(again), now)
    }

    /// Writes a status now, or looks again when it is time to or (if earlier) something else is due.
    fn paced(&mut self, owner: &Owner, saying: Saying, due: Option<Instant>, now: Instant) -> Step {
        let Saying { status, announcement, look_again } = saying;
        let by_nodes = self.tempo.nodes_wait(owner, now);
        let Some(entry) = self.profiles.get_mut(owner) else { return Step::Wait(None) };
        match entry.due(&status, by_nodes, now) {
            Some(at) if at <= now => Step::Status(Box::new(status), announcement),
            at => Step::Wait([at, due, look_again].into_iter().flatten().min()),
        }
    }
}
