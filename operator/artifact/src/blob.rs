//! A blob as it arrives, held against its descriptor.

use bytes::Bytes;
use oci_spec::image::Descriptor;
use portcullis_profile::Digest;
use reqwest::Response;
use sha2::{Digest as _, Sha256};

use crate::{Error, Result, error::shown, transport};

/// A blob whose bytes are given out as they come. Only when the last was given out is it known to be the blob that
/// its digest says.
pub(crate) struct Blob {
    response: Response,
    url: String,
    digest: Digest,
    hash: Sha256,
    left: u64,
    ended: bool,
}

impl Blob {
    pub(crate) fn new(response: Response, descriptor: &Descriptor, digest: Digest) -> Result<Self> {
        let url = transport::url_of(&response);
        let size = descriptor.size();
        if let Some(length) = response.content_length().filter(|&length| length != size) {
            let problem = format!("it has {length} bytes, and its descriptor says {size}");
            return Err(Error::Broken { url, problem });
        }
        Ok(Self { response, url, digest, hash: Sha256::new(), left: size, ended: false })
    }

    /// The next bytes; `None` at the end of a blob that is what its descriptor says.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let chunk = self.response.chunk().await.map_err(|source| transport::no_answer(&self.url, source))?;
        let Some(chunk) = chunk else { return self.end() };
        let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
            return Err(self.broken("it is longer than its descriptor says".to_owned()));
        };
        self.left = left;
        self.hash.update(&chunk);
        Ok(Some(chunk))
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        self.ended = true;
        if self.left > 0 {
            let problem = format!("it ends {} bytes before its descriptor says", self.left);
            return Err(self.broken(problem));
        }
        let found = hex(&std::mem::take(&mut self.hash).finalize());
        if found != self.digest.hex() {
            let problem = format!("its digest is sha256:{found}, not {}", self.digest);
            return Err(self.broken(problem));
        }
        Ok(None)
    }

    /// The whole blob; the descriptor's size has been looked at.
    pub(crate) async fn whole(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn broken(&self, problem: String) -> Error {
        Error::Broken { url: self.url.clone(), problem }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A descriptor's digest, where it is a SHA-256 one.
pub(crate) fn digest_of(descriptor: &Descriptor) -> std::result::Result<Digest, String> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|_| format!("the digest {} is not a SHA-256 one, which alone is read", shown(&text)))
}
