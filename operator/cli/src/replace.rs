//! Files whose whole content changes at once: whoever reads one meanwhile finds the old content or the new one.

#[cfg(target_os = "linux")]
mod place;

use std::{
    fs::{File, Permissions},
    io::{Result, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Makes bytes the whole content of a file. A file that is there keeps its permissions, and a link stays one; a device or a pipe is
/// written to, for to put a file in its place would take it from everybody.
///
/// A link that others may have planted is not followed: as root none of another user, and as anybody else none of another user in a
/// folder where all may write, whether it is the file or a folder on the way. Nothing is looked up twice, so nobody can plant one meanwhile.
///
/// # Errors
/// Where the file can't be written, its folder is not there, or it is a link to nothing, or one that is not followed. A regular file is as
/// before then.
#[cfg(target_os = "linux")]
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    use rustix::fs::{AtFlags, renameat, unlinkat};

    let found = match place::find(file)? {
        place::Found::Stream(mut stream) => return stream.write_all(content),
        place::Found::File(found) => found,
    };
    let (mut new, name) = new_beside(&found)?;
    let write = || {
        new.write_all(content)?;
        if let Some(mode) = found.mode {
            new.set_permissions(Permissions::from_mode(mode))?;
        }
        new.sync_all()?;
        Ok(renameat(&found.folder, &name, &found.folder, &found.name)?)
    };
    let written: Result<()> = { write }();
    if written.is_err() {
        // What went wrong first is what there is to say.
        let _ = unlinkat(&found.folder, &name, AtFlags::empty());
    }
    written
}

/// A new file in the folder of another, and its name there.
#[cfg(target_os = "linux")]
fn new_beside(found: &place::Place) -> Result<(File, std::ffi::OsString)> {
    use rustix::fs::{Mode, OFlags, openat};

    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What a new file's permissions are otherwise, which the process' umask reduces.
    let mode = Mode::from_raw_mode(0o666);
    let new = tempfile::Builder::new().make_in("", |path| {
        let name = path.file_name().unwrap_or_default();
        Ok(File::from(openat(&found.folder, name, flags, mode)?))
    })?;
    let (new, path) = new.into_parts();
    // It is in the folder that was found, wherever that is by now, and not where its path says.
    let path = path.keep()?;
    Ok((new, path.file_name().unwrap_or_default().to_owned()))
}

/// Whether [`replace`] can be expected to work, with a content of some size. Nothing is changed.
///
/// # Errors
/// Why it would not.
#[cfg(target_os = "linux")]
pub(crate) fn check(file: &Path) -> Result<()> {
    use rustix::fs::{AtFlags, unlinkat};

    /// More than a profile of every call takes, so that a full disk is seen.
    const SOME_BYTES: usize = 64 * 1024;
    // To open a pipe takes it from its reader, and waits for one.
    if std::fs::metadata(file).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Ok(());
    }
    let place::Found::File(found) = place::find(file)? else { return Ok(()) };
    let (mut new, name) = new_beside(&found)?;
    let written = new.write_all(&[0; SOME_BYTES]).and_then(|()| new.sync_all());
    unlinkat(&found.folder, &name, AtFlags::empty())?;
    written
}

/// The same where no file can be held without being opened: by paths.
#[cfg(not(target_os = "linux"))]
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    use std::fs;

    let found = fs::metadata(file).ok();
    if found.as_ref().is_some_and(|found| !found.is_file()) {
        return File::options().write(true).open(file)?.write_all(content);
    }
    let target = match fs::symlink_metadata(file) {
        Ok(_) => fs::canonicalize(file)?,
        Err(_) => file.to_owned(),
    };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    new.write_all(content)?;
    if let Some(found) = found {
        new.as_file().set_permissions(found.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(&target)?;
    Ok(())
}

#[cfg(test)]
mod tests;
