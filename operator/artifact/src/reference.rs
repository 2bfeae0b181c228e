//! The name of something in a registry.

use std::{fmt, str::FromStr};

use portcullis_profile::Digest;

use crate::{Error, Result, error::shown};

/// `[REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]`, as docker and podman write it.
///
/// Without a registry it is Docker Hub's, without a tag `latest`; where there are both a tag and a digest, the digest
/// decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    inner: oci_spec::distribution::Reference,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host and port, where its API is.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.inner.resolve_registry()
    }

    /// The name inside the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.inner.repository()
    }

    /// The tag, where there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.inner.tag()
    }

    /// The manifest's digest, where the reference is pinned.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What stands at the end of a manifest's URL.
    pub(crate) fn identifier(&self) -> String {
        match self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag().unwrap_or("latest").to_owned(),
        }
    }

    /// The same repository's manifest of that digest, whatever the tag says.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        let (registry, repository) = (self.inner.registry().to_owned(), self.repository().to_owned());
        let inner = oci_spec::distribution::Reference::with_digest(registry, repository, digest.to_string());
        Self { inner, digest: Some(digest) }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |problem: String| Error::Reference { text: shown(text), problem };
        if let Some((scheme, _)) = text.split_once("://") {
            let problem = format!("leave out {}:// and write registry/repository:tag", shown(scheme));
            return Err(refuse(problem));
        }
        let inner: oci_spec::distribution::Reference = text.parse().map_err(|error| {
            refuse(format!("{error}; write registry/repository:tag or registry/repository@sha256:..., names in lower case"))
        })?;
        let digest = match inner.digest() {
            None => None,
            Some(digest) => Some(digest.parse().map_err(|error| refuse(format!("{error}")))?),
        };
        Ok(Self { inner, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_has_a_registry_a_tag_and_a_digest() {
        let short: Reference = "nginx".parse().unwrap();
        assert_eq!(short.to_string(), "docker.io/library/nginx:latest");
        assert_eq!(short.registry(), "index.docker.io");
        let pinned: Reference = format!("localhost:5000/a/b:1@{DIGEST}").parse().unwrap();
        assert_eq!((pinned.registry(), pinned.repository()), ("localhost:5000", "a/b"));
        assert_eq!(pinned.identifier(), DIGEST);
        let other = short.pinned(Digest::of(b""));
        assert_eq!(other.to_string(), format!("docker.io/library/nginx@{DIGEST}"));
    }

    #[test]
    fn what_is_no_reference_says_what_to_write() {
        for (text, said) in [
            ("", "at least one component"),
            ("https://ghcr.io/a/b", "leave out https://"),
            ("ghcr.io/A/b", "lower case"),
            ("ghcr.io/a/b@sha256:12", "write registry/repository"),
            ("a b", "write registry/repository"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let sha512 = format!("ghcr.io/a/b@sha512:{}", "0".repeat(128));
        assert!(sha512.parse::<Reference>().unwrap_err().to_string().contains("write sha256"));
    }
}
