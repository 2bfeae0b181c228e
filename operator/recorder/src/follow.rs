//! The watches: pods of this node, and recordings of all namespaces.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client, Resource as _,
    core::{DeserializeGuard, ObjectMeta},
    runtime::watcher,
};
use portcullis_api::SeccompRecording;
use portcullis_probe::PodUid;
use portcullis_runtime::{
    Level, Process, Report, Reporter,
    watch::{Change, Pace, Watching},
};
use tokio::sync::{
    mpsc::{Sender, error::TrySendError},
    oneshot,
};
use tracing::error;

use crate::{pods::Pod, session::Key};

/// Objects in a page of a list.
const PAGE: u32 = 100;
/// What may wait to be taken in.
pub(crate) const WAITING: usize = 256;
/// How much room there is before an event is looked at: each of the two watches has one under way, which says two things at most.
const ROOM: usize = 4;

/// What the watches show.
#[derive(Debug)]
pub(crate) enum News {
    Pod(Pod),
    PodGone(PodUid),
    PodsListed(BTreeSet<PodUid>),
    Recording(Box<SeccompRecording>),
    RecordingGone(Key),
    RecordingsListed(BTreeSet<Key>),
    /// Answered once all before it was taken in.
    Turn(oneshot::Sender<()>),
}

/// Holds a list up until what it has shown was taken in, and a watch while much waits: what waits is in memory.
struct InTurn(Sender<News>);

impl Pace for InTurn {
    async fn ready(&self) {
        let (turn, taken) = oneshot::channel();
        // Where nobody takes it any more, the process ends.
        if self.0.send(News::Turn(turn)).await.is_ok() {
            let _ = taken.await;
        }
    }

    async fn room(&self) {
        // Given back at once. Where nobody takes anything any more, the process ends.
        drop(self.0.reserve_many(ROOM).await);
    }
}

/// Follows both kinds in supervised tasks.
pub(crate) fn follow(
    process: &Process,
    watching: &Watching,
    client: &Client,
    node: &str,
    news: &Sender<News>,
) {
    let (pods, watch, pace) = (pods(news.clone(), node.to_owned()), watching.clone(), InTurn(news.clone()));
    let api: Api<core::Pod> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}")).page_size(PAGE);
    process.supervise("pods", async move { watch.follow("pods", api, config, pods, pace).await });
    let recordings = recordings(news.clone(), watching.reporter.clone());
    let (watch, pace) = (watching.clone(), InTurn(news.clone()));
    let api: Api<DeserializeGuard<SeccompRecording>> = Api::all(client.clone());
    let config = watcher::Config::default().page_size(PAGE);
    process.supervise("recordings", async move {
        watch.follow("seccomprecordings", api, config, recordings, pace).await;
    });
}

fn pods(news: Sender<News>, node: String) -> impl FnMut(Change<core::Pod>) + Send + 'static {
    let mut listed = BTreeSet::new();
    move |change| {
        let shown = match change {
            Change::ListBegins => {
                listed.clear();
                None
            }
            Change::Listed(pod) => Pod::read(&pod, &node).map(|pod| {
                listed.insert(pod.uid);
                News::Pod(pod)
            }),
            Change::Applied(pod) => Pod::read(&pod, &node).map(News::Pod),
            Change::Deleted(pod) => {
                // Its last status tells of containers that no earlier one did.
                let pod = Pod::read(&pod, &node);
                let uid = pod.as_ref().map(|pod| News::PodGone(pod.uid));
                pod.into_iter().for_each(|pod| send(&news, News::Pod(pod)));
                uid
            }
            Change::ListEnds => Some(News::PodsListed(std::mem::take(&mut listed))),
        };
        shown.into_iter().for_each(|shown| send(&news, shown));
    }
}

fn recordings(
    news: Sender<News>,
    reporter: Reporter,
) -> impl FnMut(Change<DeserializeGuard<SeccompRecording>>) + Send + 'static {
    let mut listed = BTreeSet::new();
    move |change| {
        let shown = match change {
            Change::ListBegins => {
                listed.clear();
                None
            }
            Change::Listed(object) => {
                listed.insert(key(object.meta()));
                Some(recording(object, &reporter))
            }
            Change::Applied(object) => Some(recording(object, &reporter)),
            Change::Deleted(object) => Some(News::RecordingGone(key(object.meta()))),
            Change::ListEnds => Some(News::RecordingsListed(std::mem::take(&mut listed))),
        };
        shown.into_iter().for_each(|shown| send(&news, shown));
    }
}

/// One that can't be read is not recorded, and stops no other. The controller says so in its status; here it is said for this node.
fn recording(object: DeserializeGuard<SeccompRecording>, reporter: &Reporter) -> News {
    let key = key(object.meta());
    match object.0 {
        Ok(recording) => News::Recording(Box::new(recording)),
        Err(invalid) => {
            reporter.report(Report {
                level: Level::Warning,
                reason: "InvalidRecording",
                action: "Record",
                message: format!("{key} can't be read: {}. Correct it, or delete it", invalid.error),
                object: None,
            });
            News::RecordingGone(key)
        }
    }
}

fn key(metadata: &ObjectMeta) -> Key {
    Key {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

fn send(news: &Sender<News>, shown: News) {
    match news.try_send(shown) {
        // The receiver goes only when the process ends.
        Ok(()) | Err(TrySendError::Closed(_)) => {}
        Err(TrySendError::Full(lost)) => {
            error!(?lost, "there was no room for what a watch has shown; the next list brings it")
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_watch_waits_while_much_waits_to_be_taken_in() {
        let (news, mut waiting) = mpsc::channel(WAITING);
        let pace = InTurn(news.clone());
        let gone = || News::PodGone("0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00".parse().expect("a UID"));
        let mut events = 0;
        while pace.room().now_or_never().is_some() {
            send(&news, gone());
            send(&news, gone());
            events += 1;
        }
        assert_eq!(events, (WAITING - ROOM) / 2 + 1);
        assert_eq!(waiting.len(), events * 2, "nothing is lost");
        for _ in 0..ROOM {
            waiting.recv().await.expect("it waits");
        }
        assert!(pace.room().now_or_never().is_some());
        drop(waiting);
        assert!(pace.room().now_or_never().is_some(), "the process ends");
        assert!(pace.ready().now_or_never().is_some());
    }
}
