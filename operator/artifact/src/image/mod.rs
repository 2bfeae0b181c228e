//! A profile among the files of a container image.

mod decompress;
mod layer;
mod path;

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use bytes::{Buf as _, Bytes};
use oci_spec::image::{Descriptor, ImageManifest};
use portcullis_profile::Digest;
use tokio::sync::mpsc;

use crate::{
    Error, Result, blob::digest_of, error::shown, format::MAX_ARTIFACT_BYTES, repository::Repository,
};
use decompress::MAX_LAYER_BYTES;
use layer::{Node, Sighting};
pub(crate) use path::FilePath;

/// The most bytes of layers that a search reads (16 GiB).
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// The longest archive in an artifact, in bytes when decompressed (16 MiB): it is to hold one profile.
const MAX_ARCHIVE_BYTES: u64 = 16 * 1024 * 1024;
/// The most layers of an image; overlayfs takes 500 (`OVL_MAX_STACK`).
const MAX_LAYERS: usize = 500;
/// How many links are followed; Linux follows 40 (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Pieces of a layer that may wait to be searched.
const QUEUE: usize = 16;

/// A file of an image.
pub(crate) struct Found {
    pub(crate) content: Vec<u8>,
    pub(crate) layer: Digest,
    /// Where it really is.
    pub(crate) path: String,
}

/// Looks for a file from the top layer down and reads no layer below the one that decides. That one is read to its end,
/// for only then is it known to be what its digest says.
pub(crate) async fn find(
    repository: &Repository,
    manifest: &ImageManifest,
    wanted: &FilePath,
) -> Result<Found> {
    let fail = |problem: String| repository.content(problem);
    let layers: Vec<&Descriptor> = manifest.layers().iter().rev().collect();
    if layers.len() > MAX_LAYERS {
        return Err(fail(format!("it has {} layers, over {MAX_LAYERS}", layers.len())));
    }
    let mut descent = Descent::new(wanted.clone(), layers.len());
    let mut read = 0_u64;
    while let Some(descriptor) = descent.layer().and_then(|position| layers.get(position)) {
        let digest = digest_of(descriptor).map_err(fail)?;
        read = read.saturating_add(descriptor.size());
        if read > MAX_BYTES {
            return Err(fail(format!(
                "looking for {wanted} takes reading more than {MAX_BYTES} bytes of layers"
            )));
        }
        let sighting = look(repository, descriptor, descent.path()).await?;
        if let Some(content) = descent.take(sighting).map_err(fail)? {
            return Ok(Found { content, layer: digest, path: descent.path().to_string() });
        }
    }
    Err(Error::NotInImage { reference: repository.reference().to_string(), path: descent.describe() })
}

/// The same in layers that are at hand, the top one first, each of at most `limit` bytes when decompressed.
pub(crate) fn find_in(
    layers: &[&[u8]],
    wanted: &FilePath,
    limit: u64,
) -> std::result::Result<Vec<u8>, String> {
    let mut descent = Descent::new(wanted.clone(), layers.len());
    while let Some(layer) = descent.layer().and_then(|position| layers.get(position)) {
        let sighting =
            layer::scan(*layer, descent.path(), limit).map_err(|error| shown(&error.to_string()))?;
        if let Some(content) = descent.take(sighting)? {
            return Ok(content);
        }
    }
    Err(format!("{} is not in the image", descent.describe()))
}

/// The profile in an artifact's layer that is an archive, and its name there.
pub(crate) fn only_file(layer: &[u8]) -> std::result::Result<(String, Vec<u8>), String> {
    layer::only_file(layer, MAX_ARCHIVE_BYTES).map_err(|error| {
        let problem = shown(&error.to_string());
        format!("its layer is an archive that can't be read: {problem}; push the bare profile in its place")
    })
}

/// A search along links through the layers of an image, which are counted from the top.
struct Descent {
    wanted: FilePath,
    search: Search,
    position: usize,
    layers: usize,
    links: usize,
}

impl Descent {
    fn new(wanted: FilePath, layers: usize) -> Self {
        Self { search: Search::new(wanted.clone()), wanted, position: 0, layers, links: 0 }
    }

    /// The layer to look into; `None` where no layer can have the file.
    fn layer(&self) -> Option<usize> {
        (self.position < self.layers).then_some(self.position)
    }

    /// What to look for there.
    fn path(&self) -> &FilePath {
        &self.search.path
    }

    /// Goes on with what that layer has; the file's content where it was found.
    fn take(&mut self, sighting: Sighting) -> std::result::Result<Option<Vec<u8>>, String> {
        match self.search.step(sighting)? {
            Step::Lower => self.position += 1,
            Step::Found(content) => return Ok(Some(content)),
            Step::Nowhere => self.position = self.layers,
            Step::Elsewhere(target) => self.follow(target, 0)?,
            Step::SameLayer(target) => self.follow(target, self.position)?,
        }
        Ok(None)
    }

    fn follow(&mut self, target: FilePath, from: usize) -> std::result::Result<(), String> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(format!("{} is behind more than {MAX_LINKS} links", self.wanted));
        }
        (self.search, self.position) = (Search::new(target), from);
        Ok(())
    }

    /// What was looked for, and where links led.
    fn describe(&self) -> String {
        let (wanted, path) = (&self.wanted, self.path());
        if path == wanted { wanted.to_string() } else { format!("{wanted} (a link to {path})") }
    }
}

/// What to do after a layer.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Look at the next lower layer.
    Lower,
    /// The file.
    Found(Vec<u8>),
    /// No lower layer can have it.
    Nowhere,
    /// A symbolic link: look there, from the top.
    Elsewhere(FilePath),
    /// A hard link: look there, in this layer first.
    SameLayer(FilePath),
}

/// A search on its way down.
struct Search {
    path: FilePath,
    /// The depths at which an upper layer has a directory: what is no directory below it is replaced by that.
    directories: BTreeSet<usize>,
}

impl Search {
    fn new(path: FilePath) -> Self {
        Self { path, directories: BTreeSet::new() }
    }

    fn step(&mut self, sighting: Sighting) -> std::result::Result<Step, String> {
        let whole = self.path.components().len();
        for (depth, node) in sighting.nodes {
            let is_above = depth < whole;
            match node {
                Node::Directory if is_above => {
                    self.directories.insert(depth);
                }
                _ if self.directories.contains(&depth) => return Ok(Step::Nowhere),
                Node::Symlink(target) => {
                    return self.path.through(depth, &target).map(Step::Elsewhere);
                }
                Node::File(_) | Node::Hardlink(_) | Node::Other if is_above => return Ok(Step::Nowhere),
                Node::File(content) if content.len() as u64 > MAX_ARTIFACT_BYTES => {
                    return Err(format!(
                        "{} is longer than {MAX_ARTIFACT_BYTES} bytes, which no profile is",
                        self.path
                    ));
                }
                Node::File(content) => return Ok(Step::Found(content)),
                // A hard link's target is a name from the archive's root.
                Node::Hardlink(target) => return Ok(Step::SameLayer(format!("/{target}").parse()?)),
                Node::Directory => {
                    return Err(format!("{} is a directory", self.path));
                }
                Node::Other => return Err(format!("{} is no regular file", self.path)),
            }
        }
        Ok(if sighting.hides_lower { Step::Nowhere } else { Step::Lower })
    }
}

/// Reads a layer as it arrives; what it says counts only when it was verified.
async fn look(repository: &Repository, descriptor: &Descriptor, path: &FilePath) -> Result<Sighting> {
    let mut blob = repository.blob(descriptor).await?;
    let (pieces, received) = mpsc::channel(QUEUE);
    let wanted = path.clone();
    let scan = tokio::task::spawn_blocking(move || {
        layer::scan(Pieces { received, piece: Bytes::new() }, &wanted, MAX_LAYER_BYTES)
    });
    while let Some(piece) = blob.next().await? {
        // An archive ends before its last bytes, or is damaged; the digest tells, so the rest is read all the same.
        let _ = pieces.send(piece).await;
    }
    drop(pieces);
    let fail = |problem: &dyn std::fmt::Display| {
        let problem = shown(&problem.to_string());
        repository.content(format!("its layer {} can't be read: {problem}", descriptor.digest()))
    };
    match scan.await {
        Ok(Ok(sighting)) => Ok(sighting),
        Ok(Err(error)) => Err(fail(&error)),
        Err(error) => Err::<_, Error>(fail(&error)),
    }
}

/// A layer for a reader that waits.
struct Pieces {
    received: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
