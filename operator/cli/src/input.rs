//! Profiles out of files.

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result};
use portcullis_profile::Profile;

/// A profile, and what to call it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// For people: the file, and where there are several profiles in it which one.
    pub(crate) name: String,
    /// The profile.
    pub(crate) profile: Profile,
}

/// Every profile of a file, or of standard input where the path is `-`.
pub(crate) fn profiles(path: &Path) -> Result<Vec<Loaded>> {
    let name = path.display().to_string();
    let text = read(path).with_context(|| format!("can't read {name}"))?;
    let profile = Profile::parse(&text).with_context(|| name.clone())?;
    Ok(vec![Loaded { name, profile }])
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)?;
    } else {
        fs::File::open(path)?.read_to_end(&mut text)?;
    }
    Ok(text)
}
