//! Packages of a suite of Debian, unpacked beside those that the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::command::output;

/// An apt of its own in a folder, with the machine's mirror and nothing installed.
#[derive(Debug)]
pub struct Debian<'a> {
    folder: &'a Path,
    suite: &'a str,
    /// Another than the machine's.
    architecture: Option<&'a str>,
}

impl<'a> Debian<'a> {
    /// The suite, with its lists as they are now.
    ///
    /// # Errors
    /// Where apt is missing, or its mirror can't be reached.
    pub fn new(folder: &'a Path, suite: &'a str) -> Result<Self> {
        Self::made(folder, suite, None)
    }

    /// The suite for another architecture, as Debian names it.
    ///
    /// # Errors
    /// As those of [`Debian::new`].
    pub fn of(folder: &'a Path, suite: &'a str, architecture: &'a str) -> Result<Self> {
        Self::made(folder, suite, Some(architecture))
    }

    fn made(folder: &'a Path, suite: &'a str, architecture: Option<&'a str>) -> Result<Self> {
        let wanted = [
            "indextargets",
            "--format",
            "$(SITE)",
            "Created-By: Packages",
            "Origin: Debian",
            "Label: Debian",
        ];
        let said = output(Command::new("apt-get").args(wanted))?;
        let mirror =
            said.lines().next().context("apt-get knows no mirror of Debian: run `apt-get update` first")?;
        let mirror = mirror.trim_end_matches('/');
        for made in ["lists/partial", "cache/archives/partial", "downloads"] {
            fs::create_dir_all(folder.join(made))?;
        }
        let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::write(folder.join("sources.list"), format!("deb [signed-by={keys}] {mirror} {suite} main\n"))?;
        fs::write(folder.join("status"), "")?;
        let debian = Self { folder, suite, architecture };
        output(&mut debian.apt("apt-get", &["update"]))?;
        Ok(debian)
    }

    /// A package's version.
    ///
    /// # Errors
    /// Where the suite has no such package.
    pub fn version(&self, package: &str) -> Result<String> {
        let said = output(&mut self.apt("apt-cache", &["show", "--no-all-versions", package]))?;
        let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version.with_context(|| format!("{} has no {package}", self.suite))?.to_owned())
    }

    /// The packages whose names match an extended regular expression.
    ///
    /// # Errors
    /// Where apt fails.
    pub fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let said = output(&mut self.apt("apt-cache", &["search", "--names-only", pattern]))?;
        Ok(said.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// A package and all that it depends on.
    ///
    /// # Errors
    /// Where the suite has no such package.
    pub fn with_dependencies(&self, package: &str) -> Result<Vec<String>> {
        let left = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
        let mut arguments = vec!["depends".to_owned(), "--recurse".to_owned()];
        arguments.extend(left.map(|kind| format!("--no-{kind}")));
        arguments.push(package.to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = output(&mut self.apt("apt-cache", &arguments))?;
        // What a package needs stands indented below its name; a name in angle brackets is no package.
        let real = |line: &&str| line.starts_with(|first: char| first.is_ascii_alphanumeric());
        Ok(said.lines().filter(real).map(str::to_owned).collect())
    }

    /// Unpacks packages into a folder.
    ///
    /// # Errors
    /// Where one can't be downloaded.
    pub fn extract(&self, packages: &[&str], into: &Path) -> Result<()> {
        let mut download = self.apt("apt-get", &[&["download"], packages].concat());
        output(download.current_dir(self.downloads()))?;
        let files = fs::read_dir(self.downloads())?.map(|entry| Ok(entry?.path()));
        let files = files.collect::<Result<Vec<PathBuf>>>()?;
        ensure!(files.len() >= packages.len(), "apt-get downloaded {files:?} alone of {packages:?}");
        for file in files {
            output(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(into))?;
            fs::remove_file(&file)?;
        }
        Ok(())
    }

    fn downloads(&self) -> PathBuf {
        self.folder.join("downloads")
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Command {
        let folder = self.folder.display();
        let mut apt = Command::new(program);
        apt.current_dir(self.folder).env("LC_ALL", "C");
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // The folder is the user's own, so apt's user for downloads can't write there.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        if let Some(architecture) = self.architecture {
            apt.args(["-o", &format!("APT::Architecture={architecture}"), "-o"]);
            apt.arg(format!("APT::Architectures={architecture}"));
        }
        apt.args(arguments);
        apt
    }
}
