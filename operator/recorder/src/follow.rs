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
    watch::{Change, Unpaced, Watching},
};
use tokio::sync::mpsc::UnboundedSender;

use crate::{pods::Pod, session::Key};

/// Objects in a page of a list.
const PAGE: u32 = 100;

/// What the watches show.
#[derive(Debug)]
pub(crate) enum News {
    Pod(Pod),
    PodGone(PodUid),
    PodsListed(BTreeSet<PodUid>),
    Recording(Box<SeccompRecording>),
    RecordingGone(Key),
    RecordingsListed(BTreeSet<Key>),
}

/// Follows both kinds in supervised tasks.
pub(crate) fn follow(
    process: &Process,
    watching: &Watching,
    client: &Client,
    node: &str,
    news: &UnboundedSender<News>,
) {
    let (pods, watch) = (pods(news.clone()), watching.clone());
    let api: Api<core::Pod> = Api::all(client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}")).page_size(PAGE);
    process.supervise("pods", async move { watch.follow("pods", api, config, pods, Unpaced).await });
    let (recordings, watch) = (recordings(news.clone(), watching.reporter.clone()), watching.clone());
    let api: Api<DeserializeGuard<SeccompRecording>> = Api::all(client.clone());
    let config = watcher::Config::default().page_size(PAGE);
    process.supervise("recordings", async move {
        watch.follow("seccomprecordings", api, config, recordings, Unpaced).await;
    });
}

fn pods(news: UnboundedSender<News>) -> impl FnMut(Change<core::Pod>) + Send + 'static {
    let mut listed = BTreeSet::new();
    move |change| {
        let shown = match change {
            Change::ListBegins => {
                listed.clear();
                None
            }
            Change::Listed(pod) => Pod::read(&pod).map(|pod| {
                listed.insert(pod.uid);
                News::Pod(pod)
            }),
            Change::Applied(pod) => Pod::read(&pod).map(News::Pod),
            Change::Deleted(pod) => {
                // Its last status tells of containers that no earlier one did.
                let pod = Pod::read(&pod);
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
    news: UnboundedSender<News>,
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

/// The receiver goes only when the process ends.
fn send(news: &UnboundedSender<News>, shown: News) {
    let _ = news.send(shown);
}
