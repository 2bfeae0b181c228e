//! A node's mount namespace: the directories that a kubelet, containerd and its shims use by fixed names are the node's own,
//! and every mount they make ends with the namespace.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use super::enter;
use crate::{
    command::output,
    machine,
    paths::{self, Paths},
    process::{Program, Supervisor},
    wait,
};

/// The machine's directories that each node has for itself, and the names of the folders that stand for them.
const OWN: [(&str, &str); 7] = [
    ("/var/lib/kubelet", "kubelet"),
    ("/var/lib/containerd", "containerd"),
    ("/run/containerd", "containerd-state"),
    ("/run/netns", "netns"),
    ("/var/lib/cni", "cni-state"),
    ("/var/log/pods", "pod-logs"),
    ("/var/log/containers", "container-logs"),
];
/// Where such a machine has them by convention, see systemd's `unified_cgroup_hierarchy`.
const HYBRID: &str = "/sys/fs/cgroup/unified";
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder that is mounted over one of the machine's.
pub(super) struct Mount {
    pub(super) source: PathBuf,
    pub(super) target: &'static str,
}

/// The mounts of the node with a folder.
pub(super) fn of(folder: &Path) -> Vec<Mount> {
    OWN.iter().map(|&(target, name)| Mount { source: folder.join(name), target }).collect()
}

/// Makes the namespace, held open by a process that sleeps, and mounts the node's folders in it.
pub(super) async fn create(paths: &Paths, supervisor: &Supervisor, name: &str, folder: &Path) -> Result<()> {
    for mount in of(folder) {
        paths::create_dir(&mount.source)?;
        machine::create_mount_point(paths, Path::new(mount.target))?;
    }
    let arguments = ["unshare", "--mount", "--propagation", "private", "--", "sleep", "infinity"];
    let program =
        Program { name: name.to_owned(), arguments: arguments.map(str::to_owned).to_vec(), mounts_of: None };
    supervisor.start(&program)?;
    let namespace = supervisor.mount_namespace(name)?;
    let own = std::fs::read_link("/proc/self/ns/mnt")?;
    let entered = async || Ok(std::fs::read_link(&namespace).is_ok_and(|its| its != own));
    wait::until(PATIENCE, entered, || !supervisor.is_alive(name))
        .await?
        .map_err(|state| supervisor.complaint(name, state))?;
    for mount in of(folder) {
        output(enter(&namespace).args(["mount", "--bind"]).arg(&mount.source).arg(mount.target))?;
    }
    hide_second_cgroups(&namespace)?;
    // Pods ask for mounts that propagate; they do so within the namespace, never to the machine.
    output(enter(&namespace).args(["mount", "--make-rshared", "/"])).map(drop)
}

/// Hides the version 2 control groups of a machine that has version 1 too. crun refuses such a machine ("cgroups in hybrid
/// mode not supported"), and nothing on a node needs them.
fn hide_second_cgroups(namespace: &str) -> Result<()> {
    let mounted = paths::read(Path::new("/proc/self/mountinfo"))?;
    if mounted.lines().any(|line| line.split(' ').nth(4) == Some(HYBRID)) {
        output(enter(namespace).args(["umount", HYBRID]))?;
    }
    Ok(())
}
