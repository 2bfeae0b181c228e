//! Tells of revisions that an administrator revoked: on the revision and on its profile, with the pods that name it still, and on those pods.

use std::{sync::Arc, time::Duration};

use portcullis_api::Owner;
use portcullis_profile::Digest;
use portcullis_runtime::{Level, Report};
use tokio::time::{Instant, sleep_until};

use crate::{
    cluster::{pod_reference, reference, revision_reference},
    error::Failure,
    shared::Shared,
    usage::Users,
    world::News,
};

/// After how long it is tried again to ask which pods name a revision.
const RETRY: Duration = Duration::from_secs(10);

/// Tells until shutdown.
pub(crate) async fn run(shared: Arc<Shared>) {
    // What the first list shows is told as well.
    let mut again = Some(Instant::now());
    loop {
        let retry = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = shared.revocations_changed.notified() => {}
            () = retry => {}
        }
        again = None;
        let news = shared.world().take_revocations();
        if let Err(failure) = tell_all(&shared, &news).await {
            shared.report_failure(&failure, None);
            shared.world().put_revocations_back(news);
            again = Some(Instant::now() + RETRY);
        }
    }
}

async fn tell_all(shared: &Shared, news: &[((Owner, Digest), News)]) -> Result<(), Failure> {
    if news.is_empty() {
        return Ok(());
    }
    shared.metrics.passes.inc();
    let usage = match shared.usage.ask().await {
        Some(Ok(usage)) => usage,
        Some(Err(error)) => {
            return Err(Failure::of_shared("list the pods that may name revoked revisions", error));
        }
        // The process is stopping.
        None => return Ok(()),
    };
    for ((owner, digest), news) in news {
        let (profile, object, is_current) = {
            let world = shared.world();
            (world.uid(owner), world.revision_uid(owner, digest), world.is_without_path(owner))
        };
        let users = if is_current {
            usage.of_owner(owner, std::iter::once(digest))
        } else {
            usage.of_revision(owner, digest).cloned()
        };
        let Some((level, reason, message)) = words(owner, digest, news, users.as_ref()) else { continue };
        let objects =
            [Some(revision_reference(owner, digest, object)), profile.map(|uid| reference(owner, Some(uid)))];
        for object in objects.into_iter().flatten() {
            let message = message.clone();
            shared.reporter.report(Report { level, reason, action: "Revoke", message, object: Some(object) });
        }
        // A tenant sees no Event of a cluster's object.
        let message = format!(
            "revision {} of {owner}, whose path this pod names, is revoked: its containers can't start again. Have it name another",
            digest.short()
        );
        for pod in users.iter().filter(|_| *news != News::TakenBack).flat_map(|users| &users.named) {
            let (message, object) = (message.clone(), Some(pod_reference(pod)));
            shared.reporter.report(Report { level, reason, action: "Revoke", message, object });
        }
    }
    Ok(())
}

/// What is said, if anything.
fn words(
    owner: &Owner,
    digest: &Digest,
    news: &News,
    users: Option<&Users>,
) -> Option<(Level, &'static str, String)> {
    let which = format!("revision {} of {owner}", digest.short());
    let reason = match (news, users) {
        (News::TakenBack, _) => {
            let message = format!(
                "the revocation of {which} was taken back: nodes serve it again while its profile or a pod needs it"
            );
            return Some((Level::Info, "RevocationTakenBack", message));
        }
        // Whoever led before has told it.
        (News::FoundRevoked(_), None) => return None,
        (News::Revoked(reason) | News::FoundRevoked(reason), _) => reason,
    };
    let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let gone = format!("{which} is revoked{because}: no node serves it any more");
    Some(match users {
        Some(users) => (
            Level::Warning,
            "RevisionRevoked",
            format!(
                "{gone}. Pods name it still, and their containers can't start again: {}",
                users.describe()
            ),
        ),
        None => (Level::Info, "RevisionRevoked", format!("{gone}, and no pod names it")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(news: &News, users: Option<&Users>) -> Option<(Level, &'static str, String)> {
        words(&Owner::cluster("base").unwrap(), &Digest::of(b""), news, users)
    }

    #[test]
    fn who_can_not_start_again_is_named() {
        let users = Users::of_pod("shop/web-0");
        let (level, _, message) = said(&News::Revoked("too loose".to_owned()), Some(&users)).unwrap();
        assert_eq!(level, Level::Warning);
        assert_eq!(
            message,
            "revision e3b0c44298fc of ClusterSeccompProfile base is revoked (too loose): no node serves it any more. Pods name it still, and \
             their containers can't start again: shop/web-0"
        );
        assert_eq!(said(&News::FoundRevoked(String::new()), Some(&users)).unwrap().0, Level::Warning);
    }

    #[test]
    fn what_hurts_nobody_is_no_warning_and_is_said_once() {
        let (level, reason, _) = said(&News::Revoked(String::new()), None).unwrap();
        assert_eq!((level, reason), (Level::Info, "RevisionRevoked"));
        assert_eq!(said(&News::FoundRevoked(String::new()), None), None);
        assert_eq!(said(&News::TakenBack, None).unwrap().1, "RevocationTakenBack");
    }
}
