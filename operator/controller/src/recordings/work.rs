//! Does for each recording what the picture says is next.

use std::sync::Arc;

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;
use portcullis_api::{PodSelector, RecordedProfile, RecordingBase};
use portcullis_runtime::{Level, Report};
use tokio::time::{Duration, Instant};
use tracing::{Instrument as _, debug, info_span};

use super::{
    Key, Recordings,
    invitations::Asking,
    output::{Basis, Made, Write, write},
    picture::Step,
};
use crate::{error::Failure, resolve::Compiled};

/// Recordings that are worked on at once.
const CONCURRENCY: usize = 8;
/// Those of one namespace.
pub(super) const SHARE: usize = CONCURRENCY / 4;
/// Steps for one recording without a pause.
const MAX_STEPS: usize = 64;
/// The least time between two turns of a recording.
const BREATH: Duration = Duration::from_millis(10);
/// How long a recording rests that was overtaken by what the watch is about to show.
const REST: Duration = Duration::from_secs(5);

/// Works until shutdown; what is under way then is finished.
pub(super) async fn run(recordings: Arc<Recordings>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = recordings.shared.shutdown.cancelled() => break,
            Some(()) = running.next(), if !running.is_empty() => {}
            key = recordings.queue.next(), if running.len() < CONCURRENCY => running.push(one(&recordings, key)),
        }
    }
    while running.next().await.is_some() {}
}

async fn one(recordings: &Recordings, key: Key) {
    let span = info_span!("recording", object = %key);
    if let Some(at) = steps(recordings, &key).instrument(span).await {
        recordings.queue.wake(key.clone(), at);
    }
    recordings.queue.done(&key);
}

async fn steps(recordings: &Recordings, key: &Key) -> Option<Instant> {
    for _ in 0..MAX_STEPS {
        let here = recordings.nodes();
        let step = recordings.picture().step(key, &here, Instant::now(), Timestamp::now());
        if let Step::Wait(at) = step {
            return at;
        }
        match perform(recordings, key, step).await {
            Ok(()) => {}
            Err(failure) if failure.category().is_overtaken() => {
                debug!(%failure, "overtaken; the watch will show by what");
                return Some(Instant::now() + REST);
            }
            Err(failure) => {
                recordings.report_failure(&failure, key);
                // Comes back to wait for the next attempt.
                recordings.picture().rest(key, Instant::now());
            }
        }
    }
    // Each part of a node that is gone takes two; the rest is done after others had their turn.
    Some(Instant::now() + BREATH)
}

async fn perform(recordings: &Recordings, key: &Key, step: Step) -> Result<(), Failure> {
    match step {
        Step::Wait(_) => {}
        Step::Answer { uid, selector, asking } => {
            let answers = asking.iter().map(|asking| answer(recordings, key, &uid, &selector, asking));
            // One that fails keeps none of the others from its answer.
            join_all(answers).await.into_iter().collect::<Result<(), _>>()?;
        }
        Step::Look { uid, selector } => {
            let found = recordings.requests.pods(key, &selector).await?;
            let here = recordings.nodes();
            let now = (Instant::now(), Timestamp::now());
            recordings.picture().looked(key, &uid, &found, &here, now);
        }
        Step::TakeOver { spec, owner, over, taken } => {
            let written = recordings.requests.write_archive(key, *spec, owner, over).await?;
            recordings.picture().took_over(key, written, taken);
        }
        Step::Delete { name, uid, version } => {
            recordings.requests.delete_part(key, &name, &uid, &version).await?;
            recordings.picture().deleted(key, &name, &uid);
        }
        Step::Make(basis) => {
            let made = match make(recordings, key, &basis).await {
                Ok(Some(made)) => made,
                Ok(None) => {
                    recordings.picture().rest(key, Instant::now());
                    return Ok(());
                }
                Err(failure) if failure.category().is_overtaken() => return Err(failure),
                Err(failure) => {
                    recordings.report_failure(&failure, key);
                    Made::NotWritten(failure.to_string())
                }
            };
            announce(recordings, key, &made);
            recordings.picture().made(key, *basis, made, Instant::now());
        }
        Step::Status(status) => {
            let Some(uid) = recordings.picture().uid(key).map(str::to_owned) else { return Ok(()) };
            recordings.requests.write_status(key, &uid, &status).await?;
            recordings.picture().wrote_status(key, &uid, *status, Instant::now());
        }
    }
    Ok(())
}

/// Invites a node that has pods of the recording with this UID, and refuses any other.
async fn answer(
    recordings: &Recordings,
    key: &Key,
    uid: &str,
    selector: &PodSelector,
    asking: &Asking,
) -> Result<(), Failure> {
    let requests = &recordings.requests;
    if requests.has_pods(key, selector, &asking.node).await? {
        let version = requests.invite(key, uid, asking).await?;
        recordings.picture().invited(key, asking, version);
        return Ok(());
    }
    requests.delete_part(key, &asking.name, &asking.uid, &asking.version).await?;
    recordings.picture().refused(key, asking, Instant::now());
    recordings.shared.metrics.parts_refused.inc();
    recordings.shared.reporter.report(Report {
        level: Level::Warning,
        reason: "PartRefused",
        action: "Invite",
        message: format!(
            "the recorder of node {} asked to write for {key}, and no pod that it selects is there: nothing of that node counts. If one \
             lived there for a moment only, what it called is missing; if none did, somebody else may have the recorder's token",
            asking.node
        ),
        object: Some(key.reference(Some(uid.to_owned()))),
    });
    Ok(())
}

/// Makes the profile. None where what it is held against is not worked out yet.
async fn make(recordings: &Recordings, key: &Key, basis: &Basis) -> Result<Option<Made>, Failure> {
    let baseline = recordings.shared.world().baseline_of_recordings();
    match baseline {
        Ok(Some(baseline)) => make_within(recordings, key, basis, baseline).await.map(Some),
        Ok(None) => Ok(None),
        Err(stall) => Ok(Some(Made::Impossible(stall.message))),
    }
}

/// Makes the profile, no looser than a baseline where what was seen lets it.
async fn make_within(
    recordings: &Recordings,
    key: &Key,
    basis: &Basis,
    baseline: Arc<Compiled>,
) -> Result<Made, Failure> {
    let wished = basis.recording.spec.profile.as_ref();
    let mut bases = Vec::new();
    for base in wished.iter().flat_map(|profile| &profile.bases) {
        let name = format!("{} {}", base.kind, base.name);
        match recordings.requests.base(&key.namespace, base).await? {
            Some(document) => bases.push(RecordingBase { name, document }),
            None => return Ok(Made::Impossible(format!("spec.profile.bases: there is no {name}"))),
        }
    }
    let seen = basis.clone();
    let made = recordings
        .shared
        .pool
        .run(&key.namespace, move || seen.recording.profile_of(&seen.tally, &bases, baseline.baseline()))
        .await;
    let RecordedProfile { spec, notes, companions: _ } = match made {
        Ok(Ok(made)) => made,
        Ok(Err(why)) => return Ok(Made::Impossible(why)),
        Err(given_up) => return Ok(Made::Impossible(given_up.to_string())),
    };
    let name = basis.recording.profile_name();
    let existing = recordings.requests.profile(&key.namespace, &name).await?;
    match write(basis, existing, spec) {
        Write::Nothing => {}
        Write::Leave => return Ok(Made::NameTaken { name }),
        Write::Create(profile) => recordings.requests.create_profile(&key.namespace, &profile).await?,
        Write::Replace(profile) => recordings.requests.replace_profile(&key.namespace, &profile).await?,
    }
    Ok(Made::Created { name, notes })
}

/// Says once, as an Event too, that the profile can't be made or must be left alone.
fn announce(recordings: &Recordings, key: &Key, made: &Made) {
    let (_, reason, message) = made.said();
    let uid = {
        let picture = recordings.picture();
        if picture.outcome(key) == Some(made) {
            return;
        }
        picture.uid(key).map(str::to_owned)
    };
    let reason = match made {
        Made::NameTaken { .. } | Made::Impossible(_) => reason.as_str(),
        // Requests that fail are reported as such.
        Made::Created { .. } | Made::NotWritten(_) => return,
    };
    recordings.shared.reporter.report(Report {
        level: Level::Warning,
        reason,
        action: "CreateProfile",
        message,
        object: Some(key.reference(uid)),
    });
}
