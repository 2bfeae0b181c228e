//! An API server that holds revisions and one node's status, does as it is told, and remembers what it was asked.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, client::Body};
use portcullis_api::{RevisionMeta, SeccompNodeStatus, SeccompRevision, SeccompRevisionSpec};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tower_test::mock::{self, SendResponse};

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;
/// What a watch is sent; none ends it.
type Line = Option<Result<Bytes, std::io::Error>>;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request, as far as tests tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    List,
    Watch { version: String },
    Get(String),
    Patch,
    Event,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) revisions: BTreeMap<String, SeccompRevision>,
    pub(super) version: u64,
    /// What happened since the start, for watches that begin later.
    history: Vec<(u64, Value)>,
    watches: Vec<mpsc::UnboundedSender<Line>>,
    pub(super) seen: Vec<Seen>,
    /// Bytes of all answers but those of watches and patches.
    pub(super) bytes: usize,
    pub(super) statuses: Vec<SeccompNodeStatus>,
    pub(super) events: Vec<Value>,
    /// Nothing is answered.
    pub(super) down: bool,
    /// `SeccompNode` does not exist.
    pub(super) no_node: bool,
    /// The next watch is told that it comes too late.
    pub(super) expire_next_watch: bool,
}

impl State {
    pub(super) fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.seen.iter().filter(|seen| wanted(seen)).count()
    }

    pub(super) fn lists(&self) -> usize {
        self.count(|seen| *seen == Seen::List)
    }

    pub(super) fn gets(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Get(_)))
    }

    pub(super) fn watches(&self) -> usize {
        self.count(|seen| matches!(seen, Seen::Watch { .. }))
    }

    fn tell(&mut self, kind: &str, object: &impl serde::Serialize) {
        let event = json!({ "type": kind, "object": object });
        self.history.push((self.version, event.clone()));
        self.watches.retain(|watch| watch.send(Some(Ok(line(&event)))).is_ok());
    }
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

/// The server; clones are the same one.
#[derive(Clone)]
pub(super) struct Api {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<()>>,
}

impl Api {
    pub(super) fn start() -> (Self, Client) {
        let api = Self {
            state: Arc::new(Mutex::new(State { version: 1, ..State::default() })),
            changed: Arc::new(watch::channel(()).0),
        };
        let (service, mut handle) = mock::pair::<Request<Body>, Answer>();
        let server = api.clone();
        tokio::spawn(async move {
            while let Some((request, respond)) = handle.next_request().await {
                server.answer(request, respond).await;
            }
        });
        (api, Client::new(service, "default"))
    }

    /// Changes the state, or looks at it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        result
    }

    /// Waits until the state is so.
    pub(super) async fn until<T>(&self, what: &str, find: impl Fn(&State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let found = timeout(PATIENCE, async {
            loop {
                let found = find(&self.state.lock().unwrap());
                match found {
                    Some(found) => return found,
                    None => changed.changed().await.unwrap(),
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain for {what}; {:#?}", self.state.lock().unwrap()),
        }
    }

    /// Waits for a status of these revisions; what it says of files is then on disk.
    pub(super) async fn until_reported<'a>(
        &self,
        revisions: impl IntoIterator<Item = &'a RevisionMeta>,
    ) -> SeccompNodeStatus {
        let digest = crate::keeper::tests::digest_of(revisions);
        self.until("the digest of these revisions", |state| {
            state.statuses.last().filter(|status| status.digest == digest).cloned()
        })
        .await
    }

    pub(super) fn put(&self, meta: &RevisionMeta, content: &str) {
        self.with(|state| {
            state.version += 1;
            let mut metadata = meta.to_metadata();
            metadata.resource_version = Some(state.version.to_string());
            metadata.creation_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::now()));
            let name = metadata.name.clone().unwrap();
            let revision =
                SeccompRevision { metadata, spec: SeccompRevisionSpec { content: content.to_owned() } };
            let kind = if state.revisions.contains_key(&name) { "MODIFIED" } else { "ADDED" };
            state.tell(kind, &revision);
            state.revisions.insert(name, revision);
        });
    }

    /// Deletes a revision, and tells the watches of it.
    pub(super) fn delete(&self, meta: &RevisionMeta) {
        self.with(|state| {
            state.version += 1;
            let mut gone = state.revisions.remove(&meta.owner.revision_name(&meta.digest)).unwrap();
            gone.metadata.resource_version = Some(state.version.to_string());
            state.tell("DELETED", &gone);
        });
    }

    /// Lets a revision vanish without a word, as if nobody had been watching.
    pub(super) fn lose(&self, meta: &RevisionMeta) {
        self.with(|state| state.revisions.remove(&meta.owner.revision_name(&meta.digest)).unwrap());
    }

    /// Says something to the watches that is no revision.
    pub(super) fn say(&self, event: &Value) {
        self.with(|state| state.watches.retain(|watch| watch.send(Some(Ok(line(event)))).is_ok()));
    }

    /// Ends every watch, in order or not.
    pub(super) fn end_watches(&self, in_order: bool) {
        self.with(|state| {
            for watch in state.watches.drain(..) {
                let _ = watch.send(if in_order { None } else { Some(Err(std::io::Error::other("reset"))) });
            }
        });
    }

    async fn answer(&self, request: Request<Body>, respond: SendResponse<Answer>) {
        let (parts, body) = request.into_parts();
        if self.state.lock().unwrap().down {
            respond.send_error("connection refused");
            return;
        }
        let path = parts.uri.path().to_owned();
        let query: HashMap<_, _> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        const REVISIONS: &str = "/apis/portcullis.dev/v1alpha1/seccomprevisions";
        let answer = match (&parts.method, path.as_str()) {
            (&Method::GET, REVISIONS) if query.contains_key("watch") => self.watch(&query),
            (&Method::GET, REVISIONS) => {
                let accept = parts.headers["accept"].to_str().unwrap();
                assert!(accept.contains("as=PartialObjectMetadataList"), "lists whole objects: {accept}");
                self.list(&query)
            }
            (&Method::GET, path) => self.get(path.strip_prefix(REVISIONS).unwrap().trim_start_matches('/')),
            (&Method::PATCH, "/apis/portcullis.dev/v1alpha1/seccompnodes/node-1/status") => {
                assert_eq!(query["fieldManager"], "portcullis-agent");
                self.patch(serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap())
            }
            (_, path) if path.starts_with("/apis/events.k8s.io/v1/namespaces/default/events") => {
                let event: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
                self.with(|state| {
                    state.seen.push(Seen::Event);
                    state.events.push(event.clone());
                });
                whole(StatusCode::OK, &event)
            }
            (method, path) => panic!("the agent has no right to {method} {path}"),
        };
        respond.send_response(answer);
        self.changed.send_replace(());
    }

    fn list(&self, query: &HashMap<String, String>) -> Answer {
        self.with(|state| {
            let limit: usize = query["limit"].parse().unwrap();
            let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
            if from == 0 {
                state.seen.push(Seen::List);
            }
            let items: Vec<_> = state
                .revisions
                .values()
                .skip(from)
                .take(limit)
                .map(|revision| json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": revision.metadata }))
                .collect();
            let more = from + items.len() < state.revisions.len();
            let token = if more { (from + items.len()).to_string() } else { String::new() };
            let list = json!({
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadataList",
                "metadata": { "resourceVersion": state.version.to_string(), "continue": token },
                // As a real API server writes it: Go's nil slice is `null`, not `[]`.
                "items": if items.is_empty() { Value::Null } else { items.into() },
            });
            state.bytes += list.to_string().len();
            whole(StatusCode::OK, &list)
        })
    }

    fn get(&self, name: &str) -> Answer {
        self.with(|state| {
            state.seen.push(Seen::Get(name.to_owned()));
            match state.revisions.get(name) {
                Some(revision) => {
                    state.bytes += revision.spec.content.len();
                    whole(StatusCode::OK, revision)
                }
                None => failed(404, "NotFound"),
            }
        })
    }

    fn patch(&self, patch: Value) -> Answer {
        self.with(|state| {
            state.seen.push(Seen::Patch);
            if state.no_node {
                return failed(404, "NotFound");
            }
            state.statuses.push(serde_json::from_value(patch["status"].clone()).unwrap());
            let mut node = patch.clone();
            node["metadata"]["uid"] = json!("uid-of-node-1");
            node["spec"] = json!({});
            whole(StatusCode::OK, &node)
        })
    }

    fn watch(&self, query: &HashMap<String, String>) -> Answer {
        self.with(|state| {
            let version = query["resourceVersion"].clone();
            assert_eq!(query["allowWatchBookmarks"], "true");
            let (send, receive) = mpsc::unbounded_channel::<Line>();
            if std::mem::take(&mut state.expire_next_watch) {
                let expired = json!({ "type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "too old resource version", "reason": "Expired", "code": 410,
                }});
                let _ = send.send(Some(Ok(line(&expired))));
                let _ = send.send(None);
            } else {
                let from: u64 = version.parse().unwrap();
                for (_, event) in state.history.iter().filter(|(at, _)| *at > from) {
                    let _ = send.send(Some(Ok(line(event))));
                }
                state.watches.push(send);
            }
            state.seen.push(Seen::Watch { version });
            let frames = futures::stream::unfold(receive, |mut receive| async {
                let line = receive.recv().await.flatten()?;
                Some((line.map(http_body::Frame::data), receive))
            });
            Response::new(StreamBody::new(frames).boxed_unsync())
        })
    }
}

fn whole(code: StatusCode, object: &impl serde::Serialize) -> Answer {
    let body = Full::new(Bytes::from(serde_json::to_vec(object).unwrap()));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

fn failed(code: u16, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    });
    whole(StatusCode::from_u16(code).unwrap(), &status)
}
