//! HTTP with bounds.

use std::{sync::Once, time::Duration};

use bytes::BytesMut;
use reqwest::{Client, ClientBuilder, Response, Url, redirect};

use crate::{Access, Error, Result, error::shown};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// Redirections that are followed: a registry needs one, to where its blobs are.
const MAX_REDIRECTS: usize = 5;
/// As much of a failure's explanation as is read, in bytes.
const MAX_EXPLANATION_BYTES: usize = 16 * 1024;

/// A client that connects and waits for so long only, and follows so many redirections, none of them out of TLS.
pub(crate) fn client(access: &Access) -> Result<Client> {
    static PROVIDER: Once = Once::new();
    // Another part of the program may have installed one already, which serves as well.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let authorities = || access.authorities.iter().cloned();
    builder(access)
        .tls_certs_merge(authorities())
        .build()
        // A machine without authorities of its own, such as an empty container, has those of the user, if any. What no
        // authority vouches for is still refused when it comes.
        .or_else(|_| builder(access).tls_certs_only(authorities()).build())
        .map_err(Error::Setup)
}

fn builder(access: &Access) -> ClientBuilder {
    let plain_http = access.plain_http;
    let policy = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error(format!("more than {MAX_REDIRECTS} redirections"))
        } else if attempt.url().scheme() != "https" && !plain_http {
            attempt.error("a redirection from https to plain HTTP")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(policy)
}

/// The whole body of an answer, where it is not longer than `limit` bytes.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>> {
    let url = url_of(&response);
    let too_long = |url: &str| Error::Broken {
        url: url.to_owned(),
        problem: format!("the answer is longer than {limit} bytes"),
    };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long(&url));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| no_answer(&url, source))? {
        if body.len() + chunk.len() > limit {
            return Err(too_long(&url));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.to_vec())
}

/// Where an answer came from, without a query: the query of a redirection to a store of blobs is a signature.
pub(crate) fn url_of(response: &Response) -> String {
    without_query(response.url())
}

pub(crate) fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    shown(url.as_str())
}

pub(crate) fn no_answer(url: &str, source: reqwest::Error) -> Error {
    Error::NoAnswer { url: url.to_owned(), source: source.without_url() }
}

/// What a registry said of a failure, behind a comma; nothing where it said nothing of use.
///
/// Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes>.
pub(crate) async fn explanation(mut response: Response) -> String {
    let mut text = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let left = MAX_EXPLANATION_BYTES - text.len();
        text.extend_from_slice(chunk.get(..left).unwrap_or(&chunk));
        if chunk.len() >= left {
            break;
        }
    }
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(&text) else { return String::new() };
    let first = &said["errors"][0];
    let words: Vec<String> =
        ["code", "message"].iter().filter_map(|key| first[key].as_str()).map(shown).collect();
    if words.is_empty() { String::new() } else { format!(", {}", words.join(": ")) }
}

/// The failure that an answer is.
pub(crate) async fn failure(what: &str, response: Response) -> Error {
    let (url, status) = (url_of(&response), response.status().as_u16());
    let said = explanation(response).await;
    match status {
        401 | 403 => Error::Denied { url, status, said },
        404 => Error::NotFound { what: what.to_owned(), url, said },
        _ => Error::Status { url, status, said },
    }
}
