//! Locks between processes, so that several test binaries share one cluster.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};

use crate::{paths, progress};

/// How a test uses the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// Beside other tests.
    #[default]
    Shared,
    /// Alone: the test stops parts of the cluster, or adds or removes nodes.
    Exclusive,
}

/// A lock that is held until it is dropped, also by the end of the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock in any way.
    pub(crate) fn exclusive(path: &Path, why: &str) -> Result<Self> {
        let file = open(path)?;
        if file.try_lock().is_err() {
            progress::say(format_args!("waiting for another process {why}"));
            file.lock().with_context(|| format!("can't lock {}", path.display()))?;
        }
        Ok(Self { _file: file })
    }

    /// Waits until nobody holds the lock exclusively.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock_shared().with_context(|| format!("can't lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        paths::create_dir(folder)?;
    }
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("can't open the lock {}", path.display()))
}
