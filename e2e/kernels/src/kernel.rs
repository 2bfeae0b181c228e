//! The kernels: Debian's own packages, for two processors.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result, bail};
use portcullis_runtimes::Debian;

use crate::cache;

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    Amd64,
    Arm64,
}

impl Processor {
    /// As Debian names it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust does.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// As documents do.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86-64",
            Self::Arm64 => "arm64",
        }
    }
}

/// What is expected of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It records by typed tracepoints.
    Records,
    /// It is refused, with the version that is needed.
    Refused,
}

/// A kernel of a suite of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) processor: Processor,
    suite: &'static str,
    pub(crate) expected: Expected,
}

const fn kernel(processor: Processor, suite: &'static str, expected: Expected) -> Kernel {
    Kernel { processor, suite, expected }
}

/// Linux 5.10, 6.1, 6.12 and the newest that there is. 5.15, the oldest that can record, is in no suite.
pub(crate) const ALL: [Kernel; 6] = [
    kernel(Processor::Amd64, "bullseye", Expected::Refused),
    kernel(Processor::Amd64, "bookworm", Expected::Records),
    kernel(Processor::Amd64, "trixie", Expected::Records),
    kernel(Processor::Amd64, "trixie-backports", Expected::Records),
    kernel(Processor::Arm64, "bookworm", Expected::Records),
    kernel(Processor::Arm64, "trixie", Expected::Records),
];

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.processor.debian(), self.suite)
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ALL.into_iter().find(|kernel| kernel.to_string() == text);
        found.ok_or_else(|| format!("choose of {}", ALL.map(|kernel| kernel.to_string()).join(", ")))
    }
}

impl Kernel {
    /// The kernel's image, downloaded once.
    ///
    /// # Errors
    /// Where the suite can't be reached or has no kernel for machines in a cloud, which is the smallest.
    pub(crate) fn image(&self) -> Result<PathBuf> {
        cache::made(&format!("kernel-{self}"), "vmlinuz", |folder| {
            let apt = tempfile::tempdir_in(folder)?;
            let debian = Debian::of(apt.path(), self.suite, self.processor.debian())?;
            // From 7.0 on the image is in a package of its own, linux-binary.
            let pattern =
                format!("^linux-(image|binary)-[0-9].*-cloud-{}(-unsigned)?$", self.processor.debian());
            let packages = debian.search(&pattern)?;
            let unpacked = tempfile::tempdir_in(folder)?;
            for package in newest(&packages) {
                debian.extract(&[package], unpacked.path())?;
                if let Some(image) = find_image(unpacked.path())? {
                    std::fs::copy(image, folder.join("vmlinuz"))?;
                    return Ok(());
                }
            }
            bail!("no package of {packages:?} holds a kernel")
        })
        .with_context(|| format!("the kernel {self} is not to be had"))
    }
}

/// Packages by the versions in their names, the newest first.
fn newest(packages: &[String]) -> Vec<&str> {
    let version = |name: &str| -> Vec<u64> {
        name.split(|one: char| !one.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let mut sorted: Vec<&str> = packages.iter().map(String::as_str).collect();
    sorted.sort_by_key(|name| std::cmp::Reverse(version(name)));
    sorted
}

fn find_image(root: &Path) -> Result<Option<PathBuf>> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let is_image = entry.file_name().to_string_lossy().starts_with("vmlinuz");
            if is_image && entry.file_type()?.is_file() {
                return Ok(Some(entry.path()));
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_that_of_the_highest_version() {
        let packages = [
            "linux-image-6.12.9-cloud-amd64",
            "linux-image-6.12.74+deb13-cloud-amd64-unsigned",
            "linux-image-6.9.7-cloud-amd64",
        ];
        let packages = packages.map(str::to_owned);
        assert_eq!(newest(&packages)[0], "linux-image-6.12.74+deb13-cloud-amd64-unsigned");
    }
}
