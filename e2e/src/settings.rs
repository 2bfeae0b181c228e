//! What a user may set about the local cluster, read once from the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The environment variable for the folder that holds everything of the local cluster.
pub const DIR_VARIABLE: &str = "PORTCULLIS_CLUSTER_DIR";
/// The environment variable for the version of Kubernetes, such as `1.35.4`.
pub const VERSION_VARIABLE: &str = "PORTCULLIS_KUBERNETES_VERSION";
/// The environment variable for the operator's image in a cluster of the user's own.
pub const IMAGE_VARIABLE: &str = "PORTCULLIS_IMAGE";
/// The environment variable that keeps the namespaces of tests when it is `1`.
pub const KEEP_VARIABLE: &str = "PORTCULLIS_KEEP";

/// The settings of one local cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder for binaries, images, logs and the running cluster, absolute.
    pub dir: PathBuf,
    /// The version of Kubernetes.
    pub version: KubernetesVersion,
}

impl Settings {
    /// Reads the settings from the environment: the folder `.cluster` of the repository and the version that
    /// `cluster/kubernetes/go.mod` requires, unless said otherwise.
    ///
    /// # Errors
    /// Where a variable's value can't be used.
    pub fn from_env() -> Result<Self> {
        let dir = match std::env::var_os(DIR_VARIABLE) {
            Some(dir) => std::path::absolute(&dir)
                .with_context(|| format!("{DIR_VARIABLE}={} is no path", dir.display()))?,
            None => workspace_root().join(".cluster"),
        };
        let version = match std::env::var(VERSION_VARIABLE) {
            Ok(text) => text.parse().with_context(|| format!("{VERSION_VARIABLE} can't be used"))?,
            Err(_) => KubernetesVersion::committed(),
        };
        Ok(Self { dir, version })
    }
}

/// The repository's root, where the workspace's Cargo.toml is.
#[must_use]
pub fn workspace_root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// A released version of Kubernetes, `1.<minor>.<patch>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    /// The minor version, 36 of 1.36.3.
    pub minor: u32,
    /// The patch version, 3 of 1.36.3.
    pub patch: u32,
}

impl KubernetesVersion {
    /// The version that the committed module file requires.
    #[must_use]
    pub const fn committed() -> Self {
        Self { minor: 36, patch: 3 }
    }

    /// The tag of `k8s.io/kubernetes`, such as `v1.36.3`.
    #[must_use]
    pub fn tag(self) -> String {
        format!("v{self}")
    }

    /// The tag of the staging modules such as `k8s.io/api`, which are `v0` where Kubernetes is `v1`.
    #[must_use]
    pub fn staging_tag(self) -> String {
        format!("v0.{}.{}", self.minor, self.patch)
    }
}

impl std::fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1.{}.{}", self.minor, self.patch)
    }
}

impl std::str::FromStr for KubernetesVersion {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |part: Option<&str>| part.and_then(|digits| digits.parse::<u32>().ok());
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        match (parts.next(), number(parts.next()), number(parts.next()), parts.next()) {
            (Some("1"), Some(minor), Some(patch), None) => Ok(Self { minor, patch }),
            _ => bail!("{text:?} is no version of Kubernetes: write all three numbers, such as 1.36.3"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_needs_all_three_numbers() {
        assert_eq!("v1.35.4".parse::<KubernetesVersion>().unwrap().staging_tag(), "v0.35.4");
        assert_eq!("1.36.3".parse::<KubernetesVersion>().unwrap(), KubernetesVersion::committed());
        for wrong in ["1.36", "2.1.1", "1.36.3-rc.0", "1.36.3.1", "latest", ""] {
            assert!(wrong.parse::<KubernetesVersion>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn the_committed_module_file_requires_the_committed_version() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/kubernetes/go.mod");
        let content = std::fs::read_to_string(file).unwrap();
        let line = format!("k8s.io/kubernetes {}", KubernetesVersion::committed().tag());
        assert!(content.contains(&line), "go.mod does not require {line}");
    }
}
