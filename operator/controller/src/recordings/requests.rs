//! Every request that is made for recordings, apart from watches.

use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Resource as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, Object, Selector},
};
use portcullis_api::{
    BaseReference, CONTROLLER_MANAGER, ClusterSeccompProfile, INVITED_ANNOTATION, PodSelector, ProfileKind,
    RecordingStatus, SeccompDocument, SeccompProfile, SeccompRecording, SeccompRecordingPart,
    SeccompRecordingPartSpec,
};
use serde::Deserialize;
use serde_json::json;

use super::{Key, invitations::Asking, unrecorded::FoundPod};
use crate::error::Failure;

/// Pods in a page, which is in memory at once.
const PAGE: u32 = 50;

/// A pod, as far as its place and its phase go. Everything else is never read into memory.
type SlimPod = Object<SlimPodSpec, SlimPodStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimPodSpec {
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimPodStatus {
    phase: Option<String>,
}

/// None of one that is on no node yet.
fn found_pod(pod: SlimPod) -> Option<FoundPod> {
    let phase = pod.status.and_then(|status| status.phase);
    Some(FoundPod {
        uid: pod.metadata.uid?,
        name: pod.metadata.name?,
        node: pod.spec.node_name?,
        created: pod.metadata.creation_timestamp?.0,
        over: matches!(phase.as_deref(), Some("Succeeded" | "Failed")),
    })
}

/// The API server.
pub(super) struct Requests {
    client: Client,
}

impl Requests {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Writes a recording's status. The UID keeps it off another recording of the same name.
    pub(super) async fn write_status(
        &self,
        key: &Key,
        uid: &str,
        status: &RecordingStatus,
    ) -> Result<ObjectMeta, Failure> {
        let body = json!({
            "apiVersion": SeccompRecording::api_version(&()),
            "kind": SeccompRecording::kind(&()),
            "metadata": {"namespace": key.namespace, "name": key.name, "uid": uid},
            "status": status,
        });
        let recordings: Api<SeccompRecording> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = recordings.patch_status(&key.name, &ours(), &Patch::Apply(&body)).await;
        written.map(|object| object.metadata).map_err(Failure::of(format!("write the status of {key}")))
    }

    /// Writes the part that holds what nodes saw that are gone, in place of a version of it, or anew. Where it is another version by now,
    /// that is a conflict: what the watch has not shown yet must not be written over.
    pub(super) async fn write_archive(
        &self,
        key: &Key,
        spec: SeccompRecordingPartSpec,
        owner: OwnerReference,
        over: Option<String>,
    ) -> Result<SeccompRecordingPart, Failure> {
        let name = spec.object_name();
        let mut part = SeccompRecordingPart::new(&name, spec);
        part.metadata.namespace = Some(key.namespace.clone());
        part.metadata.owner_references = Some(vec![owner]);
        part.metadata.resource_version = over;
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = match &part.metadata.resource_version {
            Some(_) => parts.replace(&name, &posted(), &part).await,
            None => parts.create(&posted(), &part).await,
        };
        written.map_err(Failure::of(format!("write SeccompRecordingPart {}/{name}", key.namespace)))
    }

    /// Deletes a part, provided that it is still this version.
    pub(super) async fn delete_part(
        &self,
        key: &Key,
        name: &str,
        uid: &str,
        version: &str,
    ) -> Result<(), Failure> {
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), &key.namespace);
        match parts.delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                Err(Failure::of(format!("delete SeccompRecordingPart {}/{name}", key.namespace))(error))
            }
        }
    }

    /// Whether a node has pods that a recording selects, those that have ended among them. The API server itself is asked, and not a copy that
    /// may be behind: a node that is refused loses what it saw.
    pub(super) async fn has_pods(
        &self,
        key: &Key,
        selector: &PodSelector,
        node: &str,
    ) -> Result<bool, Failure> {
        // The recorders record nothing by a selector that can't be read, so none of them asks.
        let Ok(selector) = Selector::try_from(LabelSelector::from(selector)) else { return Ok(false) };
        let on_node = ListParams::default().labels_from(&selector).fields(&format!("spec.nodeName={node}"));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = pods.list_metadata(&on_node.limit(1)).await;
        let what = format!("list the pods of {key} on node {node}");
        found.map(|found| !found.items.is_empty()).map_err(Failure::of(what))
    }

    /// The pods that a recording selects and that a node has taken, those that have ended among them.
    pub(super) async fn pods(&self, key: &Key, selector: &PodSelector) -> Result<Vec<FoundPod>, Failure> {
        // By a selector that can't be read nothing is recorded anywhere.
        let Ok(selector) = Selector::try_from(LabelSelector::from(selector)) else { return Ok(Vec::new()) };
        let pods: Api<SlimPod> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &ApiResource::erase::<Pod>(&()));
        let mut params = ListParams::default().labels_from(&selector).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = pods.list(&params).await.map_err(Failure::of(format!("list the pods of {key}")))?;
            found.extend(page.items.into_iter().filter_map(found_pod));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// Invites a node to write for the recording with this UID, provided that its part is still this version. Gives the next one.
    pub(super) async fn invite(&self, key: &Key, uid: &str, asking: &Asking) -> Result<String, Failure> {
        let body = json!({"metadata": {
            "uid": asking.uid,
            "resourceVersion": asking.version,
            "annotations": {INVITED_ANNOTATION: uid},
        }});
        let params =
            PatchParams { field_manager: Some(CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
        let parts: Api<SeccompRecordingPart> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = parts.patch_metadata(&asking.name, &params, &Patch::Merge(&body)).await;
        let what =
            format!("invite node {} by SeccompRecordingPart {}/{}", asking.node, key.namespace, asking.name);
        written.map(|part| part.metadata.resource_version.unwrap_or_default()).map_err(Failure::of(what))
    }

    /// Reads a base: its document, or none where it has none. The outer none: there is no such profile.
    pub(super) async fn base(
        &self,
        namespace: &str,
        base: &BaseReference,
    ) -> Result<Option<Option<SeccompDocument>>, Failure> {
        let failed = Failure::of(format!("read {} {}", base.kind, base.name));
        let found = match base.kind {
            ProfileKind::SeccompProfile => Api::<SeccompProfile>::namespaced(self.client.clone(), namespace)
                .get_opt(&base.name)
                .await
                .map(|found| found.map(|object| object.spec.profile.profile)),
            ProfileKind::ClusterSeccompProfile => Api::<ClusterSeccompProfile>::all(self.client.clone())
                .get_opt(&base.name)
                .await
                .map(|found| found.map(|object| object.spec.profile.profile)),
        };
        found.map_err(failed)
    }

    /// Reads a profile.
    pub(super) async fn profile(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SeccompProfile>, Failure> {
        let profiles: Api<SeccompProfile> = Api::namespaced(self.client.clone(), namespace);
        profiles.get_opt(name).await.map_err(Failure::of(format!("read SeccompProfile {namespace}/{name}")))
    }

    /// Creates a profile that is not there; where one came meanwhile, that is a conflict.
    pub(super) async fn create_profile(
        &self,
        namespace: &str,
        profile: &SeccompProfile,
    ) -> Result<(), Failure> {
        let name = profile.metadata.name.as_deref().unwrap_or_default();
        let profiles: Api<SeccompProfile> = Api::namespaced(self.client.clone(), namespace);
        let created = profiles.create(&posted(), profile).await;
        created.map(drop).map_err(Failure::of(format!("create SeccompProfile {namespace}/{name}")))
    }

    /// Writes a profile back that was read, provided that nobody wrote it meanwhile.
    pub(super) async fn replace_profile(
        &self,
        namespace: &str,
        profile: &SeccompProfile,
    ) -> Result<(), Failure> {
        let name = profile.metadata.name.as_deref().unwrap_or_default();
        let profiles: Api<SeccompProfile> = Api::namespaced(self.client.clone(), namespace);
        let replaced = profiles.replace(name, &posted(), profile).await;
        replaced.map(drop).map_err(Failure::of(format!("update SeccompProfile {namespace}/{name}")))
    }
}

/// Server-side apply as the controller's field manager. Forced: what the controller owns nobody else does.
fn ours() -> PatchParams {
    PatchParams::apply(CONTROLLER_MANAGER).force()
}

fn posted() -> PostParams {
    PostParams { field_manager: Some(CONTROLLER_MANAGER.to_owned()), ..PostParams::default() }
}
