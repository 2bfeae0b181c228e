//! containerd's default, from its Go modules.
//!
//! `DefaultProfile` asks Go for the architecture that it was compiled for. So its source file is copied into a module of our own,
//! with that architecture written into it: nothing has to run on another machine.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use portcullis_profile::{Arch, Profile, docker};
use serde_json::Value;

use super::{Version, output};

/// The program that calls `DefaultProfile`.
const PROGRAM: &str = include_str!("../../runtime-defaults/main.go");
/// The package's source file in a containerd module.
const SOURCE: &str = "contrib/seccomp/seccomp_default.go";

/// A branch of containerd's releases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    /// Its first two numbers.
    pub(super) name: &'static str,
    /// The module that its releases are versions of.
    pub(super) module: &'static str,
}

const MODULE_1: &str = "github.com/containerd/containerd";
const MODULE_2: &str = "github.com/containerd/containerd/v2";

/// The branches that somebody supported within the last year: nodes outlive a branch.
///
/// Source: containerd's `RELEASES.md` of August 2026. 1.7 ended in September 2026, 2.1 in July 2026, 2.2 in November 2026; 2.0 is
/// supported until March 2027, 2.4 until April 2027, 2.3 until April 2028. 1.6 ended in August 2025.
pub(super) const BRANCHES: &[Branch] = &[
    Branch { name: "1.7", module: MODULE_1 },
    Branch { name: "2.0", module: MODULE_2 },
    Branch { name: "2.1", module: MODULE_2 },
    Branch { name: "2.2", module: MODULE_2 },
    Branch { name: "2.3", module: MODULE_2 },
    Branch { name: "2.4", module: MODULE_2 },
];

fn go(folder: &Path, arguments: &[&str]) -> Command {
    let mut go = Command::new("go");
    go.args(arguments).current_dir(folder).env("CGO_ENABLED", "0").env("GOFLAGS", "");
    go
}

/// The released versions of the modules, in order, as far as the module proxy has them.
pub(super) fn released() -> Result<Vec<(&'static str, Version)>> {
    let folder = tempfile::tempdir()?;
    let mut all = Vec::new();
    for module in [MODULE_1, MODULE_2] {
        let said = output(&mut go(folder.path(), &["list", "-m", "-versions", module]))
            .with_context(|| format!("the module proxy doesn't say which versions of {module} there are"))?;
        all.extend(said.split_whitespace().filter_map(Version::parse).map(|version| (module, version)));
    }
    all.sort_by_key(|(_, version)| *version);
    Ok(all)
}

/// The default of a version for a container without added capabilities, on nodes of an architecture.
pub(super) fn default(module: &str, version: Version, arch: Arch) -> Result<Profile> {
    let tag = format!("v{version}");
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let module_file = format!("module runtimedefault\n\ngo 1.21\n\nrequire {module} {tag}\n");
    fs::write(root.join("go.mod"), module_file)?;
    fs::write(root.join("main.go"), PROGRAM)?;
    let wanted = format!("{module}@{tag}");
    let said = output(&mut go(root, &["mod", "download", "-json", &wanted]))?;
    let said: Value = serde_json::from_str(&said).context("go mod download said no JSON")?;
    let downloaded = said["Dir"].as_str().with_context(|| format!("{wanted} has no folder"))?;
    let source = Path::new(downloaded).join(SOURCE);
    let source = fs::read_to_string(&source).with_context(|| format!("can't read {}", source.display()))?;
    fs::create_dir(root.join("seccomp"))?;
    fs::write(root.join("seccomp/default.go"), for_architecture(&source, arch)?)?;
    output(&mut go(root, &["build", "-mod=mod", "-o", "default", "."]))?;
    let said = output(Command::new(root.join("default")).args(docker::DEFAULT_CAPABILITIES))?;
    Profile::parse(said.as_bytes()).with_context(|| format!("the default of {wanted}"))
}

/// The source with an architecture written into it.
fn for_architecture(source: &str, arch: Arch) -> Result<String> {
    const IMPORT: &str = "\t\"runtime\"\n";
    const ASKED: &str = "runtime.GOARCH";
    ensure!(
        source.contains(IMPORT) && source.contains(ASKED),
        "{SOURCE} doesn't ask for {ASKED} any more: look at how it tells architectures apart"
    );
    let name = format!("{:?}", docker::arch_name(arch));
    Ok(source.replacen(IMPORT, "", 1).replace(ASKED, &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_written_into_the_source() {
        let source =
            "import (\n\t\"runtime\"\n\t\"slices\"\n)\n\nfunc arches() string { return runtime.GOARCH }\n";
        let written = for_architecture(source, Arch::Aarch64).unwrap();
        assert_eq!(written, "import (\n\t\"slices\"\n)\n\nfunc arches() string { return \"arm64\" }\n");
        assert!(for_architecture("import \"runtime\"\n", Arch::Aarch64).is_err());
    }
}
