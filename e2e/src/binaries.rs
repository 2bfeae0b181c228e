//! Kubernetes, etcd, kubectl, Helm and oras, built from their official Go modules.
//!
//! The committed module files in `cluster/` pin every dependency. For another version of Kubernetes a copy of the module
//! file with the versions rewritten is tidied below the cluster's folder.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::{
    command::{self, command},
    lock::Lock,
    paths::{self, Paths, hex},
    progress,
    settings::{KubernetesVersion, Settings},
};

/// The packages of the Kubernetes module file and the names their programs get here.
const KUBERNETES: [(&str, &str); 7] = [
    ("go.etcd.io/etcd/server/v3", "etcd"),
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
    ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
    ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
    ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
    ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
];
/// The last of them alone.
const KUBECTL: [(&str, &str); 1] = [("k8s.io/kubernetes/cmd/kubectl", "kubectl")];
const HELM: [(&str, &str); 1] = [("helm.sh/helm/v4/cmd/helm", "helm")];
const ORAS: [(&str, &str); 1] = [("oras.land/oras/cmd/oras", "oras")];

/// How often a long build says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// The built programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    kubernetes: PathBuf,
    helm: PathBuf,
}

impl Binaries {
    /// The path of a program such as `kubelet` or `helm`.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        if program == "helm" { self.helm.join(program) } else { self.kubernetes.join(program) }
    }

    /// The programs for some settings, whether they are built already or not.
    ///
    /// # Errors
    /// Where the module files can't be read.
    pub fn locate(settings: &Settings) -> Result<Self> {
        let bin = Paths::new(&settings.dir).binaries();
        let kubernetes = Module::kubernetes(settings.version);
        Ok(Self { kubernetes: bin.join(kubernetes.key()?), helm: bin.join(Module::helm().key()?) })
    }

    /// Builds what is not built yet.
    ///
    /// # Errors
    /// Where Go is missing or a build fails.
    pub fn ensure(settings: &Settings) -> Result<Self> {
        let paths = Paths::new(&settings.dir);
        let binaries = Self::locate(settings)?;
        Module::kubernetes(settings.version).ensure(&paths, &binaries.kubernetes)?;
        Module::helm().ensure(&paths, &binaries.helm)?;
        Ok(binaries)
    }
}

/// A program that a cluster of the user's own needs too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Client {
    /// `kubectl`, of the local cluster's version.
    Kubectl,
    /// `helm`.
    Helm,
}

impl Client {
    /// What the program is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
        }
    }

    /// The program's path; it is built where it is not built yet.
    ///
    /// # Errors
    /// Where Go is missing or the build fails.
    pub fn ensure(self, settings: &Settings) -> Result<PathBuf> {
        let paths = Paths::new(&settings.dir);
        let binaries = Binaries::locate(settings)?;
        let (module, folder) = match self {
            Self::Kubectl => (Module::kubectl(settings.version), &binaries.kubernetes),
            Self::Helm => (Module::helm(), &binaries.helm),
        };
        if !module.is_built(folder) {
            let _lock = Lock::exclusive(&paths.lock(), "to build")?;
            module.ensure(&paths, folder)?;
        }
        Ok(binaries.path(self.name()))
    }
}

/// The path of oras, a client of registries that is not ours, built where it is not built yet.
///
/// # Errors
/// Where Go is missing or the build fails.
pub fn oras(settings: &Settings) -> Result<PathBuf> {
    let paths = Paths::new(&settings.dir);
    let module = Module::oras();
    let target = paths.binaries().join(module.key()?);
    if !module.is_built(&target) {
        let _lock = Lock::exclusive(&paths.lock(), "to build")?;
        module.ensure(&paths, &target)?;
    }
    Ok(target.join("oras"))
}

/// A committed module file and what is built from it.
struct Module {
    name: &'static str,
    title: String,
    programs: &'static [(&'static str, &'static str)],
    version: Option<KubernetesVersion>,
}

impl Module {
    fn kubernetes(version: KubernetesVersion) -> Self {
        let title = format!("Kubernetes {version} (some minutes the first time)");
        Self { name: "kubernetes", title, programs: &KUBERNETES, version: Some(version) }
    }

    /// With the key of [`Self::kubernetes`], which builds the others beside it when they are wanted.
    fn kubectl(version: KubernetesVersion) -> Self {
        let title = format!("kubectl {version}");
        Self { name: "kubernetes", title, programs: &KUBECTL, version: Some(version) }
    }

    fn helm() -> Self {
        Self { name: "helm", title: "Helm".to_owned(), programs: &HELM, version: None }
    }

    fn oras() -> Self {
        Self { name: "oras", title: "oras".to_owned(), programs: &ORAS, version: None }
    }

    fn ensure(&self, paths: &Paths, target: &Path) -> Result<()> {
        if self.is_built(target) {
            return Ok(());
        }
        progress::step(format_args!("build {} with Go", self.title), || self.build(paths, target))
    }

    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(self.name)
    }

    fn module_file(&self) -> Result<String> {
        paths::read(&self.source().join("go.mod"))
    }

    /// The folder's name for the built programs: another module file or other flags, another name.
    fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(self.module_file()?);
        hash.update(paths::read(&self.source().join("go.sum"))?);
        hash.update(self.linker_flags());
        // The linker flags hold the version, so another version is another key.
        let version = self.version.map(|version| format!("-{version}")).unwrap_or_default();
        Ok(format!("{}{version}-{}", self.name, &hex(&hash.finalize())[..12]))
    }

    fn is_built(&self, target: &Path) -> bool {
        self.programs.iter().all(|(_, program)| target.join(program).exists())
    }

    /// The version is what `kubectl version` and the node's status show; without it they would say v0.0.0.
    fn linker_flags(&self) -> String {
        let Some(version) = self.version else { return "-s -w".to_owned() };
        let package = "k8s.io/component-base/version";
        format!(
            "-s -w -X {package}.gitVersion={} -X {package}.gitMajor=1 -X {package}.gitMinor={}",
            version.tag(),
            version.minor
        )
    }

    fn build(&self, paths: &Paths, target: &Path) -> Result<()> {
        check_go()?;
        let folder = self.prepare(paths)?;
        // Programs appear in the target only when all of them are whole.
        let unfinished = target.with_extension("unfinished");
        paths::remove(&unfinished)?;
        paths::create_dir(&unfinished)?;
        let mut build = go(&folder, ["build", "-v", "-mod=readonly", "-trimpath"]);
        build.args(["-ldflags", &self.linker_flags(), "-o"]).arg(format!("{}/", unfinished.display()));
        build.args(self.programs.iter().map(|(package, _)| package));
        run_reporting(&mut build)?;
        for (package, program) in self.programs {
            let built = unfinished.join(go_program_name(package));
            std::fs::rename(&built, unfinished.join(program))
                .with_context(|| format!("go build made no {}", built.display()))?;
        }
        paths::remove(target)?;
        std::fs::rename(&unfinished, target).with_context(|| format!("can't make {}", target.display()))
    }

    /// The folder to build in: the committed one, or one made for another version.
    fn prepare(&self, paths: &Paths) -> Result<PathBuf> {
        let Some(version) = self.version.filter(|&version| version != KubernetesVersion::committed()) else {
            return Ok(self.source());
        };
        let folder = paths.modules().join(self.key()?);
        let file = folder.join("go.mod");
        paths::write(&file, without_staging(&self.module_file()?, version))?;
        let staging = staging_modules(&folder, version)?;
        paths::write(&file, format!("{}{}", paths::read(&file)?, replacements(&staging, version)))?;
        command::output(&mut go(&folder, ["mod", "tidy"]))?;
        Ok(folder)
    }
}

/// The committed module file for another version, without the staging modules and the indirect requirements: `go mod tidy`
/// works the latter out anew, for the newer version's would be too new for an older one.
fn without_staging(module_file: &str, version: KubernetesVersion) -> String {
    let kept = |line: &&str| {
        let direct = line.contains("k8s.io/kubernetes ") || line.contains("go.etcd.io/etcd/server/");
        direct || !(line.ends_with("// indirect") || line.contains("=>"))
    };
    let text: String = module_file.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
    text.replace(&KubernetesVersion::committed().tag(), &version.tag())
}

/// The staging modules of a version, from the `replace` lines of its own module file.
fn staging_modules(folder: &Path, version: KubernetesVersion) -> Result<Vec<String>> {
    let wanted = format!("k8s.io/kubernetes@{}", version.tag());
    let mut download = go(folder, ["mod", "download", "-json"]);
    let said = command::output(download.arg(&wanted))
        .with_context(|| format!("Kubernetes {version} can't be fetched; is there such a version?"))?;
    let module: serde_json::Value = serde_json::from_str(&said).context("go mod download said no JSON")?;
    let file = module["GoMod"].as_str().with_context(|| format!("{wanted} has no module file"))?;
    Ok(staging_of(&paths::read(Path::new(file))?))
}

fn staging_of(kubernetes_module_file: &str) -> Vec<String> {
    let replaced = |line: &str| {
        let (name, target) = line.split_once("=>")?;
        target.trim().starts_with("./staging/").then(|| name.trim().trim_start_matches("replace ").to_owned())
    };
    kubernetes_module_file.lines().filter_map(replaced).collect()
}

fn replacements(staging: &[String], version: KubernetesVersion) -> String {
    let tag = version.staging_tag();
    let lines: String = staging.iter().map(|name| format!("\t{name} => {name} {tag}\n")).collect();
    format!("\nreplace (\n{lines})\n")
}

/// The name `go build` gives a program: the package path's last element that is no major version.
fn go_program_name(package: &str) -> &str {
    let is_version =
        |element: &str| element.strip_prefix('v').is_some_and(|digits| digits.parse::<u32>().is_ok());
    package.rsplit('/').find(|element| !is_version(element)).unwrap_or(package)
}

fn check_go() -> Result<()> {
    let said = command::output(&mut command("go", ["version"]))
        .context(
            "this is built with Go: install Go 1.21 or later (or set KUBECONFIG to a cluster of yours, with kubectl and helm in PATH)",
        )?;
    let minor = said.split_once("go1.").and_then(|(_, rest)| {
        rest.split(|character: char| !character.is_ascii_digit()).next()?.parse::<u32>().ok()
    });
    match minor {
        // From 1.21 on Go fetches the newer toolchain that a module file asks for by itself.
        Some(minor) if minor < 21 => bail!("this is {}: install Go 1.21 or later", said.trim()),
        _ => Ok(()),
    }
}

fn go<const N: usize>(folder: &Path, arguments: [&str; N]) -> Command {
    // A build of many minutes must not make the machine unusable.
    let mut go = command("nice", ["-n", "10", "go"]);
    go.args(arguments).current_dir(folder).env("CGO_ENABLED", "0").env("GOFLAGS", "");
    go
}

/// Runs a `go build -v`, which names each package when it is built, and says now and then how many there were.
fn run_reporting(build: &mut Command) -> Result<()> {
    let line = command::line(build);
    let mut child = build
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{line}` can't be started"))?;
    let said = child.stderr.take().context("the build's standard error is not connected")?;
    let (mut packages, mut last_report, mut lines) = (0_u32, Instant::now(), Vec::new());
    for text in BufReader::new(said).lines() {
        let text = text.context("can't read what the build says")?;
        packages += 1;
        if last_report.elapsed() > REPORT_EVERY {
            last_report = Instant::now();
            progress::say(format_args!("        {packages} packages fetched or built, now {text}"));
        }
        lines.push(text);
    }
    let status = child.wait().with_context(|| format!("`{line}` was lost"))?;
    if !status.success() {
        bail!("`{line}` failed ({status}):\n{}", command::last_lines(&lines.join("\n"), 20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_names_programs_after_the_path() {
        assert_eq!(go_program_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(go_program_name("k8s.io/kubernetes/cmd/kubelet"), "kubelet");
    }

    #[test]
    fn another_version_replaces_every_trace_of_the_committed_one() {
        let version = "1.35.4".parse().unwrap();
        let committed = Module::kubernetes(version).module_file().unwrap();
        let staging =
            staging_of("replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tx.org/y => ../y\n)\n");
        let rewritten = without_staging(&committed, version) + &replacements(&staging, version);
        assert!(rewritten.contains("k8s.io/kubernetes v1.35.4"), "{rewritten}");
        assert!(rewritten.contains("\tk8s.io/api => k8s.io/api v0.35.4\n)"), "{rewritten}");
        assert!(rewritten.contains("go.etcd.io/etcd/server/v3 v"), "{rewritten}");
        assert!(!rewritten.contains("36.3") && !rewritten.contains("x.org"), "{rewritten}");
    }

    #[test]
    fn each_version_has_a_folder_of_its_own() {
        let committed = Module::kubernetes(KubernetesVersion::committed()).key().unwrap();
        let other = Module::kubernetes("1.35.4".parse().unwrap()).key().unwrap();
        assert!(committed.starts_with("kubernetes-1.36.3-"), "{committed}");
        assert!(other.starts_with("kubernetes-1.35.4-"), "{other}");
    }
}
