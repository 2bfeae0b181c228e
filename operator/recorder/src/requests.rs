//! Requests to the API server, apart from the watches of pods and recordings.

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::PartialObjectMeta,
    runtime::watcher,
};
use portcullis_api::{InvalidPart, LostCounts, RECORDER_MANAGER, SeccompRecordingPart, is_invited};
use portcullis_profile::recording::{Ledger, Losses, Platform};
use serde_json::json;
use tokio::time::timeout;

use crate::session::Key;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the controller may take to answer a question before it is put again. Another replica leads within seconds.
const CONTROLLERS_PATIENCE: Duration = Duration::from_secs(300);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The API server refused it or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// No answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// The answer to a question could not be watched for.
    #[error(transparent)]
    Watch(#[from] Box<watcher::Error>),
    /// The controller has not answered.
    #[error("the controller has not answered within {} s; does it run?", CONTROLLERS_PATIENCE.as_secs())]
    Unanswered,
}

impl Failed {
    /// Whether the recording's namespace is being deleted, or is gone: then there is nothing to write to, and nothing is wrong.
    pub(crate) fn is_of_a_namespace_that_goes(&self) -> bool {
        let Self::Api(kube::Error::Api(status)) = self else { return false };
        // `NamespaceTerminatingCause` in k8s.io/api/core/v1/types.go.
        let terminating = status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.reason == "NamespaceTerminating");
        terminating || status.code == 404
    }

    /// Whether a part may not be written, or is not there: so it is where the node is not invited.
    pub(crate) fn may_be_of_no_invitation(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
    }
}

/// What the node's part says, read at the start of a recording.
#[derive(Debug)]
pub(crate) struct Read {
    /// Whether the controller invites the node to write it.
    pub(crate) invited: bool,
    /// Empty where there is none yet.
    pub(crate) ledger: Ledger,
    /// The part is there and can't be read.
    pub(crate) invalid: Option<InvalidPart>,
    /// Where it is recorded.
    pub(crate) platform: Option<Platform>,
    /// The recording's generation that an earlier recorder took in.
    pub(crate) observed_generation: Option<i64>,
    /// What the node's counters of losses said when the recording began here.
    pub(crate) lost_before: Option<Losses>,
    /// The UID of the Node.
    pub(crate) node_uid: Option<String>,
}

/// The API server.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    node: String,
}

impl Requests {
    pub(crate) fn new(client: Client, node: String) -> Self {
        Self { client, node }
    }

    /// Reads this node's part of a recording, and what the node runs.
    pub(crate) async fn read(&self, key: &Key, uid: &str) -> Result<Read, Failed> {
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), &key.namespace);
        let part = patient(parts.get_opt(&format!("{}.{}", key.name, self.node))).await?;
        // Of an earlier recording of that name: it goes with its owner.
        let part = part.filter(|part| part.spec.recording_uid == uid);
        let invited = part.as_ref().is_some_and(SeccompRecordingPart::counts);
        let observed_generation = part.as_ref().and_then(|part| part.spec.observed_generation);
        let lost_before = part.as_ref().and_then(|part| part.spec.lost_before).map(LostCounts::losses);
        let (ledger, invalid) = match part.map(|part| part.spec.ledger()) {
            None => (Ledger::default(), None),
            Some(Ok(ledger)) => (ledger, None),
            Some(Err(invalid)) => (Ledger::default(), Some(invalid)),
        };
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node = patient(nodes.get_opt(&self.node)).await?;
        let node_uid = node.as_ref().and_then(|node| node.metadata.uid.clone());
        Ok(Read {
            invited,
            ledger,
            invalid,
            platform: node.and_then(platform),
            observed_generation,
            lost_before,
            node_uid,
        })
    }

    /// Asks by an empty part whether this node may write for a recording, and waits until the controller has invited it or has deleted the part.
    /// One that is there already asks as well.
    pub(crate) async fn ask(&self, question: &SeccompRecordingPart) -> Result<bool, Failed> {
        let namespace = question.metadata.namespace.as_deref().unwrap_or_default();
        let name = question.metadata.name.as_deref().unwrap_or_default();
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams { field_manager: Some(RECORDER_MANAGER.to_owned()), ..PostParams::default() };
        match patient(parts.create(&params, question)).await {
            Ok(_) => {}
            Err(Failed::Api(kube::Error::Api(status))) if status.code == 409 => {}
            Err(failed) => return Err(failed),
        }
        let metadata: Api<PartialObjectMeta<SeccompRecordingPart>> =
            Api::namespaced(self.client.clone(), namespace);
        let answer = answer(metadata, name, &question.spec.recording_uid);
        timeout(CONTROLLERS_PATIENCE, answer).await.map_err(|_| Failed::Unanswered)?
    }

    /// Writes this node's part of a recording.
    pub(crate) async fn write(&self, part: &SeccompRecordingPart) -> Result<(), Failed> {
        let namespace = part.metadata.namespace.as_deref().unwrap_or_default();
        let name = part.metadata.name.as_deref().unwrap_or_default();
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), namespace);
        let body = json!(part);
        // Forced: nobody else writes it.
        let params = PatchParams::apply(RECORDER_MANAGER).force();
        patient(parts.patch(name, &params, &Patch::Apply(&body))).await.map(drop)
    }
}

/// Watches a part until it says that its node is invited, or is gone. Nothing but this one object is watched: all nodes' parts would be a
/// load that grows with the square of the nodes.
async fn answer(
    api: Api<PartialObjectMeta<SeccompRecordingPart>>,
    name: &str,
    recording_uid: &str,
) -> Result<bool, Failed> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, config));
    let mut is_there = false;
    while let Some(event) = events.next().await {
        match event.map_err(Box::new)? {
            watcher::Event::Init => is_there = false,
            watcher::Event::InitApply(part) | watcher::Event::Apply(part) => {
                if is_invited(&part.metadata, recording_uid) {
                    return Ok(true);
                }
                is_there = true;
            }
            watcher::Event::InitDone if is_there => {}
            watcher::Event::InitDone | watcher::Event::Delete(_) => return Ok(false),
        }
    }
    Err(Failed::Unanswered)
}

fn platform(node: Node) -> Option<Platform> {
    let info = node.status?.node_info?;
    Some(Platform { kernel: info.kernel_version, runtime: info.container_runtime_version })
}

async fn patient<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failed> {
    timeout(PATIENCE, request).await.map_err(|_| Failed::TimedOut)?.map_err(Failed::from)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use http::{Request, Response};
    use kube::client::Body;
    use portcullis_api::{INVITED_ANNOTATION, SeccompRecordingPartSpec};
    use serde_json::Value;
    use tower_test::mock::{self, Handle, SendResponse};

    use super::*;

    const PARTS: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordingparts";

    struct Server(Pin<Box<Handle<Request<Body>, Response<Body>>>>);

    impl Server {
        /// The next request has this method, and its path and query begin and go on like this.
        async fn asked(&mut self, method: &str, query: &str) -> SendResponse<Response<Body>> {
            let (request, answer) = self.0.next_request().await.expect("a request");
            assert_eq!((request.method().as_str(), request.uri().path()), (method, PARTS));
            let asked = request.uri().query().unwrap_or_default();
            assert!(asked.contains(query), "{asked}");
            answer
        }
    }

    fn respond(answer: SendResponse<Response<Body>>, code: u16, body: &Value) {
        let body = Body::from(body.to_string().into_bytes());
        answer.send_response(Response::builder().status(code).body(body).expect("a response"));
    }

    fn metadata(invited_for: Option<&str>) -> Value {
        let annotations = invited_for.map_or(json!({}), |uid| json!({INVITED_ANNOTATION: uid}));
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"namespace": "shop", "name": "web.n1", "resourceVersion": "5", "annotations": annotations},
        })
    }

    fn list(parts: &[Value]) -> Value {
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": "5"}, "items": parts,
        })
    }

    fn question() -> SeccompRecordingPart {
        let spec = SeccompRecordingPartSpec::asking("web", "uid-1", "n1");
        let mut part = SeccompRecordingPart::new(&spec.object_name(), spec);
        part.metadata.namespace = Some("shop".to_owned());
        part
    }

    /// What a recorder learns that asks, given how its creation is answered, what is listed then, and what the watch shows.
    async fn learns(created: u16, listed: &[Value], watched: Option<(&str, Value)>) -> Result<bool, Failed> {
        let (service, server) = mock::pair();
        let mut server = Server(Box::pin(server));
        let requests = Requests::new(Client::new(service, "default"), "n1".to_owned());
        let answers = async {
            let create = server.asked("POST", "fieldManager=portcullis-recorder").await;
            if created == 201 {
                respond(create, created, &json!(question()));
            } else {
                let message = "refused";
                respond(
                    create,
                    created,
                    &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "", "code": created}),
                );
            }
            if !matches!(created, 201 | 409) {
                return;
            }
            // Of all parts this one alone.
            respond(server.asked("GET", "fieldSelector=metadata.name%3Dweb.n1").await, 200, &list(listed));
            if let Some((kind, object)) = watched {
                respond(
                    server.asked("GET", "watch=true").await,
                    200,
                    &json!({"type": kind, "object": object}),
                );
            }
        };
        tokio::join!(async { requests.ask(&question()).await }, answers).0
    }

    #[tokio::test]
    async fn who_asks_learns_what_the_controller_makes_of_it() {
        let waits = [metadata(None)];
        let invited = || metadata(Some("uid-1"));
        assert!(learns(201, &waits, Some(("MODIFIED", invited()))).await.unwrap());
        assert!(!learns(201, &waits, Some(("DELETED", metadata(None)))).await.unwrap());
        assert!(!learns(201, &[], None).await.unwrap(), "it was deleted before the watch began");
        assert!(learns(409, &[invited()], None).await.unwrap(), "a part that is there asks as well");
        let earlier = [metadata(Some("uid-0"))];
        let goes = Some(("DELETED", metadata(Some("uid-0"))));
        assert!(!learns(409, &earlier, goes).await.unwrap(), "that is of an earlier recording of this name");
    }

    #[tokio::test]
    async fn a_question_that_is_refused_is_a_failure() {
        let failed = learns(403, &[], None).await.unwrap_err();
        assert!(failed.may_be_of_no_invitation(), "{failed}");
    }
}
