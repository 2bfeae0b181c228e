//! A registry that lies, or never ends.

use std::time::{Duration, Instant};

use hyper::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION},
};
use portcullis_artifact::{Error, SECCOMP_MEDIA_TYPE, Wanted, pull, push};
use portcullis_profile::Digest;
use serde_json::json;

use crate::{
    fake::{Answer, Asked, Fake, IMAGE_CONFIG, OCI_INDEX, OCI_MANIFEST, endless, whole},
    profiles::{PROFILE, profile},
};

/// What pulling says of a registry that lies about some paths. Every answer comes in seconds.
async fn pulled(lies: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> String {
    pulled_as(SECCOMP_MEDIA_TYPE, lies).await
}

async fn pulled_as(kind: &str, lies: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> String {
    let fake = Fake::lying(lies).await;
    fake.put_manifest("1", OCI_MANIFEST, &fake.manifest(kind, &[PROFILE.as_bytes()]));
    let begin = Instant::now();
    let error = pull(&fake.reference("web:1"), &Wanted::default(), &Fake::access()).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(20), "{error} came late");
    explained(&error)
}

fn explained(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn is_manifest(asked: &Asked) -> bool {
    asked.line.contains("/manifests/")
}

fn is_blob(asked: &Asked) -> bool {
    asked.line.contains("/blobs/")
}

fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    answer
}

#[tokio::test]
async fn another_manifest_than_the_pinned_one_is_refused() {
    let other = serde_json::to_vec(&json!({"schemaVersion": 2})).unwrap();
    let fake = Fake::lying(move |_| Some(whole(StatusCode::OK, OCI_MANIFEST, other.clone()))).await;
    let pinned = fake.reference("web").pinned(Digest::of(b"what was asked for"));
    let error = pull(&pinned, &Wanted::default(), &Fake::access()).await.unwrap_err().to_string();
    assert!(error.contains("it sent the manifest sha256:") && error.contains("can't be trusted"), "{error}");
}

#[tokio::test]
async fn a_digest_that_the_registry_itself_denies_is_refused() {
    let claim = HeaderName::from_static("docker-content-digest");
    let said = pulled(move |asked| {
        let answer = whole(StatusCode::OK, OCI_MANIFEST, r#"{"schemaVersion": 2}"#);
        is_manifest(asked).then(|| with(answer, claim.clone(), &Digest::of(b"x").to_string()))
    })
    .await;
    assert!(said.contains("it says Docker-Content-Digest: sha256:"), "{said}");
}

#[tokio::test]
async fn a_blob_that_is_another_longer_or_shorter_is_refused() {
    for kind in [SECCOMP_MEDIA_TYPE, IMAGE_CONFIG] {
        let same_length = PROFILE.replace("read", "rear");
        let other =
            move |asked: &Asked| is_blob(asked).then(|| whole(StatusCode::OK, "x/y", same_length.clone()));
        let said = pulled_as(kind, other).await;
        assert!(said.contains("its digest is sha256:"), "{said}");
        let said =
            pulled_as(kind, |asked| is_blob(asked).then(|| whole(StatusCode::OK, "x/y", "short"))).await;
        assert!(said.contains("it has 5 bytes, and its descriptor says"), "{said}");
        let said =
            pulled_as(kind, |asked| is_blob(asked).then(|| endless(StatusCode::OK, "x/y", b"a"))).await;
        assert!(said.contains("longer than its descriptor says"), "{said}");
    }
}

#[tokio::test]
async fn manifests_without_end_or_sense_are_refused() {
    let said =
        pulled(|asked| is_manifest(asked).then(|| endless(StatusCode::OK, OCI_MANIFEST, &[b' '; 4096])))
            .await;
    assert!(said.contains("longer than 4194304 bytes"), "{said}");
    let long =
        with(endless(StatusCode::OK, OCI_MANIFEST, b" "), "content-length".parse().unwrap(), "99999999999");
    drop(long);
    for (content_type, body, wanted) in [
        ("text/html", "<html>", "it sent text/html, which is no manifest"),
        (OCI_MANIFEST, "<html>", "its manifest can't be read"),
        (OCI_MANIFEST, "{}", "no schemaVersion 2"),
        (OCI_MANIFEST, r#"{"schemaVersion": 1}"#, "no schemaVersion 2"),
        (OCI_MANIFEST, r#"{"schemaVersion": 2}"#, "missing field"),
        (OCI_INDEX, r#"{"schemaVersion": 2, "manifests": [], "layers": []}"#, "both manifests and layers"),
        (
            OCI_MANIFEST,
            r#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}"#,
            "it sent a manifest of application/vnd.oci.image.index.v1+json as",
        ),
    ] {
        let said =
            pulled(move |asked| is_manifest(asked).then(|| whole(StatusCode::OK, content_type, body))).await;
        assert!(said.contains(wanted), "{said}");
    }
    let deep = "[".repeat(1_000_000);
    let said =
        pulled(move |asked| is_manifest(asked).then(|| whole(StatusCode::OK, OCI_MANIFEST, deep.clone())))
            .await;
    assert!(said.contains("its manifest can't be read"), "{said}");
}

#[tokio::test]
async fn redirections_without_end_are_not_followed() {
    let said = pulled(|asked| {
        is_manifest(asked).then(|| with(whole(StatusCode::FOUND, "x/y", ""), LOCATION, "/v2/web/manifests/1"))
    })
    .await;
    assert!(said.contains("gave no answer") && said.contains("more than 5 redirections"), "{said}");
}

#[tokio::test]
async fn failures_are_shown_shortened_and_without_control_characters() {
    let said = pulled(|asked| {
        let text =
            json!({"errors": [{"code": "DENIED", "message": format!("\u{1b}[31m{}", "no ".repeat(1000))}]});
        is_manifest(asked).then(|| whole(StatusCode::FORBIDDEN, "application/json", text.to_string()))
    })
    .await;
    assert!(said.contains("refuses access (403, DENIED: \u{fffd}[31mno no") && said.len() < 500, "{said}");
    let said =
        pulled(|asked| is_manifest(asked).then(|| endless(StatusCode::BAD_GATEWAY, "x/y", &[b'a'; 4096])))
            .await;
    assert!(said.ends_with("answered with 502"), "{said}");
    let said = pulled(|asked| {
        is_manifest(asked).then(|| {
            let mut answer = whole(StatusCode::OK, "x/y", "");
            answer.headers_mut().remove(CONTENT_TYPE);
            answer
        })
    })
    .await;
    assert!(said.contains("without a content type"), "{said}");
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_left_after_the_time() {
    let fake = Fake::lying(|asked| {
        let waits = http_body_util::StreamBody::new(futures::stream::pending());
        let body = http_body_util::BodyExt::boxed(waits);
        is_manifest(asked).then(|| with(Answer::new(body), CONTENT_TYPE, OCI_MANIFEST))
    })
    .await;
    let mut access = Fake::access();
    access.timeout = Duration::from_secs(1);
    let error = pull(&fake.reference("web:1"), &Wanted::default(), &access).await.unwrap_err().to_string();
    assert_eq!(error, format!("{} took longer than 1 s", fake.host));
}

#[tokio::test]
async fn a_registry_without_tls_needs_to_be_asked_for() {
    let fake = Fake::start().await;
    let mut access = Fake::access();
    access.plain_http = false;
    let error = pull(&fake.reference("web:1"), &Wanted::default(), &access).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("https://{}/v2/web/manifests/1 gave no answer", fake.host))
    );
}

#[tokio::test]
async fn a_push_to_a_liar_ends_in_an_error() {
    async fn pushed(lies: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> String {
        let fake = Fake::lying(lies).await;
        let ended = push(&profile(), &fake.reference("web:1"), &Default::default(), &Fake::access()).await;
        explained(&ended.unwrap_err())
    }
    let accepted = |location: &'static str| with(whole(StatusCode::ACCEPTED, "x/y", ""), LOCATION, location);
    let said = pushed(move |asked| asked.line.starts_with("POST").then(|| accepted("http://[::1"))).await;
    assert!(said.contains("named no place to upload to"), "{said}");
    let said =
        pushed(|asked| asked.line.starts_with("POST").then(|| endless(StatusCode::CONFLICT, "x/y", b"a")))
            .await;
    assert!(said.contains("answered with 409"), "{said}");
    let said = pushed(|asked| {
        let is_put = asked.line.starts_with("PUT") && is_manifest(asked);
        let claim = HeaderName::from_static("docker-content-digest");
        let created = whole(StatusCode::CREATED, "x/y", "");
        is_put.then(|| with(created, claim, &Digest::of(b"other").to_string()))
    })
    .await;
    assert!(said.contains("it says Docker-Content-Digest"), "{said}");
}
