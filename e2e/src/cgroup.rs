//! The control groups below which the nodes' pods run, on cgroup v1 and v2.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{
    paths::{self, Paths},
    process,
};

const ROOT: &str = "/sys/fs/cgroup";

/// The group that holds all nodes of this cluster, as a path in every hierarchy.
pub(crate) fn parent(paths: &Paths) -> String {
    format!("/portcullis-{}", paths.id())
}

/// The group of a node, the kubelet's `cgroupRoot`.
pub(crate) fn of_node(paths: &Paths, node: &str) -> String {
    format!("{}/{node}", parent(paths))
}

/// Makes a node's group in every hierarchy, ready for pods.
pub(crate) fn create(paths: &Paths, node: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let parent = hierarchy.root.join(&parent(paths)[1..]);
        let own = parent.join(node);
        paths::create_dir(&own)?;
        match hierarchy.kind {
            Kind::Unified => {
                delegate(&hierarchy.root)?;
                delegate(&parent)?;
            }
            // A new cpuset is empty and takes no process until it has processors and memory.
            Kind::Cpuset => {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let all = paths::read(&hierarchy.root.join(file))?;
                    paths::write(&parent.join(file), &all)?;
                    paths::write(&own.join(file), &all)?;
                }
            }
            Kind::Other => {}
        }
    }
    Ok(())
}

/// Removes a group and all below it; they must be empty of processes.
pub(crate) fn remove(group: &str) -> Result<()> {
    for folder in existing(group)? {
        remove_tree(&folder)?;
    }
    Ok(())
}

/// The folders of a group in all hierarchies where it is.
pub(crate) fn existing(group: &str) -> Result<Vec<PathBuf>> {
    let folders = hierarchies()?.into_iter().map(|hierarchy| hierarchy.root.join(&group[1..]));
    Ok(folders.filter(|folder| folder.exists()).collect())
}

/// Whether a process is in a group or below it, by its /proc/<pid>/cgroup.
pub(crate) fn holds(group: &str, proc_cgroup: &str) -> bool {
    proc_cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|path| path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn remove_tree(folder: &Path) -> Result<()> {
    for entry in process::list(folder)? {
        if entry.path().is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove the control group {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Lets the groups below use every controller that this one has.
fn delegate(group: &Path) -> Result<()> {
    let controllers = paths::read(&group.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        let file = group.join("cgroup.subtree_control");
        std::fs::write(&file, format!("+{controller}"))
            .with_context(|| format!("can't enable {controller} in {}", file.display()))?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unified,
    Cpuset,
    Other,
}

#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    kind: Kind,
}

/// The hierarchies that the kubelet uses: the unified one where it is the only one, else all of version 1.
fn hierarchies() -> Result<Vec<Hierarchy>> {
    let found = parse(&paths::read(Path::new("/proc/self/mountinfo"))?);
    if found.is_empty() {
        bail!("no control groups are mounted at {ROOT}");
    }
    Ok(found)
}

/// Reads proc_pid_mountinfo(5).
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut unified = None;
    let mut split = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(mount_point) = before.split(' ').nth(4) else { continue };
        let root = PathBuf::from(mount_point);
        match after.split(' ').next() {
            Some("cgroup2") if mount_point == ROOT => unified = Some(Hierarchy { root, kind: Kind::Unified }),
            Some("cgroup") if mount_point.starts_with(ROOT) => {
                let options = after.rsplit(' ').next().unwrap_or_default();
                let kind = if options.split(',').any(|option| option == "cpuset") {
                    Kind::Cpuset
                } else {
                    Kind::Other
                };
                split.push(Hierarchy { root, kind });
            }
            _ => {}
        }
    }
    unified.map_or(split, |unified| vec![unified])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_has_many_hierarchies_and_version_2_has_one() {
        let split = "31 30 0:27 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
                     32 30 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                     33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let kinds: Vec<Kind> = parse(split).iter().map(|hierarchy| hierarchy.kind).collect();
        assert_eq!(kinds, [Kind::Cpuset, Kind::Other]);
        let unified = "31 30 0:27 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(parse(unified), [Hierarchy { root: ROOT.into(), kind: Kind::Unified }]);
    }

    #[test]
    fn a_group_holds_what_is_below_it_only() {
        assert!(holds("/portcullis-a", "4:memory:/portcullis-a/node1/kubepods\n0::/\n"));
        assert!(holds("/portcullis-a", "0::/portcullis-a\n"));
        assert!(!holds("/portcullis-a", "4:memory:/portcullis-ab/node1\n0::/\n"));
    }
}
