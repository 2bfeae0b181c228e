//! The repository's generated files, and figures of its documents.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub mod codegen;
pub mod fuzz;
mod page;
pub mod runtime_defaults;
pub mod speed;

/// Where the workspace's `Cargo.toml` is.
///
/// # Errors
/// Where this crate was moved.
pub fn workspace_root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("operator/xtask is not two directories below the workspace")
}
