//! Where the local cluster keeps what, all below one folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// The cluster's folder:
///
/// ```text
/// bin/<key>/      built programs, kept by `down`
/// images/         base images as OCI archives, kept by `down`
/// log/<name>.log  one for each process, kept by `down`, emptied by the next start
/// run/            everything of the running cluster, gone after `down`
///   pki/          keys and certificates
///   processes/    one record for each process
///   nodes/<name>/ a node's host directories
/// lock            held while the cluster is started, changed or stopped
/// usage.lock      shared by tests, exclusive for one that breaks parts of the cluster
/// ```
#[derive(Clone, Debug)]
pub struct Paths {
    dir: PathBuf,
}

impl Paths {
    /// The paths below an absolute folder.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Six hexadecimal digits that tell this folder's cluster from another's in names of the machine.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.dir.as_os_str().as_encoded_bytes());
        hex(&digest)[..6].to_owned()
    }

    pub(crate) fn binaries(&self) -> PathBuf {
        self.dir.join("bin")
    }

    pub(crate) fn modules(&self) -> PathBuf {
        self.dir.join("modules")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// The folder of the processes' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.run().join("pki")
    }

    pub(crate) fn processes(&self) -> PathBuf {
        self.run().join("processes")
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.run().join("nodes")
    }

    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.nodes().join(name)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.run().join("kubeconfig")
    }

    pub(crate) fn component_kubeconfig(&self, component: &str) -> PathBuf {
        self.run().join(format!("{component}.kubeconfig"))
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.run().join("cluster.json")
    }

    pub(crate) fn machine_changes(&self) -> PathBuf {
        self.run().join("machine.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(crate) fn usage_lock(&self) -> PathBuf {
        self.dir.join("usage.lock")
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes a folder and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("can't make the folder {}", path.display()))
}

/// Writes a whole file, making its folder where needed.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    std::fs::write(path, content).with_context(|| format!("can't write {}", path.display()))
}

/// Writes a value as JSON, completely or not at all, so that a reader never meets half a record.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text =
        serde_json::to_vec_pretty(value).with_context(|| format!("can't render {}", path.display()))?;
    let new = path.with_extension("new");
    write(&new, text)?;
    std::fs::rename(&new, path).with_context(|| format!("can't write {}", path.display()))
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// Reads a value from JSON.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{} is damaged", path.display()))
}

/// Removes a file or a whole folder if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(entry) if entry.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
