//! `SeccompRevision`: one rendered, immutable content of a profile.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, KubeSchema};
use portcullis_profile::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    BYTES_ANNOTATION, DIGEST_ANNOTATION, InvalidOwner, MAX_REVOCATION_LENGTH, OWNER_KIND_LABEL,
    OWNER_NAME_LABEL, OWNER_NAMESPACE_LABEL, OWNER_UID_ANNOTATION, Owner, ProfileKind, REVOKED_ANNOTATION,
    SEQUENCE_ANNOTATION,
};

/// One content of a profile. Written by the controller alone.
///
/// Everything but the content is in the metadata (see [`RevisionMeta`]), so that an agent can list what there is without
/// reading what it has.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "SeccompRevision",
    plural = "seccomprevisions",
    shortname = "sr",
    category = "portcullis",
    derive = "Default",
    doc = "One rendered content of a profile, written by the controller alone. Labels name its profile, annotations its digest and place in the history.",
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".metadata.labels.portcullis\\.dev/owner-kind",
        description = "The profile's kind"
    ),
    printcolumn(
        name = "Namespace",
        type_ = "string",
        json_path = ".metadata.labels.portcullis\\.dev/owner-namespace",
        description = "The profile's namespace"
    ),
    printcolumn(
        name = "Profile",
        type_ = "string",
        json_path = ".metadata.labels.portcullis\\.dev/owner-name",
        description = "The profile's name"
    ),
    printcolumn(
        name = "Sequence",
        type_ = "string",
        json_path = ".metadata.annotations.portcullis\\.dev/sequence",
        description = "Place in the profile's history: the highest is served at the profile's path"
    ),
    printcolumn(
        name = "Revoked",
        type_ = "string",
        json_path = ".metadata.annotations.portcullis\\.dev/revoked",
        description = "Why an administrator revoked it: no node has its files, whatever names them"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".metadata.annotations.portcullis\\.dev/digest",
        priority = 1,
        description = "Digest of the content"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompRevisionSpec {
    /// The bytes of the file, pure OCI JSON. Immutable.
    // Agents write what they are given, so whoever takes the controller's token over could take every filter away with `{}`. A content
    // begins and ends as `Profile::render` has it; what it allows can't be judged here.
    #[schemars(length(max = crate::MAX_CONTENT_BYTES))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("a revision's content never changes: write another revision"),
        validation = Rule::new("self.startsWith('{\\n  \"defaultAction\": \"SCMP_ACT_') && self.endsWith('\\n}\\n')")
            .message("a revision's content is a whole filter as the controller renders it, with defaultAction first: runtimes load no filter at all for {}"),
    )]
    pub content: String,
}

/// What a revision's metadata says: labels name the owner, annotations the digest, the sequence and the owner's UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RevisionMeta {
    /// Whose content this is.
    pub owner: Owner,
    /// UID of the owner.
    pub owner_uid: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Of an owner's revisions the highest is the current one.
    pub sequence: i64,
    /// Why an administrator revoked it, where one did. The controller never writes this.
    pub revoked: Option<String>,
}

/// A revision object that the controller did not write so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRevision {
    /// A label or annotation is missing.
    #[error("SeccompRevision {name}: metadata has no {key}")]
    Missing {
        /// The object.
        name: String,
        /// The label or annotation.
        key: &'static str,
    },
    /// A label or annotation can't be read.
    #[error("SeccompRevision {name}: {key}: {problem}")]
    Invalid {
        /// The object.
        name: String,
        /// The label or annotation.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The name does not follow from the owner and the digest.
    #[error("SeccompRevision {name}: its owner and digest make its name {expected}")]
    Name {
        /// The object.
        name: String,
        /// What it would have to be called.
        expected: String,
    },
}

impl RevisionMeta {
    /// Reads a revision's metadata.
    ///
    /// # Errors
    /// Where it is not what [`RevisionMeta::to_metadata`] writes: a part is missing, no path may be made of the owner, or the
    /// object's name belongs to another owner or content.
    pub fn from_metadata(metadata: &ObjectMeta) -> Result<Self, InvalidRevision> {
        let name = metadata.name.clone().unwrap_or_default();
        let find = |map: &Option<BTreeMap<String, String>>, key: &'static str| {
            map.as_ref().and_then(|map| map.get(key)).cloned()
        };
        let need = |value: Option<String>, key: &'static str| {
            value.ok_or_else(|| InvalidRevision::Missing { name: name.clone(), key })
        };
        let invalid = |key: &'static str, problem: String| InvalidRevision::Invalid {
            name: name.clone(),
            key,
            problem,
        };
        let kind = need(find(&metadata.labels, OWNER_KIND_LABEL), OWNER_KIND_LABEL)?;
        let owner_name = need(find(&metadata.labels, OWNER_NAME_LABEL), OWNER_NAME_LABEL)?;
        let owner = if kind == ProfileKind::SeccompProfile.as_str() {
            let namespace = need(find(&metadata.labels, OWNER_NAMESPACE_LABEL), OWNER_NAMESPACE_LABEL)?;
            Owner::namespaced(&namespace, &owner_name)
        } else if kind == ProfileKind::ClusterSeccompProfile.as_str() {
            Owner::cluster(&owner_name)
        } else {
            return Err(invalid(OWNER_KIND_LABEL, format!("{kind:?} is no kind of profile")));
        }
        .map_err(|error| match &error {
            InvalidOwner::Name(_) => invalid(OWNER_NAME_LABEL, error.to_string()),
            InvalidOwner::Namespace(_) => invalid(OWNER_NAMESPACE_LABEL, error.to_string()),
        })?;
        let digest: Digest = need(find(&metadata.annotations, DIGEST_ANNOTATION), DIGEST_ANNOTATION)?
            .parse()
            .map_err(|error| invalid(DIGEST_ANNOTATION, format!("{error}")))?;
        let sequence = need(find(&metadata.annotations, SEQUENCE_ANNOTATION), SEQUENCE_ANNOTATION)?
            .parse()
            .map_err(|error| invalid(SEQUENCE_ANNOTATION, format!("{error}")))?;
        let owner_uid = need(find(&metadata.annotations, OWNER_UID_ANNOTATION), OWNER_UID_ANNOTATION)?;
        let expected = owner.revision_name(&digest);
        if name != expected {
            return Err(InvalidRevision::Name { name, expected });
        }
        let revoked = find(&metadata.annotations, REVOKED_ANNOTATION);
        let revoked = revoked.map(|reason| reason.chars().take(MAX_REVOCATION_LENGTH).collect());
        Ok(Self { owner, owner_uid, digest, sequence, revoked })
    }

    /// The metadata of the object that holds this revision, as the controller writes it: without a revocation, which is not its own.
    #[must_use]
    pub fn to_metadata(&self) -> ObjectMeta {
        let mut labels = BTreeMap::from([
            (OWNER_KIND_LABEL.to_owned(), self.owner.kind().to_string()),
            (OWNER_NAME_LABEL.to_owned(), self.owner.name().to_owned()),
        ]);
        if let Some(namespace) = self.owner.namespace() {
            labels.insert(OWNER_NAMESPACE_LABEL.to_owned(), namespace.to_owned());
        }
        ObjectMeta {
            name: Some(self.owner.revision_name(&self.digest)),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([
                (DIGEST_ANNOTATION.to_owned(), self.digest.to_string()),
                (SEQUENCE_ANNOTATION.to_owned(), self.sequence.to_string()),
                (OWNER_UID_ANNOTATION.to_owned(), self.owner_uid.clone()),
            ])),
            ..ObjectMeta::default()
        }
    }
}

/// How many bytes a revision's content has, as its metadata says; as many as one may have where it says nothing.
#[must_use]
pub fn content_bytes(metadata: &ObjectMeta) -> u64 {
    let said = metadata.annotations.as_ref().and_then(|annotations| annotations.get(BYTES_ANNOTATION));
    let most = u64::try_from(crate::MAX_CONTENT_BYTES).unwrap_or(u64::MAX);
    said.and_then(|bytes| bytes.parse().ok()).map_or(most, |bytes: u64| bytes.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(owner: Owner) -> RevisionMeta {
        RevisionMeta {
            owner,
            owner_uid: "u-1".to_owned(),
            digest: Digest::of(b"x"),
            sequence: 7,
            revoked: None,
        }
    }

    #[test]
    fn round_trips_through_metadata() {
        for owner in [Owner::namespaced("shop", "web").unwrap(), Owner::cluster("web").unwrap()] {
            let meta = meta(owner);
            assert_eq!(RevisionMeta::from_metadata(&meta.to_metadata()), Ok(meta));
        }
    }

    #[test]
    fn what_does_not_tell_its_size_counts_as_the_largest() {
        let mut metadata = meta(Owner::cluster("web").unwrap()).to_metadata();
        assert_eq!(content_bytes(&metadata), 256 * 1024);
        metadata.annotations.as_mut().unwrap().insert(BYTES_ANNOTATION.to_owned(), "12".to_owned());
        assert_eq!(content_bytes(&metadata), 12);
    }

    #[test]
    fn is_revoked_by_an_annotation_whatever_it_says() {
        for (reason, told) in [("", String::new()), (&*"x".repeat(1000), "x".repeat(MAX_REVOCATION_LENGTH))] {
            let mut metadata = meta(Owner::cluster("web").unwrap()).to_metadata();
            metadata.annotations.as_mut().unwrap().insert(REVOKED_ANNOTATION.to_owned(), reason.to_owned());
            let revoked = RevisionMeta::from_metadata(&metadata).unwrap();
            assert_eq!(revoked.revoked, Some(told));
            assert_eq!(RevisionMeta::from_metadata(&revoked.to_metadata()).unwrap().revoked, None);
        }
    }

    #[test]
    fn refuses_an_object_under_another_name() {
        let mut metadata = meta(Owner::cluster("web").unwrap()).to_metadata();
        metadata.name = Some("csp.other.000000000000".to_owned());
        let error = RevisionMeta::from_metadata(&metadata).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "SeccompRevision csp.other.000000000000: its owner and digest make its name csp.web."
            ),
            "{error}"
        );
    }

    #[test]
    fn refuses_a_hostile_owner() {
        let mut metadata = meta(Owner::namespaced("shop", "web").unwrap()).to_metadata();
        metadata.labels.as_mut().unwrap().insert(OWNER_NAMESPACE_LABEL.to_owned(), "..".to_owned());
        assert!(matches!(
            RevisionMeta::from_metadata(&metadata),
            Err(InvalidRevision::Invalid { key: OWNER_NAMESPACE_LABEL, .. })
        ));
    }
}
