//! Container images as OCI archives, written without an engine.

mod archive;
mod base;
mod operator;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};

pub use base::{BUSYBOX, LOAD, NGINX, PAUSE, REDIS};
pub(crate) use base::{archives as base_archives, ensure as ensure_base_images};
pub use operator::{Architecture, MAX_BINARY_BYTES, OperatorImage};

/// The numeric user of images that do not need to be root: `nonroot`'s usual number.
pub(crate) const NON_ROOT: &str = "65532:65532";

/// An image of one layer.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name that pods use, such as `localhost/busybox:1`.
    pub reference: String,
    /// The processor that the programs are for.
    pub architecture: Architecture,
    /// The program that containers start, and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments that a pod may replace.
    pub command: Vec<String>,
    /// The user, as numbers so that a kubelet can tell that it is not root.
    pub user: Option<String>,
    /// What is in the image, by path without the leading slash.
    pub(crate) files: BTreeMap<String, Entry>,
}

/// One file of an image.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A folder with its mode.
    Folder(u32),
    /// A file's content and mode.
    File(Vec<u8>, u32),
    /// A symbolic link's target.
    Link(String),
}

impl Image {
    /// An empty image for this machine's processor.
    ///
    /// # Errors
    /// On a processor that the cluster does not run on.
    pub fn new(reference: &str) -> Result<Self> {
        Ok(Self {
            reference: reference.to_owned(),
            architecture: Architecture::of_machine()?,
            entrypoint: Vec::new(),
            command: Vec::new(),
            user: None,
            files: BTreeMap::new(),
        })
    }

    /// Adds a file with its content.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.insert(path, Entry::File(content.into(), mode));
        self
    }

    /// Adds a copy of one of the machine's files.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn copy(self, source: impl Into<PathBuf>, path: &str, mode: u32) -> Result<Self> {
        let source = source.into();
        let content = std::fs::read(&source)
            .with_context(|| format!("{} can't be read for the image", source.display()))?;
        Ok(self.file(path, content, mode))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.insert(path, Entry::Link(target.to_owned()));
        self
    }

    /// Adds a folder.
    #[must_use]
    pub fn folder(mut self, path: &str, mode: u32) -> Self {
        self.insert(path, Entry::Folder(mode));
        self
    }

    /// Adds an entry and the folders it is in.
    fn insert(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            self.files.entry(path[..end].to_owned()).or_insert(Entry::Folder(0o755));
        }
        self.files.insert(path.to_owned(), entry);
    }
}
