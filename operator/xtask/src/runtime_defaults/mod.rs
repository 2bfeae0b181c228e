//! The runtimes' default filters: `cargo run -p xtask -- runtime-defaults` generates them from the runtimes' own sources.
//!
//! What is committed is data alone: one document for each runtime and architecture, and the strictest of them. With `--check` nothing
//! is written; it says where a newer release has another default than the committed one.

mod check;
mod containerd;
mod crio;

use std::{fmt, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use portcullis_profile::{Arch, Profile, STRICTEST, compose::NamedProfile, merge};

pub use check::check;

/// Where the documents are, and where the list of them.
const FOLDER: &str = "operator/profile/data/runtime-default";
const LIST: &str = "operator/profile/src/runtime_default/documents.rs";

/// The architectures of nodes that the operator's image is built for.
const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// A version of three numbers; those with more to them are no releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        numbers.next().is_none().then_some(version)
    }

    /// `2.4` of 2.4.2.
    fn branch(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A runtime's default on all architectures, and how it is committed.
struct Generated {
    /// The name on the command line: `containerd@2.4`.
    name: String,
    /// The runtime and its version, for people.
    words: String,
    /// What the files' names begin with.
    file: String,
    /// What it was made of.
    origin: String,
    profiles: Vec<(Arch, Profile)>,
}

/// Generates every document and writes it.
///
/// # Errors
/// Where Go, the module proxy or apt is missing, or a default can't be made.
pub fn write(root: &Path, mut say: impl FnMut(&str)) -> Result<()> {
    let released = containerd::released()?;
    let mut all = Vec::new();
    for branch in containerd::BRANCHES {
        let version = newest(&released, branch)?;
        say(&format!("containerd {version}"));
        all.push(of_containerd(branch, version)?);
    }
    let packaged = crio::Packaged::newest()?;
    say(&format!("CRI-O {}, by containers-common {}", crio::BRANCH, packaged.version));
    all.push(of_crio(&packaged)?);
    let mut files = Vec::new();
    for one in &all {
        files.extend(
            one.profiles.iter().map(|(arch, profile)| (file_name(&one.file, *arch), profile.render())),
        );
    }
    for arch in ARCHES {
        files.push((file_name(STRICTEST, arch), strictest(&all, arch)?.render()));
    }
    let folder = root.join(FOLDER);
    for entry in fs::read_dir(&folder).with_context(|| format!("can't read {FOLDER}"))? {
        let path = entry?.path();
        let observed = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OBSERVED));
        if !observed {
            fs::remove_file(&path)?;
        }
    }
    for (name, content) in files {
        say(&format!("{FOLDER}/{name}"));
        fs::write(folder.join(&name), content).with_context(|| format!("can't write {name}"))?;
    }
    fs::write(root.join(LIST), list(&all)).with_context(|| format!("can't write {LIST}"))
}

/// The document that was read off a running container and isn't generated.
const OBSERVED: &str = "containerd-1.6.20-";

fn newest(released: &[(&str, Version)], branch: &containerd::Branch) -> Result<Version> {
    let of_branch =
        |(module, version): &&(&str, Version)| *module == branch.module && version.branch() == branch.name;
    let newest = released.iter().rev().find(of_branch);
    newest
        .map(|(_, version)| *version)
        .with_context(|| format!("the module proxy has no containerd {}", branch.name))
}

fn of_containerd(branch: &containerd::Branch, version: Version) -> Result<Generated> {
    let profiles = ARCHES.map(|arch| Ok((arch, containerd::default(branch.module, version, arch)?)));
    Ok(Generated {
        name: format!("containerd@{}", branch.name),
        words: format!("containerd {version}"),
        file: format!("containerd-{version}"),
        origin: format!("the Go module {} v{version}", branch.module),
        profiles: profiles.into_iter().collect::<Result<_>>()?,
    })
}

fn of_crio(packaged: &crio::Packaged) -> Result<Generated> {
    let profiles = ARCHES.map(|arch| Ok((arch, packaged.default(arch)?)));
    Ok(Generated {
        name: format!("cri-o@{}", crio::BRANCH),
        words: format!("CRI-O {}", crio::BRANCH),
        file: format!("cri-o-{}", crio::BRANCH),
        origin: format!("Debian's {} {}, as CRI-O changes it", crio::PACKAGE, packaged.version),
        profiles: profiles.into_iter().collect::<Result<_>>()?,
    })
}

/// What every one of them allows.
///
/// They deny other calls with different errnos, which makes none looser: here all get containerd's, so that no rules are needed for
/// the difference.
fn strictest(all: &[Generated], arch: Arch) -> Result<Profile> {
    let mut profiles = Vec::new();
    for one in all {
        let of_arch = one.profiles.iter().find(|(other, _)| *other == arch);
        let (_, profile) = of_arch.with_context(|| format!("{} has no default on {arch}", one.name))?;
        profiles.push((&one.name, Profile { default_errno_ret: None, ..profile.clone() }));
    }
    let named: Vec<NamedProfile<'_>> =
        profiles.iter().map(|(name, profile)| NamedProfile { name, profile }).collect();
    Ok(merge::intersect(&named).with_context(|| format!("the strictest default on {arch}"))?.profile)
}

/// The list of the documents, for the model.
fn list(all: &[Generated]) -> String {
    let mut list = "//! Made by `cargo run -p xtask -- runtime-defaults`.\n\ndocuments! {\n".to_owned();
    for Generated { name, words, file, origin, .. } in all {
        list.push_str(&format!("    // Of {origin}.\n    {name:?}, {words:?}, {file:?};\n"));
    }
    list.push_str("}\n");
    list
}

fn file_name(source: &str, arch: Arch) -> String {
    format!("{source}-{}.json", arch.as_str().trim_start_matches("SCMP_ARCH_").to_lowercase())
}

/// What a command writes.
fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.output().with_context(|| format!("`{line}` can't be started: is it installed?"))?;
    ensure!(output.status.success(), "`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
