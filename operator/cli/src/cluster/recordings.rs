//! Recordings, and what all their parts come to.

use anyhow::{Result, bail};
use kube::{Api, Resource, ResourceExt as _, api::ListParams};
use portcullis_api::{
    BaseReference, ClusterSeccompProfile, PartContent, ProfileKind, RecordingBase, RecordingCondition,
    SeccompDocument, SeccompProfile, SeccompRecording, SeccompRecordingPart, UnrecordedNode, merge_parts,
};
use portcullis_profile::recording::Tally;

use super::{
    Cluster,
    failure::{Attempt, FailureKind, not_found},
    pages, profiles,
};

/// Parts in a page: one has up to 1 MiB.
const PAGE: u32 = 20;

/// What was recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) tally: Tally,
    /// Parts that can't be read, in words.
    pub(crate) problems: Vec<String>,
    /// Nodes whose recorder asked to write while no pod of the recording was there.
    pub(crate) refused: Vec<String>,
    /// The containers that the recording names.
    pub(crate) containers: Vec<String>,
}

/// The recording of a name.
pub(crate) async fn find(cluster: &Cluster, name: &str) -> Result<SeccompRecording> {
    let missing = || {
        not_found(format!(
            "there is no SeccompRecording {name:?} in the namespace {}; `kubectl seccomp record list -A` lists those that there are",
            cluster.namespace
        ))
    };
    if !profiles::can_be_a_name(name) {
        return Err(missing());
    }
    let attempt = Attempt::new::<SeccompRecording>("get", Some(&cluster.namespace));
    let api: Api<SeccompRecording> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    api.get(name).await.map_err(|error| {
        let error = attempt.failed(&error);
        if FailureKind::of_attempt(&error) == FailureKind::NotFound { missing() } else { error }
    })
}

/// `SeccompRecording shop/web`.
pub(crate) fn describe(recording: &SeccompRecording) -> String {
    let namespace = recording.namespace().unwrap_or_default();
    format!("SeccompRecording {namespace}/{}", recording.name_any())
}

/// Reads what all parts of a recording come to.
pub(crate) async fn recorded(cluster: &Cluster, recording: &SeccompRecording) -> Result<Recorded> {
    let mut parts: Vec<(String, Result<PartContent, String>)> = Vec::new();
    each_part(cluster, recording, |part| {
        // What a node writes counts once the controller has seen pods of the recording there.
        if !part.counts() {
            return;
        }
        let name = part.name_any();
        let content = part
            .spec
            .content()
            .map_err(|error| format!("SeccompRecordingPart {name} can't be read: {error}"));
        parts.push((part.metadata.uid.unwrap_or_default(), content));
    })
    .await?;
    let mut tally = merge_parts(parts.iter().map(|(uid, content)| (uid.as_str(), content)));
    let unrecorded = recording.status.iter().flat_map(|status| &status.unrecorded);
    tally.absences.extend(unrecorded.map(UnrecordedNode::absence));
    let problems = parts.into_iter().filter_map(|(_, content)| content.err()).collect();
    let refused = recording.status.as_ref().map(|status| status.refused_nodes.clone()).unwrap_or_default();
    Ok(Recorded { tally, problems, refused, containers: recording.spec.containers.clone() })
}

/// Gives each part of this very recording to a closure.
async fn each_part(
    cluster: &Cluster,
    recording: &SeccompRecording,
    mut each: impl FnMut(SeccompRecordingPart),
) -> Result<()> {
    let (name, uid) = (recording.name_any(), recording.metadata.uid.clone().unwrap_or_default());
    let namespace = recording.namespace().unwrap_or_else(|| cluster.namespace.clone());
    let api: Api<SeccompRecordingPart> = Api::namespaced(cluster.client.clone(), &namespace);
    let attempt = Attempt::new::<SeccompRecordingPart>("list", Some(&namespace));
    let is_of_it =
        |part: &SeccompRecordingPart| part.spec.recording == name && part.spec.recording_uid == uid;
    let params = ListParams::default().limit(PAGE);
    let listed = pages::each(&api, params, |part: SeccompRecordingPart| {
        if is_of_it(&part) {
            each(part);
        }
    });
    listed.await.map_err(|error| attempt.failed(&error))
}

/// What it means that nodes were refused; none where none was.
pub(crate) fn refused(nodes: &[String]) -> Option<String> {
    (!nodes.is_empty()).then(|| {
        format!(
            "{}: the recorder asked to write, and no pod of the recording was there; what one called that lived for a moment is missing",
            nodes.join(", ")
        )
    })
}

/// Why nothing was recorded yet, as far as the recording's status says.
pub(crate) fn nothing_yet(recording: &SeccompRecording) -> String {
    let said = recording.status.as_ref().and_then(|status| {
        let kind = RecordingCondition::Recording.as_str();
        status.conditions.iter().find(|condition| condition.type_ == kind)
    });
    match said {
        Some(condition) => condition.message.clone(),
        None => {
            "nothing was recorded yet, and the controller has not looked at it: is Portcullis installed with \
                 recorder.enabled?"
                .to_owned()
        }
    }
}

/// Reads the profiles that one is to be united with.
pub(crate) async fn bases(
    cluster: &Cluster,
    namespace: &str,
    bases: &[BaseReference],
) -> Result<Vec<RecordingBase>> {
    let mut read = Vec::new();
    for base in bases {
        let document = match base.kind {
            ProfileKind::SeccompProfile => {
                let api = Api::<SeccompProfile>::namespaced(cluster.client.clone(), namespace);
                document(&api, base, Some(namespace), |object| object.spec.profile.profile).await?
            }
            ProfileKind::ClusterSeccompProfile => {
                let api = Api::<ClusterSeccompProfile>::all(cluster.client.clone());
                document(&api, base, None, |object| object.spec.profile.profile).await?
            }
        };
        read.push(RecordingBase { name: format!("{} {}", base.kind, base.name), document });
    }
    Ok(read)
}

async fn document<K>(
    api: &Api<K>,
    base: &BaseReference,
    namespace: Option<&str>,
    document: impl FnOnce(K) -> Option<SeccompDocument>,
) -> Result<Option<SeccompDocument>>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.get_opt(&base.name).await {
        Ok(Some(object)) => Ok(document(object)),
        Ok(None) => bail!("bases: there is no {} {}", base.kind, base.name),
        Err(error) => Err(Attempt::new::<K>("get", namespace).failed(&error)),
    }
}
