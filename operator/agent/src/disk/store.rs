//! Contents by digest: what served files are written and repaired from.
//!
//! Every read is verified, so a damaged copy is never passed on.

use std::{collections::BTreeMap, fs::File, io, os::fd::AsFd as _};

use portcullis_profile::Digest;
use rustix::fs::{self, AtFlags};

use super::{
    directory::{Directory, names},
    file::{Staged, read},
};

/// Largest content that is read or written, in bytes: above what the API server's storage holds.
pub(crate) const MAX_CONTENT: usize = 2 * 1024 * 1024;

/// Which contents there are, with their sizes in bytes; the bytes themselves stay on disk.
#[derive(Debug, Default)]
pub(crate) struct Store {
    sizes: BTreeMap<Digest, u32>,
    /// Contents that were written and are still to be synced.
    unsynced: Vec<(Digest, File)>,
}

impl Store {
    /// Finds what is there by its names alone. Whatever is not named by a digest goes.
    pub(crate) fn load(directory: &Directory) -> io::Result<Self> {
        let mut sizes = BTreeMap::new();
        for entry in names(directory.content())? {
            let digest = std::str::from_utf8(&entry.name)
                .ok()
                .and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
            let stat = fs::statat(directory.content(), &entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
            match (digest, u32::try_from(stat.st_size)) {
                (Some(digest), Ok(size)) if !entry.is_directory => {
                    sizes.insert(digest, size);
                }
                _ => {
                    let name = String::from_utf8_lossy(&entry.name).into_owned();
                    directory.set_aside(directory.content(), &name)?;
                }
            }
        }
        Ok(Self { sizes, unsynced: Vec::new() })
    }

    /// Whether this content is there, as far as is known.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.sizes.contains_key(digest)
    }

    /// Bytes of all contents.
    pub(crate) fn bytes(&self) -> u64 {
        self.sizes.values().map(|size| u64::from(*size)).sum()
    }

    /// A content; none where it is missing or damaged, and then it is forgotten.
    pub(crate) fn read(&mut self, directory: &Directory, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        if !self.contains(digest) {
            return Ok(None);
        }
        let content =
            read(directory.content(), &digest.hex())?.filter(|content| Digest::of(content) == *digest);
        if content.is_none() {
            self.sizes.remove(digest);
        }
        Ok(content)
    }

    /// Writes a content, whose digest the caller has verified. It is durable after [`Store::synced`], before any file is served from it:
    /// an agent that starts without the API server repairs from it.
    pub(crate) fn write(&mut self, directory: &Directory, digest: &Digest, content: &[u8]) -> io::Result<()> {
        let staged = Staged::write(directory, content)?;
        let file = staged.publish_unsynced(directory.content(), &digest.hex())?;
        self.unsynced.push((*digest, file));
        self.sizes.insert(*digest, u32::try_from(content.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// The contents that are to be synced; the caller tells [`Store::synced`] how that went.
    pub(crate) fn take_unsynced(&mut self) -> Vec<(Digest, File)> {
        std::mem::take(&mut self.unsynced)
    }

    /// Forgets a content that could not be made durable: it is read again when it is needed.
    pub(crate) fn synced(&mut self, digest: &Digest, result: &io::Result<()>) {
        if let Err(error) = result {
            tracing::error!(%digest, %error, "can't make a content of the store durable");
            self.sizes.remove(digest);
        }
    }

    /// Removes every content that `wanted` does not name.
    pub(crate) fn keep(&mut self, directory: &Directory, wanted: impl Fn(&Digest) -> bool) {
        self.sizes.retain(|digest, _| {
            // One that can't be removed now is tried again with the next.
            wanted(digest)
                || fs::unlinkat(directory.content().as_fd(), digest.hex(), AtFlags::empty()).is_err()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::Base, *};

    #[test]
    fn gives_back_what_was_put_in_and_nothing_that_was_damaged() {
        let temporary = tempfile::tempdir().unwrap();
        let base = Base::open(temporary.path(), Path::new("/host"), "profiles").unwrap();
        let directory = Directory::open(&base).unwrap();
        let mut store = Store::default();
        let digest = Digest::of(b"content");
        store.write(&directory, &digest, b"content").unwrap();
        assert_eq!(store.read(&directory, &digest).unwrap().as_deref(), Some(&b"content"[..]));
        assert_eq!(store.bytes(), 7);

        let content = temporary.path().join("profiles/.store/content");
        std::fs::write(content.join("not-a-digest"), "x").unwrap();
        let mut store = Store::load(&directory).unwrap();
        assert!(store.contains(&digest));
        assert!(!content.join("not-a-digest").exists());

        std::fs::write(content.join(digest.hex()), "contenT").unwrap();
        assert_eq!(store.read(&directory, &digest).unwrap(), None);
        assert!(!store.contains(&digest), "a damaged content is still offered");
    }

    #[test]
    fn keeps_what_is_wanted_only() {
        let temporary = tempfile::tempdir().unwrap();
        let base = Base::open(temporary.path(), Path::new("/host"), "profiles").unwrap();
        let directory = Directory::open(&base).unwrap();
        let mut store = Store::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        store.write(&directory, &a, b"a").unwrap();
        store.write(&directory, &b, b"b").unwrap();
        store.keep(&directory, |digest| *digest == b);
        assert_eq!(store.read(&directory, &a).unwrap(), None);
        assert_eq!(store.read(&directory, &b).unwrap().as_deref(), Some(&b"b"[..]));
        assert_eq!(std::fs::read_dir(temporary.path().join("profiles/.store/content")).unwrap().count(), 1);
    }
}
