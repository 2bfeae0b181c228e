//! Follows one kind of object for as long as the process lives.

use std::{
    fmt::Debug,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use futures::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt as _, watcher},
};
use prometheus::IntCounterVec;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{Level, Report, Reporter};

/// How often a watch is begun anew by a list, give or take a fifth. After a restore of etcd a watch from a resource version
/// that is in the future now returns nothing, and no error either.
const RELIST_EVERY: Duration = Duration::from_secs(600);

/// What a watch shows.
#[derive(Debug)]
pub enum Change<K> {
    /// A list begins.
    ListBegins,
    /// An object of the list.
    Listed(K),
    /// The list is complete: what it did not show is gone.
    ListEnds,
    /// An object was added or changed.
    Applied(K),
    /// An object is gone.
    Deleted(K),
}

/// How fast objects are looked at.
pub trait Pace {
    /// Returns when it is time for the next object of a list.
    fn ready(&self) -> impl Future<Output = ()> + Send;

    /// Returns when there is room for what comes next, from a list or a watch. Only for sinks behind which nothing waits for what a watch
    /// shows.
    fn room(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// As fast as they come.
#[derive(Clone, Copy, Debug)]
pub struct Unpaced;

impl Pace for Unpaced {
    async fn ready(&self) {}
}

/// What every watch needs.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Where errors go.
    pub reporter: Reporter,
    /// Counts watches that were begun anew, by resource and cause (error, relist).
    pub restarts: IntCounterVec,
    /// Ends the watches.
    pub shutdown: CancellationToken,
}

impl Watching {
    /// Follows objects until shutdown. Errors are reported and the watch is begun again, with back-off.
    pub async fn follow<K>(
        &self,
        resource: &'static str,
        api: Api<K>,
        config: watcher::Config,
        mut sink: impl FnMut(Change<K>),
        pace: impl Pace,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        for cause in ["error", "relist"] {
            self.restarts.with_label_values(&[resource, cause]);
        }
        loop {
            let relist = sleep_until(Instant::now() + jittered(RELIST_EVERY));
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = self.follow_until_relist(resource, api.clone(), config.clone(), &mut sink, &pace) => {}
                () = relist => self.restarted(resource, "relist"),
            }
        }
    }

    async fn follow_until_relist<K>(
        &self,
        resource: &'static str,
        api: Api<K>,
        config: watcher::Config,
        sink: &mut impl FnMut(Change<K>),
        pace: &impl Pace,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let listed = matches!(event, Ok(watcher::Event::InitApply(_)));
            pace.room().await;
            match event {
                Ok(event) => sink(match event {
                    watcher::Event::Init => Change::ListBegins,
                    watcher::Event::InitApply(object) => Change::Listed(object),
                    watcher::Event::InitDone => Change::ListEnds,
                    watcher::Event::Apply(object) => Change::Applied(object),
                    watcher::Event::Delete(object) => Change::Deleted(object),
                }),
                Err(error) => self.failed(resource, &error),
            }
            // A page of a list is many events at once; others have work to do meanwhile.
            tokio::task::yield_now().await;
            // Only lists are that fast. Work may wait for what a watch shows, so a watch must not wait for such work.
            if listed {
                pace.ready().await;
            }
        }
    }

    fn failed(&self, resource: &'static str, error: &watcher::Error) {
        self.restarted(resource, "error");
        self.reporter.report(Report {
            level: Level::Error,
            reason: "WatchFailed",
            action: "Watch",
            message: format!("watching {resource}: {error}; it is begun again"),
            object: None,
        });
    }

    fn restarted(&self, resource: &'static str, cause: &'static str) {
        self.restarts.with_label_values(&[resource, cause]).inc();
    }
}

/// A time between four and six fifths of this one.
fn jittered(time: Duration) -> Duration {
    // Keyed by the operating system's randomness; no secret depends on it.
    let random = RandomState::new().build_hasher().finish() % 1000;
    let permille = u32::try_from(800 + random * 400 / 1000).unwrap_or(1000);
    time * permille / 1000
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Client, client::Body};
    use serde_json::{Value, json};
    use tokio::sync::{Notify, watch};
    use tower_test::mock;

    use super::*;
    use crate::Process;

    /// Holds everything up from the first list's end on.
    struct Stuck(watch::Receiver<bool>);

    impl Pace for Stuck {
        async fn ready(&self) {
            if *self.0.borrow() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Regression: the watch waited until fewer profiles were due, and the profiles for what the watch would show.
    #[tokio::test(start_paused = true)]
    async fn a_watch_does_not_wait_for_work_to_be_done() {
        let (service, mut server) = mock::pair::<Request<Body>, Response<Body>>();
        let object = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": "2"}});
        let answers = async move {
            let respond = |body: Value| Response::new(Body::from(body.to_string().into_bytes()));
            let list = json!({
                "apiVersion": "v1", "kind": "ConfigMapList",
                "metadata": {"resourceVersion": "1"}, "items": [object("listed")],
            });
            let (_, answer) = server.next_request().await.expect("a list");
            answer.send_response(respond(list));
            let (_, answer) = server.next_request().await.expect("a watch");
            answer.send_response(respond(json!({"type": "ADDED", "object": object("watched")})));
            // The next watch brings nothing.
            server.next_request().await
        };
        let process = Process::new("controller").unwrap();
        let client = Client::new(service, "default");
        let watching = Watching {
            reporter: Reporter::new(&process, client.clone(), "pod").unwrap(),
            restarts: IntCounterVec::new(
                prometheus::Opts::new("restarts", "Restarts"),
                &["resource", "cause"],
            )
            .unwrap(),
            shutdown: process.shutdown.clone(),
        };
        let (busy, is_busy) = watch::channel(false);
        let seen = std::sync::Arc::new(Notify::new());
        let shown = seen.clone();
        let sink = move |change: Change<ConfigMap>| match change {
            Change::ListEnds => drop(busy.send_replace(true)),
            Change::Applied(_) => shown.notify_one(),
            _ => {}
        };
        let api: Api<ConfigMap> = Api::namespaced(client, "default");
        let config = watcher::Config::default();
        tokio::select! {
            () = watching.follow("configmaps", api, config, sink, Stuck(is_busy)) => {}
            _ = async { tokio::join!(answers, std::future::pending::<()>()) } => {}
            () = seen.notified() => return,
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
        panic!("the watch's event was held up");
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..100 {
            let time = jittered(RELIST_EVERY);
            assert!(time >= RELIST_EVERY * 4 / 5 && time <= RELIST_EVERY * 6 / 5, "{time:?}");
        }
    }
}
