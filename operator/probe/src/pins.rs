//! What stays in the BPF file system: `<pins>/<node>/<schema>/<map>` and `.../links_<epoch>/<program>`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statfs};

use crate::{Error, Settings, layout::SCHEMA};

/// `BPF_FS_MAGIC` of include/uapi/linux/magic.h.
const BPFFS: i64 = 0xcafe_4a11;
const LINKS: &str = "links_";

/// A node's directory, which no other process of ours uses meanwhile.
#[derive(Debug)]
pub(crate) struct Pins {
    schema: PathBuf,
    _lock: Lock,
}

impl Pins {
    /// Opens a node's directory, and removes what another schema or other sizes left there.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Error> {
        let node = node_directory(&settings.pins, &settings.node)?;
        fs::create_dir_all(&node).map_err(pin("make", &node))?;
        let lock = lock(&node, &settings.node)?;
        let capacity = settings.capacity;
        // A map's size can't change, so other sizes are another schema.
        let name = format!("v{SCHEMA}_{}_{}_{}", capacity.containers, capacity.others, capacity.values);
        for other in entries(&node)? {
            if other != name {
                remove(&node.join(other))?;
            }
        }
        let schema = node.join(name);
        fs::create_dir_all(&schema).map_err(pin("make", &schema))?;
        Ok(Self { schema, _lock: lock })
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.schema.join(name)
    }

    pub(crate) fn links(&self, epoch: u32) -> PathBuf {
        self.schema.join(format!("{LINKS}{epoch}"))
    }

    /// The epochs whose programs are, or may be, attached.
    pub(crate) fn epochs(&self) -> Result<Vec<u32>, Error> {
        let epoch = |name: String| name.strip_prefix(LINKS)?.parse().ok();
        Ok(entries(&self.schema)?.into_iter().filter_map(epoch).collect())
    }

    /// Detaches an epoch's programs: a link goes with its last pin.
    pub(crate) fn remove_links(&self, epoch: u32) -> Result<(), Error> {
        let links = self.links(epoch);
        if links.exists() { remove(&links) } else { Ok(()) }
    }
}

/// Detaches a node's programs and removes all that was counted. Says whether anything was there.
///
/// # Errors
///
/// When another process is recording on the node, or a pin can't be removed.
pub fn uninstall(pins: &Path, node: &str) -> Result<bool, Error> {
    let directory = node_directory(pins, node)?;
    if !directory.exists() {
        return Ok(false);
    }
    let _lock = lock(&directory, node)?;
    remove(&directory)?;
    Ok(true)
}

fn node_directory(pins: &Path, node: &str) -> Result<PathBuf, Error> {
    // Whoever comes first makes the directory.
    let there = pins.ancestors().find(|path| path.exists()).unwrap_or(pins);
    let no_bpffs = |reason| Error::NoBpffs { path: there.to_owned(), reason };
    let found = statfs(there).map_err(|error| no_bpffs(error.to_string()))?;
    let kind = found.f_type;
    if kind != BPFFS {
        return Err(no_bpffs(format!("its type is {kind:#x}")));
    }
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if node.is_empty() || node.len() > 253 || !node.chars().all(sound) {
        return Err(Error::NodeName(node.to_owned()));
    }
    // The BPF file system refuses dots (kernel/bpf/inode.c, bpf_lookup), and a node's name has no underscore.
    Ok(pins.join(node.replace('.', "_")))
}

/// The lock on a node's directory. Unlocked by hand: flock(2) holds for as long as any copy of the descriptor is open, and a
/// child that another thread is just starting has one until its `execve`.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // It fails only on a descriptor that is none, and closing it unlocks too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

fn lock(directory: &Path, node: &str) -> Result<Lock, Error> {
    let file = File::open(directory).map_err(pin("open", directory))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => Error::Busy { node: node.to_owned(), path: directory.to_owned() },
        other => pin("lock", directory)(other.into()),
    })?;
    Ok(Lock(file))
}

fn entries(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = pin("list", directory);
    let names = fs::read_dir(directory).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()
    });
    names.map_err(failed)
}

fn remove(directory: &Path) -> Result<(), Error> {
    fs::remove_dir_all(directory).map_err(pin("remove", directory))
}

pub(crate) fn pin(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Pin { what, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_holder_though_a_child_has_a_copy() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = lock(directory.path(), "node").expect("nobody holds it");
        let copy = held.0.try_clone().expect("a descriptor can be copied, as fork(2) does");
        assert!(matches!(lock(directory.path(), "node"), Err(Error::Busy { .. })));
        drop(held);
        lock(directory.path(), "node").expect("nobody holds it any more");
        drop(copy);
    }
}
