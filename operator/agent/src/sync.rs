//! Follows the revisions: a list of metadata alone, then a watch of whole objects from that point on.
//!
//! No resource version is ever compared: after a restore of etcd a watch from a version 'of the future' brings nothing and no error
//! (seen on Kubernetes 1.36), so the list is repeated every ten minutes and its version taken as it comes.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::{
    Api, Resource as _,
    api::{ListParams, Request, WatchEvent, WatchParams},
    core::Status,
};
use portcullis_api::{FailureReason, InvalidRevision, RevisionMeta, SeccompRevision};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    keeper::{Applied, Work},
    metrics::{Metrics, Restart},
    settings::jittered,
};

/// Revisions of one page of a list: what bounds the memory of a list.
const PAGE: u32 = 250;
/// A watch that lived for so long was a good one: the next pause is the shortest again.
const STABLE: Duration = Duration::from_secs(30);

/// How long an answer may take: one page of a list, or the beginning of a watch.
const ANSWER: Duration = Duration::from_secs(30);
/// How long nothing may come of a watch. The API server ends each after 290 s at most (`timeoutSeconds` of [`WatchParams`]), so one that is
/// silent for longer is on a connection that is dead.
const SILENCE: Duration = Duration::from_secs(295);

/// The pauses between failed attempts, and the more so the more agents there are to make them.
pub(crate) fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(15))
        .without_max_times()
        .with_jitter()
        .build()
}

/// Why a list or a watch came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server has not answered for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the API server ended the watch: {0}")]
    Status(String),
    #[error("the API server's list of revisions has no resource version")]
    NoVersion,
    #[error("the keeper is gone")]
    Closed,
}

/// A page of a `PartialObjectMetadataList`.
#[derive(Debug, Deserialize)]
struct Page {
    metadata: ListMeta,
    /// Go writes an empty list of metadata as `null`.
    items: Option<Vec<Item>>,
}

#[derive(Debug, Deserialize)]
struct Item {
    metadata: Metadata,
}

/// What says all of a revision. The rest of the metadata, managed fields above all, is several times as large.
#[derive(Debug, Deserialize)]
struct Metadata {
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(Metadata { name, labels, annotations }: Metadata) -> Self {
        Self { name, labels, annotations, ..Self::default() }
    }
}

/// How a watch came to its end.
enum End {
    Restart(Restart),
    Failed(Failed),
}

/// Brings the keeper every revision.
#[derive(Debug)]
pub(crate) struct Revisions {
    pub(crate) api: Api<SeccompRevision>,
    pub(crate) work: mpsc::Sender<Work>,
    pub(crate) metrics: Metrics,
    pub(crate) relist: Duration,
}

impl Revisions {
    /// Follows until shutdown. No error of the API server ends it.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        tokio::select! {
            () = self.follow_for_ever() => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn follow_for_ever(&self) {
        let mut pauses = backoff();
        loop {
            let began = Instant::now();
            let end = match self.list().await {
                Ok(version) => self.watch(version).await,
                Err(error) => End::Failed(error),
            };
            if began.elapsed() > STABLE {
                pauses = backoff();
            }
            match end {
                End::Failed(Failed::Closed) => return,
                End::Restart(reason) => {
                    self.metrics.watch_restarted(reason);
                    if reason == Restart::Relist {
                        continue;
                    }
                    info!("the watch of revisions is too old; lists anew");
                }
                End::Failed(error) => {
                    self.metrics.watch_restarted(Restart::Error);
                    self.metrics.api_reachable.set(0);
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "can't follow the revisions; what is on disk is guarded all the same"
                    );
                }
            }
            sleep(pauses.next().unwrap_or(STABLE)).await;
        }
    }

    /// Every revision's metadata, handed on page by page, so that no more of it is held here. Gives the version from which to watch.
    async fn list(&self) -> Result<String, Failed> {
        let mut params = ListParams::default().limit(PAGE);
        let mut is_first = true;
        let version = loop {
            let page = self.page(&params).await?;
            let items = page.items.into_iter().flatten();
            let revisions: Vec<_> = items.filter_map(|item| self.read(&item.metadata.into())).collect();
            let more = page.metadata.continue_.filter(|token| !token.is_empty());
            let version = match &more {
                Some(_) => None,
                None => Some(page.metadata.resource_version.ok_or(Failed::NoVersion)?),
            };
            debug!(revisions = revisions.len(), is_first, version, "listed a page");
            self.send(Work::Page { revisions, is_first, is_last: more.is_none() }).await?;
            is_first = false;
            params.continue_token = more;
            if let Some(version) = version {
                break version;
            }
        };
        self.metrics.api_reachable.set(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.metrics.last_sync.set(now.as_secs_f64());
        Ok(version)
    }

    /// One page of a list, of which only what is needed takes memory.
    async fn page(&self, params: &ListParams) -> Result<Page, Failed> {
        let request = Request::new(SeccompRevision::url_path(&(), None));
        let request = request.list_metadata(params).map_err(kube::Error::BuildRequest)?;
        let client = self.api.clone().into_client();
        Ok(timeout(ANSWER, client.request(request)).await.map_err(|_| Failed::Silent(ANSWER))??)
    }

    /// Watches from a version until it is time for the next list, or something is wrong.
    async fn watch(&self, mut version: String) -> End {
        let relist = sleep_until(Instant::now() + jittered(self.relist));
        let mut relist = pin!(relist);
        let mut pauses = backoff();
        loop {
            let began = Instant::now();
            let watched = tokio::select! {
                end = self.watch_once(&mut version) => end,
                () = &mut relist => return End::Restart(Restart::Relist),
            };
            match watched {
                // The server ends every watch after some minutes; the next goes on where it ended.
                Ok(()) => self.metrics.watch_restarted(Restart::Ended),
                Err(Failed::Api(kube::Error::Api(status))) if status.code == 410 => {
                    return End::Restart(Restart::Expired);
                }
                Err(error) => return End::Failed(error),
            }
            if began.elapsed() > STABLE {
                pauses = backoff();
                continue;
            }
            tokio::select! {
                () = sleep(pauses.next().unwrap_or(STABLE)) => {}
                () = &mut relist => return End::Restart(Restart::Relist),
            }
        }
    }

    async fn watch_once(&self, version: &mut String) -> Result<(), Failed> {
        let params = WatchParams::default();
        let begun = timeout(ANSWER, self.api.watch(&params, version)).await;
        let mut events = pin!(begun.map_err(|_| Failed::Silent(ANSWER))??);
        self.metrics.api_reachable.set(1);
        while let Some(event) = timeout(SILENCE, events.next()).await.map_err(|_| Failed::Silent(SILENCE))? {
            let (metadata, work) = match event? {
                WatchEvent::Added(revision) => self.applied(revision, true),
                WatchEvent::Modified(revision) => self.applied(revision, false),
                WatchEvent::Deleted(revision) => {
                    let deleted = self.read(&revision.metadata);
                    let work = deleted.map(|meta| Work::Deleted { owner: meta.owner, digest: meta.digest });
                    (revision.metadata, work)
                }
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(ended_by(*status)),
            };
            if let Some(work) = work {
                self.send(work).await?;
            }
            if let Some(seen) = metadata.resource_version {
                *version = seen;
            }
        }
        Ok(())
    }

    fn applied(&self, revision: SeccompRevision, added: bool) -> (ObjectMeta, Option<Work>) {
        let SeccompRevision { metadata, spec } = revision;
        let created = metadata.creation_timestamp.as_ref().filter(|_| added);
        let work = self.read(&metadata).map(|meta| {
            Work::Applied(Box::new(Applied {
                meta,
                content: spec.content,
                created: created.map(|time| time.0.into()),
                received: Instant::now().into_std(),
            }))
        });
        (metadata, work)
    }

    /// What a revision's metadata says. One that the controller did not write so is left out, and holds nothing up.
    fn read(&self, metadata: &ObjectMeta) -> Option<RevisionMeta> {
        let refused = |error: InvalidRevision| {
            self.metrics.failed(FailureReason::InvalidRevision);
            error!(error = &error as &dyn std::error::Error, "ignores a revision; delete it");
        };
        RevisionMeta::from_metadata(metadata).map_err(refused).ok()
    }

    async fn send(&self, work: Work) -> Result<(), Failed> {
        self.work.send(work).await.map_err(|_| Failed::Closed)
    }
}

fn ended_by(status: Status) -> Failed {
    if status.code == 410 {
        Failed::Api(kube::Error::Api(Box::new(status)))
    } else {
        Failed::Status(format!("{} ({} {})", status.message, status.code, status.reason))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use kube::{Client, client::Body};
    use prometheus::Registry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_never_answers_is_given_up() {
        let (service, _handle) =
            tower_test::mock::pair::<http::Request<Body>, http::Response<Empty<bytes::Bytes>>>();
        let revisions = Revisions {
            api: Api::all(Client::new(service, "default")),
            work: mpsc::channel(1).0,
            metrics: Metrics::register(&Registry::new()).unwrap(),
            relist: Duration::from_secs(600),
        };
        assert!(matches!(revisions.list().await, Err(Failed::Silent(ANSWER))));
        assert!(matches!(revisions.watch("1".to_owned()).await, End::Failed(Failed::Silent(ANSWER))));
    }
}
