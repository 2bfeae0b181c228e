//! The BPF file system, which a node of a distribution with systemd has mounted. The nodes share the machine's: recorders keep their
//! pins apart by the node's name.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{command::output, paths};

/// Where systemd mounts it, and the chart's recorder expects it.
const PATH: &str = "/sys/fs/bpf";

/// Mounts it where it is not. Says whether it did.
pub(crate) fn ensure() -> Result<bool> {
    if is_mounted()? {
        return Ok(false);
    }
    let mount = output(std::process::Command::new("mount").args(["-t", "bpf", "bpf", PATH]));
    mount.map(|_| true).context("a recorder needs the BPF file system")
}

/// Unmounts it.
pub(crate) fn unmount() -> Result<()> {
    if is_mounted()? { output(std::process::Command::new("umount").arg(PATH)).map(drop) } else { Ok(()) }
}

/// Removes what the recorder of a node left there: a recorder that is killed with its node can't.
pub(crate) fn forget(node: &str) -> Result<()> {
    paths::remove(&Path::new(PATH).join("portcullis").join(node.replace('.', "_")))
}

fn is_mounted() -> Result<bool> {
    let mounts = paths::read(Path::new("/proc/self/mounts"))?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(1) == Some(PATH)))
}
