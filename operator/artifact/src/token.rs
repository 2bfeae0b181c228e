//! What a registry asks for before it answers.
//!
//! Source: <https://distribution.github.io/distribution/spec/auth/token/> and `.../oauth/`.

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use reqwest::{Client, Url};
use serde::Deserialize;

use crate::{Access, Credential, Error, Result, error::shown, transport};

/// The longest token answer, in bytes: tokens go into a header, and servers refuse headers over some KiB.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// How a registry wants to be told who asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from another server.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The challenge of an answer with status 401; a token is preferred to a password.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for header in headers.get_all(WWW_AUTHENTICATE) {
            for challenge in http_auth::parse_challenges(header.to_str().ok()?).ok()? {
                let parameter = |wanted: &str| {
                    let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("Bearer") {
                    return Some(Self::Bearer { realm: parameter("realm")?, service: parameter("service") });
                }
                if challenge.scheme.eq_ignore_ascii_case("Basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }

    /// The header that answers it; `None` where there is nobody to be.
    pub(crate) async fn answer(
        &self,
        client: &Client,
        access: &Access,
        scope: &str,
    ) -> Result<Option<HeaderValue>> {
        match (self, &access.credential) {
            (Self::Basic, Credential::Password { username, password }) => {
                // The request that asks for the header is never sent.
                let request = client.get("http://localhost").basic_auth(username, Some(password)).build();
                let mut request = request.map_err(Error::Setup)?;
                Ok(request.headers_mut().remove(http::header::AUTHORIZATION))
            }
            (Self::Basic, _) => Ok(None),
            (Self::Bearer { realm, service }, credential) => {
                let token = fetch(client, access, credential, realm, service.as_deref(), scope).await?;
                Ok(Some(token))
            }
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

async fn fetch(
    client: &Client,
    access: &Access,
    credential: &Credential,
    realm: &str,
    service: Option<&str>,
    scope: &str,
) -> Result<HeaderValue> {
    let broken = |problem: &str| Error::Broken { url: shown(realm), problem: problem.to_owned() };
    let url =
        Url::parse(realm).map_err(|_| broken("the registry sends there for a token, which is no URL"))?;
    if url.scheme() != "https" && !access.plain_http {
        return Err(broken("the registry sends there for a token, without TLS"));
    }
    let service = service.unwrap_or_default();
    let request = match credential {
        // The password and the name go to whom the registry names, as docker and podman do it.
        Credential::Password { username, password } => client
            .get(url.clone())
            .query(&[("service", service), ("scope", scope)])
            .basic_auth(username, Some(password)),
        Credential::IdentityToken(token) => client.post(url.clone()).form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("service", service),
            ("scope", scope),
            ("client_id", "portcullis"),
        ]),
        Credential::Anonymous => client.get(url.clone()).query(&[("service", service), ("scope", scope)]),
    };
    let shown_url = transport::without_query(&url);
    let response = request.send().await.map_err(|source| transport::no_answer(&shown_url, source))?;
    if !response.status().is_success() {
        return Err(transport::failure("token", response).await);
    }
    let body = transport::body(response, MAX_TOKEN_BYTES).await?;
    header(&body).map_err(broken)
}

/// The header that the body of a token server's answer makes.
pub(crate) fn header(body: &[u8]) -> std::result::Result<HeaderValue, &'static str> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "it answered without a token")?;
    let token = answer.token.or(answer.access_token).ok_or("it answered without a token")?;
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| "its token has characters that none has")?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[&str]) -> Option<Challenge> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_str(header).unwrap());
        }
        Challenge::of(&map)
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry",scope="x""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry".to_owned()),
        };
        assert_eq!(of(&[r#"Basic realm="x""#, bearer]), Some(wanted));
        assert_eq!(of(&[r#"basic realm="x""#]), Some(Challenge::Basic));
        assert_eq!(of(&["Bearer service=x", "Digest realm=y"]), None);
        assert_eq!(of(&[]), None);
    }
}
