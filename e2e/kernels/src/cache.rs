//! What takes long to make is made once, in a folder that git ignores.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use portcullis_runtimes::workspace_root;

/// A file in a folder of the cache, made unless it is there. The folder appears whole or not at all.
///
/// # Errors
/// Where it can't be made.
pub(crate) fn made(name: &str, file: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = workspace_root().join(".cluster/kernels");
    let wanted = cache.join(name);
    if !wanted.join(file).exists() {
        fs::create_dir_all(&cache).with_context(|| format!("can't make {}", cache.display()))?;
        let making = tempfile::tempdir_in(&cache)?;
        make(making.path())?;
        ensure!(making.path().join(file).exists(), "{name} came without {file}");
        fs::rename(making.keep(), &wanted).with_context(|| format!("can't make {}", wanted.display()))?;
    }
    Ok(wanted.join(file))
}
