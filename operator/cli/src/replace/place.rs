//! Where a path leads, without a link that others may have planted on the way.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io::{Error, ErrorKind, Result},
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, openat, readlinkat},
    io::Errno,
    process::geteuid,
};

/// As many links as the kernel follows: `MAXSYMLINKS` of include/linux/namei.h.
const MAX_LINKS: usize = 40;
/// What a file keeps of its permissions.
const OWN_PERMISSIONS: u32 = 0o777;
/// The same of another user's: to put a file in the way gives nobody the right to write to what replaces it.
const OTHERS_PERMISSIONS: u32 = 0o755;
/// Only looked at.
const HELD: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Opened to be written to.
const WRITTEN: OFlags = OFlags::WRONLY.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, or where there can be one.
    File(Place),
    /// A device, a pipe or a descriptor of this process: it is written to, for to replace it would take it from everybody.
    Stream(File),
}

/// A name in a folder, that belongs to a regular file or to nothing.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: OsString,
    /// The permissions to keep.
    pub(super) mode: Option<u32>,
}

/// Goes the way that the kernel would, part by part, and looks at each link before it is followed. What was looked at is held, so it is
/// what is followed, whatever is put into its place meanwhile.
pub(super) fn find(path: &Path) -> Result<Found> {
    let mut folder = start(path)?;
    let mut left = parts(path);
    let (mut links, mut is_linked) = (0, false);
    while let Some(name) = left.pop_front() {
        let is_last = left.is_empty();
        let next = match openat(&folder, &name, HELD | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) if is_last && !is_linked => {
                return Ok(Found::File(Place { folder, name, mode: None }));
            }
            other => other?,
        };
        let stat = fstat(&next)?;
        match FileType::from_raw_mode(stat.st_mode) {
            // The kernel's own, which may lead to what no path names, as /dev/stdout does: nobody can plant one.
            FileType::Symlink if fstatfs(&folder)?.f_type == PROC_SUPER_MAGIC => {
                if is_last {
                    let stream = openat(&folder, &name, WRITTEN | OFlags::TRUNC, Mode::empty())?;
                    return Ok(Found::Stream(stream.into()));
                }
                folder = openat(&folder, &name, HELD, Mode::empty())?;
            }
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                may_use(&stat, &folder, "link", path, &name)?;
                let target = readlinkat(&next, "", Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    folder = start(&target)?;
                }
                left = parts(&target).into_iter().chain(left).collect();
                is_linked |= is_last;
            }
            FileType::Directory => folder = next,
            _ if !is_last => return Err(Errno::NOTDIR.into()),
            FileType::RegularFile => {
                let is_own = stat.st_uid == geteuid().as_raw();
                let kept = if is_own { OWN_PERMISSIONS } else { OTHERS_PERMISSIONS };
                return Ok(Found::File(Place { folder, name, mode: Some(stat.st_mode & kept) }));
            }
            kind => {
                // Nobody but root makes devices.
                if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
                    may_use(&stat, &folder, "pipe", path, &name)?;
                }
                let stream = openat(&folder, &name, WRITTEN | OFlags::NOFOLLOW, Mode::empty())?;
                let opened = fstat(&stream)?;
                if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
                    return Err(Error::other("it was replaced meanwhile"));
                }
                return Ok(Found::Stream(stream.into()));
            }
        }
    }
    Err(Errno::ISDIR.into())
}

/// Where a path begins.
fn start(path: &Path) -> Result<OwnedFd> {
    let begin = if path.is_absolute() { "/" } else { "." };
    Ok(openat(CWD, begin, HELD | OFlags::DIRECTORY, Mode::empty())?)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.collect()
}

/// Refuses a link or a pipe that another user may have planted.
fn may_use(stat: &Stat, folder: &OwnedFd, what: &str, path: &Path, name: &OsStr) -> Result<()> {
    let (me, owner) = (geteuid().as_raw(), stat.st_uid);
    if is_trusted(me, owner, &fstat(folder)?) {
        return Ok(());
    }
    let name = Path::new(name).display();
    let why = format!("{name} on the way to {} is a {what} of another user (uid {owner})", path.display());
    let hint = "write to a file whose path has none";
    Err(Error::new(ErrorKind::PermissionDenied, format!("{why}, which is not followed: {hint}")))
}

/// As root, what root made is. For others it is the kernel's rule where `fs.protected_symlinks` and `fs.protected_fifos` are set: what is
/// in a folder where all may write, sticky or not, belongs to this user, to root, or to the folder's owner.
///
/// Source: Documentation/admin-guide/sysctl/fs.rst.
fn is_trusted(me: u32, owner: u32, folder: &Stat) -> bool {
    const WRITTEN_BY_ALL: u32 = 0o002;
    let is_for_all = folder.st_mode & WRITTEN_BY_ALL != 0;
    owner == me || owner == 0 || (me != 0 && (!is_for_all || owner == folder.st_uid))
}
