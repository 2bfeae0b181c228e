//! Every request that is made for recordings, apart from watches.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client, Resource as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use portcullis_api::{
    BaseReference, CONTROLLER_MANAGER, ClusterSeccompProfile, ProfileKind, RecordingStatus, SeccompDocument,
    SeccompProfile, SeccompRecording, SeccompRecordingPart, SeccompRecordingPartSpec,
};
use serde_json::json;

use super::Key;
use crate::error::Failure;

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
