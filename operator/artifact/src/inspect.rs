//! Says what a reference names.

use std::collections::BTreeMap;

use oci_spec::image::Descriptor;
use portcullis_profile::{Arch, Digest, Profile};
use serde::Serialize;

use crate::{
    Access, Kind, Reference, Result, Wanted,
    error::shown,
    manifest::{Content, Manifest, artifact_type},
    operator_profile::TITLE,
    pull::pull,
    repository::{Repository, Right},
};

/// What a reference names, read from its manifest; and what is in it, where that is a profile.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// What was asked for.
    pub reference: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// What the manifest is.
    pub kind: Kind,
    /// The manifest's media type.
    pub media_type: &'static str,
    /// What the artifact says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The sum of the blobs' sizes, in bytes.
    pub size: u64,
    /// The layers, the lowest first.
    pub layers: Vec<LayerSummary>,
    /// The platforms of several images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// The manifest's annotations, provenance among them (`org.opencontainers.image.source`, `.revision`, ...).
    pub annotations: BTreeMap<String, String>,
    /// The profile, where the reference is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileSummary>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerSummary {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// The file's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// What is in a profile.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSummary {
    /// The digest of its canonical form: that of a revision with the same content.
    pub digest: Digest,
    /// What happens to a call that no rule names.
    pub default_action: String,
    /// The architectures that it knows.
    pub architectures: Vec<Arch>,
    /// How many rules it has.
    pub rules: usize,
    /// How many calls its rules name.
    pub calls: usize,
    /// Of those, how many under conditions on arguments.
    pub conditional_calls: usize,
}

impl ProfileSummary {
    fn of(profile: &Profile) -> Self {
        let named = |conditional: bool| {
            let rules = profile.syscalls.iter().filter(|rule| !conditional || !rule.args.is_empty());
            rules.flat_map(|rule| &rule.names).collect::<std::collections::BTreeSet<_>>().len()
        };
        Self {
            digest: profile.digest(),
            default_action: profile.default_action.to_string(),
            architectures: profile.canonical().architectures,
            rules: profile.syscalls.len(),
            calls: named(false),
            conditional_calls: named(true),
        }
    }
}

/// Reads a manifest, and the profile where it is one; of an image no layer is read.
///
/// # Errors
/// Where there is no such thing, the registry can't be trusted, or an artifact's profile is none.
pub async fn inspect(reference: &Reference, wanted: &Wanted, access: &Access) -> Result<Inspection> {
    let look = async {
        let repository = Repository::new(reference, access, Right::Pull)?;
        let manifest = repository.manifest(None).await?;
        let profile = match manifest.kind() {
            Kind::SeccompArtifact | Kind::OperatorProfile => {
                let pinned = repository.reference().pinned(manifest.digest);
                Some(ProfileSummary::of(&pull(&pinned, wanted, access).await?.profile()?.profile))
            }
            _ => None,
        };
        Ok(describe(reference, &manifest, profile))
    };
    access.within(reference.registry(), look).await
}

pub(crate) fn describe(
    reference: &Reference,
    manifest: &Manifest,
    profile: Option<ProfileSummary>,
) -> Inspection {
    let mut inspection = Inspection {
        reference: reference.to_string(),
        digest: manifest.digest,
        kind: manifest.kind(),
        media_type: manifest.media_type,
        artifact_type: None,
        size: manifest.bytes.len() as u64,
        layers: Vec::new(),
        platforms: Vec::new(),
        annotations: BTreeMap::new(),
        profile,
    };
    let annotations = match &manifest.content {
        Content::One(one) => {
            inspection.artifact_type = artifact_type(one).map(shown);
            inspection.layers = one.layers().iter().map(summary).collect();
            inspection.size =
                one.layers().iter().fold(one.config().size(), |sum, layer| sum.saturating_add(layer.size()));
            one.annotations()
        }
        Content::Several(several) => {
            let platform = |entry: &Descriptor| {
                let platform = entry.platform().as_ref()?;
                let variant = platform.variant().as_ref().map(|variant| format!("/{variant}"));
                let name = format!("{}/{}", platform.os(), platform.architecture());
                Some(shown(&(name + &variant.unwrap_or_default())))
            };
            inspection.platforms = several.manifests().iter().filter_map(platform).collect();
            several.annotations()
        }
    };
    let shown_pairs = annotations.iter().flatten().map(|(key, value)| (shown(key), shown(value)));
    inspection.annotations = shown_pairs.collect();
    inspection
}

fn summary(layer: &Descriptor) -> LayerSummary {
    let title = layer.annotations().as_ref().and_then(|annotations| annotations.get(TITLE));
    LayerSummary {
        digest: shown(layer.digest().as_ref()),
        media_type: shown(layer.media_type().as_ref()),
        size: layer.size(),
        title: title.map(|title| shown(title)),
    }
}
