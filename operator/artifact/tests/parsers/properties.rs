//! What holds of everything that is read of a registry, whatever it sends; a panic says that it doesn't.
//!
//! Shared by the property tests here and by the fuzz targets in `fuzz/`.

use std::sync::LazyLock;

use portcullis_artifact::{Index, Platform, Reference, strangers};
use portcullis_profile::Profile;

/// The most that a message about a stranger's text has, in bytes: it shows 200 characters of each of a few words.
const MAX_SAID: usize = 8 * 1024;
/// As much of a layer as is read here, in bytes. A layer of 4 KiB can say that it is 100 MiB long.
const MAX_LAYER_BYTES: u64 = 256 * 1024;

/// A message is short and gives a terminal no orders.
fn is_fit(said: &str) {
    assert!(said.len() <= MAX_SAID, "{} bytes: {said}", said.len());
    assert!(!said.chars().any(char::is_control), "{said:?}");
}

/// A manifest is read in the way of its content type, and nothing that is shown of it is longer than a line or gives orders.
/// The first byte chooses the content type.
pub(crate) fn manifest(data: &[u8]) {
    static REFERENCE: LazyLock<Reference> =
        LazyLock::new(|| "registry.example/shop/web:v1".parse().expect("a reference"));
    static PLATFORM: LazyLock<Platform> = LazyLock::new(|| "linux/arm64".parse().expect("a platform"));
    let [form, bytes @ ..] = data else { return };
    let content_type = strangers::MANIFESTS[usize::from(*form) % strangers::MANIFESTS.len()];
    match strangers::manifest(bytes, content_type, &REFERENCE, &PLATFORM) {
        Ok((inspection, reasons)) => {
            assert_eq!(inspection.media_type, content_type);
            reasons.iter().for_each(|reason| is_fit(reason));
            let layers = inspection.layers.iter();
            layers.flat_map(|layer| [&layer.digest, &layer.media_type]).for_each(|text| is_fit(text));
            inspection.platforms.iter().chain(&inspection.artifact_type).for_each(|text| is_fit(text));
            inspection.annotations.iter().flat_map(|(key, value)| [key, value]).for_each(|text| is_fit(text));
            serde_json::to_string(&inspection).expect("an inspection can be written");
        }
        Err(problem) => is_fit(&problem),
    }
}

/// A search through layers ends: in a file that is no longer than what was read, or in words. Where the layers are no archives
/// that the first byte's third bit leaves alone, the sums in their headers are put right, which no mutation does by itself.
/// Its first two bits are the number of layers.
pub(crate) fn layer(data: &[u8]) {
    let [form, bytes @ ..] = data else { return };
    let mut bytes = bytes.to_vec();
    if form & 4 == 0 {
        bytes.chunks_exact_mut(BLOCK).for_each(put_sum_right);
    }
    let count = usize::from(form & 3) + 1;
    let blocks = bytes.len().div_ceil(BLOCK).div_ceil(count).max(1);
    let layers: Vec<&[u8]> = bytes.chunks(blocks * BLOCK).collect();
    match strangers::file(&layers, "/seccomp/profile.json", MAX_LAYER_BYTES) {
        Ok(content) => assert!(content.len() as u64 <= MAX_LAYER_BYTES),
        Err(problem) => is_fit(&problem),
    }
}

/// A header of an archive, and the unit of its contents: tar(5).
const BLOCK: usize = 512;

/// Writes the sum of a header's bytes into it, its own eight counted as spaces.
fn put_sum_right(block: &mut [u8]) {
    const SUM: std::ops::Range<usize> = 148..156;
    if block.get(257..262) != Some(b"ustar") {
        return;
    }
    block[SUM].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// What is read of an index is written and read again as the same, and every profile of it has a newest version.
pub(crate) fn profile_index(data: &[u8]) {
    match Index::parse(data) {
        Ok(index) => {
            for entry in &index.profiles {
                assert_eq!(index.entry(&entry.name), Some(entry));
                let (version, reference) = entry.version(None).expect("there is a version");
                assert_eq!(reference.digest(), Some(version.digest));
                is_fit(&entry.name);
                assert!(entry.version(Some("\0")).is_err() && entry.matches(&entry.name));
            }
            let text = serde_json::to_vec(&index).expect("it can be written");
            assert_eq!(Index::parse(&text).as_ref(), Ok(&index));
        }
        Err(problem) => is_fit(&problem),
    }
}

/// What the Security Profiles Operator publishes is read as a profile that can be written, or words say why not.
pub(crate) fn operator_profile(data: &[u8]) {
    match strangers::operator_profile(data) {
        Ok(profile) => {
            let rendered = profile.canonical().render();
            let again = Profile::parse(&rendered).expect("what is rendered can be read");
            assert_eq!(again.canonical(), profile.canonical());
        }
        Err(problem) => is_fit(&problem),
    }
}

/// A token server's answer makes a header that no log shows, or none; a challenge is read or passed over.
pub(crate) fn token(data: &[u8]) {
    match strangers::token(data) {
        Ok(header) => assert!(header.is_sensitive() && header.as_bytes().starts_with(b"Bearer ")),
        Err(problem) => is_fit(&problem),
    }
    let _ = strangers::is_challenge(data);
}
