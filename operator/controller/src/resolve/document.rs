//! A profile's own document, as the API server wrote it: read into the model only for as long as it is worked on.
//!
//! Read, a document takes some fourteen times its bytes: 64,000 names of one letter are 256 KiB of JSON and 3.6 MiB of strings.

use std::sync::Arc;

use portcullis_api::{BaseReference, Mode, SeccompDocument};
use portcullis_profile::Profile;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Source;

/// A document's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document(Arc<str>);

impl Document {
    /// How many bytes it is.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, in words, with the fields' paths.
    pub(super) fn read(&self) -> Result<Profile, String> {
        let document: SeccompDocument = serde_json::from_str(&self.0)
            .map_err(|error| format!("spec.profile: it can't be read: {error}. Correct it"))?;
        let profile = Profile::try_from(&document).map_err(|error| error.to_string())?;
        Ok(profile.with_unique_names())
    }
}

/// A spec of which the document is left as it came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outline {
    #[serde(default)]
    pub(super) mode: Mode,
    #[serde(default)]
    profile: Option<Box<RawValue>>,
    #[serde(default)]
    bases: Vec<BaseReference>,
    #[serde(default)]
    pub(super) pin: Option<String>,
    #[serde(default)]
    pub(super) revision_history_limit: Option<u16>,
}

impl Outline {
    /// What the profile has to give.
    pub(crate) fn source(self) -> Source {
        let document = self.profile.map(|raw| Document(String::from(Box::<str>::from(raw)).into()));
        Source { document, bases: self.bases }
    }
}

#[cfg(test)]
impl Document {
    /// A document of so many bytes that nobody can read.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self("x".repeat(bytes).into())
    }
}

#[cfg(test)]
impl From<Arc<Profile>> for Document {
    fn from(profile: Arc<Profile>) -> Self {
        Self(serde_json::to_string(&SeccompDocument::from(&*profile)).unwrap().into())
    }
}
