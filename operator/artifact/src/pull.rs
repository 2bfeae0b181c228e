//! Gets a profile out of a registry, whatever it is kept as.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageManifest};
use portcullis_profile::{
    Digest, ParseErrors, Profile,
    docker::{self, ASSUMED_KERNEL, Context, Parsed},
    printable,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Access, Error, Kind, Platform, Reference, Result,
    blob::digest_of,
    error::shown,
    format, image,
    manifest::{self, Content, Manifest},
    operator_profile,
    repository::{Repository, Right},
};

/// The longest configuration of an image that is read, in bytes (4 MiB), as manifests may have.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// What is wanted of a reference that may be an image.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where a profile is in an image.
    pub path: String,
    /// The platform, where there are several.
    pub platform: Platform,
    /// The container that a profile in Docker's format is read for.
    pub container: Context,
}

impl Wanted {
    /// The path at which an image's profile is looked for.
    pub const DEFAULT_PATH: &'static str = "/seccomp/profile.json";
}

impl Default for Wanted {
    /// A container without added capabilities, on a machine as this one.
    fn default() -> Self {
        let platform = Platform::local();
        let container = Context::default_capabilities(platform.arch(), ASSUMED_KERNEL);
        Self { path: Self::DEFAULT_PATH.to_owned(), platform, container }
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
    /// Where in an image or an archive it was.
    pub path: Option<String>,
    /// The container that Docker's format is read for.
    pub container: Context,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The document's very bytes.
    pub document: Vec<u8>,
}

/// A profile, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The profile.
    pub profile: Profile,
    /// How many rules don't apply to the container that Docker's format was read for; `None` of any other format.
    pub left_out: Option<usize>,
}

impl Pulled {
    /// The profile, resolved where the document is in Docker's format.
    ///
    /// # Errors
    /// Where the document is none, or breaks the rules of the format that it came in.
    pub fn profile(&self) -> Result<Read> {
        let refuse = |problem: String| {
            // Names in the document may hold anything.
            let problem = printable(&problem);
            Error::Content { reference: self.reference.to_string(), problem }
        };
        if self.kind == Kind::OperatorProfile {
            let profile = operator_profile::profile(&self.document).map_err(refuse)?;
            return Ok(Read { profile, left_out: None });
        }
        let place = self.path.as_deref().map(|path| format!("{path}: ")).unwrap_or_default();
        let parsed = docker::parse(&self.document, &self.container)
            .map_err(|errors| refuse(format!("{place}{}", first(&errors))))?;
        let read = match parsed {
            Parsed::Oci(profile) => Read { profile, left_out: None },
            Parsed::Docker(resolved) => {
                Read { profile: resolved.profile, left_out: Some(resolved.left_out.len()) }
            }
        };
        let reasons =
            if self.kind == Kind::SeccompArtifact { format::refusals(&read.profile) } else { Vec::new() };
        if reasons.is_empty() {
            return Ok(read);
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
            let (layer, _, bytes) =
                blob(&repository, &content.layers()[0], format::MAX_ARTIFACT_BYTES).await?;
            if format::is_archive(&bytes) {
                let (path, document) = image::only_file(&bytes).map_err(fail)?;
                (layer, Some(path), document)
            } else {
                (layer, None, bytes)
            }
        }
        Kind::OperatorProfile => {
            let layer = operator_profile::layer(&content, &wanted.platform).map_err(fail)?;
            blob(&repository, layer, operator_profile::MAX_BYTES).await?
        }
        Kind::Image => {
            let path = wanted.path.parse().map_err(fail)?;
            match image::find(&repository, &content, &path).await {
                Ok(found) => (found.layer, Some(found.path), found.content),
                Err(missing @ Error::NotInImage { .. }) if wanted.path == Wanted::DEFAULT_PATH => {
                    label(&repository, &content).await?.ok_or(missing)?
                }
                Err(error) => return Err(error),
            }
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
    let container = wanted.container.clone();
    Ok(Pulled { reference, named, manifest, kind, layer, path, container, annotations, document })
}

/// A blob's digest, what to call the place in it, and the document there.
type Placed = (Digest, Option<String>, Vec<u8>);

/// The profile in an image's label, which Podman reads under `--seccomp-policy=image`.
///
/// Source: `ContainerImageLabel` in podman's `pkg/seccomp/seccomp.go`.
async fn label(repository: &Repository, manifest: &ImageManifest) -> Result<Option<Placed>> {
    const LABEL: &str = "io.containers.seccomp.profile";
    #[derive(Deserialize)]
    struct Image {
        config: Option<Config>,
    }
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, Value>>,
    }
    let (digest, _, bytes) = blob(repository, manifest.config(), MAX_CONFIG_BYTES).await?;
    let image: Image = serde_json::from_slice(&bytes).map_err(|error| {
        repository.content(format!("its config can't be read: {}", shown(&error.to_string())))
    })?;
    let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
    let profile = labels.get(LABEL).and_then(Value::as_str);
    Ok(profile.map(|profile| (digest, Some(format!("label {LABEL}")), profile.as_bytes().to_vec())))
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

/// The first few things that are wrong with a document: nobody reads all on one line.
fn first(errors: &ParseErrors) -> String {
    const SHOWN: usize = 3;
    let all = errors.errors();
    let shown: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(SHOWN) + errors.omitted() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    shown.join("; ") + &more
}

async fn blob(repository: &Repository, layer: &Descriptor, limit: u64) -> Result<Placed> {
    let fail = |problem| repository.content(problem);
    if layer.size() > limit {
        return Err(fail(format!(
            "the blob {} has {} bytes, over {limit}",
            shown(layer.digest().as_ref()),
            layer.size()
        )));
    }
    let digest = digest_of(layer).map_err(fail)?;
    let document = repository.blob(layer).await?.whole().await?;
    Ok((digest, None, document))
}
