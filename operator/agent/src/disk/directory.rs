//! Handles on the directories, opened so that nothing planted in them leads elsewhere.
//!
//! Below the sub-directory:
//!
//! | path | what |
//! |---|---|
//! | `<name>.json`, `<namespace>/<name>.json` | what is served |
//! | `.store/content/<hex>` | contents by digest, separate inodes from what is served |
//! | `.store/index/<path>` | for each path that is Portcullis's own, a symbolic link whose text is the digest |
//! | `.store/temporary` | files on their way; one rename each makes them visible elsewhere |
//! | `.store/aside` | what stood in the way of a path of Portcullis's own |

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::error::{Error, Problem};

/// Things that may lie in `.store/aside` before the next one is refused.
pub(crate) const ASIDE_LIMIT: usize = 64;
/// Mode of the directories that a kubelet and a runtime read.
const SERVED_MODE: Mode = Mode::from_raw_mode(0o755);
/// Mode of the store, which is nobody else's.
const STORE_MODE: Mode = Mode::from_raw_mode(0o700);
/// Permission bits of a mode.
pub(super) const PERMISSIONS: u32 = 0o7777;
const STORE: &str = ".store";
/// openat2(2): no way out of the directory, no symbolic link anywhere, no mount point.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// The sub-directory itself may be a mount point.
const BENEATH_OR_MOUNT: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The host's `seccomp` directory as it is mounted here.
#[derive(Debug)]
pub(crate) struct Base {
    fd: OwnedFd,
    subdirectory: String,
    host: PathBuf,
}

impl Base {
    /// Opens the mounted directory.
    pub(crate) fn open(mounted: &Path, host: &Path, subdirectory: &str) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(CWD, mounted, flags, Mode::empty()).map_err(|source| Error::Mount {
            mounted: mounted.to_owned(),
            host: host.to_owned(),
            source: source.into(),
        })?;
        Ok(Self { fd, subdirectory: subdirectory.to_owned(), host: host.to_owned() })
    }

    /// The sub-directory's path on the host, for messages.
    pub(crate) fn shown(&self) -> String {
        self.host.join(&self.subdirectory).display().to_string()
    }

    /// The name of the sub-directory.
    pub(crate) fn subdirectory(&self) -> &str {
        &self.subdirectory
    }

    /// Whether the sub-directory is there and has a store: whether an agent was ever at work in it.
    pub(crate) fn has_store(&self) -> io::Result<bool> {
        match fs::statat(self.as_fd(), format!("{}/{STORE}", self.subdirectory), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Fails where the mounted directory was unlinked on the host: what is written to it then reaches nobody.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match fs::fstat(&self.fd) {
            Ok(stat) if stat.st_nlink > 0 => Ok(()),
            _ => Err(self.gone()),
        }
    }

    /// The error for a mounted directory that was removed or moved.
    pub(crate) fn gone(&self) -> Error {
        Error::MountGone(self.host.clone())
    }
}

impl AsFd for Base {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why the sub-directory can't be used.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another agent works in it.
    Locked,
    /// An error of the file system.
    Problem(Problem),
}

/// Portcullis's sub-directory, locked against a second agent for as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    root: OwnedFd,
    content: OwnedFd,
    index: OwnedFd,
    temporary: OwnedFd,
    aside: OwnedFd,
    root_id: (u64, u64),
    store_id: (u64, u64),
    shown: String,
}

/// A handle on one namespace's directory, or on the root.
#[derive(Debug)]
pub(crate) struct Namespace {
    fd: OwnedFd,
    /// The directory was made, or its mode put right.
    pub(crate) repaired: Option<&'static str>,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Directory {
    /// Opens the sub-directory and the store in it, makes what is missing, and takes the lock.
    pub(crate) fn open(base: &Base) -> Result<Self, OpenError> {
        let shown = base.shown();
        let failed = |operation: &'static str| {
            let shown = &shown;
            move |error: io::Error| OpenError::Problem(Problem::of_file(operation, shown, &error))
        };
        let (root, _) = ensure(base.as_fd(), &base.subdirectory, SERVED_MODE, BENEATH_OR_MOUNT)
            .map_err(failed("open or make the directory"))?;
        // flock(2) on the directory itself: it works on a read-only and on a full file system, and ends with the process.
        match fs::flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Locked),
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let store_failed = failed("open or make the store in");
        let store = claim(root.as_fd(), STORE).map_err(&store_failed)?;
        let part = |name| claim(store.as_fd(), name);
        let directory = Self {
            content: part("content").map_err(&store_failed)?,
            index: part("index").map_err(&store_failed)?,
            temporary: part("temporary").map_err(&store_failed)?,
            aside: part("aside").map_err(&store_failed)?,
            root_id: id(&root).map_err(&store_failed)?,
            store_id: id(&store).map_err(&store_failed)?,
            root,
            shown: shown.clone(),
        };
        // What an agent that was killed left on its way.
        if let Err(error) = directory.clear_temporary() {
            // Read-only, perhaps: what is there can be guarded all the same.
            tracing::warn!(%error, "can't clear {}/{STORE}/temporary", directory.shown);
        }
        Ok(directory)
    }

    fn clear_temporary(&self) -> io::Result<()> {
        for leftover in names(self.temporary.as_fd())? {
            if leftover.is_directory {
                // One that stood in the way of a file, and was not yet put away.
                self.set_aside(self.temporary.as_fd(), &String::from_utf8_lossy(&leftover.name))?;
            } else {
                fs::unlinkat(&self.temporary, &leftover.name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Whether the sub-directory, its store or a part of that is no longer the one that this handle is on. What tidies up takes empty
    /// directories, as most parts are most of the time.
    pub(crate) fn is_stale(&self, base: &Base) -> bool {
        let at = |parent: BorrowedFd<'_>, name: &str| {
            fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat_id(&stat))
        };
        at(base.as_fd(), &base.subdirectory) != Some(self.root_id)
            || at(self.root.as_fd(), STORE) != Some(self.store_id)
            || self
                .parts()
                .any(|(name, part)| at(self.root.as_fd(), &format!("{STORE}/{name}")) != id(part).ok())
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &OwnedFd)> {
        [
            ("content", &self.content),
            ("index", &self.index),
            ("temporary", &self.temporary),
            ("aside", &self.aside),
        ]
        .into_iter()
    }

    /// Puts the root's own mode right. Says whether it had to.
    pub(crate) fn restore_mode(&self) -> Result<bool, Problem> {
        set_mode(self.root.as_fd(), SERVED_MODE)
            .map_err(|error| Problem::of_file("set the mode of", &self.shown, &error))
    }

    /// The root's handle, or that of a namespace, which is made where it is missing.
    pub(crate) fn namespace(&self, namespace: Option<&str>) -> io::Result<Namespace> {
        let Some(namespace) = namespace else {
            return Ok(Namespace { fd: self.root.try_clone()?, repaired: None });
        };
        let (fd, repaired) = ensure(self.root.as_fd(), namespace, SERVED_MODE, BENEATH)?;
        Ok(Namespace { fd, repaired })
    }

    /// The same, where nothing is made or changed; none where there is no such directory.
    pub(crate) fn existing(&self, namespace: Option<&str>) -> io::Result<Option<Namespace>> {
        let fd = match namespace {
            None => self.root.try_clone()?,
            Some(namespace) => match open_beneath(self.root.as_fd(), namespace, OFlags::DIRECTORY, BENEATH) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            },
        };
        Ok(Some(Namespace { fd, repaired: None }))
    }

    /// Whether a namespace's directory can be opened and has its mode.
    pub(crate) fn is_intact(&self, namespace: &str) -> bool {
        self.existing(Some(namespace)).ok().flatten().is_some_and(|opened| {
            fs::fstat(opened.as_fd())
                .is_ok_and(|stat| stat.st_mode & PERMISSIONS == SERVED_MODE.as_raw_mode())
        })
    }

    /// Removes a namespace's directory if nothing is left in it. Says whether it did.
    pub(crate) fn drop_namespace(&self, namespace: &str) -> bool {
        fs::unlinkat(&self.root, namespace, AtFlags::REMOVEDIR).is_ok()
    }

    /// Moves what stands at a name of `parent` into `.store/aside`; an empty directory is removed. Says where it went.
    pub(crate) fn set_aside(&self, parent: BorrowedFd<'_>, name: &str) -> io::Result<Option<String>> {
        match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(None),
            Err(_) => {}
        }
        for number in 0..ASIDE_LIMIT {
            let aside = format!("{name}.{number}");
            match fs::renameat_with(parent, name, &self.aside, &aside, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(Some(format!("{}/{STORE}/aside/{aside}", self.shown))),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let full = format!("{}/{STORE}/aside holds {ASIDE_LIMIT} things named {name} already", self.shown);
        Err(io::Error::new(io::ErrorKind::AlreadyExists, full))
    }

    /// Removes the store, and then the sub-directory itself, where nothing is left in them. Says whether both are gone.
    pub(crate) fn dismantle(self, base: &Base) -> io::Result<bool> {
        self.clear_temporary()?;
        let store = open_beneath(self.root.as_fd(), STORE, OFlags::DIRECTORY, BENEATH)?;
        for part in ["content", "index", "temporary", "aside"] {
            if !remove_empty(store.as_fd(), part)? {
                return Ok(false);
            }
        }
        Ok(remove_empty(self.root.as_fd(), STORE)? && remove_empty(base.as_fd(), &base.subdirectory)?)
    }

    /// The root, where cluster profiles are served.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// `.store/content`.
    pub(super) fn content(&self) -> BorrowedFd<'_> {
        self.content.as_fd()
    }

    /// `.store/index`.
    pub(super) fn index(&self) -> BorrowedFd<'_> {
        self.index.as_fd()
    }

    /// `.store/temporary`.
    pub(super) fn temporary(&self) -> BorrowedFd<'_> {
        self.temporary.as_fd()
    }

    /// A path's place on the host, for messages.
    pub(crate) fn show(&self, path: &str) -> String {
        format!("{}/{path}", self.shown)
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The name's bytes.
    pub(crate) name: Vec<u8>,
    /// Whether it is a directory.
    pub(crate) is_directory: bool,
}

/// Everything in a directory.
pub(crate) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    // Opened anew, because a handle's position is shared by its duplicates.
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let is_directory = match entry.file_type() {
                FileType::Unknown => {
                    let stat = fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }
                known => known == FileType::Directory,
            };
            entries.push(Entry { name: name.to_vec(), is_directory });
        }
    }
    Ok(entries)
}

/// openat2(2) for reading. `EAGAIN` means that something was renamed meanwhile and the kernel could not be sure.
pub(super) fn open_beneath(
    parent: BorrowedFd<'_>,
    name: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let mut attempts = 0;
    loop {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | flags;
        match fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < 100 => attempts += 1,
            result => return result,
        }
    }
}

/// Opens a file that is a direct child of a directory.
pub(super) fn open_file(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    // NONBLOCK: a FIFO must not hold the agent up.
    open_beneath(parent, name, OFlags::NONBLOCK, BENEATH)
}

/// Opens a child directory, makes it where it is missing, and puts its mode right. Says what it had to do.
fn ensure(
    parent: BorrowedFd<'_>,
    name: &str,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<(OwnedFd, Option<&'static str>)> {
    let mut done = None;
    let fd = match open_beneath(parent, name, OFlags::DIRECTORY, resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => {
            match fs::mkdirat(parent, name, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            fs::fsync(parent)?;
            done = Some("made");
            open_beneath(parent, name, OFlags::DIRECTORY, resolve)?
        }
        // Without CAP_DAC_OVERRIDE root can't read its own directory of mode 0000, but may change the mode.
        Err(Errno::ACCESS) => {
            let handle = open_beneath(parent, name, OFlags::PATH | OFlags::DIRECTORY, resolve)?;
            fs::chmod(descriptor_path(handle.as_fd()), mode)?;
            done = Some("mode");
            open_beneath(parent, name, OFlags::DIRECTORY, resolve)?
        }
        Err(errno) => return Err(errno.into()),
    };
    if set_mode(fd.as_fd(), mode)? && done.is_none() {
        done = Some("mode");
    }
    Ok((fd, done))
}

/// Opens a directory of the store. Whatever else stands at its name, which is Portcullis's own, is renamed, not followed.
fn claim(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    for number in 0..=ASIDE_LIMIT {
        match ensure(parent, name, STORE_MODE, BENEATH) {
            Ok((fd, _)) => return Ok(fd),
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::LOOP | Errno::NOTDIR)) => {
                let aside = format!("{name}.aside.{number}");
                match fs::renameat_with(parent, name, parent, &aside, RenameFlags::NOREPLACE) {
                    Ok(()) => tracing::warn!(name, aside, "renamed what stood in the store's place"),
                    Err(Errno::EXIST | Errno::NOENT) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST.into())
}

fn set_mode(fd: BorrowedFd<'_>, mode: Mode) -> io::Result<bool> {
    let wrong = fs::fstat(fd)?.st_mode & PERMISSIONS != mode.as_raw_mode();
    if wrong {
        fs::fchmod(fd, mode)?;
    }
    Ok(wrong)
}

/// Removes a directory. False where something is in it.
fn remove_empty(parent: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A path that names exactly what a descriptor is on: proc(5), `/proc/self/fd`.
pub(super) fn descriptor_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn id(fd: &OwnedFd) -> io::Result<(u64, u64)> {
    Ok(stat_id(&fs::fstat(fd)?))
}

fn stat_id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
