//! What is made of a file's bytes, without the file: for property tests and fuzz targets, and no part of the API.

use portcullis_api::{Mode, ProfileKind};
use portcullis_profile::{Arch, Profile};

use crate::{input, manifest, platform};

/// What a file holds.
#[derive(Debug)]
pub struct Resources {
    /// Its profiles, or why one can't be read, a line for each problem.
    pub profiles: Vec<Result<Profile, String>>,
    /// What else there is to know of it, and what its profiles are called.
    pub said: Vec<String>,
}

/// Reads every profile in the bytes of a file.
#[must_use]
pub fn resources(bytes: &[u8]) -> Resources {
    match input::parse("file", bytes.to_vec(), &platform::usual_container(Arch::X86_64)) {
        Ok(file) => {
            let names = file.profiles.iter().flatten().map(|loaded| loaded.name.clone());
            let said = file.notes().chain(names).collect();
            let profiles = file.profiles.into_iter();
            let profiles =
                profiles.map(|read| read.map(|loaded| loaded.profile).map_err(|error| error.to_string()));
            Resources { profiles: profiles.collect(), said }
        }
        Err(error) => Resources { profiles: vec![Err(error.to_string())], said: Vec::new() },
    }
}

/// A profile as a custom resource in YAML.
///
/// # Errors
/// Where it is larger than a resource may be.
pub fn resource(profile: &Profile) -> Result<String, String> {
    let object = manifest::Object {
        kind: ProfileKind::SeccompProfile,
        name: "web".to_owned(),
        namespace: None,
        mode: Mode::Enforce,
        bases: Vec::new(),
        recorded_from: None,
    };
    manifest::render(profile, &object).map_err(|error| format!("{error:#}"))
}
