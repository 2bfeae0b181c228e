//! The Debian packages that a node is made of, installed where they are missing.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    Lock, Paths, clients,
    command::{command, output},
    progress,
    settings::Settings,
};

/// A file that a node needs and the Debian package that brings it.
const NODE: [(&str, &str); 10] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/bin/ctr", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/crun", "crun"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/nsenter", "util-linux"),
];

/// What the images that tests run are made of.
const IMAGES: [(&str, &str); 7] = [
    ("/usr/bin/busybox", "busybox-static"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/bin/perl", "perl-base"),
    ("/usr/bin/redis-server", "redis-server"),
    ("/usr/bin/redis-cli", "redis-tools"),
    ("/usr/bin/redis-benchmark", "redis-tools"),
    ("/usr/bin/wrk", "wrk"),
];

/// What tests of registries need besides.
const REGISTRY: [(&str, &str); 1] = [("/usr/bin/docker-registry", "docker-registry")];
/// What tests of metrics and alerts need, on a cluster of the user's own too.
const PROMETHEUS: [(&str, &str); 1] = [("/usr/bin/promtool", "prometheus")];
/// What builds an image from a Containerfile, for the test that compares it with the harness's own.
const BUILDAH: [(&str, &str); 1] = [("/usr/bin/buildah", "buildah")];

/// The packages whose files are not there, each once.
fn missing(needed: &[(&'static str, &'static str)], exists: impl Fn(&Path) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<&str> = needed
        .iter()
        .filter(|(file, _)| !exists(Path::new(file)) && !exists(&merged_usr(file)))
        .map(|&(_, package)| package)
        .collect();
    packages.dedup();
    packages
}

/// The same file where /usr is not merged: `/usr/bin/x` is `/bin/x`.
fn merged_usr(file: &str) -> std::path::PathBuf {
    file.strip_prefix("/usr").unwrap_or(file).into()
}

/// Installs what a node, the images and the tests of metrics lack.
///
/// # Errors
/// Where apt is missing or fails.
pub(crate) fn ensure() -> Result<()> {
    ensure_all(&[NODE.as_slice(), &IMAGES, &PROMETHEUS].concat())
}

/// Installs what the images lack.
///
/// # Errors
/// Where apt is missing or fails.
pub(crate) fn ensure_for_images() -> Result<()> {
    ensure_all(&IMAGES)
}

/// Installs a registry where there is none.
///
/// # Errors
/// Where apt is missing or fails.
pub(crate) fn ensure_registry(paths: &Paths) -> Result<()> {
    ensure_alone(&REGISTRY, paths)
}

/// `promtool`, Prometheus's own check of metrics and rules, installed where it is missing.
///
/// # Errors
/// Where it is missing and can't be installed.
pub fn promtool() -> Result<Command> {
    if clients::in_path("promtool").is_none() {
        ensure_alone(&PROMETHEUS, &Paths::new(&Settings::from_env()?.dir))?;
    }
    Ok(Command::new("promtool"))
}

/// `buildah`, an engine that builds images as Docker and Podman do, installed if it is missing.
///
/// # Errors
/// Returns an error if it is missing and can't be installed.
pub fn buildah() -> Result<Command> {
    if clients::in_path("buildah").is_none() {
        ensure_alone(&BUILDAH, &Paths::new(&Settings::from_env()?.dir))?;
    }
    Ok(Command::new("buildah"))
}

fn ensure_alone(needed: &[(&'static str, &'static str)], paths: &Paths) -> Result<()> {
    if missing(needed, Path::exists).is_empty() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&paths.lock(), "to install packages")?;
    ensure_all(needed)
}

fn ensure_all(needed: &[(&'static str, &'static str)]) -> Result<()> {
    let missing = missing(needed, Path::exists);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this machine lacks what the Debian packages {names} hold, and has no apt-get: install it");
    }
    progress::step(format_args!("install Debian packages: {names}"), || install(&missing))
}

fn install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut apt = command("apt-get", arguments);
        // Packages such as nginx would start a server, which is not wanted here.
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        output(&mut apt)
    };
    let with = |first: &[&'static str]| [first, packages].concat();
    // Debian's containerd and runc would take those of Docker away from a machine that has them.
    let install = with(&["install", "-y", "--no-install-recommends", "--no-remove"]);
    if apt(&install).is_err() {
        // A fresh machine has no package lists yet.
        apt(&["update"])?;
        apt(&install).with_context(|| format!("installing {} failed", packages.join(" ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_two_missing_files_is_named_once() {
        let missing = missing(&NODE, |file| !file.ends_with("containerd") && !file.ends_with("ctr"));
        assert_eq!(missing, ["containerd"]);
    }

    #[test]
    fn an_unmerged_usr_counts() {
        assert!(missing(&NODE, |file| !file.starts_with("/usr")).is_empty());
    }
}
