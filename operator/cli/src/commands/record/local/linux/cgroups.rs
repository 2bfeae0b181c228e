//! Control groups: the recorder's own, and those of containers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use portcullis_probe::{CgroupPath, ContainerId, Hierarchy};

/// How long a cgroup may stay busy after its last process has ended.
const LINGERING: Duration = Duration::from_secs(2);
/// A cgroup tree is at most as deep as the probe looks.
const MAX_DEPTH: usize = 16;

/// The hierarchy that tells containers apart, as this process sees it.
#[derive(Debug)]
pub(super) struct Mounted {
    /// Where its root is.
    root: PathBuf,
    /// This process's cgroup below it.
    own: String,
}

impl Mounted {
    /// Finds it.
    pub(super) fn find(hierarchy: Hierarchy) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("can't read the mounts")?;
        let root = mounts.lines().find_map(|line| root_of(hierarchy, line));
        let root = root.context("the cgroup hierarchy of containers is not mounted")?;
        let memberships =
            fs::read_to_string("/proc/self/cgroup").context("can't read this process's cgroup")?;
        let own = memberships.lines().find_map(|line| own_in(hierarchy, line));
        let own = own.context("this process has no cgroup in the hierarchy of containers")?;
        Ok(Self { root, own })
    }

    /// A cgroup below this process's own, that does not exist yet: its path and its directory.
    pub(super) fn below_own(&self, name: &str) -> Result<(CgroupPath, PathBuf)> {
        let path = format!("{}/{name}", self.own.trim_end_matches('/'));
        let directory = self.root.join(path.trim_start_matches('/'));
        Ok((path.parse()?, directory))
    }

    /// The file that takes processes back into this process's own cgroup.
    pub(super) fn own_procs(&self) -> PathBuf {
        self.root.join(self.own.trim_start_matches('/')).join("cgroup.procs")
    }

    /// Removes what recorders left below this process's own cgroup: `is_left` knows their names. One with processes stays.
    pub(super) fn sweep(&self, is_left: impl Fn(&str) -> bool) {
        let entries = fs::read_dir(self.root.join(self.own.trim_start_matches('/')));
        for entry in entries.into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(&is_left) {
                // It is in nobody's way where this fails.
                let _ = remove_once(&entry.path());
            }
        }
    }

    /// Every container whose id begins so, with its cgroup.
    pub(super) fn containers(&self, prefix: &str) -> Vec<(ContainerId, PathBuf)> {
        let mut found = Vec::new();
        let mut below = vec![(self.root.clone(), 0)];
        while let Some((directory, depth)) = below.pop() {
            for child in children(&directory) {
                let name = child.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if let Some(id) = container_id(name).filter(|id| id.to_string().starts_with(prefix)) {
                    found.push((id, child.clone()));
                }
                if depth < MAX_DEPTH {
                    below.push((child, depth + 1));
                }
            }
        }
        found.sort();
        // A container's own cgroups may bear its id as well: the one above them all is its.
        found.dedup_by(|one, first| one.0 == first.0);
        found
    }
}

/// Whether this process sees the kernel's own names of cgroups: `PROC_CGROUP_INIT_INO` of include/linux/proc_ns.h.
pub(super) fn sees_all() -> bool {
    const INITIAL: &str = "cgroup:[4026531835]";
    fs::read_link("/proc/self/ns/cgroup").is_ok_and(|namespace| namespace == Path::new(INITIAL))
}

fn root_of(hierarchy: Hierarchy, line: &str) -> Option<PathBuf> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [_, path, kind, options, ..] = fields.as_slice() else { return None };
    let is_it = match hierarchy {
        Hierarchy::Unified => *kind == "cgroup2",
        Hierarchy::Pids => *kind == "cgroup" && options.split(',').any(|option| option == "pids"),
    };
    is_it.then(|| PathBuf::from(path))
}

/// A line of cgroups(7)'s `/proc/[pid]/cgroup`: id, controllers, path.
fn own_in(hierarchy: Hierarchy, line: &str) -> Option<String> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_it = match hierarchy {
        Hierarchy::Unified => id == "0" && controllers.is_empty(),
        Hierarchy::Pids => controllers.split(',').any(|controller| controller == "pids"),
    };
    is_it.then(|| path.to_owned())
}

/// The probe's rule: 64 digits, bare or at the end of `<runtime>-<id>` or `<runtime>-<id>.scope`; conmon is no container.
fn container_id(name: &str) -> Option<ContainerId> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (before, id) = name.split_at_checked(name.len().checked_sub(64)?)?;
    let named = before.is_empty() || (before.ends_with('-') && !before.ends_with("conmon-"));
    if named { id.parse().ok() } else { None }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The processes in a cgroup and below; none where it is gone.
pub(super) fn processes(directory: &Path) -> Vec<i32> {
    let own = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let mut ids: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    ids.extend(children(directory).iter().flat_map(|child| processes(child)));
    ids
}

/// Removes a cgroup and all below it, once its last process is gone.
pub(super) fn remove(directory: &Path) -> Result<()> {
    let until = Instant::now() + LINGERING;
    loop {
        match remove_once(directory) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => {
                bail!("can't remove the cgroup {}: {error}", directory.display())
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn remove_once(directory: &Path) -> io::Result<()> {
    for child in children(directory) {
        remove_once(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_the_names_that_runtimes_give() {
        let id = "0123456789abcdef".repeat(4);
        for name in
            [id.clone(), format!("libpod-{id}.scope"), format!("crio-{id}"), format!("docker-{id}.scope")]
        {
            assert_eq!(container_id(&name).map(|id| id.to_string()), Some(id.clone()), "{name}");
        }
        for name in [
            format!("libpod-conmon-{id}.scope"),
            format!("x{id}"),
            id[1..].to_owned(),
            "user.slice".to_owned(),
        ] {
            assert_eq!(container_id(&name), None, "{name}");
        }
    }

    #[test]
    fn mounts_and_memberships_are_read_for_both_versions() {
        let v1 = "cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0";
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,relatime 0 0";
        assert_eq!(root_of(Hierarchy::Pids, v1), Some("/sys/fs/cgroup/pids".into()));
        assert_eq!(root_of(Hierarchy::Unified, v2), Some("/sys/fs/cgroup".into()));
        assert_eq!((root_of(Hierarchy::Pids, v2), root_of(Hierarchy::Unified, v1)), (None, None));
        assert_eq!(own_in(Hierarchy::Pids, "8:pids:/a:b"), Some("/a:b".to_owned()));
        assert_eq!(own_in(Hierarchy::Unified, "0::/user.slice"), Some("/user.slice".to_owned()));
        assert_eq!(own_in(Hierarchy::Unified, "8:pids:/"), None);
    }
}
