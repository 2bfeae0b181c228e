//! Reads an OCI seccomp document strictly, and says of everything that is wrong where it is and what to do.
//!
//! Strict, because a runtime isn't: containerd decodes a profile with Go's `encoding/json`, which drops unknown
//! keys, keeps the last of duplicate keys and takes keys in any case. What it drops silently is most often a
//! restriction, so such a document fails open.

mod error;
mod idle;
pub(crate) mod json;
mod keys;
mod read;

pub use error::{ParseError, ParseErrors};
pub(crate) use error::{Path, join, shown};
pub use idle::take_idle_keys;
pub(crate) use read::nearest;

use crate::Profile;

/// The longest document that is read, in bytes (1 MiB): the longest that runtimes pull from a registry (KEP-6061).
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The longest document that a custom resource holds and a revision has, in bytes (256 KiB).
///
/// kubectl's client-side apply keeps a copy in an annotation, and Kubernetes bounds all annotations of an
/// object at 256 KiB (`TotalAnnotationSizeLimitB` in `apimachinery/pkg/api/validation/objectmeta.go`).
pub const MAX_REVISION_BYTES: usize = 256 * 1024;

/// libseccomp's word for the architecture of the machine. The Security Profiles Operator takes it, and runc knows no such name.
///
/// Source: `archs` in runc's `libcontainer/seccomp/config.go`.
pub(crate) const NATIVE: &str = "SCMP_ARCH_NATIVE";

/// How a document writes the 64-bit values of conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the OCI runtime-spec says: JSON numbers only.
    #[default]
    Oci,
    /// As a custom resource must: JSON numbers, or strings that hold a decimal or (after `0x`) hexadecimal
    /// number, because an API server refuses or rounds integers from 2^63.
    CustomResource,
}

impl Profile {
    /// Reads a document of at most [`MAX_DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as one reading can tell.
    pub fn parse(document: &[u8]) -> Result<Self, ParseErrors> {
        let (value, errors) = value(document)?;
        profile(&value, errors)
    }

    /// Reads a document that is a JSON value already, such as a part of a custom resource.
    ///
    /// Duplicate keys can't be seen any more; whoever made the value has to refuse them.
    ///
    /// # Errors
    /// Everything that is wrong with it. Paths begin at the document: see [`ParseErrors::within`].
    pub fn from_value(value: &serde_json::Value, dialect: Dialect) -> Result<Self, ParseErrors> {
        read::profile(value, dialect, ParseErrors::default())
    }
}

/// The value of a document of at most [`MAX_DOCUMENT_BYTES`], and the keys in it that stand twice.
pub(crate) fn value(document: &[u8]) -> Result<(serde_json::Value, ParseErrors), ParseErrors> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(ParseErrors::of_document(format!(
            "the document has {} bytes, more than the {MAX_DOCUMENT_BYTES} (1 MiB) that a profile may have: name fewer calls, or \
             leave out white space",
            document.len()
        )));
    }
    let mut errors = ParseErrors::default();
    let value = json::read(document, &mut errors)?;
    Ok((value, errors))
}

/// The profile that an OCI document is, or what is wrong with it besides.
pub(crate) fn profile(value: &serde_json::Value, errors: ParseErrors) -> Result<Profile, ParseErrors> {
    read::profile(value, Dialect::Oci, errors)
}

#[cfg(test)]
mod tests;
