//! Finds what was changed behind the agent's back: by inotify at once, by reading everything in time.

use std::{
    collections::BTreeSet,
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use portcullis_profile::Digest;
use portcullis_runtime::Level;
use rustix::{fs::inotify::ReadFlags, io::Errno};
use tracing::{error, warn};

use super::{BLIND_REHASH, File, Keeper, write::BATCH};
use crate::{
    disk::{Cause, Changes, Condition, Directory, Place, examine},
    error::{Error, Problem},
    path::{join, split},
    settings::jittered,
};

/// Files that are read before other work has its turn.
const SLICE: usize = 64;
/// What happened to a directory itself and not to something in it.
const SELF: ReadFlags = ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT);

impl Keeper {
    /// Reads what the kernel has to say, and repairs.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), Error> {
        let changes = self.watches.drain().map_err(Error::Watch)?;
        if changes.overflow {
            self.metrics.overflows.inc();
            warn!("the kernel dropped file system events; reads everything");
            self.reopen_if_stale(now);
            self.check_all(now);
            self.foreign.look_soon(now);
        }
        let suspects = self.suspects(&changes, now)?;
        self.check(suspects, now);
        Ok(())
    }

    /// The paths that may be other than they should.
    fn suspects(&mut self, changes: &Changes, now: Instant) -> Result<BTreeSet<String>, Error> {
        let mut suspects = BTreeSet::new();
        for ((place, name), flags) in &changes.names {
            match place {
                Place::Base => {
                    if name.is_empty() && flags.intersects(SELF) {
                        return Err(self.base.gone());
                    }
                    if name == self.base.subdirectory().as_bytes() {
                        self.base.check()?;
                        self.reopen_if_stale(now);
                    }
                }
                Place::Root | Place::Namespace(_) if name.is_empty() => {
                    self.directory_changed(place, *flags, &mut suspects, now);
                }
                Place::Root => self.name_changed(None, name, *flags, &mut suspects, now),
                Place::Namespace(namespace) => {
                    self.name_changed(Some(namespace), name, *flags, &mut suspects, now);
                }
            }
        }
        Ok(suspects)
    }

    fn directory_changed(
        &mut self,
        place: &Place,
        flags: ReadFlags,
        suspects: &mut BTreeSet<String>,
        now: Instant,
    ) {
        match place {
            Place::Namespace(namespace) => self.namespace_changed(namespace, flags, suspects),
            _ if flags.intersects(SELF) => self.reopen_if_stale(now),
            _ => self.restore_root_mode(),
        }
    }

    fn name_changed(
        &mut self,
        namespace: Option<&str>,
        name: &[u8],
        flags: ReadFlags,
        suspects: &mut BTreeSet<String>,
        now: Instant,
    ) {
        let text = std::str::from_utf8(name).ok();
        let path = text.map(|leaf| join(namespace, leaf));
        if let Some((path, file)) = path.and_then(|path| self.files.get(&path).map(|file| (path, *file))) {
            if !self.is_own_rename(&path, &file, flags) {
                suspects.insert(path);
            }
        } else if let Some(directory) =
            text.filter(|text| namespace.is_none() && self.in_namespace(text).next().is_some())
        {
            self.namespace_changed(directory, flags, suspects);
        } else if namespace.is_none() && name == b".store" {
            self.reopen_if_stale(now);
        } else if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) || self.foreign.count() > 0 {
            self.foreign.look_soon(now);
        }
    }

    /// Whether all that happened is that this agent put its own file there. What anybody else does to that file afterwards has an
    /// event of its own, and another file that was renamed to the path is another inode.
    fn is_own_rename(&self, path: &str, file: &File, flags: ReadFlags) -> bool {
        let Some(directory) = self.directory.as_ref().filter(|_| flags == ReadFlags::MOVED_TO) else {
            return false;
        };
        let (namespace, leaf) = split(path);
        file.inode != 0
            && directory
                .existing(namespace)
                .ok()
                .flatten()
                .is_some_and(|parent| crate::disk::inode(parent.as_fd(), leaf) == Some(file.inode))
    }

    fn namespace_changed(&mut self, namespace: &str, flags: ReadFlags, suspects: &mut BTreeSet<String>) {
        // Another directory of that name has no watch yet, however alike it is.
        if let Some(directory) = self.directory.clone() {
            self.watch(&Place::Namespace(namespace.to_owned()), Some(&directory));
        }
        let only_attributes = (flags - (ReadFlags::ATTRIB | ReadFlags::ISDIR)).is_empty();
        if !only_attributes {
            suspects.extend(self.in_namespace(namespace).map(|(path, _)| path.clone()));
        } else if self.directory.as_ref().is_some_and(|directory| !directory.is_intact(namespace)) {
            self.restore_namespace(namespace);
        }
    }

    fn restore_root_mode(&mut self) {
        let Some(directory) = &self.directory else { return };
        match directory.restore_mode() {
            Ok(false) => {}
            Ok(true) => {
                let message = format!("put right the mode of {}", self.base.shown());
                self.say(Level::Warning, "DirectoryRepaired", "Repair", message);
            }
            Err(problem) => error!("{}", problem.message),
        }
    }

    fn restore_namespace(&mut self, namespace: &str) {
        let Some(directory) = self.directory.clone() else { return };
        if let Err(problem) = self.parent(&directory, Some(namespace)) {
            error!("{}", problem.message);
        }
    }

    fn reopen_if_stale(&mut self, now: Instant) {
        if self.directory.as_ref().is_none_or(|directory| directory.is_stale(&self.base)) {
            self.reopen(now);
        }
    }

    /// Every file of a namespace.
    pub(super) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a File)> {
        let prefix = format!("{namespace}/");
        self.files.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Reads every file and repairs what differs.
    pub(super) fn check_all(&mut self, now: Instant) {
        self.restore_root_mode();
        let paths: Vec<_> = self.files.keys().cloned().collect();
        self.check_thoroughly(paths, now);
    }

    /// Reads these files, and the store's copies of their contents, and repairs what differs.
    fn check_thoroughly(&mut self, paths: Vec<String>, now: Instant) {
        let Some(directory) = self.directory.clone() else { return };
        let digests: BTreeSet<_> =
            paths.iter().filter_map(|path| self.files.get(path)).map(|file| file.digest).collect();
        self.check(paths.into_iter().collect(), now);
        for (count, digest) in (1..).zip(digests) {
            self.check_store(&directory, &digest);
            // What is put back is open until it is synced, and descriptors may be few: 1,024 is a common limit.
            if count % BATCH == 0 {
                self.sync_store();
            }
        }
    }

    fn check_store(&mut self, directory: &Directory, digest: &Digest) {
        match self.store.read(directory, digest) {
            Ok(Some(_)) => {}
            // Where no served file has it either, they fail or wait for it already.
            Ok(None) => drop(self.rescue(directory, digest)),
            Err(error) => error!(%digest, %error, "can't read the store"),
        }
    }

    /// Compares files with what is to be served and repairs what differs, unless another writer is being fought.
    fn check(&mut self, paths: BTreeSet<String>, now: Instant) {
        let Some(directory) = self.directory.clone() else { return };
        let mut drifted = Vec::new();
        let mut foreign = BTreeSet::new();
        for path in paths {
            let Some(file) = self.files.get(&path).copied() else { continue };
            match condition(&directory, &path, &file) {
                Ok(Condition::Intact { inode }) if file.owned => self.settle(&path, inode),
                // Not in the index yet: taken over, or found to be in the way.
                Ok(_) if !file.owned => drop(foreign.insert(path)),
                Ok(Condition::Intact { .. }) => {}
                Ok(Condition::Drifted(cause)) => {
                    if self.pace.allow(&path, now) {
                        drifted.push((path, cause));
                    }
                }
                Err(error) => {
                    self.fail(&path, Problem::of_file("read", &directory.show(&path), &error));
                    self.schedule_retry(now);
                }
            }
        }
        if !drifted.is_empty() {
            self.write_drifted(drifted, now);
        }
        if !foreign.is_empty() {
            self.write_touched(foreign, now);
        }
    }

    /// Repairs that were held back in a fight.
    pub(super) fn repair_postponed(&mut self, now: Instant) {
        let due = self.pace.take_due(now);
        if !due.is_empty() {
            self.check(due.into_iter().collect(), now);
        }
    }

    /// One slice of the periodic reading of everything.
    pub(super) fn rehash(&mut self, now: Instant) {
        if self.rehash.after.is_none() {
            if self.rehash.next > now {
                return;
            }
            let period = if self.blind { BLIND_REHASH } else { self.timing.rehash };
            self.rehash.next = now + jittered(period).max(Duration::from_millis(1));
            self.rehash.after = Some(String::new());
            self.foreign.look_soon(now);
            self.restore_root_mode();
            if std::mem::take(&mut self.blind) {
                self.watch_all();
            }
        }
        let after = self.rehash.after.take().unwrap_or_default();
        let slice: Vec<_> = self
            .files
            .range(after.clone()..)
            .map(|(path, _)| path)
            .filter(|path| **path > after)
            .take(SLICE)
            .cloned()
            .collect();
        if slice.len() == SLICE {
            self.rehash.after = slice.last().cloned();
        }
        self.check_thoroughly(slice, now);
    }
}

/// What is at a path. A directory on the way that is missing, or is none, means that the file is missing.
fn condition(directory: &Directory, path: &str, file: &File) -> io::Result<Condition> {
    let (namespace, leaf) = split(path);
    match directory.existing(namespace) {
        Ok(Some(parent)) => examine(parent.as_fd(), leaf, &file.digest),
        Ok(None) => Ok(Condition::Drifted(Cause::Missing)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::LOOP | Errno::NOTDIR) => Ok(Condition::Drifted(Cause::Missing)),
            // Its mode was changed: opening it to write puts that right.
            Some(Errno::ACCESS) => Ok(Condition::Drifted(Cause::Mode)),
            _ => Err(error),
        },
    }
}
