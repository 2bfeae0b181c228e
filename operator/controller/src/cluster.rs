//! Every request that the controller makes, apart from watches: server-side apply with one field manager for what it owns.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, Object, Status, object::NotUsed},
};
use portcullis_api::{
    BYTES_ANNOTATION, CONTROLLER_MANAGER, ClusterSeccompProfile, FINALIZER, Owner, ProfileKind,
    ProfileResource, ProfileStatus, RevisionMeta, SeccompNode, SeccompNodeSpec, SeccompProfile,
    SeccompRevision,
};
use portcullis_profile::Digest;
use serde_json::{Value, json};

use crate::{
    error::Failure,
    nodes::Machine,
    observe::{Unread, observe},
    revisions::Doomed,
    usage::PodName,
    world::Observed,
};

/// An object of which only the metadata is read.
type Slim = Object<NotUsed, NotUsed>;

/// The API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
}

impl Cluster {
    /// Requests go through this client.
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads a profile; none where it is gone.
    pub(crate) async fn profile(&self, owner: &Owner) -> Result<Option<Observed>, Failure> {
        match owner.namespace() {
            Some(namespace) => {
                self.read(Api::<Unread<SeccompProfile>>::namespaced(self.client.clone(), namespace), owner)
                    .await
            }
            None => self.read(Api::<Unread<ClusterSeccompProfile>>::all(self.client.clone()), owner).await,
        }
    }

    /// The UID of a profile; none where it is gone. An API server that does not serve the kind at all is a failure.
    pub(crate) async fn profile_uid(&self, owner: &Owner) -> Result<Option<String>, Failure> {
        match self.profiles(owner).get_metadata(owner.name()).await {
            Ok(found) => Ok(found.metadata.uid),
            Err(kube::Error::Api(status)) if names(&status, owner) => Ok(None),
            Err(error) => Err(Failure::of(format!("read {owner}"))(error)),
        }
    }

    async fn read<K: ProfileResource>(
        &self,
        api: Api<Unread<K>>,
        owner: &Owner,
    ) -> Result<Option<Observed>, Failure> {
        let found = api.get_opt(owner.name()).await.map_err(Failure::of(format!("read {owner}")))?;
        Ok(found.map(|object| observe(owner.clone(), object, |_, _| false)))
    }

    /// Adds the one finalizer.
    pub(crate) async fn add_finalizer(&self, owner: &Owner, uid: &str) -> Result<ObjectMeta, Failure> {
        let body = patch_of(owner, uid, json!({"finalizers": [FINALIZER]}), None);
        let patched = self.profiles(owner).patch_metadata(owner.name(), &ours(), &Patch::Apply(&body)).await;
        patched.map(|object| object.metadata).map_err(Failure::of(format!("add the finalizer to {owner}")))
    }

    /// Removes the one finalizer, provided that the finalizers are still these.
    pub(crate) async fn remove_finalizer(&self, owner: &Owner, finalizers: &[String]) -> Result<(), Failure> {
        let Some(index) = finalizers.iter().position(|finalizer| finalizer == FINALIZER) else {
            return Ok(());
        };
        let path = format!("/metadata/finalizers/{index}");
        let operations = json!([
            {"op": "test", "path": path, "value": FINALIZER},
            {"op": "remove", "path": path},
        ]);
        let failed = Failure::of(format!("remove the finalizer from {owner}"));
        let patch = match serde_json::from_value(operations) {
            Ok(patch) => Patch::Json::<()>(patch),
            Err(error) => return Err(failed(kube::Error::SerdeError(error))),
        };
        let params =
            PatchParams { field_manager: Some(CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
        self.profiles(owner).patch(owner.name(), &params, &patch).await.map_err(failed)?;
        Ok(())
    }

    /// Writes a profile's status.
    pub(crate) async fn write_status(
        &self,
        owner: &Owner,
        uid: &str,
        status: &ProfileStatus,
    ) -> Result<ObjectMeta, Failure> {
        let body = patch_of(owner, uid, json!({}), Some(json!(status)));
        let patched = self.profiles(owner).patch_status(owner.name(), &ours(), &Patch::Apply(&body)).await;
        patched.map(|object| object.metadata).map_err(Failure::of(format!("write the status of {owner}")))
    }

    /// Creates a revision, or raises its sequence.
    pub(crate) async fn write_revision(&self, meta: &RevisionMeta, content: &str) -> Result<(), Failure> {
        let mut metadata = meta.to_metadata();
        let bytes = (BYTES_ANNOTATION.to_owned(), content.len().to_string());
        metadata.annotations.get_or_insert_default().extend([bytes]);
        let name = metadata.name.clone().unwrap_or_default();
        let body = json!({
            "apiVersion": SeccompRevision::api_version(&()),
            "kind": SeccompRevision::kind(&()),
            "metadata": metadata,
            "spec": {"content": content},
        });
        let revisions: Api<SeccompRevision> = Api::all(self.client.clone());
        let written = revisions.patch_metadata(&name, &ours(), &Patch::Apply(&body)).await;
        written.map_err(Failure::of(format!("write SeccompRevision {name} of {}", meta.owner)))?;
        Ok(())
    }

    /// Reads a revision's content; none where it is gone.
    pub(crate) async fn revision_content(
        &self,
        owner: &Owner,
        digest: &Digest,
    ) -> Result<Option<Arc<str>>, Failure> {
        let revisions: Api<SeccompRevision> = Api::all(self.client.clone());
        let name = owner.revision_name(digest);
        let found =
            revisions.get_opt(&name).await.map_err(Failure::of(format!("read SeccompRevision {name}")))?;
        Ok(found.map(|revision| revision.spec.content.into()))
    }

    /// Deletes a revision, if it is still this object. Says whether it was there.
    pub(crate) async fn delete_revision(&self, doomed: &Doomed) -> Result<bool, Failure> {
        let revisions: Api<SeccompRevision> = Api::all(self.client.clone());
        let name = doomed.name();
        delete(&revisions, &name, doomed.object_uid.clone())
            .await
            .map_err(Failure::of(format!("delete SeccompRevision {name}")))
    }

    /// Creates a node's report object, owned by the node so that it goes with it, or writes down the machine that its status is told of.
    pub(crate) async fn write_report(
        &self,
        node: &str,
        node_uid: &str,
        machine: Option<Machine>,
    ) -> Result<(), Failure> {
        let (machine_id, boot_id) = machine.map(|machine| (machine.id, machine.boot)).unzip();
        let body = json!({
            "apiVersion": SeccompNode::api_version(&()),
            "kind": SeccompNode::kind(&()),
            "metadata": {
                "name": node,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid}],
            },
            "spec": SeccompNodeSpec { machine_id, boot_id },
        });
        let reports: Api<SeccompNode> = Api::all(self.client.clone());
        let written = reports.patch_metadata(node, &ours(), &Patch::Apply(&body)).await;
        written.map_err(Failure::of(format!("write SeccompNode {node}")))?;
        Ok(())
    }

    /// Says what is known of a node besides what its agent reports, in the object of this UID.
    pub(crate) async fn write_report_conditions(
        &self,
        node: &str,
        uid: &str,
        conditions: &[Condition],
    ) -> Result<(), Failure> {
        let body = json!({
            "apiVersion": SeccompNode::api_version(&()),
            "kind": SeccompNode::kind(&()),
            "metadata": {"name": node, "uid": uid},
            "status": {"conditions": conditions},
        });
        let reports: Api<Slim> = Api::all_with(self.client.clone(), &ApiResource::erase::<SeccompNode>(&()));
        let written = reports.patch_status(node, &ours(), &Patch::Apply(&body)).await;
        written.map_err(Failure::of(format!("write the conditions of SeccompNode {node}")))?;
        Ok(())
    }

    /// Deletes a report object that belongs to no node, if it is still this one.
    pub(crate) async fn delete_report(&self, node: &str, uid: Option<String>) -> Result<bool, Failure> {
        let reports: Api<SeccompNode> = Api::all(self.client.clone());
        delete(&reports, node, uid).await.map_err(Failure::of(format!("delete SeccompNode {node}")))
    }

    fn profiles(&self, owner: &Owner) -> Api<Slim> {
        let client = self.client.clone();
        match owner.namespace() {
            Some(namespace) => {
                Api::namespaced_with(client, namespace, &ApiResource::erase::<SeccompProfile>(&()))
            }
            None => Api::all_with(client, &ApiResource::erase::<ClusterSeccompProfile>(&())),
        }
    }
}

/// Whether an answer says that this very profile is not there; without its definition there is no word of its name.
fn names(status: &Status, owner: &Owner) -> bool {
    status.is_not_found() && status.details.as_ref().is_some_and(|details| details.name == owner.name())
}

/// A revision as an Event's object.
pub(crate) fn revision_reference(owner: &Owner, digest: &Digest, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some(SeccompRevision::api_version(&()).into_owned()),
        kind: Some(SeccompRevision::kind(&()).into_owned()),
        name: Some(owner.revision_name(digest)),
        uid,
        ..ObjectReference::default()
    }
}

/// A pod as an Event's object.
pub(crate) fn pod_reference(pod: &PodName) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: pod.uid.clone(),
        ..ObjectReference::default()
    }
}

/// An Event's object.
pub(crate) fn reference(owner: &Owner, uid: Option<String>) -> ObjectReference {
    let api_version = match owner.kind() {
        ProfileKind::SeccompProfile => SeccompProfile::api_version(&()),
        ProfileKind::ClusterSeccompProfile => ClusterSeccompProfile::api_version(&()),
    };
    ObjectReference {
        api_version: Some(api_version.into_owned()),
        kind: Some(owner.kind().to_string()),
        name: Some(owner.name().to_owned()),
        namespace: owner.namespace().map(str::to_owned),
        uid,
        ..ObjectReference::default()
    }
}

/// Server-side apply as the controller's field manager. Forced: what the controller owns nobody else does.
fn ours() -> PatchParams {
    PatchParams::apply(CONTROLLER_MANAGER).force()
}

/// An apply patch of a profile. It names the UID, so that it never reaches, or creates, another object of the same name.
fn patch_of(owner: &Owner, uid: &str, metadata: Value, status: Option<Value>) -> Value {
    let reference = reference(owner, None);
    let mut body = json!({
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "metadata": metadata,
    });
    body["metadata"]["name"] = json!(owner.name());
    body["metadata"]["uid"] = json!(uid);
    if let Some(namespace) = owner.namespace() {
        body["metadata"]["namespace"] = json!(namespace);
    }
    if let Some(status) = status {
        body["status"] = status;
    }
    body
}

async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>) -> Result<bool, kube::Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug + ResourceExt,
{
    let preconditions = uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
    match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Ok(true),
        // Gone, or another object by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error),
    }
}
