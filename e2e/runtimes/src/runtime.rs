//! Runtimes: those of the machine, and other versions, built or unpacked beside them.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_profile::evaluate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{command::output, debian::Debian, workspace_root};

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// opencontainers/runc.
    Runc,
    /// containers/crun.
    Crun,
}

impl From<Name> for evaluate::Runtime {
    fn from(name: Name) -> Self {
        match name {
            Name::Runc => Self::Runc,
            Name::Crun => Self::Crun,
        }
    }
}

impl Name {
    /// The program's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
        }
    }
}

/// A version of a runtime, and its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Which.
    pub name: Name,
    /// What it says of itself: `1.3.7`.
    pub version: String,
    program: PathBuf,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name.as_str(), self.version)
    }
}

/// Where a runtime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The machine has it.
    Installed(Name),
    /// A version of runc's Go module, built with its own module file.
    Module(&'static str),
    /// A package of a suite of Debian.
    Suite(Name, &'static str),
}

impl Source {
    /// Every runtime that is measured: Debian bookworm's, stable's and the newest one's, and of the branches of runc that Debian lacks
    /// the newest release that the module proxy has.
    pub const ALL: [Self; 9] = [
        Self::Installed(Name::Runc),
        Self::Suite(Name::Runc, "trixie"),
        Self::Module("1.2.8"),
        Self::Suite(Name::Runc, "sid"),
        Self::Module("1.4.4"),
        Self::Module("1.5.3"),
        Self::Installed(Name::Crun),
        Self::Suite(Name::Crun, "trixie"),
        Self::Suite(Name::Crun, "sid"),
    ];
    /// Those that need nothing fetched.
    pub const INSTALLED: [Self; 2] = [Self::Installed(Name::Runc), Self::Installed(Name::Crun)];

    /// The runtime, built or unpacked where it isn't yet.
    ///
    /// # Errors
    /// Where the program is missing, or Go, apt or a download fails.
    pub fn obtain(self) -> Result<Runtime> {
        let (name, program) = match self {
            Self::Installed(name) => (name, PathBuf::from(name.as_str())),
            Self::Module(version) => (Name::Runc, built(version)?),
            Self::Suite(name, suite) => (name, unpacked(name, suite)?),
        };
        let said = output(Command::new(&program).arg("--version")).with_context(|| self.to_string())?;
        let version = version(&said).with_context(|| format!("{self} says {said:?}"))?;
        Ok(Runtime { name, version, program })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed(name) => write!(f, "{}@installed", name.as_str()),
            Self::Module(version) => write!(f, "runc@{version}"),
            Self::Suite(name, suite) => write!(f, "{}@{suite}", name.as_str()),
        }
    }
}

impl FromStr for Source {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(source) = Self::ALL.into_iter().find(|source| source.to_string() == text) else {
            let all: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            bail!("{text:?} is none of {}", all.join(", "));
        };
        Ok(source)
    }
}

/// The version in `runc version 1.1.5+ds1`.
fn version(said: &str) -> Option<String> {
    let word = said.lines().next()?.split_whitespace().nth(2)?;
    Some(word.split(['+', '-']).next()?.to_owned())
}

impl Runtime {
    /// The runtime's command, with its state in a folder.
    pub(crate) fn command(&self, state: &Path) -> Command {
        let mut command = Command::new(&self.program);
        if self.name == Name::Crun {
            // Needs no cgroups, and the machine's may be of a kind that it can't use.
            command.arg("--cgroup-manager=disabled");
        }
        command.arg("--root").arg(state);
        command
    }
}

/// Where runtimes are kept.
fn folder(name: &str) -> PathBuf {
    workspace_root().join(".cluster/runtimes").join(name)
}

/// Makes a program in a folder of its own, once: it appears there when it is whole.
fn made(name: &str, program: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = folder(name);
    let made = folder.join(program);
    if made.exists() {
        return Ok(made);
    }
    fs::create_dir_all(&folder)?;
    let unfinished = tempfile::tempdir_in(&folder)?;
    make(unfinished.path())?;
    fs::rename(unfinished.path().join(program), &made)
        .with_context(|| format!("{program} was not made in {}", unfinished.path().display()))?;
    Ok(made)
}

/// runc of its Go module, with the versions of its own module file.
fn built(version: &str) -> Result<PathBuf> {
    const MODULE: &str = "github.com/opencontainers/runc";
    made(&format!("runc-{version}"), "runc", |folder| {
        let wanted = format!("{MODULE}@v{version}");
        let download = &mut Command::new("go");
        let said = output(download.args(["mod", "download", "-json", &wanted]).current_dir(folder))
            .with_context(|| format!("{wanted} is built with Go, which a module proxy gives it to"))?;
        let module: Value = serde_json::from_str(&said).context("go mod download said no JSON")?;
        let downloaded = module["Dir"].as_str().with_context(|| format!("{wanted} has no folder"))?;
        // Modules are built by their own files in a folder that can be written to alone.
        let source = folder.join("source");
        output(Command::new("cp").args(["--recursive", "--no-preserve=mode", downloaded]).arg(&source))?;
        let mut build = Command::new("nice");
        build.args(["-n", "10", "go", "build", "-trimpath", "-tags", "seccomp", "-o", "../runc"]);
        build.arg("-ldflags").arg(format!("-s -w -X main.version={version}")).arg(".");
        output(build.current_dir(&source).env("CGO_ENABLED", "1").env("GOFLAGS", ""))?;
        fs::remove_dir_all(&source).context("the source can't be removed")
    })
}

/// A runtime of a suite of Debian, with the libraries and the loader of that suite.
fn unpacked(name: Name, suite: &str) -> Result<PathBuf> {
    let name = name.as_str();
    let packages = folder(&format!("{name}-{suite}")).join("packages");
    made(&format!("{name}-{suite}"), name, |folder| {
        let apt = tempfile::tempdir_in(folder)?;
        let debian = Debian::new(apt.path(), suite)?;
        let needed = [debian.with_dependencies(name)?, debian.with_dependencies("patchelf")?].concat();
        let needed: BTreeSet<&str> = needed.iter().map(String::as_str).collect();
        debian.extract(&needed.into_iter().collect::<Vec<_>>(), &packages)?;
        let loader = loader(&packages)?;
        let libraries = loader.parent().context("a loader has a folder")?;
        let program = folder.join(name);
        let packaged = ["usr/bin", "usr/sbin"].map(|bin| packages.join(bin).join(name));
        let packaged =
            packaged.iter().find(|file| file.exists()).context("the package has no such program")?;
        fs::copy(packaged, &program)?;
        // Runtimes execute themselves anew, so they can't be started by way of their loader.
        let mut patch = Command::new(&loader);
        patch.arg("--library-path").arg(libraries).arg(packages.join("usr/bin/patchelf"));
        patch.arg("--set-interpreter").arg(&loader);
        patch.arg("--force-rpath").arg("--set-rpath").arg(libraries).arg(&program);
        output(&mut patch).map(drop)
    })
}

fn loader(packages: &Path) -> Result<PathBuf> {
    let libraries = packages.join("usr/lib");
    let triplets = fs::read_dir(&libraries).with_context(|| format!("no {}", libraries.display()))?;
    let mut loaders = Vec::new();
    for triplet in triplets {
        for file in fs::read_dir(triplet?.path()).into_iter().flatten() {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("ld-linux") {
                loaders.push(file.path());
            }
        }
    }
    ensure!(loaders.len() == 1, "{} has the loaders {loaders:?}", libraries.display());
    loaders.pop().context("one was found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("runc version 1.1.5+ds1\ncommit: x\n").as_deref(), Some("1.1.5"));
        assert_eq!(version("crun version 1.8.1\n").as_deref(), Some("1.8.1"));
        assert_eq!(version("crun\n"), None);
    }

    #[test]
    fn sources_are_named() {
        for source in Source::ALL {
            assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
        }
        assert!("runc@0.1".parse::<Source>().unwrap_err().to_string().contains("runc@installed"));
    }
}
