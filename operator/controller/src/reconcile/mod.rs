//! Does for each profile what the world says is next, many at a time.

use std::sync::Arc;

use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;
use portcullis_api::{Owner, ProfileStatus, Reason, RevisionMeta};
use portcullis_runtime::{Level, Report};
use tokio::time::{Duration, Instant};
use tracing::{Instrument as _, debug, error, info_span};

use crate::{
    cluster::reference,
    error::Failure,
    queue::Keyed as _,
    revisions::Doomed,
    shared::Shared,
    status::{Announcement, Stall},
    world::Step,
};

/// Profiles that are worked on at once.
const CONCURRENCY: usize = 32;
/// Those of one namespace: requests for one must not keep the others' from being made.
pub(crate) const SHARE: usize = CONCURRENCY / 4;
/// Steps for one profile without a pause: far more than any way through them has.
const MAX_STEPS: usize = 32;
/// The least time between two looks at a profile that nothing new is known of.
const BREATH: Duration = Duration::from_millis(10);
/// How long a profile rests that did not come to an end.
const REST: Duration = Duration::from_secs(5);

/// What to do about a profile that could not be worked out.
const REMEDY: &str = "It is tried again in ten minutes, or when the profile changes: take rules and conditions out of it, or build on fewer bases";

/// What follows a step.
enum Next {
    /// Another step.
    Again,
    /// Nothing before this time.
    Wait(Option<Instant>),
}

/// Works until shutdown; what is under way then is finished.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => break,
            Some(()) = running.next(), if !running.is_empty() => {}
            owner = shared.queue.next(), if running.len() < CONCURRENCY => {
                running.push(one(&shared, owner));
            }
        }
    }
    while running.next().await.is_some() {}
}

async fn one(shared: &Shared, owner: Owner) {
    let span = info_span!("profile", object = %owner);
    let begun = Instant::now();
    let wait = steps(shared, &owner).instrument(span).await;
    shared.change(|world, _| world.put_away(&owner));
    shared.metrics.reconcile.observe(begun.elapsed().as_secs_f64());
    if let Some(at) = wait {
        // Whatever a step takes for due already: what was just looked at must not stand before what nobody has looked at yet.
        shared.queue.wake(owner.clone(), at.max(Instant::now() + BREATH));
    }
    shared.queue.done(&owner);
}

async fn steps(shared: &Shared, owner: &Owner) -> Option<Instant> {
    for _ in 0..MAX_STEPS {
        let step = shared.world().step(owner, Instant::now(), Timestamp::now());
        let in_status = matches!(step, Step::Status(..));
        match perform(shared, owner, step).await {
            Ok(Next::Again) => {}
            Ok(Next::Wait(at)) => return at,
            Err(failure) if failure.category().is_overtaken() => {
                debug!(%failure, "overtaken; the watch will show by what");
                return Some(Instant::now() + REST);
            }
            Err(failure) => {
                shared.report_failure(&failure, Some(owner));
                // Comes back to tell the profile's status, and to wait for the next attempt.
                shared.world().failed(owner, failure.to_string(), in_status, Instant::now());
            }
        }
    }
    shared.reporter.report(Report {
        level: Level::Error,
        reason: "NoProgress",
        action: "Reconcile",
        message: format!("{owner}: no end after {MAX_STEPS} steps; trying again in {} s", REST.as_secs()),
        object: None,
    });
    Some(Instant::now() + REST)
}

async fn perform(shared: &Shared, owner: &Owner, step: Step) -> Result<Next, Failure> {
    match step {
        Step::Wait(at) => return Ok(Next::Wait(at)),
        Step::Fetch(owners) => return fetch(shared, owner, &owners).await,
        Step::FetchRevision { digest } => {
            let content = shared.cluster.revision_content(owner, &digest).await?;
            // Gone: the watch is about to show it.
            let Some(content) = content else { return Ok(Next::Wait(Some(Instant::now() + REST))) };
            shared.world().fetched_revision(owner, digest, content);
        }
        Step::Resolve { job, epoch } => match shared.pool.run(owner.tenant(), move || job.run()).await {
            Ok(resolution) => shared.world().resolved(owner, epoch, resolution),
            Err(given_up) => {
                error!(%given_up, "could not work the profile out");
                let message = format!("spec: {given_up}. {REMEDY}");
                let stall = Stall { reason: Reason::TooMuchWork, message };
                shared.world().gave_up(owner, epoch, stall, Instant::now());
            }
        },
        Step::Publish { finalizer, revision } => publish(shared, owner, finalizer, revision).await?,
        Step::Status(status, announcement) => say(shared, owner, *status, announcement).await?,
        Step::AskUsage => return ask_usage(shared, owner).await,
        Step::Release { revisions, finalizers } => {
            release(shared, owner, &revisions, &finalizers).await?;
            // The watch shows that it is gone; should something hold it still, look again.
            return Ok(Next::Wait(Some(Instant::now() + REST)));
        }
    }
    Ok(Next::Again)
}

async fn fetch(shared: &Shared, owner: &Owner, needed: &[Owner]) -> Result<Next, Failure> {
    let mut taken = true;
    for needed in needed {
        let found = shared.cluster.profile(needed).await?;
        taken &= found.is_some_and(|observed| shared.world().fetched(owner, observed));
        if shared.world().has_read_enough(owner) {
            break;
        }
    }
    // What is another object by now, or none, the watch is about to show.
    Ok(if taken { Next::Again } else { Next::Wait(Some(Instant::now() + REST)) })
}

/// Writes the finalizer and the revision at the same time: a revision whose profile went away without a finalizer is an orphan
/// and collected as one; a finalizer without a revision lets go at once.
async fn publish(
    shared: &Shared,
    owner: &Owner,
    finalizer: bool,
    revision: Option<(RevisionMeta, Arc<str>)>,
) -> Result<(), Failure> {
    let Some(uid) = shared.world().uid(owner) else { return Ok(()) };
    let add_finalizer = async {
        if finalizer {
            let metadata = shared.cluster.add_finalizer(owner, &uid).await?;
            shared.world().wrote_profile(owner, metadata, None, Instant::now());
        }
        Ok(())
    };
    let write_revision = async {
        if let Some((meta, content)) = revision {
            shared.cluster.write_revision(&meta, &content).await?;
            shared.metrics.written.inc();
            shared.world().wrote_revision(meta, Instant::now());
        }
        Ok(())
    };
    let (added, written) = tokio::join!(add_finalizer, write_revision);
    written.and(added)
}

async fn say(
    shared: &Shared,
    owner: &Owner,
    status: ProfileStatus,
    announcement: Option<Announcement>,
) -> Result<(), Failure> {
    let Some(uid) = shared.world().uid(owner) else { return Ok(()) };
    let metadata = shared.cluster.write_status(owner, &uid, &status).await?;
    shared.metrics.statuses.inc();
    let took = shared.world().wrote_profile(owner, metadata, Some(status), Instant::now());
    if let Some(took) = took {
        shared.metrics.ready.observe(took.as_secs_f64());
    }
    if let Some(Announcement { reason, message }) = announcement {
        shared.reporter.report(Report {
            level: Level::Warning,
            reason: reason.as_str(),
            action: action_of(reason),
            message,
            object: Some(reference(owner, Some(uid))),
        });
    }
    Ok(())
}

const fn action_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Distributed
        | Reason::Publishing
        | Reason::Distributing
        | Reason::NodesFailing
        | Reason::NoNodes => "Distribute",
        Reason::InUse | Reason::Deleting => "Delete",
        _ => "Resolve",
    }
}

async fn ask_usage(shared: &Shared, owner: &Owner) -> Result<Next, Failure> {
    shared.metrics.passes.inc();
    match shared.usage.ask().await {
        Some(Ok(usage)) => {
            shared.world().usage_known(owner, &usage, Instant::now());
            Ok(Next::Again)
        }
        Some(Err(error)) => {
            Err(Failure::of_shared(format!("list the pods that may name the paths of {owner}"), error))
        }
        // The process is stopping.
        None => Ok(Next::Wait(None)),
    }
}

async fn release(
    shared: &Shared,
    owner: &Owner,
    revisions: &[Doomed],
    finalizers: &[String],
) -> Result<(), Failure> {
    for doomed in revisions {
        if shared.cluster.delete_revision(doomed).await? {
            shared.metrics.collected.inc();
        }
    }
    shared.cluster.remove_finalizer(owner, finalizers).await
}

#[cfg(test)]
mod tests;
