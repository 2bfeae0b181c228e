//! A registry with one profile in it.

use portcullis_profile::Digest;
use serde_json::json;

use super::http::serve;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PROFILE: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";

/// A document in a registry.
pub(crate) struct Shared {
    /// `host:port`.
    pub(crate) host: String,
    /// The digest of its manifest.
    pub(crate) digest: Digest,
}

/// Serves a document as the artifact `web:1`.
pub(crate) fn share(document: &str) -> Shared {
    let document = document.as_bytes().to_vec();
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": PROFILE,
        "config": descriptor(PROFILE, b"{}"),
        "layers": [descriptor("application/json", &document)],
    });
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    let digest = Digest::of(&manifest);
    let host = serve(move |path| match path {
        _ if path.contains("/manifests/") => (200, MANIFEST, manifest.clone()),
        _ if path.ends_with(&Digest::of(b"{}").to_string()) => (200, "application/json", b"{}".to_vec()),
        _ if path.contains("/blobs/") => (200, "application/octet-stream", document.clone()),
        _ => (404, "application/json", b"{}".to_vec()),
    });
    Shared { host, digest }
}
