//! How a probe is set up.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;

use crate::{CgroupPath, Error};

/// How a probe is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name: several nodes may share a kernel, as in a local cluster.
    pub node: String,
    /// The directory in a BPF file system below which everything is pinned.
    pub pins: PathBuf,
    /// Only cgroups below this one are this node's; all of the machine's if none is given.
    pub scope: Option<CgroupPath>,
    /// Which hierarchy tells containers apart.
    pub hierarchy: Hierarchy,
    /// How the programs reach the kernel's data.
    pub tracing: Tracing,
    /// How much the kernel keeps.
    pub capacity: Capacity,
}

/// The cgroup hierarchy in which each container has a cgroup of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// The pids controller's, of cgroup v1.
    Pids,
    /// The one of cgroup v2.
    Unified,
}

/// How the programs reach the kernel's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// By typed tracepoints, and by raw ones where the kernel refuses those.
    Best,
    /// By raw tracepoints: about three times the cost, and no denied calls.
    Raw,
}

/// The sizes of the kernel's maps. Memory is taken when the probe opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Containers at a time, those that have ended and were not forgotten included; some 46 KiB each, at most 1024.
    pub containers: u32,
    /// Each container's share of the calls that have a place in no table: of x32, denied ones of another architecture, and those for
    /// which a task was killed. Numbers that nothing knows are one.
    pub others: u32,
    /// Each container's share of the values of arguments.
    pub values: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { containers: 256, others: 64, values: 128 }
    }
}

impl Settings {
    /// A node's settings, with the defaults for everything else.
    ///
    /// # Errors
    ///
    /// When `/sys/fs/cgroup` is no cgroup file system.
    pub fn of_node(node: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            node: node.into(),
            pins: PathBuf::from("/sys/fs/bpf/portcullis"),
            scope: None,
            hierarchy: Hierarchy::of_this_machine()?,
            tracing: Tracing::Best,
            capacity: Capacity::default(),
        })
    }
}

/// `TMPFS_MAGIC` and `CGROUP2_SUPER_MAGIC` of include/uapi/linux/magic.h.
const TMPFS: i64 = 0x0102_1994;
const CGROUP2: i64 = 0x6367_7270;

impl Hierarchy {
    /// What the container runtime of this machine uses: v2 where it is mounted at `/sys/fs/cgroup` itself, as the kubelet has it
    /// (`libcontainercgroups.IsCgroup2UnifiedMode`).
    ///
    /// # Errors
    ///
    /// When neither version is mounted there.
    pub fn of_this_machine() -> Result<Self, Error> {
        let path = Path::new("/sys/fs/cgroup");
        let found = statfs(path).map_err(|error| Error::NoCgroups { reason: error.to_string() })?;
        match found.f_type {
            CGROUP2 => Ok(Self::Unified),
            TMPFS => Ok(Self::Pids),
            other => Err(Error::NoCgroups { reason: format!("its file system is of type {other:#x}") }),
        }
    }
}
