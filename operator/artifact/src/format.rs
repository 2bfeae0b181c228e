//! KEP-6061's format of a seccomp profile in a registry.
//!
//! Source: <https://github.com/kubernetes/enhancements/pull/6062>, 'OCI Artifact Format', and what CRI-O makes of it,
//! `internal/securityprofile`.

use oci_spec::image::ImageManifest;
use portcullis_profile::{
    Profile,
    lint::{Code, Finding, LintContext, Severity, lint},
};

use crate::error::shown;

/// What says that an artifact is a seccomp profile: the media type of its config, or its `artifactType`.
pub const SECCOMP_MEDIA_TYPE: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";

/// The longest profile that runtimes pull, in bytes (1 MiB).
pub const MAX_ARTIFACT_BYTES: u64 = 1024 * 1024;

/// Why runtimes refuse a profile as an artifact; nothing where they don't. See [`Code::NoArtifact`].
#[must_use]
pub fn refusals(profile: &Profile) -> Vec<String> {
    findings(profile, |finding| finding.code == Code::NoArtifact)
}

/// Why nobody should share a profile: runtimes refuse the artifact, or start no container with it, or it doesn't confine.
pub(crate) fn objections(profile: &Profile) -> Vec<String> {
    findings(profile, |finding| finding.severity == Severity::Error || finding.code == Code::NoArtifact)
}

fn findings(profile: &Profile, wanted: impl Fn(&Finding) -> bool) -> Vec<String> {
    let all = lint(profile, &LintContext::default());
    all.iter().filter(|finding| wanted(finding)).map(ToString::to_string).collect()
}

/// What is wrong with the manifest of something that says that it is a seccomp profile.
pub(crate) fn check(manifest: &ImageManifest) -> Result<(), String> {
    let config = manifest.config().media_type().as_ref();
    let other = manifest.artifact_type().as_ref().map(AsRef::<str>::as_ref);
    if let Some(other) = other.filter(|&other| other != SECCOMP_MEDIA_TYPE) {
        return Err(format!("its artifactType is {} and its config's type {}", shown(other), shown(config)));
    }
    let [layer] = manifest.layers().as_slice() else {
        let count = manifest.layers().len();
        return Err(format!("it has {count} layers: a seccomp artifact has exactly one, the profile"));
    };
    for descriptor in [layer, manifest.config()] {
        if descriptor.urls().as_ref().is_some_and(|urls| !urls.is_empty()) {
            let digest = shown(descriptor.digest().as_ref());
            return Err(format!("the blob {digest} is to be had from other places (urls)"));
        }
        if descriptor.size() > MAX_ARTIFACT_BYTES {
            let (digest, size) = (shown(descriptor.digest().as_ref()), descriptor.size());
            return Err(format!(
                "the blob {digest} has {size} bytes, over the {MAX_ARTIFACT_BYTES} that runtimes pull"
            ));
        }
    }
    Ok(())
}

/// Whether bytes begin as an archive does, and so are a layer of an image, not a profile.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
        || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || bytes.get(257..262) == Some(b"ustar")
}
