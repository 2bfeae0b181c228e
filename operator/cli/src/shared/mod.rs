//! Indexes of shared profiles that the user has added, and their copies.
//!
//! `indexes.yaml` in the configuration directory says where each is, a file in the cache directory is what was there when
//! it was last updated.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use etcetera::BaseStrategy as _;
use portcullis_artifact::{Entry, Index, MAX_INDEX_BYTES};
use serde::{Deserialize, Serialize};

use crate::replace::replace;

/// The folder in the user's own for configuration, and in that for caches.
const FOLDER: &str = "portcullis";
/// The longest list of indexes, in bytes.
const MAX_LIST_BYTES: u64 = 1024 * 1024;
/// The longest name of an index.
const MAX_NAME: usize = 63;

/// An index that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    /// What the user calls it.
    pub(crate) name: String,
    /// Where it is: an `https://` or `oci://` address, or a file's absolute path.
    pub(crate) source: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    indexes: Vec<Added>,
}

/// Where the user's indexes are kept.
pub(crate) struct Store {
    configuration: PathBuf,
    cache: PathBuf,
}

impl Store {
    /// The user's own: in `$XDG_CONFIG_HOME` (`~/.config`) and `$XDG_CACHE_HOME` (`~/.cache`).
    pub(crate) fn of_user() -> Result<Self> {
        let folders = etcetera::base_strategy::Xdg::new().context(
            "there is no home directory to keep indexes in: set HOME, or XDG_CONFIG_HOME and XDG_CACHE_HOME",
        )?;
        Ok(Self::new(&folders.config_dir(), &folders.cache_dir()))
    }

    fn new(configuration: &Path, cache: &Path) -> Self {
        Self { configuration: configuration.join(FOLDER), cache: cache.join(FOLDER).join("indexes") }
    }

    /// The indexes, in the order in which they were added.
    pub(crate) fn list(&self) -> Result<Vec<Added>> {
        let file = self.list_file();
        let Some(text) = read(&file, MAX_LIST_BYTES)? else { return Ok(Vec::new()) };
        let list: List = serde_saphyr::from_slice(&text).with_context(|| {
            format!("{} can't be read: mend it, or remove it and add the indexes again", file.display())
        })?;
        Ok(list.indexes)
    }

    /// The index of a name.
    pub(crate) fn find(&self, name: &str) -> Result<Added> {
        let added = self.list()?;
        added.iter().find(|added| added.name == name).cloned().with_context(|| {
            let names: Vec<_> = added.iter().map(|added| added.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            format!("there is no index {name}: added are {names}")
        })
    }

    /// Adds an index with its copy.
    pub(crate) fn add(&self, added: Added, copy: &[u8]) -> Result<()> {
        check_name(&added.name)?;
        self.change(|list| {
            if list.iter().any(|other| other.name == added.name) {
                bail!("there is an index {} already: remove it first", added.name);
            }
            self.keep(&added.name, copy)?;
            list.push(added);
            Ok(())
        })
    }

    /// Forgets an index and its copy.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.find(name)?;
        self.change(|list| {
            list.retain(|added| added.name != name);
            Ok(())
        })?;
        let copy = self.copy_file(name);
        match fs::remove_file(&copy) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("can't remove {}", copy.display()))
            }
            _ => Ok(()),
        }
    }

    /// Replaces an index' copy.
    pub(crate) fn keep(&self, name: &str, copy: &[u8]) -> Result<()> {
        write(&self.copy_file(name), copy)
    }

    /// An index as it was when it was last updated, and when that was; `None` where its copy is gone.
    pub(crate) fn copy(&self, name: &str) -> Result<Option<(Index, SystemTime)>> {
        let file = self.copy_file(name);
        let Some(text) = read(&file, MAX_INDEX_BYTES)? else { return Ok(None) };
        let damaged = |problem| anyhow::anyhow!("{}: {problem}; run `index update {name}`", file.display());
        let updated = fs::metadata(&file).and_then(|metadata| metadata.modified())?;
        Ok(Some((Index::parse(&text).map_err(damaged)?, updated)))
    }

    /// Every profile of every index, with the index' name; of one index where one is named.
    pub(crate) fn profiles(&self, only: Option<&str>) -> Result<Vec<(String, Entry)>> {
        let indexes = match only {
            Some(name) => vec![self.find(name)?],
            None => self.list()?,
        };
        if indexes.is_empty() {
            bail!("no index was added yet: add one with `index add NAME URL`");
        }
        let mut profiles = Vec::new();
        for Added { name, .. } in indexes {
            let (index, _) = self.copy(&name)?.with_context(|| {
                format!("the copy of the index {name} is gone: run `index update {name}`")
            })?;
            profiles.extend(index.profiles.into_iter().map(|entry| (name.clone(), entry)));
        }
        Ok(profiles)
    }

    /// Changes the list, one process at a time.
    fn change(&self, change: impl FnOnce(&mut Vec<Added>) -> Result<()>) -> Result<()> {
        let folder = &self.configuration;
        let lock = || -> std::io::Result<File> {
            fs::create_dir_all(folder)?;
            let lock = File::create(folder.join("indexes.lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let _held = lock().with_context(|| format!("can't lock the list in {}", folder.display()))?;
        let mut indexes = self.list()?;
        change(&mut indexes)?;
        write(&self.list_file(), serde_saphyr::to_string(&List { indexes })?.as_bytes())
    }

    fn list_file(&self) -> PathBuf {
        self.configuration.join("indexes.yaml")
    }

    fn copy_file(&self, name: &str) -> PathBuf {
        self.cache.join(format!("{name}.yaml"))
    }
}

/// A name becomes a file's.
fn check_name(name: &str) -> Result<()> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(inside) {
        bail!("{name:?} is no name for an index: write letters, digits, - and _, at most {MAX_NAME} of them");
    }
    Ok(())
}

/// A file's bytes; `None` where there is no such file.
fn read(file: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let open = match File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", file.display())),
    };
    let mut text = Vec::new();
    open.take(limit + 1).read_to_end(&mut text).with_context(|| format!("can't read {}", file.display()))?;
    if text.len() as u64 > limit {
        bail!("{} is longer than {limit} bytes: remove it and add or update the index again", file.display());
    }
    Ok(Some(text))
}

/// Makes bytes a file's whole content at once, in a folder that is made where it is missing.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file has a folder")?;
    let write = || fs::create_dir_all(folder).and_then(|()| replace(file, bytes));
    write().with_context(|| format!("can't write {}", file.display()))
}

#[cfg(test)]
mod tests;
