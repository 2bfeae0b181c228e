use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::{
    Failure,
    fake_api::{self, Asked, refusal},
};

/// The one lease of a server that holds writers to resource versions.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    version: u64,
    down: bool,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        fake_api::client(move |asked| server.answer(&asked))
    }

    fn answer(&self, asked: &Asked) -> (StatusCode, Value) {
        let mut state = self.0.lock().unwrap();
        if state.down {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        }
        let stored = state.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        match (asked.method.as_str(), &state.lease) {
            ("GET", None) => refusal(StatusCode::NOT_FOUND, "NotFound"),
            ("GET", Some(lease)) => (StatusCode::OK, json!(lease)),
            ("POST", Some(_)) => refusal(StatusCode::CONFLICT, "AlreadyExists"),
            ("PUT", _) if asked.body["metadata"]["resourceVersion"].as_str() != stored.as_deref() => {
                refusal(StatusCode::CONFLICT, "Conflict")
            }
            ("POST" | "PUT", _) => {
                state.version += 1;
                let mut lease: Lease = serde_json::from_value(asked.body.clone()).unwrap();
                lease.metadata.resource_version = Some(state.version.to_string());
                let answer = json!(&lease);
                state.lease = Some(lease);
                (StatusCode::OK, answer)
            }
            (method, _) => panic!("unexpected {method} {}", asked.path),
        }
    }

    fn holder(&self) -> Option<String> {
        let state = self.0.lock().unwrap();
        state.lease.clone()?.spec?.holder_identity
    }

    /// Another takes the lease and is never heard of again; its clock is an hour behind.
    fn taken_by(&self, holder: &str) {
        let hour_ago = Timestamp::from_second(Timestamp::now().as_second() - 3600).unwrap();
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        state.lease = Some(Lease {
            metadata: ObjectMeta {
                name: Some("l".to_owned()),
                resource_version: Some(state.version.to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(hour_ago)),
                ..LeaseSpec::default()
            }),
        });
    }
}

fn settings(identity: &str) -> LeaseSettings {
    LeaseSettings::new("ns", "l", identity)
}

async fn pending() -> Result<(), Infallible> {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn takes_a_free_lease_renews_it_and_gives_it_back() {
    let server = Server::default();
    let process = Process::new("controller").unwrap();
    let leadership = lead(&process, server.client(), settings("a")).await.expect("leads");
    assert_eq!(server.holder().as_deref(), Some("a"));
    let version = server.0.lock().unwrap().version;
    let shutdown = process.shutdown.clone();
    let role = async move {
        sleep(Duration::from_secs(60)).await;
        shutdown.cancel();
        drop(leadership);
        Ok::<_, Infallible>(())
    };
    process.run(role).await.unwrap();
    assert!(server.0.lock().unwrap().version >= version + 25, "was renewed every 2 s");
    assert_eq!(server.holder().as_deref(), Some(""), "was given back");
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_holder_by_its_own_clock() {
    let server = Server::default();
    server.taken_by("b");
    let process = Process::new("controller").unwrap();
    let begun = Instant::now();
    let _leadership = lead(&process, server.client(), settings("a")).await.expect("leads");
    assert!(begun.elapsed() >= Duration::from_secs(15), "took it after {:?}", begun.elapsed());
    assert_eq!(server.holder().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_the_server_takes_one() {
    let server = Server::default();
    server.taken_by("");
    let mut first = Candidate::new(server.client(), settings("a"));
    let mut second = Candidate::new(server.client(), settings("b"));
    // Both read the free lease before either writes.
    let (first, second) = tokio::join!(first.attempt(), second.attempt());
    let held = [&first, &second].iter().filter(|attempt| matches!(attempt, Ok(Attempt::Held))).count();
    assert_eq!(held, 1, "{first:?}, {second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_ends_the_process() {
    let server = Server::default();
    let process = Process::new("controller").unwrap();
    let _leadership = lead(&process, server.client(), settings("a")).await.expect("leads");
    server.taken_by("b");
    let failure = process.run(pending()).await.unwrap_err();
    assert!(matches!(&failure, Failure::Task { task: "lease", .. }), "{failure:?}");
    let source = std::error::Error::source(&failure).unwrap().to_string();
    assert_eq!(source, "lease ns/l is now held by \"b\"");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_ends_the_process_before_another_may_lead() {
    let server = Server::default();
    let process = Process::new("controller").unwrap();
    let _leadership = lead(&process, server.client(), settings("a")).await.expect("leads");
    server.0.lock().unwrap().down = true;
    let begun = Instant::now();
    let failure = process.run(pending()).await.unwrap_err();
    let source = std::error::Error::source(&failure).unwrap().to_string();
    assert_eq!(source, "lease ns/l could not be renewed for 10 s");
    assert!(begun.elapsed() < Duration::from_secs(15), "ended after {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_wait() {
    let server = Server::default();
    server.taken_by("b");
    let process = Process::new("controller").unwrap();
    process.shutdown.cancel();
    assert!(lead(&process, server.client(), settings("a")).await.is_none());
}

/// A client whose next requests, as many as are said, are never answered.
fn hanging(server: &Server, requests: &Arc<AtomicU32>) -> Client {
    let (inner, requests) = (server.client(), Arc::clone(requests));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (inner, requests) = (inner.clone(), Arc::clone(&requests));
        async move {
            let less = |left: u32| left.checked_sub(1);
            if requests.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                return std::future::pending().await;
            }
            inner.send(request).await
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_is_asked_again() {
    let (server, unanswered) = (Server::default(), Arc::new(AtomicU32::new(1)));
    let mut candidate = Candidate::new(hanging(&server, &unanswered), settings("a"));
    let begun = Instant::now();
    candidate.acquire().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "took it after {:?}", begun.elapsed());
    unanswered.store(1, Ordering::SeqCst);
    candidate.renew().await.expect("the second attempt is in time");
    unanswered.store(u32::MAX, Ordering::SeqCst);
    assert!(matches!(candidate.renew().await, Err(LeaseLost::NotRenewed { .. })));
}
