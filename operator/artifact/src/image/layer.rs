//! What one layer says of a path.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md>, 'Whiteouts' and 'Opaque Whiteout'.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use tar::{Archive, EntryType, PaxExtensions};

use super::{
    decompress,
    path::{FilePath, components},
};
use crate::format::MAX_ARTIFACT_BYTES;

/// What removes a file of a lower layer begins with.
const WHITEOUT: &str = ".wh.";
/// What removes everything of lower layers from a directory.
const OPAQUE: &str = ".wh..wh..opq";
/// The longest long name and the longest set of extended attributes that are read, in bytes.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;

/// Something in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A file with its content, or the beginning of it where it is longer than any profile.
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Hardlink(String),
    /// A device, a pipe, a sparse file.
    Other,
}

/// What a layer says of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    /// What is at the first so many components of the path; of several entries the last, as when they are unpacked.
    pub(super) nodes: BTreeMap<usize, Node>,
    /// Whether the path of lower layers is removed.
    pub(super) hides_lower: bool,
}

/// Reads a layer to its end, of at most `limit` bytes when decompressed.
pub(super) fn scan(layer: impl Read, wanted: &FilePath, limit: u64) -> io::Result<Sighting> {
    let mut archive = Archive::new(decompress::archive(layer, limit)?);
    let mut sighting = Sighting::default();
    let mut extension = Extension::default();
    // Raw, because the archive reads long names of any length into memory otherwise.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName => extension.name = Some(text(small(&mut entry)?)),
            EntryType::GNULongLink => extension.link = Some(text(small(&mut entry)?)),
            EntryType::XHeader => extension.read(&small(&mut entry)?)?,
            EntryType::XGlobalHeader => {}
            kind => {
                let own = std::mem::take(&mut extension);
                own.check_size(entry.header().entry_size()?)?;
                let name = own.name.unwrap_or_else(|| text(entry.header().path_bytes().into_owned()));
                let link =
                    own.link.or_else(|| entry.header().link_name_bytes().map(|link| text(link.into_owned())));
                if let Some(depth) = sighting.note(&name, wanted) {
                    let node = node(kind, link.filter(|_| !own.sparse), own.sparse, &mut entry)?;
                    sighting.nodes.insert(depth, node);
                }
            }
        }
    }
    Ok(sighting)
}

/// The only file of an archive, of at most `limit` bytes when decompressed, or the only one whose name is that of a JSON document.
pub(super) fn only_file(layer: impl Read, limit: u64) -> io::Result<(String, Vec<u8>)> {
    let mut archive = Archive::new(decompress::archive(layer, limit)?);
    let mut files = Vec::new();
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        let name = text(entry.header().path_bytes().into_owned());
        if let Node::File(content) = node(kind, None, false, &mut entry)? {
            files.push((name, content));
        }
    }
    let is_json = |(name, _): &(String, Vec<u8>)| name.ends_with(".json");
    if files.len() > 1 && files.iter().filter(|file| is_json(file)).count() == 1 {
        files.retain(is_json);
    }
    let count = files.len();
    match files.pop() {
        Some((name, content)) if count == 1 && content.len() as u64 <= MAX_ARTIFACT_BYTES => {
            Ok((name, content))
        }
        Some((name, _)) if count == 1 => Err(io::Error::other(format!(
            "{name} is longer than {MAX_ARTIFACT_BYTES} bytes, which no profile is"
        ))),
        _ => Err(io::Error::other(format!("it has {count} files, and should have one, the profile"))),
    }
}

impl Sighting {
    /// Takes note of an entry; how much of the path it is, where it is a part of it.
    fn note(&mut self, name: &str, wanted: &FilePath) -> Option<usize> {
        let wanted = wanted.components();
        let parts = components(name)?;
        let is_above =
            |parts: &[&str]| parts.len() <= wanted.len() && parts.iter().zip(wanted).all(|(a, b)| a == b);
        let (last, parent) = parts.split_last()?;
        if *last == OPAQUE {
            self.hides_lower |= parent.len() < wanted.len() && is_above(parent);
            return None;
        }
        if let Some(removed) = last.strip_prefix(WHITEOUT) {
            self.hides_lower |= is_above(&[parent, &[removed]].concat());
            return None;
        }
        is_above(&parts).then_some(parts.len())
    }
}

fn node(kind: EntryType, link: Option<String>, sparse: bool, content: &mut impl Read) -> io::Result<Node> {
    Ok(match (kind, link) {
        (EntryType::Directory, _) => Node::Directory,
        (EntryType::Symlink, Some(link)) => Node::Symlink(link),
        (EntryType::Link, Some(link)) => Node::Hardlink(link),
        (EntryType::Regular | EntryType::Continuous, _) if !sparse => {
            let mut bytes = Vec::new();
            content.take(MAX_ARTIFACT_BYTES + 1).read_to_end(&mut bytes)?;
            Node::File(bytes)
        }
        _ => Node::Other,
    })
}

/// What stands before an entry because its header has no room for it.
#[derive(Default)]
struct Extension {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    sparse: bool,
}

impl Extension {
    /// Reads pax records, pax(1).
    fn read(&mut self, records: &[u8]) -> io::Result<()> {
        for record in PaxExtensions::new(records) {
            let record = record?;
            let value = || text(record.value_bytes().to_vec());
            match record.key_bytes() {
                b"path" => self.name = Some(value()),
                b"linkpath" => self.link = Some(value()),
                b"size" => {
                    let size = value().parse().map_err(|_| io::Error::other("a size is no number"))?;
                    self.size = Some(size);
                }
                key => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }

    /// Entries are skipped by their header's size. One that says another size elsewhere is longer than a header can say
    /// (8 GiB), or is two archives to two readers.
    fn check_size(&self, header: u64) -> io::Result<()> {
        match self.size.filter(|&size| size != header) {
            Some(size) => {
                Err(io::Error::other(format!("an entry has {size} bytes, and its header says {header}")))
            }
            None => Ok(()),
        }
    }
}

fn small(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_EXTENSION_BYTES {
        return Err(io::Error::other(format!("a name is longer than {MAX_EXTENSION_BYTES} bytes")));
    }
    Ok(bytes)
}

/// A name, without the NUL that ends it in some archives. One that is no UTF-8 is none that is looked for.
fn text(mut bytes: Vec<u8>) -> String {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
