//! Every generated file: one module an artefact.

mod chart;
mod constants;
mod crds;
pub mod deploy;
mod lint_page;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// Below the workspace's root.
    pub path: PathBuf,
    /// The whole content.
    pub content: String,
}

/// Directories that hold nothing but generated files, so that one too many is stale as well.
const GENERATED_DIRECTORIES: &[&str] = &["crds", chart::DIRECTORY];

/// Every generated file, as it ought to be, but for `deploy/`, which needs Helm (see [`deploy`]).
///
/// # Errors
/// Where something can't be rendered.
pub fn artefacts() -> Result<Vec<Artefact>> {
    Ok([crds::artefacts()?, chart::artefacts()?, vec![lint_page::artefact(), constants::artefact()?]]
        .concat())
}

/// The generated files that differ from what they ought to be, are missing, or have no source any more.
///
/// # Errors
/// Where something can't be rendered or read.
pub fn stale(root: &Path) -> Result<BTreeSet<String>> {
    let artefacts = artefacts()?;
    let mut stale = BTreeSet::new();
    for artefact in &artefacts {
        if artefact.read(root)?.as_ref() != Some(&artefact.content) {
            stale.insert(artefact.path.display().to_string());
        }
    }
    for directory in GENERATED_DIRECTORIES {
        for entry in fs::read_dir(root.join(directory)).with_context(|| format!("can't list {directory}"))? {
            let path = Path::new(directory).join(entry?.file_name());
            if !artefacts.iter().any(|artefact| artefact.path == path) {
                stale.insert(path.display().to_string());
            }
        }
    }
    Ok(stale)
}

impl Artefact {
    /// Writes the file.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("can't make the directory {}", directory.display()))?;
        }
        fs::write(&path, &self.content).with_context(|| format!("can't write {}", path.display()))
    }

    fn read(&self, root: &Path) -> Result<Option<String>> {
        match fs::read_to_string(root.join(&self.path)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("can't read {}", self.path.display())),
        }
    }
}
