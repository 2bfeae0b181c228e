//! What a profile was made from, in words.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::source;

/// The most files that are named.
const MAX_NAMED: usize = 5;

/// What a profile was made from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// What it is: `strace`.
    pub(crate) kind: &'static str,
    /// The files.
    pub(crate) files: Vec<PathBuf>,
    /// What was found in them: `2 calls in 40 lines`.
    pub(crate) found: String,
}

impl Origin {
    /// A name for a resource: the first file's, as Kubernetes takes it.
    pub(crate) fn resource_name(&self) -> String {
        let stem = self.files.first().and_then(|file| file.file_stem()).unwrap_or_default().to_string_lossy();
        let mapped: String = stem
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
            .take(63)
            .collect();
        let name = mapped.trim_matches('-');
        if name.is_empty() { "imported".to_owned() } else { name.to_owned() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.files.iter().take(MAX_NAMED).map(|file| source::name(Path::new(file))).collect();
        write!(f, "{} ({}", self.kind, names.join(", "))?;
        match self.files.len().saturating_sub(MAX_NAMED) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        write!(f, "): {}", self.found)
    }
}

/// `1 line`, `2 lines`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
