//! Puts a profile into a registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use portcullis_profile::{Digest, Profile};
use serde::Serialize;

use crate::{
    Access, Error, Reference, Result,
    error::shown,
    format::{MAX_ARTIFACT_BYTES, SECCOMP_MEDIA_TYPE, objections},
    manifest::OCI_MANIFEST,
    operator_profile::TITLE,
    repository::{Repository, Right},
};

/// The config's content: only its media type says anything.
const CONFIG: &[u8] = b"{}";
/// The layer's media type, as the Security Profiles Operator has it; runtimes don't look at it.
const LAYER_MEDIA_TYPE: &str = "application/json";

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest, as a reference that always means this content.
    pub reference: Reference,
    /// The manifest's digest.
    pub manifest: Digest,
    /// The profile's digest: that of its one layer, and of a revision with the same content.
    pub profile: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    artifact_type: &'static str,
    config: Descriptor,
    layers: [Descriptor; 1],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: Digest,
    size: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, &'static str>,
}

impl Descriptor {
    fn of(bytes: &[u8], media_type: &'static str) -> Self {
        Self { media_type, digest: Digest::of(bytes), size: bytes.len(), annotations: BTreeMap::new() }
    }
}

/// An artifact of a profile: equal content and annotations give equal bytes.
fn pack(layer: &[u8], annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let mut profile = Descriptor::of(layer, LAYER_MEDIA_TYPE);
    profile.annotations.insert(TITLE, "profile.json");
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        artifact_type: SECCOMP_MEDIA_TYPE,
        config: Descriptor::of(CONFIG, SECCOMP_MEDIA_TYPE),
        layers: [profile],
        annotations,
    };
    // Strings, numbers and maps of strings: serde_json fails only on maps with keys that aren't strings.
    serde_json::to_vec(&manifest).expect("a manifest can be written")
}

/// Pushes a profile in its canonical form to a reference's tag.
///
/// # Errors
/// Where runtimes refuse the artifact or the linter the profile ([`Error::Refused`]), or the registry does not take it.
pub async fn push(
    profile: &Profile,
    reference: &Reference,
    annotations: &BTreeMap<String, String>,
    access: &Access,
) -> Result<Pushed> {
    if let Some(digest) = reference.digest() {
        let problem = format!("push to a tag: {digest} follows from the content");
        return Err(Error::Reference { text: shown(&reference.to_string()), problem });
    }
    let mut reasons = objections(profile);
    let layer = Bytes::from(profile.render());
    if layer.len() as u64 > MAX_ARTIFACT_BYTES {
        reasons.push(format!("it has {} bytes, over {MAX_ARTIFACT_BYTES}", layer.len()));
    }
    if !reasons.is_empty() {
        return Err(Error::Refused(reasons));
    }
    let manifest = Bytes::from(pack(&layer, annotations));
    let upload = async {
        let repository = Repository::new(reference, access, Right::Push)?;
        for blob in [Bytes::from_static(CONFIG), layer.clone()] {
            if !repository.has_blob(Digest::of(&blob)).await? {
                repository.upload(&blob).await?;
            }
        }
        repository.put_manifest(&manifest, OCI_MANIFEST).await
    };
    access.within(reference.registry(), upload).await?;
    let digest = Digest::of(&manifest);
    Ok(Pushed { reference: reference.pinned(digest), manifest: digest, profile: Digest::of(&layer) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;

    #[test]
    fn equal_content_gives_equal_bytes() {
        let annotations = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let one = pack(b"x", &annotations(&[("b", "2"), ("a", "1")]));
        assert_eq!(one, pack(b"x", &annotations(&[("a", "1"), ("b", "2")])));
        assert_ne!(one, pack(b"x", &annotations(&[("a", "1")])));
        assert_ne!(one, pack(b"y", &annotations(&[("a", "1"), ("b", "2")])));
    }

    #[test]
    fn what_is_packed_passes_the_formats_check() {
        let manifest = serde_json::from_slice(&pack(b"x", &BTreeMap::new())).unwrap();
        assert_eq!(format::check(&manifest), Ok(()));
        assert_eq!(crate::manifest::kind(&manifest), crate::Kind::SeccompArtifact);
    }
}
