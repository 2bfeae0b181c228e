//! Whether the recorder is being uninstalled, which its end alone does not say: then its programs go from the kernel.
//!
//! Its rights go together with its DaemonSet, so whoever asks at the end is refused. To be refused says nothing: a right may be missing
//! for any reason, and what was counted would be lost. So the DaemonSet is watched, and a watch that was permitted shows the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client, core::PartialObjectMeta, runtime::watcher};
use portcullis_runtime::{
    Process,
    watch::{Change, Unpaced, Watching},
};
use tokio::time::timeout;

/// How long the question may take.
const ASK: Duration = Duration::from_secs(5);

type Metadata = PartialObjectMeta<DaemonSet>;

/// The DaemonSet that this recorder belongs to.
pub(crate) struct Installation {
    api: Api<Metadata>,
    name: String,
    deleted: Arc<AtomicBool>,
}

impl Installation {
    /// Follows it in a supervised task.
    pub(crate) fn follow(
        process: &Process,
        watching: &Watching,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Self {
        let api: Api<Metadata> = Api::namespaced(client.clone(), namespace);
        let deleted = Arc::new(AtomicBool::new(false));
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let (watch, follows, sink) = (watching.clone(), api.clone(), sink(deleted.clone()));
        process.supervise("daemonset", async move {
            watch.follow("daemonsets", follows, config, sink, Unpaced).await;
        });
        Self { api, name: name.to_owned(), deleted }
    }

    /// Whether it is gone, or going. An API server that refuses or does not answer says nothing.
    pub(crate) async fn is_deleted(&self) -> bool {
        if self.deleted.load(Ordering::Relaxed) {
            return true;
        }
        match timeout(ASK, self.api.get_metadata(&self.name)).await {
            Ok(Ok(set)) => set.metadata.deletion_timestamp.is_some(),
            Ok(Err(kube::Error::Api(status))) => status.code == 404,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

fn sink(deleted: Arc<AtomicBool>) -> impl FnMut(Change<Metadata>) {
    let mut is_there = false;
    move |change| {
        let gone = match change {
            Change::ListBegins => {
                is_there = false;
                return;
            }
            Change::Listed(set) | Change::Applied(set) => {
                is_there = true;
                set.metadata.deletion_timestamp.is_some()
            }
            Change::Deleted(_) => true,
            Change::ListEnds if is_there => return,
            Change::ListEnds => true,
        };
        deleted.store(gone, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use kube::client::Body;
    use serde_json::json;
    use tower_test::mock;

    use super::*;

    fn set(goes: bool) -> Metadata {
        let mut set =
            Metadata { types: None, metadata: Default::default(), _phantom: std::marker::PhantomData };
        set.metadata.deletion_timestamp = goes.then_some(Time(Timestamp::UNIX_EPOCH));
        set
    }

    #[test]
    fn the_watch_shows_that_it_goes() {
        for (changes, expected) in [
            (vec![Change::ListBegins, Change::Listed(set(false)), Change::ListEnds], false),
            (vec![Change::ListBegins, Change::ListEnds], true),
            (vec![Change::Applied(set(false)), Change::Applied(set(true))], true),
            (vec![Change::Applied(set(false)), Change::Deleted(set(false))], true),
            (vec![Change::Deleted(set(false)), Change::Applied(set(false))], false),
        ] {
            let deleted = Arc::new(AtomicBool::new(false));
            let said = format!("{changes:?}");
            changes.into_iter().for_each(sink(deleted.clone()));
            assert_eq!(deleted.load(Ordering::Relaxed), expected, "{said}");
        }
    }

    #[tokio::test]
    async fn to_be_refused_says_nothing() {
        for (code, expected) in [(401, false), (403, false), (404, true), (500, false)] {
            let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
            let api = Api::namespaced(Client::new(service, "default"), "portcullis-system");
            let deleted = Arc::new(AtomicBool::new(false));
            let installation = Installation { api, name: "portcullis-recorder".to_owned(), deleted };
            let answer = async {
                let (_, answer) = server.next_request().await.expect("a question");
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "", "message": ""});
                let body = Body::from(status.to_string().into_bytes());
                answer.send_response(Response::builder().status(code).body(body).unwrap());
            };
            let (said, ()) = tokio::join!(installation.is_deleted(), answer);
            assert_eq!(said, expected, "{code}");
        }
    }
}
