//! A mock API server for scenarios: which requests are made, with which bodies, and what is made of the answers.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use portcullis_runtime::{Process, Reporter};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};
use tower_test::mock::{self, Handle, SendResponse};

use crate::{
    cluster::Cluster, metrics::Metrics, queue::Queue, settings::Lasting, shared::Shared, usage::usage,
    world::World,
};

/// A request, read.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: HashSet<String>,
    pub(crate) body: Value,
    answer: SendResponse<Response<Body>>,
}

impl Asked {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn answer(self, body: &Value) {
        self.answer.send_response(Response::new(Body::from(body.to_string().into_bytes())));
    }

    pub(crate) fn refuse(self, code: u16, message: &str) {
        let reason = if code == 404 { "NotFound" } else { "" };
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code});
        self.answer_with(code, &status);
    }

    pub(crate) fn answer_with(self, code: u16, body: &Value) {
        let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
        self.answer.send_response(response.unwrap());
    }

    /// Whether it is a forced server-side apply by the controller's field manager.
    pub(crate) fn is_apply(&self) -> bool {
        self.method == Method::PATCH
            && self.query.contains("force=true")
            && self.query.contains("fieldManager=portcullis-controller")
    }
}

/// The server's end.
pub(crate) struct Server(Pin<Box<Handle<Request<Body>, Response<Body>>>>);

impl Server {
    /// With a client that asks it.
    pub(crate) fn new() -> (Client, Self) {
        let (service, server) = mock::pair();
        (Client::new(service, "default"), Self(Box::pin(server)))
    }

    /// The next request.
    pub(crate) async fn asked(&mut self) -> Asked {
        let (request, answer) = self.0.next_request().await.expect("a request");
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        Asked {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().split('&').map(str::to_owned).collect(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() },
            answer,
        }
    }

    /// Nothing more may have been asked once every client is gone.
    pub(crate) async fn end(mut self) {
        if let Some((request, _)) = self.0.next_request().await {
            panic!("also asked: {} {}", request.method(), request.uri());
        }
    }
}

/// What the tasks share, with Events that go nowhere.
pub(crate) fn shared(process: &Process, client: Client) -> Arc<Shared> {
    let (events, _) = mock::pair::<Request<Body>, Response<Body>>();
    let reporter = Reporter::new(process, Client::new(events, "default"), "pod").unwrap();
    let (usage, answers) = usage(client.clone(), "profiles".to_owned(), process.shutdown.clone());
    tokio::spawn(answers);
    let bounds = crate::settings::Bounds::default();
    let metrics = Metrics::new(&process.registry).unwrap();
    Arc::new(Shared {
        world: Arc::new(Mutex::new(World::new(
            "profiles".to_owned(),
            bounds.clone(),
            Lasting::default(),
            Instant::now(),
        ))),
        queue: Queue::new(crate::reconcile::SHARE),
        cluster: Cluster::new(client),
        reporter,
        pool: metrics.pool(),
        metrics,
        usage,
        nodes_changed: Notify::new(),
        revocations_changed: Notify::new(),
        bounds,
        shutdown: process.shutdown.clone(),
    })
}
