//! Files whose whole content changes at once: whoever reads one meanwhile finds the old content or the new one.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{Result, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Makes bytes the whole content of a file. A file that is there keeps its permissions, and a link stays one; a device or a pipe is
/// written to, for to put a file in its place would take it from everybody.
///
/// # Errors
/// Where the file can't be written, its folder is not there, or it is a link to nothing. A regular file is as before then.
pub(crate) fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let found = fs::metadata(file).ok();
    if found.as_ref().is_some_and(|found| !found.is_file()) {
        return OpenOptions::new().write(true).open(file)?.write_all(content);
    }
    let target = match fs::symlink_metadata(file) {
        Ok(_) => fs::canonicalize(file)?,
        Err(_) => file.to_owned(),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // What a new file's permissions are otherwise, which the process' umask reduces.
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
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_no_file_of_its_own_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str| replace(&path(name), b"new").unwrap();
        write("file");
        symlink("file", path("link")).unwrap();
        fs::write(path("file"), "old").unwrap();
        fs::set_permissions(path("file"), Permissions::from_mode(0o640)).unwrap();
        write("link");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        assert_eq!(fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = path("pipe");
            move || fs::read(pipe).unwrap()
        });
        write("pipe");
        assert_eq!(reader.join().unwrap(), b"new");
        assert!(fs::metadata(path("pipe")).unwrap().file_type().is_fifo());
        assert!(replace(folder.path(), b"new").is_err());
        assert!(replace(&path("none/file"), b"new").is_err());
        fs::remove_file(path("file")).unwrap();
        assert!(replace(&path("link"), b"new").is_err(), "a link to nothing");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something is left over");
    }
}
