//! Deletes revisions that nothing needs: beyond the history's limit, of an earlier namesake, of a profile that is gone. One that a
//! pod names stays until it doesn't.

use std::{collections::HashMap, sync::Arc, time::Duration};

use portcullis_api::Owner;
use portcullis_profile::Digest;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{error::Failure, revisions::Doomed, shared::Shared, usage::Usage};

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
    let doomed = held_off.due(shared.world().collectable(now), now);
    if doomed.is_empty() {
        return Ok(());
    }
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
        if !shared.world().collectable_of(&doomed.owner, Instant::now()).contains(&doomed) {
            continue;
        }
        if is_named(shared, &usage, &doomed) {
            held_off.hold(&doomed, now);
            continue;
        }
        match shared.cluster.delete_revision(&doomed).await {
            Ok(true) => shared.metrics.collected.inc(),
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

/// Whether a pod names the revision; of a profile that is gone, its current revision at the profile's own path too.
fn is_named(shared: &Shared, usage: &Usage, doomed: &Doomed) -> bool {
    usage.of_revision(&doomed.owner, &doomed.digest).is_some()
        || (shared.world().is_served(&doomed.owner, &doomed.digest)
            && usage.of_owner(&doomed.owner, [].into_iter()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_in_use_is_asked_about_ever_more_rarely() {
        let doomed =
            Doomed { owner: Owner::cluster("web").unwrap(), digest: Digest::of(b"a"), object_uid: None };
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
