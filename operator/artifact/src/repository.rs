//! One repository of a registry.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>.

use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use oci_spec::image::Descriptor;
use portcullis_profile::Digest;
use reqwest::{Client, RequestBuilder, Response, Url};

use crate::{
    Access, Error, Reference, Result,
    blob::{Blob, digest_of},
    error::shown,
    manifest::{self, Manifest},
    token::Challenge,
    transport,
};

/// The longest manifest that is read, in bytes: the least that a registry has to take, and the most that most take.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Where a registry says which digest its answer has.
const CONTENT_DIGEST: &str = "Docker-Content-Digest";

/// What is to be done, as the scope of a token.
#[derive(Clone, Copy)]
pub(crate) enum Right {
    Pull,
    Push,
}

/// A repository, and who asks there.
pub(crate) struct Repository {
    client: Client,
    access: Access,
    reference: Reference,
    right: Right,
    base: Url,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Repository {
    pub(crate) fn new(reference: &Reference, access: &Access, right: Right) -> Result<Self> {
        let scheme = if access.plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}/", reference.registry(), reference.repository());
        let base = Url::parse(&base).map_err(|error| Error::Reference {
            text: reference.to_string(),
            problem: format!("{} is no host: {error}", reference.registry()),
        })?;
        Ok(Self {
            client: access.client()?,
            access: access.clone(),
            reference: reference.clone(),
            right,
            base,
            authorization: Mutex::new(None),
        })
    }

    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest of the reference, or of another digest in its repository.
    pub(crate) async fn manifest(&self, digest: Option<Digest>) -> Result<Manifest> {
        let wanted = digest.or(self.reference.digest());
        let identifier = wanted.map_or_else(|| self.reference.identifier(), |digest| digest.to_string());
        let url = self.url(&format!("manifests/{identifier}"))?;
        let accept = manifest::ACCEPTED.join(", ");
        let request = |client: &Client| client.get(url.clone()).header(header::ACCEPT, &accept);
        let response = self.send(&url, request).await?;
        if response.status() != StatusCode::OK {
            let what = match wanted {
                Some(digest) => format!("manifest of {digest} in {}", self.reference.repository()),
                None => self.reference.to_string(),
            };
            return Err(transport::failure(&what, response).await);
        }
        let broken = |problem| Error::Broken { url: transport::without_query(&url), problem };
        let media_type = manifest::media_type(response.headers()).map_err(broken)?;
        let claimed = response.headers().get(CONTENT_DIGEST).cloned();
        let body = transport::body(response, MAX_MANIFEST_BYTES).await?;
        let found = Digest::of(&body);
        if let Some(wanted) = wanted.filter(|&wanted| wanted != found) {
            return Err(broken(format!("it sent the manifest {found} for {wanted}")));
        }
        check_claim(claimed.as_ref(), found).map_err(broken)?;
        Manifest::read(body, found, media_type).map_err(broken)
    }

    /// The bytes that a descriptor describes, as they come.
    pub(crate) async fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let digest = digest_of(descriptor).map_err(|problem| self.content(problem))?;
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.send(&url, |client| client.get(url.clone())).await?;
        if response.status() != StatusCode::OK {
            let what = format!("blob {digest} in {}", self.reference.repository());
            return Err(transport::failure(&what, response).await);
        }
        Blob::new(response, descriptor, digest)
    }

    /// Whether the repository has a blob already.
    pub(crate) async fn has_blob(&self, digest: Digest) -> Result<bool> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.send(&url, |client| client.head(url.clone())).await?;
        Ok(response.status() == StatusCode::OK)
    }

    /// Uploads a blob in one piece.
    pub(crate) async fn upload(&self, bytes: &Bytes) -> Result<()> {
        let begin = self.url("blobs/uploads/")?;
        let response =
            self.send(&begin, |client| client.post(begin.clone()).header(header::CONTENT_LENGTH, 0)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(transport::failure("place to upload to", response).await);
        }
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let mut location = location.and_then(|location| begin.join(location).ok()).ok_or_else(|| {
            let problem = "it named no place to upload to".to_owned();
            Error::Broken { url: transport::without_query(&begin), problem }
        })?;
        if location.scheme() != "https" && !self.access.plain_http {
            let problem = "it sends there for an upload, without TLS".to_owned();
            return Err(Error::Broken { url: transport::without_query(&location), problem });
        }
        location.query_pairs_mut().append_pair("digest", &Digest::of(bytes).to_string());
        self.put(&location, bytes, "application/octet-stream", "blob").await
    }

    /// Puts a manifest under the reference's tag.
    pub(crate) async fn put_manifest(&self, bytes: &Bytes, media_type: &str) -> Result<()> {
        let url = self.url(&format!("manifests/{}", self.reference.identifier()))?;
        self.put(&url, bytes, media_type, "manifest").await
    }

    async fn put(&self, url: &Url, bytes: &Bytes, media_type: &str, what: &str) -> Result<()> {
        let request = |client: &Client| {
            let request = client.request(Method::PUT, url.clone());
            request.header(header::CONTENT_TYPE, media_type).body(bytes.clone())
        };
        let response = self.send(url, request).await?;
        if response.status() != StatusCode::CREATED {
            return Err(transport::failure(&format!("place for the {what}"), response).await);
        }
        let claimed = response.headers().get(CONTENT_DIGEST);
        check_claim(claimed, Digest::of(bytes))
            .map_err(|problem| Error::Broken { url: transport::without_query(url), problem })
    }

    /// Sends a request, and sends it again where the registry asks who that is.
    async fn send(&self, url: &Url, request: impl Fn(&Client) -> RequestBuilder) -> Result<Response> {
        let send = async |authorization: Option<HeaderValue>| {
            let mut request = request(&self.client);
            // An upload's place may be another host, which has no business with the credentials.
            if let Some(authorization) = authorization.filter(|_| url.origin() == self.base.origin()) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            request
                .send()
                .await
                .map_err(|source| transport::no_answer(&transport::without_query(url), source))
        };
        let known = self.authorization();
        let response = send(known.clone()).await?;
        // Only the registry itself may ask who that is, and say where its tokens are: whoever it redirected to, or sent an
        // upload to, would be told the password.
        let is_registrys = response.url().origin() == self.base.origin();
        if response.status() != StatusCode::UNAUTHORIZED || !is_registrys {
            return Ok(response);
        }
        let Some(challenge) = Challenge::of(response.headers()) else { return Ok(response) };
        let answer = challenge.answer(&self.client, &self.access, &self.scope()).await?;
        // A token may have expired under a long pull. What was refused once already is not said twice.
        let Some(answer) = answer.filter(|answer| known.as_ref() != Some(answer)) else {
            return Ok(response);
        };
        self.remember(answer.clone());
        send(Some(answer)).await
    }

    fn authorization(&self) -> Option<HeaderValue> {
        // A header is whole or absent, whatever happened to whoever held the lock.
        self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn remember(&self, authorization: HeaderValue) {
        *self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(authorization);
    }

    fn scope(&self) -> String {
        let right = match self.right {
            Right::Pull => "pull",
            Right::Push => "pull,push",
        };
        format!("repository:{}:{right}", self.reference.repository())
    }

    fn url(&self, path: &str) -> Result<Url> {
        self.base.join(path).map_err(|error| self.content(format!("{} is no path: {error}", shown(path))))
    }

    pub(crate) fn content(&self, problem: String) -> Error {
        Error::Content { reference: self.reference.to_string(), problem }
    }
}

/// A registry may say which digest it sends; where it does, that is what it has to send.
fn check_claim(claimed: Option<&HeaderValue>, found: Digest) -> std::result::Result<(), String> {
    let Some(claimed) = claimed.and_then(|claimed| claimed.to_str().ok()) else { return Ok(()) };
    let differs = claimed.starts_with("sha256:") && claimed != found.to_string();
    if differs {
        return Err(format!("it says {CONTENT_DIGEST}: {}, and the content is {found}", shown(claimed)));
    }
    Ok(())
}
