//! What the cluster changes on its machine, so that `down` leaves no traces.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    bpffs, cgroup, network,
    paths::{self, Paths},
    process::{self, MARK},
};

/// The kernel settings that kubelets, kube-proxy and network plugins change.
const SETTINGS: [&str; 7] = [
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was changed, kept as a file until it is undone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Changes {
    /// Folders that were made as mount points, parents first.
    directories: Vec<PathBuf>,
    /// Kernel settings as they were before.
    settings: BTreeMap<String, String>,
    /// Whether the BPF file system was mounted.
    #[serde(default)]
    bpffs: bool,
}

/// Notes the kernel's settings before anything changes them.
pub(crate) fn note_settings(paths: &Paths) -> Result<()> {
    let mut changes = load(paths)?;
    for name in SETTINGS {
        if let Ok(value) = std::fs::read_to_string(Path::new("/proc/sys").join(name)) {
            changes.settings.entry(name.to_owned()).or_insert(value);
        }
    }
    paths::write_json(&paths.machine_changes(), &changes)
}

/// Mounts the BPF file system where it is not.
pub(crate) fn mount_bpffs(paths: &Paths) -> Result<()> {
    let mut changes = load(paths)?;
    changes.bpffs |= bpffs::ensure()?;
    paths::write_json(&paths.machine_changes(), &changes)
}

/// Makes a folder to mount something over, and notes what was made.
pub(crate) fn create_mount_point(paths: &Paths, folder: &Path) -> Result<()> {
    let mut changes = load(paths)?;
    let new: Vec<PathBuf> =
        folder.ancestors().take_while(|ancestor| !ancestor.exists()).map(Path::to_path_buf).collect();
    changes.directories.extend(new.into_iter().rev());
    paths::write_json(&paths.machine_changes(), &changes)?;
    paths::create_dir(folder)
}

/// Undoes every change that was noted. A folder that somebody else uses by now stays.
pub(crate) fn restore(paths: &Paths) -> Result<()> {
    let changes = load(paths)?;
    if changes.bpffs {
        bpffs::unmount()?;
    }
    for folder in changes.directories.iter().rev() {
        match std::fs::remove_dir(folder) {
            Err(error)
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Err(error).with_context(|| format!("can't remove {}", folder.display()));
            }
            _ => {}
        }
    }
    for (name, value) in &changes.settings {
        let file = Path::new("/proc/sys").join(name);
        if std::fs::read_to_string(&file).is_ok_and(|now| now != *value) {
            paths::write(&file, value)?;
        }
    }
    Ok(())
}

/// Kills every process of the cluster: those that carry its mark (also container shims, which inherit it) and those in its
/// control groups (the pods').
pub(crate) fn kill_all(paths: &Paths, group: &str) -> Result<()> {
    kill(|| processes(paths, group, None))
}

/// Kills every process of one node: those in its control group, and marked ones in its mount namespace, `mnt:[<number>]`.
pub(crate) fn kill_node(paths: &Paths, group: &str, mount_namespace: Option<&str>) -> Result<()> {
    // Without a namespace no marked process can be the node's.
    kill(|| processes(paths, group, Some(mount_namespace.unwrap_or_default())))
}

/// Kills until there is nothing left to kill: a process may have started another one meanwhile.
fn kill(find: impl Fn() -> Result<Vec<i32>>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let pids = find()?;
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("the processes {pids:?} are killed but do not end");
        }
        let handles: Vec<_> = pids.iter().filter_map(|&pid| process::open_pid(pid)).collect();
        for handle in &handles {
            process::send(handle, Signal::KILL)?;
        }
        for handle in &handles {
            process::wait_exit(handle, Duration::from_secs(5))?;
        }
    }
}

/// The processes in a control group, and those whose environment has the cluster's mark and, where given, whose mount
/// namespace is a node's.
fn processes(paths: &Paths, group: &str, mount_namespace: Option<&str>) -> Result<Vec<i32>> {
    let mark = [MARK.as_bytes(), b"=", paths.dir().as_os_str().as_encoded_bytes()].concat();
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in process::list(Path::new("/proc"))? {
        let name = entry.file_name();
        let Some((name, pid)) = name.to_str().and_then(|name| Some((name, name.parse::<i32>().ok()?))) else {
            continue;
        };
        // A process that ends meanwhile can't be read, and is no concern any more.
        let folder = entry.path();
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let marked = environment.split(|&byte| byte == 0).any(|variable| variable == mark);
        let here = || {
            mount_namespace.is_none_or(|wanted| {
                std::fs::read_link(folder.join("ns/mnt")).is_ok_and(|link| link.as_os_str() == wanted)
            })
        };
        let groups = std::fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        let running = std::fs::read(folder.join("stat")).is_ok_and(|stat| !is_zombie(&stat));
        if name != own && running && ((marked && here()) || cgroup::holds(group, &groups)) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The folders of other clusters that run on this machine. They share network addresses and ports, so that one can't
/// be started or taken down beside the other.
pub(crate) fn elsewhere(paths: &Paths) -> Result<BTreeSet<PathBuf>> {
    let mark = [MARK.as_bytes(), b"="].concat();
    let mut found = BTreeSet::new();
    for entry in process::list(Path::new("/proc"))? {
        let folder = entry.path();
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let running = std::fs::read(folder.join("stat")).is_ok_and(|stat| !is_zombie(&stat));
        let others = environment
            .split(|&byte| byte == 0)
            .filter_map(|variable| variable.strip_prefix(&mark[..]))
            .map(|dir| PathBuf::from(OsStr::from_bytes(dir)))
            .filter(|dir| running && dir != paths.dir());
        found.extend(others);
    }
    Ok(found)
}

fn is_zombie(stat: &[u8]) -> bool {
    let after_name = stat.iter().rposition(|&byte| byte == b')').and_then(|end| stat.get(end + 2));
    after_name == Some(&b'Z')
}

/// What the cluster has on the machine outside its folder, in words: nothing after `down`.
pub(crate) fn traces(paths: &Paths) -> Result<Vec<String>> {
    let group = cgroup::parent(paths);
    let mut traces: Vec<String> = processes(paths, &group, None)?
        .into_iter()
        .map(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} {}", name.trim())
        })
        .collect();
    traces.extend(network::traces()?);
    traces
        .extend(cgroup::existing(&group)?.iter().map(|folder| format!("control group {}", folder.display())));
    traces.extend(mounts_below(paths.dir())?.iter().map(|mount| format!("mount {}", mount.display())));
    let made = load(paths)?.directories;
    traces.extend(
        made.iter().filter(|folder| folder.exists()).map(|folder| format!("folder {}", folder.display())),
    );
    Ok(traces)
}

/// Unmounts whatever is mounted below the cluster's folder in this mount namespace.
pub(crate) fn unmount(paths: &Paths) -> Result<()> {
    // The last mounted first: it may hide others.
    for mount in mounts_below(paths.dir())?.iter().rev() {
        let mut umount = crate::command::command("umount", ["--lazy"]);
        crate::command::output(umount.arg(mount))?;
    }
    Ok(())
}

fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mountinfo = paths::read(Path::new("/proc/self/mountinfo"))?;
    let mount_points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    Ok(mount_points.filter(|mount| mount.starts_with(folder)).collect())
}

fn load(paths: &Paths) -> Result<Changes> {
    let file = paths.machine_changes();
    if file.exists() { paths::read_json(&file) } else { Ok(Changes::default()) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Regression: a start in another checkout took the addresses of a cluster that ran.
    #[test]
    fn a_cluster_that_runs_elsewhere_is_seen() {
        let mut other = Command::new("sleep").arg("60").env(MARK, "/elsewhere/.cluster").spawn().unwrap();
        // The machine may run the cluster of this checkout too.
        let seen =
            |dir: &str| elsewhere(&Paths::new(dir)).unwrap().contains(Path::new("/elsewhere/.cluster"));
        // The child has this process's environment until it executes.
        let end = Instant::now() + PATIENCE;
        while !seen("/here") && Instant::now() < end {
            std::thread::yield_now();
        }
        let (from_here, from_there) = (seen("/here"), seen("/elsewhere/.cluster"));
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!((from_here, from_there), (true, false));
    }
}
