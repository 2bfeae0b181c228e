//! An API server in memory, for tests.

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::Cluster;

/// What a request asks.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// A cluster whose answers a closure gives; the namespace is `shop`.
pub(crate) fn cluster(answer: impl Fn(Asked) -> (StatusCode, Value) + Send + 'static) -> Cluster {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        while let Some((request, reply)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.expect("a request's body").to_bytes();
            let asked = Asked {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            let (status, answer) = answer(asked);
            let response =
                Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
            reply.send_response(response.expect("a response"));
        }
    });
    let client = Client::new(service, "shop");
    Cluster {
        watching: client.clone(),
        client,
        namespace: "shop".to_owned(),
        server: "https://fake".to_owned(),
    }
}

/// A list of objects.
pub(crate) fn list(items: &[Value]) -> (StatusCode, Value) {
    page(items, "")
}

/// A page of a list, and where it goes on.
pub(crate) fn page(items: &[Value], token: &str) -> (StatusCode, Value) {
    let list = json!({
        "apiVersion": "v1", "kind": "List",
        "metadata": {"resourceVersion": "1", "continue": token}, "items": items,
    });
    (StatusCode::OK, list)
}

/// A refusal as an API server words it.
pub(crate) fn refusal(code: StatusCode, reason: &str, message: &str) -> (StatusCode, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message,
    });
    (code, status)
}
