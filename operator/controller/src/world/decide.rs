//! What to do next for one profile.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{Owner, ProfileStatus, Reason, RevisionMeta};
use portcullis_profile::Digest;
use tokio::time::Instant;

use super::{Entry, Held, Step, World};
use crate::{
    nodes::{Rollout, Wanted},
    plan::{Known, plan},
    resolve::{Gathered, Job, Lookup, gather},
    status::{Announcement, Facts, Outcome, Pace, Stall, pace},
};

/// For how long an answer that no pod names a profile holds.
const UNUSED_FOR: std::time::Duration = std::time::Duration::from_secs(10);

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
        if entry.deleting && self.synced {
            return self.step_of_deleted(owner, blocked, now, clock);
        }
        if blocked.is_none() && !entry.deleting {
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
        let source = match &entry.held {
            Held::Here(source) => source,
            Held::LetGo => return Ok(Err(Step::Fetch(vec![owner.clone()]))),
            Held::Refused(message) => {
                return Err(Stall { reason: Reason::InvalidProfile, message: message.clone() });
            }
        };
        let lookup = |base: &Owner| match self.profiles.get(base).map(|entry| &entry.held) {
            None => Lookup::Absent,
            Some(Held::LetGo) => Lookup::NotHeld,
            Some(Held::Refused(problem)) => Lookup::Refused(problem.clone()),
            Some(Held::Here(source)) => Lookup::Found(source.clone()),
        };
        Ok(match gather(owner, source, lookup)? {
            Gathered::Needs(owners) => Err(Step::Fetch(owners)),
            Gathered::Parts(parts) => Ok(Job::Compose {
                owner: owner.clone(),
                mode: entry.wishes.mode,
                parts,
                architectures: self.nodes.architectures(),
                may_be_looser: self.may_be_looser(owner),
            }),
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
            let mut kept: Vec<String> = known.iter().map(|known| known.digest.to_string()).collect();
            kept.sort_unstable();
            let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
            return Err(Stall {
                reason: Reason::PinNotFound,
                message: format!("spec.pin: revision {digest} is not kept; kept are: {kept}"),
            });
        }
        Ok(match &entry.pinned {
            Some((fetched, content)) if *fetched == digest => Ok(Job::Pin {
                owner: owner.clone(),
                digest,
                content: Arc::clone(content),
                may_be_looser: self.may_be_looser(owner),
            }),
            _ => Err(Step::FetchRevision { digest }),
        })
    }

    /// Whether the gate is open: cluster profiles are the administrator's own, a namespace may be labelled by one.
    fn may_be_looser(&self, owner: &Owner) -> bool {
        owner.namespace().is_none_or(|namespace| self.permitted.contains(namespace))
    }

    /// What there is to write so that nodes serve the content; nothing for a stalled profile.
    fn publish(&mut self, owner: &Owner, now: Instant) -> Option<Step> {
        let known = self.revisions.known(owner, now);
        let has_dependents = self.dependents.contains_key(owner);
        let entry = self.profiles.get_mut(owner)?;
        let Some(Ok(resolved)) = &mut entry.resolution else { return None };
        let plan = plan(&known, &resolved.digest, &entry.uid, entry.wishes.history_limit);
        if !plan.collect.is_empty() {
            self.crowded.insert(owner.clone());
        }
        let revision = match (plan.write, &resolved.content) {
            (None, _) => {
                resolved.content = None;
                None
            }
            (Some(sequence), Some(content)) => {
                let owner_uid = entry.uid.clone();
                let meta =
                    RevisionMeta { owner: owner.clone(), owner_uid, digest: resolved.digest, sequence };
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
        Some(Step::Publish { finalizer, revision })
    }

    /// Writes the status, when it is time to.
    fn say(&mut self, owner: &Owner, blocked: Option<Instant>, now: Instant, clock: Timestamp) -> Step {
        let revisions = self.revisions.known(owner, now);
        if !self.synced {
            return Step::Wait(None);
        }
        let Some(entry) = self.profiles.get(owner) else { return Step::Wait(None) };
        let Some(resolution) = &entry.resolution else { return Step::Wait(blocked) };
        let outcome = match resolution {
            Ok(resolved) => Outcome::Resolved {
                digest: &resolved.digest,
                mode: resolved.mode,
                warnings: &resolved.warnings,
            },
            Err(stall) => Outcome::Stalled(stall),
        };
        let status = self.status(owner, entry, outcome, &revisions, now, clock);
        let due =
            [blocked, entry.ahead_until(), self.revisions.ahead_until(owner)].into_iter().flatten().min();
        paced(entry, status, due, now)
    }

    fn status(
        &self,
        owner: &Owner,
        entry: &Entry,
        outcome: Outcome<'_>,
        revisions: &[Known],
        now: Instant,
        clock: Timestamp,
    ) -> (ProfileStatus, Option<Announcement>) {
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
            revisions: revisions.iter().map(|known| (known.digest, known.sequence)).collect(),
            rollout: &rollout,
            trouble: entry.trouble.as_ref().map(|trouble| trouble.message.as_str()),
            subdirectory: &self.subdirectory,
            previous: entry.status(now),
            now: (now, clock),
        };
        (facts.status(), facts.announcement())
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
        let status = self.status(owner, entry, outcome, &revisions, now, clock);
        paced(entry, status, Some(again), now)
    }
}

/// Writes a status now, or looks again when it is time to or (if earlier) something else is due.
fn paced(
    entry: &Entry,
    (status, announcement): (ProfileStatus, Option<Announcement>),
    due: Option<Instant>,
    now: Instant,
) -> Step {
    match pace(entry.status(now), &status, entry.since(now)) {
        Pace::Now => Step::Status(Box::new(status), announcement),
        Pace::Same => Step::Wait(due),
        Pace::After(rest) => Step::Wait(Some(due.map_or(now + rest, |due| due.min(now + rest)))),
    }
}
