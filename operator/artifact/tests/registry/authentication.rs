//! Who asks, and who is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{
    StatusCode,
    header::{HeaderValue, LOCATION, WWW_AUTHENTICATE},
};
use portcullis_artifact::{Access, Credential, SECCOMP_MEDIA_TYPE, Wanted, pull, push};

use crate::{
    fake::{Answer, Asked, Fake, OCI_MANIFEST, endless, whole},
    profiles::{PROFILE, profile},
};

fn unauthorized(challenge: &str) -> Answer {
    let mut answer =
        whole(StatusCode::UNAUTHORIZED, "application/json", r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
    answer
}

fn user() -> Access {
    let mut access = Fake::access();
    access.credential = Credential::Password { username: "ann".to_owned(), password: "secret".to_owned() };
    access
}

fn basic() -> String {
    format!("Basic {}", BASE64_STANDARD.encode("ann:secret"))
}

fn fill(fake: &Fake) {
    fake.put_manifest("1", OCI_MANIFEST, &fake.manifest(SECCOMP_MEDIA_TYPE, &[PROFILE.as_bytes()]));
}

#[tokio::test]
async fn a_password_goes_to_a_registry_that_asks_for_one() {
    let fake = Fake::lying(|asked| {
        (asked.authorization != Some(basic())).then(|| unauthorized(r#"Basic realm="registry""#))
    })
    .await;
    fill(&fake);
    let reference = fake.reference("web:1");
    pull(&reference, &Wanted::default(), &user()).await.unwrap();
    // Asked once, then known.
    let refused = fake.asked().iter().filter(|asked| asked.authorization.is_none()).count();
    assert_eq!(refused, 1);
    let error = pull(&reference, &Wanted::default(), &Fake::access()).await.unwrap_err().to_string();
    assert!(error.contains("refuses access (401, UNAUTHORIZED)"), "{error}");
    let mut wrong = user();
    wrong.credential = Credential::Password { username: "ann".to_owned(), password: "wrong".to_owned() };
    assert!(pull(&reference, &Wanted::default(), &wrong).await.unwrap_err().to_string().contains("401"));
}

/// A registry that wants a token of its own `/token`.
async fn with_tokens(token: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Fake {
    let fake = Fake::lying(move |asked| {
        if asked.line.contains(" /token") {
            return Some(token(asked));
        }
        if asked.authorization.as_deref() == Some("Bearer good") {
            return None;
        }
        // A request without a host is none; the realm is on the same server.
        Some(unauthorized("Bearer realm=\"HOST/token\",service=\"reg\""))
    })
    .await;
    fill(&fake);
    fake
}

fn token(text: &str) -> Answer {
    whole(StatusCode::OK, "application/json", text.to_owned())
}

#[tokio::test]
async fn a_realm_that_is_no_address_is_refused() {
    let fake = with_tokens(|_| token("{}")).await;
    let error = pull(&fake.reference("web:1"), &Wanted::default(), &user()).await.unwrap_err().to_string();
    assert!(error.contains("HOST/token") && error.contains("which is no URL"), "{error}");
}

/// A registry whose realm is another server, as most have it.
async fn beside(tokens: &Fake) -> Fake {
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"reg\"", tokens.host);
    let fake = Fake::lying(move |asked| {
        (asked.authorization.as_deref() != Some("Bearer good")).then(|| unauthorized(&realm))
    })
    .await;
    fill(&fake);
    fake
}

#[tokio::test]
async fn a_token_is_fetched_for_the_right_that_is_needed() {
    let tokens = Fake::lying(|_| Some(token(r#"{"access_token": "good", "expires_in": 60}"#))).await;
    let fake = beside(&tokens).await;
    pull(&fake.reference("team/web:1"), &Wanted::default(), &user()).await.unwrap();
    push(&profile(), &fake.reference("team/web:2"), &Default::default(), &user()).await.unwrap();
    let asked = tokens.asked();
    let scope = "service=reg&scope=repository%3Ateam%2Fweb%3Apull";
    assert_eq!(asked[0].line, format!("GET /token?{scope}"));
    assert_eq!(asked[1].line, format!("GET /token?{scope}%2Cpush"));
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.authorization == Some(basic())));
    // The password itself was never sent to the registry.
    assert!(fake.asked().iter().all(|asked| asked.authorization != Some(basic())));
}

#[tokio::test]
async fn an_expired_token_is_replaced() {
    let count = AtomicUsize::new(0);
    let tokens = Fake::lying(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        Some(token(&format!(r#"{{"token": "number {number}"}}"#)))
    })
    .await;
    let realm = format!("Bearer realm=\"http://{}/token\"", tokens.host);
    let fake = Fake::lying(move |asked| {
        let wanted = if asked.line.contains("/manifests/") { "Bearer number 0" } else { "Bearer number 1" };
        (asked.authorization.as_deref() != Some(wanted)).then(|| unauthorized(&realm))
    })
    .await;
    fill(&fake);
    pull(&fake.reference("web:1"), &Wanted::default(), &user()).await.unwrap();
    assert_eq!(tokens.lines().len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let tokens = Fake::lying(|_| Some(token(r#"{"access_token": "good"}"#))).await;
    let fake = beside(&tokens).await;
    let mut access = Fake::access();
    access.credential = Credential::IdentityToken("refresh me".to_owned());
    pull(&fake.reference("web:1"), &Wanted::default(), &access).await.unwrap();
    let asked = &tokens.asked()[0];
    assert_eq!(asked.line, "POST /token");
    let body = String::from_utf8_lossy(&asked.body);
    assert!(
        body.starts_with("grant_type=refresh_token&refresh_token=refresh+me&service=reg&scope="),
        "{body}"
    );
}

#[tokio::test]
async fn a_server_of_tokens_that_lies_is_an_error() {
    for (answer, said) in [
        ("{}", "without a token"),
        ("<html>", "without a token"),
        ("{\"token\": \"a\\nb: c\"}", "characters that none has"),
    ] {
        let tokens = Fake::lying(move |_| Some(token(answer))).await;
        let fake = beside(&tokens).await;
        let error =
            pull(&fake.reference("web:1"), &Wanted::default(), &user()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let tokens = Fake::lying(|_| Some(endless(StatusCode::OK, "application/json", b"aaaa"))).await;
    let fake = beside(&tokens).await;
    let error = pull(&fake.reference("web:1"), &Wanted::default(), &user()).await.unwrap_err().to_string();
    assert!(error.contains("longer than 65536 bytes"), "{error}");
}

#[tokio::test]
async fn credentials_go_to_no_other_host() {
    let store = Fake::start().await;
    let blob = store.put_blob(PROFILE.as_bytes());
    let place = format!("http://{}/blobs/{}", store.host, blob["digest"].as_str().unwrap());
    let upload = format!("http://{}/v2/x/blobs/uploads/1?state=x", store.host);
    let fake = Fake::lying(move |asked| {
        if asked.authorization != Some(basic()) {
            return Some(unauthorized("Basic"));
        }
        let redirect = |status, to: &str| {
            let mut answer = whole(status, "x/y", "");
            answer.headers_mut().insert(LOCATION, HeaderValue::from_str(to).unwrap());
            Some(answer)
        };
        match asked.line.split(' ').next() {
            Some("GET") if asked.line.contains("/blobs/") => redirect(StatusCode::TEMPORARY_REDIRECT, &place),
            Some("HEAD") => Some(whole(StatusCode::NOT_FOUND, "x/y", "")),
            Some("POST") => redirect(StatusCode::ACCEPTED, &upload),
            _ => None,
        }
    })
    .await;
    fill(&fake);
    pull(&fake.reference("web:1"), &Wanted::default(), &user()).await.unwrap();
    push(&profile(), &fake.reference("web:2"), &Default::default(), &user()).await.unwrap();
    let asked = store.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.authorization.is_none()), "{asked:?}");
}

#[tokio::test]
async fn a_challenge_of_another_host_is_not_answered() {
    for challenge in ["Basic realm=\"x\"", "Bearer realm=\"http://TOKENS/token\",service=\"x\""] {
        let tokens = Fake::lying(|_| Some(token(r#"{"token": "good"}"#))).await;
        let challenge = challenge.replace("TOKENS", &tokens.host);
        let other = Fake::lying(move |_| Some(unauthorized(&challenge))).await;
        let place = HeaderValue::from_str(&format!("http://{}/x?state=x", other.host)).unwrap();
        let fake = Fake::lying(move |asked| {
            let status = match asked.line.split(' ').next() {
                Some("GET") => StatusCode::TEMPORARY_REDIRECT,
                Some("POST") => StatusCode::ACCEPTED,
                _ => return None,
            };
            let mut answer = whole(status, "x/y", "");
            answer.headers_mut().insert(LOCATION, place.clone());
            Some(answer)
        })
        .await;
        let pulled = pull(&fake.reference("web:1"), &Wanted::default(), &user()).await.map(drop);
        let pushed = push(&profile(), &fake.reference("web:2"), &Default::default(), &user()).await.map(drop);
        for error in [pulled.unwrap_err().to_string(), pushed.unwrap_err().to_string()] {
            assert!(error.contains(&other.host) && error.contains("refuses access (401"), "{error}");
        }
        assert_eq!(tokens.lines(), Vec::<String>::new());
        let asked = [fake.asked(), other.asked()].concat();
        assert!(asked.iter().all(|asked| asked.authorization.is_none()), "{asked:?}");
        assert_eq!(other.lines().len(), 2);
    }
}
