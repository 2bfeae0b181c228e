//! Which profile a revision belongs to, and the paths that follow from it.

use std::fmt;

use portcullis_profile::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MAX_NAME_LENGTH;

/// The kinds of profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ProfileKind {
    /// Namespaced.
    SeccompProfile,
    /// Cluster-scoped.
    ClusterSeccompProfile,
}

impl ProfileKind {
    /// The `kind` in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SeccompProfile => "SeccompProfile",
            Self::ClusterSeccompProfile => "ClusterSeccompProfile",
        }
    }
}

impl fmt::Display for ProfileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A profile's identity, validated: every path that is derived from it stays inside its directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    namespace: Option<String>,
    name: String,
}

/// A name or a namespace that no path may be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOwner {
    /// A profile's name is no DNS subdomain of at most 63 characters.
    #[error(
        "metadata.name {0:?} can't be a file's name: use at most 63 lower-case letters, digits, '-' and '.', \
         beginning and ending with a letter or digit, and no two dots in a row"
    )]
    Name(String),
    /// A namespace is no DNS label.
    #[error("namespace {0:?} is not a DNS label")]
    Namespace(String),
}

impl Owner {
    /// A `SeccompProfile`.
    ///
    /// # Errors
    /// Where the name is no DNS subdomain of at most 63 characters or the namespace no DNS label.
    pub fn namespaced(namespace: &str, name: &str) -> Result<Self, InvalidOwner> {
        if !is_label(namespace) {
            return Err(InvalidOwner::Namespace(namespace.to_owned()));
        }
        Ok(Self { namespace: Some(namespace.to_owned()), name: valid_name(name)? })
    }

    /// A `ClusterSeccompProfile`.
    ///
    /// # Errors
    /// Where the name is no DNS subdomain of at most 63 characters.
    pub fn cluster(name: &str) -> Result<Self, InvalidOwner> {
        Ok(Self { namespace: None, name: valid_name(name)? })
    }

    /// The owner's kind.
    #[must_use]
    pub const fn kind(&self) -> ProfileKind {
        match self.namespace {
            Some(_) => ProfileKind::SeccompProfile,
            None => ProfileKind::ClusterSeccompProfile,
        }
    }

    /// The owner's namespace; none for a cluster profile.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The owner's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that always serves the current revision, below Portcullis's sub-directory:
    /// `<namespace>/<name>.json` or `<name>.json`.
    #[must_use]
    pub fn current_path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}.json", self.name),
            None => format!("{}.json", self.name),
        }
    }

    /// The path of one revision, below Portcullis's sub-directory: `<namespace>/<name>@<12 hex>.json`.
    #[must_use]
    pub fn revision_path(&self, digest: &Digest) -> String {
        let name = format!("{}@{}.json", self.name, digest.short());
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        }
    }

    /// The name of the `SeccompRevision` that holds this content. Namespaces hold no dot, so two owners never share one.
    #[must_use]
    pub fn revision_name(&self, digest: &Digest) -> String {
        match &self.namespace {
            Some(namespace) => format!("sp.{namespace}.{}.{}", self.name, digest.short()),
            None => format!("csp.{}.{}", self.name, digest.short()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "SeccompProfile {namespace}/{}", self.name),
            None => write!(f, "ClusterSeccompProfile {}", self.name),
        }
    }
}

/// RFC 1123 label: <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn valid_name(name: &str) -> Result<String, InvalidOwner> {
    if name.len() <= MAX_NAME_LENGTH && name.split('.').all(is_label) {
        Ok(name.to_owned())
    } else {
        Err(InvalidOwner::Name(name.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_paths_below_the_sub_directory() {
        let digest = Digest::of(b"");
        let web = Owner::namespaced("shop", "web").unwrap();
        assert_eq!(web.current_path(), "shop/web.json");
        assert_eq!(web.revision_path(&digest), "shop/web@e3b0c44298fc.json");
        assert_eq!(web.revision_name(&digest), "sp.shop.web.e3b0c44298fc");
        let base = Owner::cluster("base.v1").unwrap();
        assert_eq!(base.current_path(), "base.v1.json");
        assert_eq!(base.revision_path(&digest), "base.v1@e3b0c44298fc.json");
        assert_eq!(base.revision_name(&digest), "csp.base.v1.e3b0c44298fc");
    }

    #[test]
    fn refuses_hostile_names() {
        for name in
            ["", ".", "..", "../x", "a/b", "a..b", "A", "-a", "a-", "a@b", "a\0", ".a", "a.", &"a".repeat(64)]
        {
            assert!(Owner::cluster(name).is_err(), "{name:?} was taken");
            assert!(Owner::namespaced("shop", name).is_err(), "{name:?} was taken");
        }
        for namespace in ["", ".", "..", "a.b", "a/b", "@"] {
            assert!(Owner::namespaced(namespace, "web").is_err(), "{namespace:?} was taken");
        }
    }
}
