//! A registry in memory.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use portcullis_artifact::{Access, Reference};
use portcullis_profile::Digest;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;
/// An answer in place of the true one.
pub(crate) type Twist = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct State {
    manifests: BTreeMap<String, (String, Bytes)>,
    blobs: BTreeMap<String, Bytes>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

pub(crate) fn whole(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).boxed();
    Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body).unwrap()
}

/// An answer that never ends.
pub(crate) fn endless(status: StatusCode, content_type: &str, piece: &'static [u8]) -> Answer {
    let pieces = futures::stream::repeat_with(move || Ok(Frame::data(Bytes::from_static(piece))));
    let body = StreamBody::new(pieces).boxed();
    Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body).unwrap()
}

impl Fake {
    pub(crate) async fn start() -> Self {
        Self::lying(|_| None).await
    }

    pub(crate) async fn lying(twist: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let fake = Self { host, state: Arc::default() };
        let (serving, twist): (_, Arc<Twist>) = (fake.clone(), Arc::new(twist));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (fake, twist) = (serving.clone(), Arc::clone(&twist));
                let service = service_fn(move |request| {
                    let (fake, twist) = (fake.clone(), Arc::clone(&twist));
                    async move { Ok::<_, Infallible>(fake.answer(request, &*twist).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        fake
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host).parse().unwrap()
    }

    pub(crate) fn access() -> Access {
        let mut access = Access::new();
        access.plain_http = true;
        access
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    pub(crate) fn put_blob(&self, bytes: impl Into<Bytes>) -> Value {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes).to_string();
        let descriptor =
            json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()});
        self.state.lock().unwrap().blobs.insert(digest, bytes);
        descriptor
    }

    pub(crate) fn put_manifest(&self, tag: &str, media_type: &str, manifest: &Value) -> Digest {
        let bytes = Bytes::from(serde_json::to_vec(manifest).unwrap());
        let digest = Digest::of(&bytes);
        let entry = (media_type.to_owned(), bytes);
        let mut state = self.state.lock().unwrap();
        state.manifests.insert(tag.to_owned(), entry.clone());
        state.manifests.insert(digest.to_string(), entry);
        digest
    }

    /// A manifest with a config of that type and layers of those bytes.
    pub(crate) fn manifest(&self, config_type: &str, layers: &[&[u8]]) -> Value {
        let mut config = self.put_blob(&b"{}"[..]);
        config["mediaType"] = json!(config_type);
        let layers: Vec<Value> = layers.iter().map(|layer| self.put_blob(layer.to_vec())).collect();
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers})
    }

    async fn answer(&self, request: Request<Incoming>, twist: &Twist) -> Answer {
        let line = format!("{} {}", request.method(), request.uri());
        let authorization =
            request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let content_type =
            request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked = Asked { line, authorization, body: body.clone() };
        self.state.lock().unwrap().asked.push(asked.clone());
        if let Some(answer) = twist(&asked) {
            return answer;
        }
        let mut state = self.state.lock().unwrap();
        let path = uri.path();
        let name = path.rsplit('/').next().unwrap().to_owned();
        let missing =
            || whole(StatusCode::NOT_FOUND, "application/json", r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#);
        match method {
            Method::GET | Method::HEAD if path.contains("/manifests/") => state
                .manifests
                .get(&name)
                .map_or_else(missing, |(kind, bytes)| whole(StatusCode::OK, kind, bytes.clone())),
            Method::GET | Method::HEAD if path.contains("/blobs/") => {
                state.blobs.get(&name).map_or_else(missing, |bytes| {
                    whole(StatusCode::OK, "application/octet-stream", bytes.clone())
                })
            }
            Method::POST => {
                let mut answer = whole(StatusCode::ACCEPTED, "text/plain", "");
                answer.headers_mut().insert(LOCATION, format!("{path}1?state=x").parse().unwrap());
                answer
            }
            Method::PUT if path.contains("/manifests/") => {
                let kind = content_type.unwrap();
                state.manifests.insert(Digest::of(&body).to_string(), (kind.clone(), body.clone()));
                state.manifests.insert(name, (kind, body));
                whole(StatusCode::CREATED, "text/plain", "")
            }
            Method::PUT => {
                let digest = Digest::of(&body).to_string();
                let claimed = format!("state=x&digest={}", digest.replace(':', "%3A"));
                assert_eq!(uri.query(), Some(claimed.as_str()));
                state.blobs.insert(digest, body);
                whole(StatusCode::CREATED, "text/plain", "")
            }
            _ => missing(),
        }
    }
}
