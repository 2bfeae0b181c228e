//! One served file: what is at its path, and how new content gets there.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use portcullis_profile::Digest;
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    directory::{Directory, PERMISSIONS, open_file},
    store::MAX_CONTENT,
};

/// Mode of a served file: a kubelet and a runtime read it, nobody but root writes it.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// Threads that sync at the same time.
const SYNCERS: usize = 8;

/// How a file was found to differ from what is served at its path. Label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It was removed, or its directory was.
    Missing,
    /// Its bytes were changed or truncated.
    Changed,
    /// Its mode or its owner was changed.
    Mode,
    /// Another name leads to the same inode, so that it could be changed unseen.
    Linked,
    /// A symbolic link stood at its path.
    Symlink,
    /// A directory stood at its path.
    Directory,
    /// A device, a FIFO or a socket stood at its path.
    Special,
    /// The store's copy was damaged; the served file was whole.
    Store,
}

impl Cause {
    /// Every cause, for metrics that show zeros.
    pub(crate) const ALL: [Self; 8] = [
        Self::Missing,
        Self::Changed,
        Self::Mode,
        Self::Linked,
        Self::Symlink,
        Self::Directory,
        Self::Special,
        Self::Store,
    ];

    /// The label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Mode => "mode",
            Self::Linked => "linked",
            Self::Symlink => "symlink",
            Self::Directory => "directory",
            Self::Special => "special",
            Self::Store => "store",
        }
    }

    /// The half of a sentence for logs and Events.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Missing => "it was missing",
            Self::Changed => "its content was changed",
            Self::Mode => "its mode or owner was changed",
            Self::Linked => "another name led to the same inode",
            Self::Symlink => "a symbolic link stood at its path",
            Self::Directory => "a directory stood at its path",
            Self::Special => "a device, FIFO or socket stood at its path",
            Self::Store => "the store's copy of its content was damaged",
        }
    }
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The file that is to be served, in this inode.
    Intact {
        /// The inode's number.
        inode: u64,
    },
    /// Something else.
    Drifted(Cause),
}

/// Compares what is at a name with the content that is to be served there.
pub(crate) fn examine(parent: BorrowedFd<'_>, name: &str, digest: &Digest) -> io::Result<Condition> {
    let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Condition::Drifted(Cause::Missing)),
        Err(errno) => return Err(errno.into()),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Ok(Condition::Drifted(Cause::Symlink)),
        FileType::Directory => return Ok(Condition::Drifted(Cause::Directory)),
        _ => return Ok(Condition::Drifted(Cause::Special)),
    }
    if stat.st_mode & PERMISSIONS != FILE_MODE.as_raw_mode()
        || stat.st_uid != rustix::process::geteuid().as_raw()
    {
        return Ok(Condition::Drifted(Cause::Mode));
    }
    if read(parent, name)?.is_none_or(|content| Digest::of(&content) != *digest) {
        return Ok(Condition::Drifted(Cause::Changed));
    }
    if stat.st_nlink > 1 {
        return Ok(Condition::Drifted(Cause::Linked));
    }
    Ok(Condition::Intact { inode: stat.st_ino })
}

/// A regular file's bytes; none where there is no such file, it is none, is larger than any content, or can't be read.
pub(crate) fn read(parent: BorrowedFd<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut file = match open_file(parent, name) {
        Ok(fd) => File::from(fd),
        // ELOOP: a symbolic link; ENXIO: a socket or a device without a driver.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    let Some(size) =
        usize::try_from(metadata.len()).ok().filter(|size| metadata.is_file() && *size <= MAX_CONTENT)
    else {
        return Ok(None);
    };
    let mut content = Vec::with_capacity(size + 1);
    match std::io::Read::by_ref(&mut file).take(MAX_CONTENT as u64 + 1).read_to_end(&mut content) {
        Ok(read) if read <= MAX_CONTENT => Ok(Some(content)),
        Ok(_) => Ok(None),
        // A bad block: the content is as good as gone, and another inode may be written.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name in `.store/temporary` that nothing else has: the directory is cleared under the lock.
pub(super) fn temporary_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A file that is written but not yet visible. Dropped before [`Staged::publish`] it is removed.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    directory: &'a Directory,
    name: String,
    file: File,
    published: bool,
}

impl<'a> Staged<'a> {
    /// Writes the content to a file of its own in `.store/temporary`.
    pub(crate) fn write(directory: &'a Directory, content: &[u8]) -> io::Result<Self> {
        let name = temporary_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(directory.temporary(), &name, flags, Mode::from_raw_mode(0o600))?;
        let mut staged = Self { directory, name, file: File::from(fd), published: false };
        staged.file.write_all(content)?;
        // Not left to the umask.
        fs::fchmod(&staged.file, FILE_MODE)?;
        Ok(staged)
    }

    /// The descriptor, to make the bytes durable: before the rename, so that a crash of the node can't leave an empty file at the path
    /// (rename(2) orders nothing).
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts the file at a name, in place of whatever is there but a directory, in one step. Gives the inode's number.
    pub(crate) fn publish(mut self, parent: BorrowedFd<'_>, name: &str) -> io::Result<u64> {
        let inode = fs::fstat(&self.file)?.st_ino;
        self.rename(parent, name)?;
        Ok(inode)
    }

    /// The same, for a file that is synced later. Gives the file.
    pub(super) fn publish_unsynced(mut self, parent: BorrowedFd<'_>, name: &str) -> io::Result<File> {
        let file = self.file.try_clone()?;
        self.rename(parent, name)?;
        Ok(file)
    }

    fn rename(&mut self, parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        match fs::renameat(self.directory.temporary(), &self.name, parent, name) {
            Ok(()) => {}
            // A directory stands there: exchange the two, so that the file is there in one step, and put the directory away.
            Err(Errno::ISDIR) => {
                fs::renameat_with(
                    self.directory.temporary(),
                    &self.name,
                    parent,
                    name,
                    RenameFlags::EXCHANGE,
                )?;
                let place = self.directory.set_aside(self.directory.temporary(), &self.name)?;
                if let Some(place) = place {
                    tracing::warn!(place, "moved a directory aside that stood at {name}");
                }
            }
            Err(errno) => return Err(errno.into()),
        }
        self.published = true;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::unlinkat(self.directory.temporary(), &self.name, AtFlags::empty())
        {
            // The next start clears the directory.
            tracing::debug!(%error, file = self.name, "left a temporary file");
        }
    }
}

/// Makes files durable, several at once: the file system then commits its journal once for many (96 files of 13 KB on ext4, beside a
/// busy compiler: 160 ms one after another, 13 ms so).
pub(crate) fn sync_all(files: &[&File]) -> Vec<io::Result<()>> {
    let sync = |file: &&File| fs::fsync(file).map_err(io::Error::from);
    let share = files.len().div_ceil(SYNCERS).max(1);
    std::thread::scope(|scope| {
        let mut shares = files.chunks(share);
        // This thread takes the first share; a single file needs no other.
        let first = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            .map(|share| {
                (
                    share,
                    std::thread::Builder::new()
                        .spawn_scoped(scope, move || share.iter().map(sync).collect::<Vec<_>>()),
                )
            })
            .collect();
        let mut results: Vec<_> = first.iter().map(sync).collect();
        for (share, thread) in others {
            match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(synced)) => results.extend(synced),
                // No thread could be had (pids are limited, for example): slower, then.
                Ok(Err(_)) | Err(_) => results.extend(share.iter().map(sync)),
            }
        }
        results
    })
}

/// Removes what is at a name unless it is a directory.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match fs::unlinkat(parent.as_fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The inode at a name, if it is a regular file.
pub(crate) fn inode(parent: BorrowedFd<'_>, name: &str) -> Option<u64> {
    let stat = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat.st_ino)
}
