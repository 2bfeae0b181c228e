//! Which paths are Portcullis's own, and what they serve: what tells an agent that starts without the API server what to guard,
//! and a file of Portcullis's from a file of somebody else's.
//!
//! One symbolic link a path, whose text is the digest. It is never followed; it is a record that is created, replaced and removed in
//! one step each, and needs no format that a crash could tear.

use std::{collections::BTreeMap, io, os::fd::AsFd as _};

use portcullis_profile::Digest;
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{
    directory::{Directory, names, open_beneath},
    file::temporary_name,
};
use crate::path::{join, owner_of, split};

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The records of one directory.
#[derive(Debug)]
pub(crate) struct Index;

impl Index {
    /// Every record that makes sense; what does not is skipped, and so never becomes a path.
    pub(crate) fn load(directory: &Directory) -> io::Result<BTreeMap<String, Digest>> {
        let mut records = BTreeMap::new();
        Self::load_from(directory, None, &mut records)?;
        for entry in names(directory.index())?.into_iter().filter(|entry| entry.is_directory) {
            if let Ok(namespace) = std::str::from_utf8(&entry.name) {
                Self::load_from(directory, Some(namespace), &mut records)?;
            }
        }
        Ok(records)
    }

    fn load_from(
        directory: &Directory,
        namespace: Option<&str>,
        records: &mut BTreeMap<String, Digest>,
    ) -> io::Result<()> {
        let opened = match namespace {
            None => None,
            Some(namespace) => Some(open_beneath(directory.index(), namespace, OFlags::DIRECTORY, BENEATH)?),
        };
        let parent = opened.as_ref().map_or(directory.index(), |fd| fd.as_fd());
        for entry in names(parent)?.into_iter().filter(|entry| !entry.is_directory) {
            let Ok(leaf) = std::str::from_utf8(&entry.name) else { continue };
            let path = join(namespace, leaf);
            let record = fs::readlinkat(parent, leaf, Vec::new())
                .ok()
                .and_then(|text| text.to_str().ok().and_then(|text| text.parse::<Digest>().ok()));
            match record.filter(|_| owner_of(&path).is_some()) {
                Some(digest) => {
                    records.insert(path, digest);
                }
                None => tracing::warn!(path, "the index has a record that can't be read; it is ignored"),
            }
        }
        Ok(())
    }

    /// Records that a path is Portcullis's own and serves this content: before the file is there, so that a file of its own is
    /// never taken for a foreign one.
    ///
    /// Not durable before [`Index::sync`].
    pub(crate) fn record(directory: &Directory, path: &str, digest: &Digest) -> io::Result<()> {
        let (namespace, leaf) = split(path);
        let opened = match namespace {
            None => None,
            Some(namespace) => {
                match fs::mkdirat(directory.index(), namespace, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                Some(open_beneath(directory.index(), namespace, OFlags::DIRECTORY, BENEATH)?)
            }
        };
        let parent = opened.as_ref().map_or(directory.index(), |fd| fd.as_fd());
        let temporary = temporary_name();
        fs::symlinkat(digest.to_string(), directory.temporary(), &temporary)?;
        fs::renameat(directory.temporary(), &temporary, parent, leaf)?;
        Ok(())
    }

    /// Makes a namespace's records durable. Before its files are renamed into place: ext4 keeps the order of renames, btrfs does not, and
    /// would have the new file after a power cut with the record of the earlier one.
    pub(crate) fn sync(directory: &Directory, namespace: Option<&str>) -> io::Result<()> {
        match namespace {
            None => fs::fsync(directory.index())?,
            Some(namespace) => {
                fs::fsync(open_beneath(directory.index(), namespace, OFlags::DIRECTORY, BENEATH)?)?;
            }
        }
        Ok(())
    }

    /// Forgets a path: after its file is gone.
    pub(crate) fn forget(directory: &Directory, path: &str) -> io::Result<()> {
        match fs::unlinkat(directory.index(), path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        if let (Some(namespace), _) = split(path) {
            // Fails while it holds other records, which is what it is for.
            let _ = fs::unlinkat(directory.index(), namespace, AtFlags::REMOVEDIR);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::Path};

    use super::{super::Base, *};

    #[test]
    fn remembers_paths_and_ignores_what_was_planted() {
        let temporary = tempfile::tempdir().unwrap();
        let base = Base::open(temporary.path(), Path::new("/host"), "profiles").unwrap();
        let directory = Directory::open(&base).unwrap();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        Index::record(&directory, "shop/web.json", &a).unwrap();
        Index::record(&directory, "shop/web.json", &b).unwrap();
        Index::record(&directory, "base.json", &a).unwrap();
        Index::record(&directory, "shop/db.json", &a).unwrap();
        Index::forget(&directory, "shop/db.json").unwrap();

        let index = temporary.path().join("profiles/.store/index");
        symlink(a.to_string(), index.join("..json")).unwrap();
        symlink(a.to_string(), index.join("shop/passwd")).unwrap();
        symlink("/etc/passwd", index.join("evil.json")).unwrap();
        std::fs::write(index.join("file.json"), a.to_string()).unwrap();
        let expected = BTreeMap::from([("base.json".to_owned(), a), ("shop/web.json".to_owned(), b)]);
        assert_eq!(Index::load(&directory).unwrap(), expected);
    }

    #[test]
    fn forgets_an_empty_namespace() {
        let temporary = tempfile::tempdir().unwrap();
        let base = Base::open(temporary.path(), Path::new("/host"), "profiles").unwrap();
        let directory = Directory::open(&base).unwrap();
        Index::record(&directory, "shop/web.json", &Digest::of(b"a")).unwrap();
        Index::forget(&directory, "shop/web.json").unwrap();
        Index::forget(&directory, "shop/web.json").unwrap();
        assert_eq!(std::fs::read_dir(temporary.path().join("profiles/.store/index")).unwrap().count(), 0);
    }
}
