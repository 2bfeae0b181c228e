//! inotify(7) on the directories: who changed what, a moment after it happened.

use std::{
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::directory::descriptor_path;
use crate::error::Error;

/// Everything that changes a file or a directory. Writes to a file that is no longer there are of no interest.
const INTEREST: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    // A file that was changed through a memory map says so only when it is closed.
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

/// Bytes read from the kernel at once.
const BUFFER: usize = 16 * 1024;

/// A directory that is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The host's `seccomp`.
    Base,
    /// Portcullis's sub-directory.
    Root,
    /// The directory of one namespace.
    Namespace(String),
}

/// What has happened since the last time.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The kernel dropped events: anything may have changed.
    pub(crate) overflow: bool,
    /// By directory and name, what happened there; the name is empty where it happened to the directory itself.
    pub(crate) names: BTreeMap<(Place, Vec<u8>), ReadFlags>,
}

/// The watched directories.
#[derive(Debug)]
pub(crate) struct Watches {
    fd: OwnedFd,
    places: BTreeMap<i32, Place>,
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Watches {
    /// No directory yet.
    pub(crate) fn new() -> Result<Self, Error> {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|errno| Error::Watch(errno.into()))?;
        Ok(Self { fd, places: BTreeMap::new() })
    }

    /// Watches a directory by its handle, and no longer the one that stood at the same place before.
    pub(crate) fn watch(&mut self, place: &Place, directory: BorrowedFd<'_>) -> io::Result<()> {
        let added = inotify::add_watch(&self.fd, descriptor_path(directory), INTEREST)?;
        self.forget_where(|descriptor, known| known == place && descriptor != added);
        self.places.insert(added, place.clone());
        Ok(())
    }

    /// Stops watching a place.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.forget_where(|_, known| known == place);
    }

    fn forget_where(&mut self, gone: impl Fn(i32, &Place) -> bool) {
        let fd = &self.fd;
        self.places.retain(|descriptor, place| {
            let keep = !gone(*descriptor, place);
            if !keep {
                // EINVAL where the directory is gone and the kernel has removed the watch itself.
                let _ = inotify::remove_watch(fd, *descriptor);
            }
            keep
        });
    }

    /// Everything that has happened, without waiting.
    pub(crate) fn drain(&mut self) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut ended = Vec::new();
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.overflow = true;
                continue;
            }
            let Some(place) = self.places.get(&event.wd()) else { continue };
            if event.events().contains(ReadFlags::IGNORED) {
                ended.push(event.wd());
            }
            let name = event.file_name().map(|name| name.to_bytes().to_vec()).unwrap_or_default();
            *changes.names.entry((place.clone(), name)).or_insert(ReadFlags::empty()) |= event.events();
        }
        for descriptor in ended {
            self.places.remove(&descriptor);
        }
        Ok(changes)
    }
}
