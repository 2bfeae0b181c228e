//! Deletes revisions that nothing needs: beyond the history's limit, of an earlier namesake, of a profile that is gone. One that a
//! pod names stays until it doesn't, or until so many newer ones that pods name stay that there is no room for it; or until its profile is
//! gone, which pods would have held.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use portcullis_api::{FINALIZER, Owner};
use portcullis_profile::Digest;
use portcullis_runtime::{Level, Report};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    cluster::reference,
    error::Failure,
    revisions::Doomed,
    shared::Shared,
    usage::{Usage, Users},
    world::usize_of,
};

/// How often it is looked whether there is anything to collect. Costs no request where there is not.
const EVERY: Duration = Duration::from_secs(10);
/// After how long it is asked again whether pods name a revision: this time, then ever longer.
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(1800);

/// Revisions that pods name, with when to ask again and how long was waited.
#[derive(Debug, Default)]
struct HeldOff(HashMap<(Owner, Digest), (Instant, Duration)>);

impl HeldOff {
    /// Those that it is time to ask about. Forgets what is not among them any more.
    fn due(&mut self, doomed: Vec<Doomed>, now: Instant) -> Vec<Doomed> {
        self.0.retain(|(owner, digest), _| {
            doomed.iter().any(|doomed| doomed.owner == *owner && doomed.digest == *digest)
        });
        doomed
            .into_iter()
            .filter(|doomed| {
                let held = self.0.get(&(doomed.owner.clone(), doomed.digest));
                held.is_none_or(|(until, _)| now >= *until)
            })
            .collect()
    }

    fn hold(&mut self, doomed: &Doomed, now: Instant) {
        let key = (doomed.owner.clone(), doomed.digest);
        let wait = self.0.get(&key).map_or(FIRST, |(_, before)| (*before * 2).min(LONGEST));
        self.0.insert(key, (now + wait, wait));
    }
}

/// Collects until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut held_off = HeldOff::default();
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            _ = rounds.tick() => {}
        }
        if let Err(failure) = round(&shared, &mut held_off).await {
            shared.report_failure(&failure, None);
        }
    }
}

async fn round(shared: &Shared, held_off: &mut HeldOff) -> Result<(), Failure> {
    let now = Instant::now();
    let all = shared.world().collectable(now);
    let due = held_off.due(all.clone(), now);
    if due.is_empty() {
        return Ok(());
    }
    // Of an owner that there is a question about, all: how many pods keep is what counts.
    let doomed = all.into_iter().filter(|one| due.iter().any(|due| due.owner == one.owner));
    shared.metrics.passes.inc();
    let usage = match shared.usage.ask().await {
        Some(Ok(usage)) => usage,
        Some(Err(error)) => {
            return Err(Failure::of_shared("list the pods that may name revisions", error));
        }
        // The process is stopping.
        None => return Ok(()),
    };
    for doomed in doomed {
        // Another leads from then on.
        if shared.shutdown.is_cancelled() {
            return Ok(());
        }
        // Things may have changed during the pass: a pin, or an edit, may want the revision back.
        let candidates = shared.world().collectable_of(&doomed.owner, Instant::now());
        if !candidates.contains(&doomed) {
            continue;
        }
        let stays = if doomed.is_forced {
            // The watch may be behind: what takes files from pods is asked of the API server itself.
            shared.cluster.profile_uid(&doomed.owner).await?.as_ref() == Some(&doomed.owner_uid)
        } else {
            let most = usize_of(shared.bounds.max_revisions_kept_for_pods);
            kept_for_pods(&candidates, |one| is_named(&usage, one), most).contains(&doomed)
        };
        if stays {
            if due.contains(&doomed) {
                held_off.hold(&doomed, now);
            }
            continue;
        }
        let users = users_of(shared, &usage, &doomed);
        match shared.cluster.delete_revision(&doomed).await {
            Ok(true) => {
                shared.metrics.collected.inc();
                tell(shared, users, &doomed);
            }
            Ok(false) => {}
            // What refuses one need not refuse the next; it is asked for again more rarely.
            Err(failure) if failure.category().concerns_object() => {
                shared.report_failure(&failure, None);
                held_off.hold(&doomed, now);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Of an owner's revisions that pods alone need, the oldest first, those that stay: the newest that pods name, as many as may.
fn kept_for_pods(candidates: &[Doomed], is_named: impl Fn(&Doomed) -> bool, most: usize) -> HashSet<&Doomed> {
    let kept = candidates.iter().rev().filter(|doomed| !doomed.is_forced && is_named(doomed));
    kept.take(most).collect()
}

/// Says of a revision that went although pods name it who can't start again with it.
fn tell(shared: &Shared, users: Option<Users>, doomed: &Doomed) {
    let Doomed { owner, digest, owner_uid, is_forced, .. } = doomed;
    let Some(users) = users else { return };
    let why = if *is_forced {
        format!(
            "{owner} is gone, though its finalizer {FINALIZER} would have kept it for them. Have them name a profile that there is"
        )
    } else {
        format!(
            "Of revisions beyond its history the {} newest that pods name are kept (bounds.revisionsKeptForPods). Have them name a newer one",
            shared.bounds.max_revisions_kept_for_pods
        )
    };
    let uid = shared.world().uid(owner).filter(|_| !is_forced).unwrap_or_else(|| owner_uid.clone());
    shared.reporter.report(Report {
        level: Level::Warning,
        reason: "RevisionDropped",
        action: "Collect",
        message: format!(
            "revision {} of {owner} went although pods name it: {}. {why}: their containers can't start again",
            digest.short(),
            users.describe(),
        ),
        object: Some(reference(owner, Some(uid))),
    });
}

/// Whether a pod names the revision's own path.
fn is_named(usage: &Usage, doomed: &Doomed) -> bool {
    usage.of_revision(&doomed.owner, &doomed.digest).is_some()
}

/// The pods that name a path which serves the revision: its own, or its owner's.
fn users_of(shared: &Shared, usage: &Usage, doomed: &Doomed) -> Option<Users> {
    let Doomed { owner, digest, .. } = doomed;
    if shared.world().is_served(owner, digest) {
        usage.of_owner(owner, std::iter::once(digest))
    } else {
        usage.of_revision(owner, digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doomed(content: &[u8]) -> Doomed {
        Doomed {
            owner: Owner::cluster("web").unwrap(),
            digest: Digest::of(content),
            object_uid: None,
            owner_uid: "u".to_owned(),
            is_forced: false,
        }
    }

    #[test]
    fn the_newest_that_pods_name_are_kept_and_no_more() {
        let all: Vec<Doomed> = (0..30_u8).map(|number| doomed(&[number])).collect();
        let even = |doomed: &Doomed| (0..30).step_by(2).any(|number| Digest::of(&[number]) == doomed.digest);
        let kept = kept_for_pods(&all, even, 10);
        let expected: HashSet<&Doomed> = (10..30).step_by(2).map(|at| &all[at]).collect();
        assert_eq!(kept, expected);
        assert_eq!(kept_for_pods(&all, even, 0).len(), 0);
        assert_eq!(kept_for_pods(&all, even, 100).len(), 15);
        let forced: Vec<Doomed> = all.into_iter().map(|one| Doomed { is_forced: true, ..one }).collect();
        assert_eq!(kept_for_pods(&forced, even, 100).len(), 0);
    }

    #[test]
    fn a_revision_in_use_is_asked_about_ever_more_rarely() {
        let doomed = doomed(b"a");
        let (mut held_off, start) = (HeldOff::default(), Instant::now());
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(held_off.due(vec![doomed.clone()], now).len(), 1);
            held_off.hold(&doomed, now);
            let until = held_off.0.values().next().unwrap().0;
            assert!(held_off.due(vec![doomed.clone()], until - Duration::from_millis(1)).is_empty());
            waits.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1800, 1800]);
        held_off.due(vec![], now);
        assert!(held_off.0.is_empty(), "what is not to be collected any more is forgotten");
    }
}
