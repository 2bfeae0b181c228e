//! Control groups: the recorder's own, and those of containers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use portcullis_probe::{CgroupPath, ContainerId, Hierarchy, Place, Places};

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
        let mut found = containers_below(&self.root, prefix);
        found.sort();
        found
    }
}

/// Every container below a hierarchy's root whose id begins so. A cgroup that one has made is none, whatever its name.
fn containers_below(root: &Path, prefix: &str) -> Vec<(ContainerId, PathBuf)> {
    let mut found = Vec::new();
    let mut below = vec![root.to_owned()];
    while let Some(directory) = below.pop() {
        for child in children(&directory) {
            let Ok(path) = child.strip_prefix(root) else { continue };
            let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
            let level = path.iter().count();
            let places = Places::of(names);
            let is_it = |place: &Place| place.level == level;
            if let Some(place) =
                places.around.or(places.container).filter(is_it).or(places.container.filter(is_it))
                && place.id.to_string().starts_with(prefix)
            {
                found.push((place.id, child.clone()));
            }
            let in_a_pod = places.container.is_some_and(|place| place.pod.is_some());
            if !in_a_pod && level < MAX_DEPTH {
                below.push(child);
            }
        }
    }
    found
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

    const UID: &str = "0b6f3d2e-9c1a-4f7b-8d21-5e9a7c3b1f00";

    fn id(number: u8) -> String {
        format!("{number:064x}")
    }

    /// Where the containers are in a tree of these directories.
    fn found(paths: &[String], prefix: &str) -> Vec<String> {
        let root = tempfile::tempdir().expect("a directory");
        for path in paths {
            fs::create_dir_all(root.path().join(path)).expect("a directory can be made");
        }
        let below = |path: &Path| path.strip_prefix(root.path()).expect("below it").display().to_string();
        let mut found: Vec<_> =
            containers_below(root.path(), prefix).iter().map(|(_, path)| below(path)).collect();
        found.sort();
        found
    }

    #[test]
    fn containers_of_every_runtime_are_found() {
        let paths = [
            format!("docker/{}", id(1)),
            format!("machine.slice/libpod-{}.scope/container", id(2)),
            format!("kubepods/burstable/pod{UID}/{}", id(3)),
            format!("docker/{}/kubelet/kubepods/pod{UID}/{}", id(1), id(4)),
        ];
        for (number, path) in [
            (1, format!("docker/{}", id(1))),
            (2, format!("machine.slice/libpod-{}.scope", id(2))),
            (3, paths[2].clone()),
            (4, paths[3].clone()),
        ] {
            assert_eq!(found(&paths, &id(number)), [path]);
        }
        assert_eq!(found(&paths, "00").len(), 4);
    }

    #[test]
    fn what_a_container_made_is_not_taken_for_another_one() {
        let (pod, victim) = (format!("kubepods/pod{UID}"), id(1));
        let attacker = format!("kubepods/pod{}/{}", UID.replace('0', "1"), id(2));
        let paths = [
            format!("{pod}/{victim}"),
            format!("{attacker}/pod{UID}/{victim}"),
            format!("{attacker}/{victim}"),
            format!("docker/{}/init.scope/docker-{victim}.scope", id(3)),
        ];
        assert_eq!(found(&paths, &victim), [paths[0].clone()]);
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
