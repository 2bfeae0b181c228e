//! An index of shared profiles: names to references, as falcoctl has it for rules.
//!
//! The format is described in `docs/profile-index.md`.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use portcullis_profile::{Digest, printable};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{
    Access, Error, Reference, Result,
    blob::digest_of,
    error::{shown, yaml_problem},
    manifest::{Content, Kind},
    repository::{Repository, Right},
    transport,
};

/// What says that an artifact is an index.
pub const INDEX_MEDIA_TYPE: &str = "application/vnd.portcullis.profile-index.v1+yaml";
/// The longest index that is read, in bytes (4 MiB).
pub const MAX_INDEX_BYTES: u64 = 4 * 1024 * 1024;
/// The version of the format.
const API_VERSION: &str = "index.portcullis.dev/v1";
/// A name is also a file's, and a Kubernetes object's.
const MAX_NAME: usize = 63;

/// A list of profiles that somebody shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The version of the format, `index.portcullis.dev/v1`.
    pub api_version: String,
    /// The profiles.
    pub profiles: Vec<Entry>,
}

/// A profile that is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What to install it by.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where its versions are, without a tag.
    pub repository: String,
    /// A page about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Its licence, as SPDX writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// More words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Who keeps it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    /// Its versions, the newest first.
    pub versions: Vec<Version>,
}

/// Who keeps a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintainer {
    /// A name.
    pub name: String,
    /// An address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A version of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The version, most often the application's.
    pub version: String,
    /// The manifest's digest.
    pub digest: Digest,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// What is wrong with it, with the field's path.
    pub fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outline {
            #[serde(default)]
            api_version: String,
        }
        if text.len() as u64 > MAX_INDEX_BYTES {
            return Err(format!("it has {} bytes, over {MAX_INDEX_BYTES}", text.len()));
        }
        let fail = |error: serde_saphyr::Error| format!("it is no index: {}", yaml_problem(&error));
        let outline: Outline = serde_saphyr::from_slice(text).map_err(fail)?;
        if outline.api_version != API_VERSION {
            let found = shown(&outline.api_version);
            return Err(format!("apiVersion: is {found:?}, and only {API_VERSION} is read"));
        }
        let index: Self = serde_saphyr::from_slice(text).map_err(fail)?;
        let mut names = BTreeSet::new();
        for (position, entry) in index.profiles.iter().enumerate() {
            let at = format!("profiles[{position}]");
            check(entry).map_err(|problem| format!("{at}.{problem}"))?;
            if !names.insert(&entry.name) {
                return Err(format!("{at}.name: {} is there twice", entry.name));
            }
        }
        Ok(index)
    }

    /// The profile of a name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.profiles.iter().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// A version, or the newest; and the reference to it.
    ///
    /// # Errors
    /// Where there is no such version: which there are.
    pub fn version(&self, wanted: Option<&str>) -> std::result::Result<(&Version, Reference), String> {
        let versions = &self.versions;
        let found = match wanted {
            None => versions.first(),
            Some(wanted) => versions.iter().find(|version| version.version == wanted),
        };
        let Some(version) = found else {
            let has: Vec<_> = versions.iter().take(10).map(|version| version.version.as_str()).collect();
            return Err(format!(
                "{} has no version {}: it has {}",
                self.name,
                shown(wanted.unwrap_or("")),
                has.join(", ")
            ));
        };
        let repository: Reference = self.repository.parse().map_err(|error: Error| error.to_string())?;
        Ok((version, repository.pinned(version.digest)))
    }

    /// Whether a word is in the name, a keyword or the description, in any case.
    #[must_use]
    pub fn matches(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let has = |text: &String| text.to_lowercase().contains(&word);
        has(&self.name) || self.keywords.iter().any(has) || has(&self.description)
    }
}

fn check(entry: &Entry) -> std::result::Result<(), String> {
    let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name = entry.name.as_str();
    let inside = |c: char| of_name(c) || c == '-' || c == '.';
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.chars().all(inside)
        || !name.starts_with(of_name)
        || !name.ends_with(of_name)
    {
        let wanted = "lower-case letters, digits, - and . inside, at most 63 of them";
        return Err(format!("name: {:?} is no name: write {wanted}", shown(name)));
    }
    // Everything is shown on terminals, which take control characters for orders.
    let texts = [
        ("description", Some(&entry.description)),
        ("home", entry.home.as_ref()),
        ("license", entry.license.as_ref()),
    ];
    let texts = texts.into_iter().filter_map(|(field, text)| Some((field, text?)));
    let keywords = entry.keywords.iter().map(|keyword| ("keywords", keyword));
    let maintainers = entry.maintainers.iter().flat_map(|maintainer| {
        [Some(&maintainer.name), maintainer.email.as_ref()]
            .into_iter()
            .flatten()
            .map(|text| ("maintainers", text))
    });
    let versions = entry.versions.iter().map(|version| ("versions", &version.version));
    for (field, text) in texts.chain(keywords).chain(maintainers).chain(versions) {
        if printable(text) != *text {
            return Err(format!("{field}: has control characters"));
        }
    }
    entry.repository.parse::<Reference>().map_err(|error| format!("repository: {error}"))?;
    let last = entry.repository.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return Err("repository: leave out tag and digest: they are in versions".to_owned());
    }
    if entry.versions.is_empty() {
        return Err("versions: is empty".to_owned());
    }
    let mut seen = BTreeSet::new();
    for version in &entry.versions {
        if !seen.insert(&version.version) {
            return Err(format!("versions: {} is there twice", shown(&version.version)));
        }
    }
    Ok(())
}

/// Where an index is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// At an address of the web.
    Web(Url),
    /// In a registry, as an artifact of [`INDEX_MEDIA_TYPE`].
    Registry(Reference),
    /// In a file.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(reference) = text.strip_prefix("oci://") {
            return Ok(Self::Registry(reference.parse()?));
        }
        match text.split_once("://") {
            Some(("https" | "http", _)) => Url::parse(text)
                .map(Self::Web)
                .map_err(|error| Error::Reference { text: shown(text), problem: error.to_string() }),
            Some(_) => {
                let problem = "an index is at https://..., at oci://REFERENCE, or a file".to_owned();
                Err(Error::Reference { text: shown(text), problem })
            }
            None => Ok(Self::File(Path::new(text).to_owned())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(url) => f.write_str(url.as_str()),
            Self::Registry(reference) => write!(f, "oci://{reference}"),
            Self::File(file) => write!(f, "{}", file.display()),
        }
    }
}

/// Gets an index, and reads it.
///
/// # Errors
/// Where it can't be had, or is none.
pub async fn fetch(source: &Source, access: &Access) -> Result<(Index, Vec<u8>)> {
    let text = match source {
        Source::File(file) => crate::credentials::read(file, MAX_INDEX_BYTES)?,
        Source::Web(url) => {
            let host = url.host_str().unwrap_or_default().to_owned();
            access.within(&host, from_web(url, access)).await?
        }
        Source::Registry(reference) => {
            access.within(reference.registry(), from_registry(reference, access)).await?
        }
    };
    let refuse = |problem| Error::Content { reference: source.to_string(), problem };
    Ok((Index::parse(&text).map_err(refuse)?, text))
}

async fn from_web(url: &Url, access: &Access) -> Result<Vec<u8>> {
    let shown_url = transport::without_query(url);
    if url.scheme() != "https" && !access.plain_http {
        let problem = "it is not encrypted: write https, or allow plain HTTP".to_owned();
        return Err(Error::Reference { text: shown_url, problem });
    }
    let request = access.client()?.get(url.clone()).send().await;
    let response = request.map_err(|source| transport::no_answer(&shown_url, source))?;
    if !response.status().is_success() {
        return Err(transport::failure("index", response).await);
    }
    transport::body(response, usize::try_from(MAX_INDEX_BYTES).unwrap_or(usize::MAX)).await
}

async fn from_registry(reference: &Reference, access: &Access) -> Result<Vec<u8>> {
    let repository = Repository::new(reference, access, Right::Pull)?;
    let manifest = repository.manifest(None).await?;
    let (kind, fail) = (manifest.kind(), |problem| repository.content(problem));
    let Content::One(content) = manifest.content else {
        return Err(fail(format!("it is a {}, not an index of profiles", kind.as_str())));
    };
    if kind != Kind::ProfileIndex {
        return Err(fail(format!("it is a {}, and its type has to be {INDEX_MEDIA_TYPE}", kind.as_str())));
    }
    let [layer] = content.layers().as_slice() else {
        return Err(fail(format!("it has {} layers: an index has exactly one", content.layers().len())));
    };
    if layer.size() > MAX_INDEX_BYTES {
        return Err(fail(format!("its layer has {} bytes, over {MAX_INDEX_BYTES}", layer.size())));
    }
    digest_of(layer).map_err(fail)?;
    repository.blob(layer).await?.whole().await
}

#[cfg(test)]
mod tests;
