//! An API server in memory for tests: a client whose requests a closure answers.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// What a request asks.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// A client of a server that answers by `answer`.
pub(crate) fn client<A>(answer: A) -> Client
where
    A: Fn(Asked) -> (StatusCode, Value) + Clone + Send + Sync + 'static,
{
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
            let asked = Asked { method: parts.method.to_string(), path: parts.uri.path().to_owned(), body };
            let (status, answer) = answer(asked);
            let answer = Full::new(Bytes::from(answer.to_string()));
            Ok::<_, crate::BoxError>(Response::builder().status(status).body(answer)?)
        }
    });
    Client::new(service, "default")
}

/// A `Status` that refuses.
pub(crate) fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": reason,
    });
    (code, status)
}
