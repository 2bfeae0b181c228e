//! What is made of a registry's bytes, without the registry: for property tests and fuzz targets, and no part of the API.

use http::{HeaderMap, HeaderValue, header};
use portcullis_profile::{Digest, Profile};

use crate::{
    Inspection, Platform, Reference,
    blob::digest_of,
    format, image,
    inspect::describe,
    manifest::{self, Content, Manifest},
    operator_profile, token,
};

/// The content types that a manifest may have.
pub const MANIFESTS: [&str; 4] = manifest::ACCEPTED;

/// What a manifest says, in the way of `inspect`, and why nothing can be pulled by it, as far as it alone tells.
///
/// # Errors
/// Where it is none.
pub fn manifest(
    bytes: &[u8],
    content_type: &str,
    reference: &Reference,
    platform: &Platform,
) -> Result<(Inspection, Vec<String>), String> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::try_from(content_type).map_err(|error| error.to_string())?;
    headers.insert(header::CONTENT_TYPE, value);
    let media_type = manifest::media_type(&headers)?;
    let manifest = Manifest::read(bytes.to_vec(), Digest::of(bytes), media_type)?;
    let mut reasons = Vec::new();
    match &manifest.content {
        Content::Several(index) => match manifest::choose(index, platform) {
            Ok(chosen) => reasons.extend(digest_of(chosen).err()),
            Err(available) => reasons.extend(available),
        },
        Content::One(one) => {
            reasons.extend(format::check(one).err());
            reasons.extend(operator_profile::layer(one, platform).err());
            reasons.extend(one.layers().iter().filter_map(|layer| digest_of(layer).err()));
        }
    }
    Ok((describe(reference, &manifest, None), reasons))
}

/// The file at a path of an image whose layers these are, the top one first, each of at most `limit` bytes when decompressed.
///
/// # Errors
/// Where there is none, or a layer can't be read.
pub fn file(layers: &[&[u8]], path: &str, limit: u64) -> Result<Vec<u8>, String> {
    image::find_in(layers, &path.parse()?, limit)
}

/// The profile in what the Security Profiles Operator publishes.
///
/// # Errors
/// Where there is none.
pub fn operator_profile(yaml: &[u8]) -> Result<Profile, String> {
    operator_profile::profile(yaml)
}

/// The header that a token server's answer makes.
///
/// # Errors
/// Where there is no token in it.
pub fn token(body: &[u8]) -> Result<HeaderValue, String> {
    token::header(body).map_err(str::to_owned)
}

/// Whether a header asks for a token or a password, in a way that is known.
#[must_use]
pub fn is_challenge(header: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(header) {
        headers.insert(header::WWW_AUTHENTICATE, value);
    }
    token::Challenge::of(&headers).is_some()
}
