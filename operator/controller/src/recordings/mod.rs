//! Recordings: merges what nodes' recorders saw, says what came of it, and makes the profile where the spec asks for one.
//!
//! # Where the union lives, and why it survives restarts
//! In the API server, as parts: one for each recording and node, written by that node's recorder alone, each the whole of what the node
//! saw. The union is computed from them and stored nowhere, so a controller that starts anew computes the same. A recorder that
//! starts anew reads its own part back. The part of a node that is gone is taken over into one more part, the controller's own, in steps
//! that may be repeated ([`Archive`](portcullis_api::Archive)), so that parts do not pile up where nodes come and go. A node counts as
//! gone only some minutes after its object is: by then its pods, and with them its recorder's token, are gone as well.
//!
//! # Whose parts count
//! Those of nodes that the controller invited ([`invitations`]): a recorder asks by an empty part, and is invited where the API server has
//! pods of the recording on its node. Admission policies hold recorders to that.
//!
//! # Whose pods nobody records
//! Those on nodes without a recorder. A recorder tells itself of the time in which it was away, once it is back, but not of pods that are gone
//! by then from a node where it may not write, nor if it does not come back. So meanwhile the controller looks itself ([`unrecorded`]).
//!
//! # What it costs
//! Nothing without `--recordings`. A steady cluster causes no writes: a status holds nothing that grows with every call.

mod invitations;
mod judge;
mod output;
mod parts;
mod picture;
mod requests;
mod sinks;
#[cfg(test)]
mod tests;
mod unrecorded;
mod work;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{Api, Client, Resource as _, api::ListParams, core::DeserializeGuard, runtime::watcher};
use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use portcullis_runtime::{
    Level, Process, Report,
    watch::{Unpaced, Watching},
};
use tokio::time::{Instant, interval, sleep};

use self::{picture::Picture, requests::Requests};
use crate::{
    error::Failure,
    queue::{Keyed, Queue},
    shared::Shared,
    sinks::Synced,
    world::usize_of,
};

const RECORDINGS: &str = "seccomprecordings";
const PARTS: &str = "seccomprecordingparts";
const RECORDERS: &str = "recorder-pods";
/// What has to be known before anything is said of a recording.
const FIRST: [&str; 3] = [RECORDINGS, PARTS, RECORDERS];
/// Objects in a page of a list: a part has up to 1 MiB.
const PAGE: u32 = 10;
/// How often it is looked whether the definitions are there by now.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How often it is looked whether the nodes of parts are still there. Costs no request.
const TICK: Duration = Duration::from_secs(30);

/// A recording's namespace and name: the same name in another namespace is another recording.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SeccompRecording {}/{}", self.namespace, self.name)
    }
}

impl Keyed for Key {
    fn tenant(&self) -> &str {
        &self.namespace
    }
}

impl Key {
    /// An Event's object.
    fn reference(&self, uid: Option<String>) -> ObjectReference {
        ObjectReference {
            api_version: Some(SeccompRecording::api_version(&()).into_owned()),
            kind: Some(SeccompRecording::kind(&()).into_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid,
            ..ObjectReference::default()
        }
    }
}

/// What the tasks for recordings share.
pub(crate) struct Recordings {
    shared: Arc<Shared>,
    requests: Requests,
    picture: Mutex<Picture>,
    queue: Queue<Key>,
}

impl Recordings {
    pub(crate) fn new(shared: Arc<Shared>, client: Client) -> Self {
        let limit = usize_of(shared.bounds.max_recordings_per_namespace);
        Self {
            shared,
            requests: Requests::new(client),
            picture: Mutex::new(Picture::new(limit)),
            queue: Queue::new(work::SHARE),
        }
    }

    /// What is known. Never held over an await.
    fn picture(&self) -> MutexGuard<'_, Picture> {
        // A panic ends the process; until it does, what is known is no worse than before.
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known and wakes the recordings that this concerns.
    fn change(&self, change: impl FnOnce(&mut Picture) -> Vec<Key>) {
        let now = Instant::now();
        change(&mut self.picture()).into_iter().for_each(|key| self.queue.wake(key, now));
    }

    fn report_failure(&self, failure: &Failure, key: &Key) {
        let category = failure.category();
        self.shared.metrics.errors.with_label_values(&[category.as_str()]).inc();
        let object =
            category.concerns_object().then(|| key.reference(self.picture().uid(key).map(str::to_owned)));
        self.shared.reporter.report(Report {
            level: Level::Error,
            reason: category.as_str(),
            action: "Record",
            message: failure.to_string(),
            object,
        });
    }

    /// Looks for nodes that went away or came back, until shutdown.
    async fn tick(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                () = self.shared.shutdown.cancelled() => return,
                _ = ticks.tick() => {
                    let here = self.nodes();
                    self.change(|picture| picture.with_absent_nodes(&here));
                }
            }
        }
    }

    /// The names of the nodes that are there.
    fn nodes(&self) -> std::collections::HashSet<String> {
        self.shared.world().nodes().facts().map(|facts| facts.name.clone()).collect()
    }
}

/// Works until shutdown, once the definitions are there. Nodes must be known by then. `recorders`: how the recorders' pods are found.
pub(crate) async fn run(
    process: Process,
    shared: Arc<Shared>,
    client: Client,
    watching: Watching,
    recorders: (Api<Pod>, watcher::Config),
) {
    let recordings = Arc::new(Recordings::new(shared, client.clone()));
    tokio::select! {
        () = process.shutdown.cancelled() => return,
        () = defined(&recordings, &client) => {}
    }
    let synced = Synced::default();
    let mut seen = synced.subscribe();
    let config = || watcher::Config::default().page_size(PAGE);
    let api: Api<DeserializeGuard<SeccompRecording>> = Api::all(client.clone());
    let sink = sinks::recordings(recordings.clone(), &synced, RECORDINGS);
    let follow = watching.clone();
    process
        .supervise(RECORDINGS, async move { follow.follow(RECORDINGS, api, config(), sink, Unpaced).await });
    let api: Api<DeserializeGuard<SeccompRecordingPart>> = Api::all(client);
    let sink = sinks::parts(recordings.clone(), &synced, PARTS);
    let follow = watching.clone();
    process.supervise(PARTS, async move { follow.follow(PARTS, api, config(), sink, Unpaced).await });
    let sink = sinks::recorders(recordings.clone(), &synced, RECORDERS);
    let (api, config) = recorders;
    process.supervise(RECORDERS, async move {
        watching.follow(RECORDERS, api, config, sink, Unpaced).await;
    });
    let begun = tokio::select! {
        () = process.shutdown.cancelled() => false,
        // The sender lives as long as the watches, which end after shutdown.
        met = seen.wait_for(|seen| FIRST.iter().all(|resource| seen.contains(resource))) => met.is_ok(),
    };
    if begun {
        recordings.change(Picture::all_synced);
        process.supervise("recordings-tick", recordings.clone().tick());
        work::run(recordings).await;
    }
}

/// Waits until the definitions are installed: a watch of what does not exist would only fail again and again.
async fn defined(recordings: &Recordings, client: &Client) {
    let mut said = false;
    loop {
        let one = ListParams::default().limit(1);
        let found = Api::<SeccompRecording>::all(client.clone()).list_metadata(&one).await;
        let found = match found {
            Ok(_) => Api::<SeccompRecordingPart>::all(client.clone()).list_metadata(&one).await.map(drop),
            Err(error) => Err(error),
        };
        match found {
            Ok(()) => return,
            Err(_) if said => {}
            Err(error) => {
                said = true;
                recordings.shared.reporter.report(Report {
                    level: Level::Warning,
                    reason: "RecordingsUnavailable",
                    action: "Record",
                    message: format!(
                        "{}; no recording is looked at until it works. Apply crds/, or run without --recordings",
                        Failure::of("list SeccompRecordings and their parts")(error)
                    ),
                    object: None,
                });
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}
