//! Manifests, and what they describe.

use http::{HeaderMap, header};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use portcullis_profile::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Platform, error::shown, format::SECCOMP_MEDIA_TYPE, index::INDEX_MEDIA_TYPE};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_IMAGE_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The types of an artifact whose maker gave none, as oras-go 1.0 (and with it the Security Profiles Operator) and 1.1
/// write them.
const UNKNOWN_ARTIFACTS: [&str; 2] =
    ["application/vnd.unknown.config.v1+json", "application/vnd.unknown.artifact.v1"];

/// What is asked for.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// What a manifest describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A profile in KEP-6061's format.
    SeccompArtifact,
    /// Custom resources of the Security Profiles Operator, as its `spoc push` publishes them.
    OperatorProfile,
    /// A container image, which may have a profile among its files.
    Image,
    /// Images for several platforms.
    ImageIndex,
    /// An index of shared profiles.
    ProfileIndex,
    /// Something else.
    Other,
}

impl Kind {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SeccompArtifact => "seccomp profile (OCI artifact, KEP-6061)",
            Self::OperatorProfile => "custom resource of the Security Profiles Operator",
            Self::Image => "container image",
            Self::ImageIndex => "container image for several platforms",
            Self::ProfileIndex => "index of shared profiles",
            Self::Other => "neither a seccomp profile nor a container image",
        }
    }
}

/// A manifest that was verified.
pub(crate) struct Manifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) media_type: &'static str,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    One(Box<ImageManifest>),
    Several(Box<ImageIndex>),
}

/// The media type of an answer, where it is a manifest's.
pub(crate) fn media_type(headers: &HeaderMap) -> Result<&'static str, String> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(said) = said else { return Err("it sent something without a content type".to_owned()) };
    let essence = said.split(';').next().unwrap_or_default().trim();
    ACCEPTED.into_iter().find(|accepted| essence.eq_ignore_ascii_case(accepted)).ok_or_else(|| {
        format!(
            "it sent {}, which is no manifest: is this a registry, and is the name right?",
            shown(essence)
        )
    })
}

impl Manifest {
    pub(crate) fn read(bytes: Vec<u8>, digest: Digest, media_type: &'static str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outline {
            schema_version: Option<u64>,
            media_type: Option<String>,
            // What one kind of manifest has and the other has not: one that has both is two things to two readers.
            manifests: Option<Value>,
            layers: Option<Value>,
        }
        let fail =
            |error: serde_json::Error| format!("its manifest can't be read: {}", shown(&error.to_string()));
        let outline: Outline = serde_json::from_slice(&bytes).map_err(fail)?;
        if outline.schema_version != Some(2) {
            return Err("its manifest has no schemaVersion 2".to_owned());
        }
        if let Some(own) = outline.media_type.filter(|own| own != media_type) {
            return Err(format!("it sent a manifest of {} as {media_type}", shown(&own)));
        }
        if outline.manifests.is_some() && outline.layers.is_some() {
            return Err("its manifest has both manifests and layers".to_owned());
        }
        let content = if [OCI_INDEX, DOCKER_LIST].contains(&media_type) {
            Content::Several(serde_json::from_slice(&bytes).map_err(fail)?)
        } else {
            Content::One(serde_json::from_slice(&bytes).map_err(fail)?)
        };
        Ok(Self { bytes, digest, media_type, content })
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.content {
            Content::Several(_) => Kind::ImageIndex,
            Content::One(manifest) => kind(manifest),
        }
    }
}

/// What an artifact says it is: by its config, or by `artifactType` where the config is the empty one (KEP-6061, 'OCI
/// Artifact Format').
pub(crate) fn artifact_type(manifest: &ImageManifest) -> Option<&str> {
    match manifest.config().media_type() {
        MediaType::EmptyJSON => manifest.artifact_type().as_ref().map(AsRef::as_ref),
        config => Some(config.as_ref()),
    }
}

pub(crate) fn kind(manifest: &ImageManifest) -> Kind {
    match artifact_type(manifest) {
        Some(SECCOMP_MEDIA_TYPE) => Kind::SeccompArtifact,
        Some(INDEX_MEDIA_TYPE) => Kind::ProfileIndex,
        Some(OCI_IMAGE_CONFIG | DOCKER_IMAGE_CONFIG) => Kind::Image,
        other => {
            let untyped = other.is_none_or(|other| UNKNOWN_ARTIFACTS.contains(&other));
            if untyped && crate::operator_profile::is_one(manifest) {
                Kind::OperatorProfile
            } else {
                Kind::Other
            }
        }
    }
}

/// The platform's manifest among several.
pub(crate) fn choose<'i>(index: &'i ImageIndex, wanted: &Platform) -> Result<&'i Descriptor, Vec<String>> {
    let platforms = || {
        index.manifests().iter().filter_map(|entry| {
            let platform = entry.platform().as_ref()?;
            let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
            Some((entry, os, architecture, platform.variant().clone()))
        })
    };
    let found = platforms()
        .find(|(_, os, architecture, variant)| wanted.matches(os, architecture, variant.as_deref()));
    if let Some((entry, ..)) = found {
        return Ok(entry);
    }
    let has = platforms()
        // Attestations stand beside images as `unknown/unknown`.
        .filter(|(_, os, ..)| os != "unknown")
        .map(|(_, os, architecture, variant)| {
            let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
            shown(&format!("{os}/{architecture}{variant}"))
        });
    Err(has.take(20).collect())
}
