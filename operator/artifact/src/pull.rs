//! Gets a profile out of a registry, whatever it is kept as.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageManifest};
use portcullis_profile::{Digest, Profile, printable};

use crate::{
    Access, Error, Kind, Platform, Reference, Result,
    blob::digest_of,
    error::shown,
    format, image,
    manifest::{self, Content, Manifest},
    operator_profile,
    repository::{Repository, Right},
};

/// What is wanted of a reference that may be an image.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where a profile is in an image.
    pub path: String,
    /// The platform, where there are several.
    pub platform: Platform,
}

impl Wanted {
    /// The path at which an image's profile is looked for.
    pub const DEFAULT_PATH: &'static str = "/seccomp/profile.json";
}

impl Default for Wanted {
    fn default() -> Self {
        Self { path: Self::DEFAULT_PATH.to_owned(), platform: Platform::local() }
    }
}

/// A document that was found, verified from the manifest down.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The manifest it came from, as a reference that always means this content.
    pub reference: Reference,
    /// The digest of what the reference names: the index of several images, or the manifest itself.
    pub named: Digest,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// What the manifest is.
    pub kind: Kind,
    /// The blob that held the document.
    pub layer: Digest,
    /// Where in an image it was.
    pub path: Option<String>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The document's very bytes.
    pub document: Vec<u8>,
}

impl Pulled {
    /// The profile.
    ///
    /// # Errors
    /// Where the document is none, or breaks the rules of the format that it came in.
    pub fn profile(&self) -> Result<Profile> {
        let refuse = |problem: String| {
            // Names in the document may hold anything.
            let problem = printable(&problem);
            Error::Content { reference: self.reference.to_string(), problem }
        };
        if self.kind == Kind::OperatorProfile {
            return operator_profile::profile(&self.document).map_err(refuse);
        }
        let place = self.path.as_deref().map(|path| format!("{path}: ")).unwrap_or_default();
        if format::is_archive(&self.document) {
            let problem = "its layer is an archive, and KEP-6061 wants the bare profile: push it anew";
            return Err(refuse(format!("{place}{problem}")));
        }
        let profile = Profile::parse(&self.document).map_err(|errors| refuse(format!("{place}{errors}")))?;
        let reasons =
            if self.kind == Kind::SeccompArtifact { format::refusals(&profile) } else { Vec::new() };
        if reasons.is_empty() {
            return Ok(profile);
        }
        Err(refuse(format!("runtimes refuse this artifact: {}", reasons.join("; "))))
    }
}

/// Pulls what a reference names, and out of an image no more than finding the profile takes.
///
/// # Errors
/// Where there is no such thing, the registry can't be trusted, or it holds no profile.
pub async fn pull(reference: &Reference, wanted: &Wanted, access: &Access) -> Result<Pulled> {
    access.within(reference.registry(), find(reference, wanted, access)).await
}

async fn find(reference: &Reference, wanted: &Wanted, access: &Access) -> Result<Pulled> {
    let repository = Repository::new(reference, access, Right::Pull)?;
    let first = repository.manifest(None).await?;
    let named = first.digest;
    let (manifest, content) = one(&repository, first, &wanted.platform).await?;
    let kind = manifest::kind(&content);
    let fail = |problem| repository.content(problem);
    let (layer, path, document) = match kind {
        Kind::SeccompArtifact => {
            format::check(&content).map_err(fail)?;
            blob(&repository, &content.layers()[0], format::MAX_ARTIFACT_BYTES).await?
        }
        Kind::OperatorProfile => {
            let layer = operator_profile::layer(&content, &wanted.platform).map_err(fail)?;
            blob(&repository, layer, operator_profile::MAX_BYTES).await?
        }
        Kind::Image => {
            let path = wanted.path.parse().map_err(fail)?;
            let found = image::find(&repository, &content, &path).await?;
            (found.layer, Some(found.path), found.content)
        }
        Kind::ProfileIndex => {
            return Err(fail("it is an index of profiles, not a profile".to_owned()));
        }
        Kind::ImageIndex | Kind::Other => {
            let is = manifest::artifact_type(&content).map_or_else(|| "untyped".to_owned(), shown);
            return Err(fail(format!("it is {} ({is})", kind.as_str())));
        }
    };
    let annotations = content.annotations().clone().unwrap_or_default().into_iter().collect();
    let reference = reference.pinned(manifest);
    Ok(Pulled { reference, named, manifest, kind, layer, path, annotations, document })
}

/// The manifest of one platform, and its digest.
pub(crate) async fn one(
    repository: &Repository,
    first: Manifest,
    platform: &Platform,
) -> Result<(Digest, Box<ImageManifest>)> {
    let index = match first.content {
        Content::One(manifest) => return Ok((first.digest, manifest)),
        Content::Several(index) => index,
    };
    let chosen = manifest::choose(&index, platform).map_err(|available| Error::NoPlatform {
        reference: repository.reference().to_string(),
        wanted: platform.to_string(),
        available,
    })?;
    let digest = digest_of(chosen).map_err(|problem| repository.content(problem))?;
    match repository.manifest(Some(digest)).await?.content {
        Content::One(manifest) => Ok((digest, manifest)),
        Content::Several(_) => {
            Err(repository.content(format!("{digest} is an index in an index, which has no image")))
        }
    }
}

async fn blob(
    repository: &Repository,
    layer: &Descriptor,
    limit: u64,
) -> Result<(Digest, Option<String>, Vec<u8>)> {
    let fail = |problem| repository.content(problem);
    if layer.size() > limit {
        return Err(fail(format!("its layer has {} bytes, over {limit}", layer.size())));
    }
    let digest = digest_of(layer).map_err(fail)?;
    let document = repository.blob(layer).await?.whole().await?;
    Ok((digest, None, document))
}
