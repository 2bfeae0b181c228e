//! Profiles out of files: one reader for every format that a person may have.
//!
//! OCI JSON; Docker's and Podman's JSON; this project's custom resources, and those of the Security Profiles Operator and of Kubescape,
//! as YAML or JSON, several in a file and in lists; what a ConfigMap holds; an OCI runtime's `config.json`. A format is recognised by its
//! own keys.

mod bytes;
mod config_map;
mod json;
mod kinds;
mod kubescape;
mod problem;
mod shape;
mod source;
mod tree;
mod yaml;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use portcullis_profile::{Profile, docker::Context};

pub(crate) use problem::{Problem, Unreadable};
pub(crate) use source::{Format, Source};
pub(crate) use tree::Position;

use crate::console;

/// How many keys that the format has not are named.
const MAX_NAMED_KEYS: usize = 5;

/// A profile, and what to call it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// For people: the file, and where there are several profiles in it which one.
    pub(crate) name: String,
    /// The profile.
    pub(crate) profile: Profile,
    /// Where it stands and what it was.
    pub(crate) source: Source,
    /// What the reader should know about what was read: what was assumed, what is not in it.
    pub(crate) notes: Vec<String>,
    /// Keys that the format has not, as paths in the file. A runtime drops them.
    pub(crate) idle_keys: Vec<String>,
    /// Why no runtime loads the file as it is, and where.
    pub(crate) not_json: Option<Problem>,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct File {
    /// The file's name, for people.
    pub(crate) name: String,
    /// Its profiles in their order, the unreadable ones too.
    pub(crate) profiles: Vec<Result<Loaded, Unreadable>>,
    /// How many objects of other kinds it has.
    pub(crate) passed_over: usize,
    /// What to know about objects that are profiles and have nothing to read.
    pub(crate) notes: Vec<String>,
}

impl File {
    /// Everything that there is to know about what was read, each with the profile's name.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let of_profiles = self
            .profiles
            .iter()
            .flatten()
            .flat_map(|loaded| loaded.notes.iter().map(|note| format!("{}: {note}", loaded.name)));
        let passed_over = (self.passed_over > 0).then(|| {
            let objects = if self.passed_over == 1 { "object" } else { "objects" };
            format!("{}: passed over {} {objects} of other kinds", self.name, self.passed_over)
        });
        of_profiles.chain(self.notes.iter().cloned()).chain(passed_over)
    }
}

/// Everything in a file, or in standard input where the path is `-`. Docker's format is resolved for a container and node.
///
/// # Errors
/// Where the file can't be read at all, or isn't text.
pub(crate) fn read(path: &Path, container: &Context) -> Result<File, Unreadable> {
    let name = bytes::name(path);
    let bytes = bytes::read(path).map_err(|reason| Unreadable::unopened(&name, reason))?;
    parse(&name, bytes, container)
}

/// Everything in the bytes of a file.
///
/// # Errors
/// Where they aren't text, or too much of it.
pub(crate) fn parse(name: &str, bytes: Vec<u8>, container: &Context) -> Result<File, Unreadable> {
    let marked = bytes::has_mark(&bytes);
    let text = bytes::text(bytes).map_err(|problem| Unreadable::new(name, problem))?;
    let (documents, broken) = match json::is_json(&text) {
        true => json::read(&text),
        false => yaml::read(&text),
    };
    let mut file = File { name: name.to_owned(), profiles: Vec::new(), passed_over: 0, notes: Vec::new() };
    let alone = documents.len() == 1;
    for document in documents {
        kinds::sort(document, &text, container, &mut file);
    }
    file.profiles.extend(broken.map(|problem| Err(Unreadable::new(&file.name, problem))));
    // Several documents are nobody's profile file.
    if let ([Ok(only)], true) = (&mut file.profiles[..], alone)
        && only.source.is_a_runtimes_file()
    {
        only.not_json = if marked { Some(json::mark()) } else { json::fault(&text) };
    }
    if let [Ok(only)] = &mut file.profiles[..] {
        only.name.clone_from(&file.name);
    }
    Ok(file)
}

/// Every profile of a file, or of standard input where the path is `-`, with Docker's format resolved for a container and node. What was
/// assumed is said on standard error.
///
/// # Errors
/// Where the file or any profile in it can't be read, or none is in it.
pub(crate) fn profiles_for(path: &Path, container: &Context) -> Result<Vec<Loaded>> {
    all_of(read(path, container)?)
}

/// [`profiles_for`] of what was read already, and can be read only once where it is a pipe.
pub(crate) fn profiles_of(name: &str, bytes: Vec<u8>, container: &Context) -> Result<Vec<Loaded>> {
    all_of(parse(name, bytes, container)?)
}

fn all_of(file: File) -> Result<Vec<Loaded>> {
    for note in file.notes() {
        console::note(&note);
    }
    let File { name, profiles, passed_over, notes } = file;
    let loaded = profiles.into_iter().collect::<Result<Vec<_>, _>>()?;
    for Loaded { name, idle_keys, .. } in loaded.iter().filter(|loaded| !loaded.idle_keys.is_empty()) {
        let keys = idle_keys.iter().take(MAX_NAMED_KEYS).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if idle_keys.len() > MAX_NAMED_KEYS { " and more" } else { "" };
        console::note(&format!("{name}: the format has no {keys}{more}: left out, as a runtime does"));
    }
    if loaded.is_empty() {
        let empty = passed_over == 0 && notes.is_empty();
        let what = if empty { "it holds nothing" } else { "nothing in it is one or has one" };
        anyhow::bail!("{name}: there is no seccomp profile to read: {what}");
    }
    Ok(loaded)
}

/// The one profile of a file, or of standard input where the path is `-`, with Docker's format resolved for a container and node.
///
/// # Errors
/// Where the file or a profile in it can't be read, or there isn't exactly one.
pub(crate) fn profile_for(path: &Path, container: &Context) -> Result<Loaded> {
    let mut all = profiles_for(path, container)?;
    match all.pop() {
        Some(only) if all.is_empty() => Ok(only),
        _ => anyhow::bail!(
            "{}: there are {} profiles in it, and this needs one: give each its own file",
            bytes::name(path),
            all.len() + 1
        ),
    }
}
