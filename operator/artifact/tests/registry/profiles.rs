//! Profiles as artifacts.

use std::collections::BTreeMap;

use portcullis_artifact::{
    Error, Kind, MAX_ARTIFACT_BYTES, Read, SECCOMP_MEDIA_TYPE, Wanted, inspect, pull, push,
};
use portcullis_profile::{Action, Digest, MAX_REVISION_BYTES, Profile, Rule};
use serde_json::{Value, json};

use crate::{
    fake::{Fake, OCI_MANIFEST},
    images::{gzip, layer},
};

pub(crate) const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["write", "read"], "action": "SCMP_ACT_ALLOW"}]}"#;

pub(crate) fn profile() -> Profile {
    Profile::parse(PROFILE.as_bytes()).unwrap()
}

fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([("org.opencontainers.image.source".to_owned(), "https://example.com/web".to_owned())])
}

#[tokio::test]
async fn what_is_pushed_is_pulled_and_inspected() {
    let fake = Fake::start().await;
    let (reference, access) = (fake.reference("team/web:1"), Fake::access());
    let pushed = push(&profile(), &reference, &annotations(), &access).await.unwrap();
    assert_eq!(pushed.profile, profile().digest());

    let pulled = pull(&reference, &Wanted::default(), &access).await.unwrap();
    assert_eq!((pulled.kind, pulled.manifest), (Kind::SeccompArtifact, pushed.manifest));
    assert_eq!((pulled.named, pulled.layer), (pushed.manifest, pushed.profile));
    assert_eq!((pulled.reference.clone(), pulled.annotations.clone()), (pushed.reference, annotations()));
    assert_eq!(pulled.document, profile().render());
    assert_eq!(pulled.profile().unwrap().profile, profile().canonical());
    let again = pull(&pulled.reference, &Wanted::default(), &access).await.unwrap();
    assert_eq!(again.manifest, pushed.manifest);

    let seen = inspect(&reference, &Wanted::default(), &access).await.unwrap();
    assert_eq!(seen.digest, pushed.manifest);
    assert_eq!(seen.artifact_type.as_deref(), Some(SECCOMP_MEDIA_TYPE));
    let inside = seen.profile.unwrap();
    assert_eq!((inside.calls, inside.rules, inside.conditional_calls), (2, 1, 0));
    assert_eq!(inside.digest, profile().digest());
}

#[tokio::test]
async fn the_format_is_the_keps() {
    let fake = Fake::start().await;
    push(&profile(), &fake.reference("web:1"), &annotations(), &Fake::access()).await.unwrap();
    let put =
        fake.asked().into_iter().find(|asked| asked.line.starts_with("PUT /v2/web/manifests/1")).unwrap();
    let manifest: Value = serde_json::from_slice(&put.body).unwrap();
    let layer = Digest::of(&profile().render());
    assert_eq!(
        manifest,
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": SECCOMP_MEDIA_TYPE,
            "config": {"mediaType": SECCOMP_MEDIA_TYPE, "digest": Digest::of(b"{}"), "size": 2},
            "layers": [{"mediaType": "application/json", "digest": layer, "size": profile().render().len(),
                "annotations": {"org.opencontainers.image.title": "profile.json"}}],
            "annotations": annotations(),
        })
    );
}

/// Puts an artifact there with a layer of these bytes, and reads the profile in it for a container that adds CAP_BPF.
async fn read_layer(layer: &[u8]) -> Result<(Option<String>, Read), String> {
    let fake = Fake::start().await;
    fake.put_manifest("1", OCI_MANIFEST, &fake.manifest(SECCOMP_MEDIA_TYPE, &[layer]));
    let mut wanted = Wanted::default();
    wanted.container.capabilities.insert("CAP_BPF".to_owned());
    let pulled = pull(&fake.reference("seccomp:1"), &wanted, &Fake::access()).await;
    let pulled = pulled.map_err(|error| error.to_string())?;
    let read = pulled.profile().map_err(|error| error.to_string())?;
    Ok((pulled.path, read))
}

const DOCKERS: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "syscalls": [
    {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
    {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;

#[tokio::test]
async fn dockers_format_is_resolved_for_the_wanted_container() {
    let (path, read) = read_layer(DOCKERS.as_bytes()).await.unwrap();
    assert_eq!((path, read.left_out, read.profile.default_errno_ret), (None, Some(1), Some(38)));
    let names: Vec<&str> = read.profile.syscalls.iter().map(|rule| rule.names[0].as_str()).collect();
    assert_eq!(names, ["read", "bpf"]);
    assert_eq!(read_layer(PROFILE.as_bytes()).await.unwrap().1, Read { profile: profile(), left_out: None });
    let wrong = DOCKERS.replace("SCMP_ACT_ALLOW", "SCMP_ACT_ALOW").replace("ENOSYS", "ENOSUCH");
    let error = read_layer(wrong.as_bytes()).await.unwrap_err();
    assert!(error.contains("defaultErrno") && error.ends_with("; and 1 more"), "{error}");
}

#[tokio::test]
async fn an_archive_with_one_profile_is_read() {
    let tar = layer(&[("README", "x"), ("seccomp.json", DOCKERS)]);
    for archive in [tar.clone(), gzip(&tar)] {
        let (path, read) = read_layer(&archive).await.unwrap();
        assert_eq!((path.as_deref(), read.left_out), (Some("seccomp.json"), Some(1)));
    }
    let long = " ".repeat(1024 * 1024 + 1);
    for (files, said) in [
        (&[("a.json", DOCKERS), ("b.json", DOCKERS)][..], "it has 2 files, and should have one"),
        (&[("a", "x"), ("b", "y")], "it has 2 files"),
        (&[], "it has 0 files"),
        (&[("a.json", &long)], "a.json is longer than 1048576 bytes"),
    ] {
        let error = read_layer(&gzip(&layer(files))).await.unwrap_err();
        assert!(error.contains(said) && error.contains("push the bare profile"), "{error}");
    }
    let bomb = gzip(&layer(&[("a.json", &"\0".repeat(20 * 1024 * 1024))]));
    assert!(bomb.len() < 1024 * 1024);
    let error = read_layer(&bomb).await.unwrap_err();
    assert!(error.contains("more than 16777216 bytes when decompressed"), "{error}");
}

#[tokio::test]
async fn pushing_again_uploads_no_blob_and_gives_the_same_digest() {
    let fake = Fake::start().await;
    let (reference, access) = (fake.reference("web:1"), Fake::access());
    let first = push(&profile(), &reference, &annotations(), &access).await.unwrap();
    let uploads = || fake.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(uploads(), 2);
    assert_eq!(push(&profile(), &reference, &annotations(), &access).await.unwrap(), first);
    assert_eq!(uploads(), 2);
}

/// KEP-6061 lets an artifact have 1 MiB; it is a custom resource that holds 256 KiB.
#[tokio::test]
async fn what_is_too_large_for_a_cluster_can_be_shared_up_to_what_runtimes_pull() {
    let fake = Fake::start().await;
    let (reference, access) = (fake.reference("web:1"), Fake::access());
    let of = |count: usize| {
        let mut profile = profile();
        let names = (0..count).map(|number| format!("no_such_call_{number:06}"));
        profile.syscalls.push(Rule {
            names: names.collect(),
            action: Action::Allow,
            errno_ret: None,
            args: Vec::new(),
        });
        profile
    };
    let large = of(40_000);
    let length = large.render().len();
    assert!(length > 3 * MAX_REVISION_BYTES && length as u64 <= MAX_ARTIFACT_BYTES, "{length}");
    push(&large, &reference, &BTreeMap::new(), &access).await.unwrap();
    let pulled = pull(&reference, &Wanted::default(), &access).await.unwrap();
    assert_eq!(pulled.profile().unwrap().profile.canonical(), large.canonical());
    let error = push(&of(50_000), &reference, &BTreeMap::new(), &access).await.unwrap_err();
    assert!(error.to_string().contains("over 1048576"), "{error}");
}

#[tokio::test]
async fn what_runtimes_refuse_is_not_pushed() {
    let fake = Fake::start().await;
    let mut bad = profile();
    bad.listener_path = Some("/run/x.sock".to_owned());
    let error = push(&bad, &fake.reference("web:1"), &BTreeMap::new(), &Fake::access()).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(error.to_string().contains("listenerPath: is a listener's field (SP052)"), "{error}");
    let twice = PROFILE.replace(
        "\"SCMP_ACT_ALLOW\"",
        r#""SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]"#,
    );
    let bad = Profile::parse(twice.as_bytes()).unwrap();
    let error = push(&bad, &fake.reference("web:1"), &BTreeMap::new(), &Fake::access()).await.unwrap_err();
    assert!(error.to_string().contains("(SP001)"), "{error}");
    let pinned = fake.reference("web").pinned(Digest::of(b""));
    let error = push(&profile(), &pinned, &BTreeMap::new(), &Fake::access()).await.unwrap_err();
    assert!(error.to_string().contains("push to a tag"), "{error}");
    assert!(fake.lines().is_empty(), "{:?}", fake.lines());
}

/// What pulling a manifest and using it says is wrong.
async fn refusal(fake: &Fake, manifest: &Value) -> String {
    fake.put_manifest("1", OCI_MANIFEST, manifest);
    let pulled = pull(&fake.reference("web:1"), &Wanted::default(), &Fake::access()).await;
    pulled.and_then(|pulled| pulled.profile()).unwrap_err().to_string()
}

#[tokio::test]
async fn artifacts_that_runtimes_refuse_are_refused() {
    let fake = Fake::start().await;
    let artifact = |layers: &[&[u8]]| fake.manifest(SECCOMP_MEDIA_TYPE, layers);
    let profile = PROFILE.as_bytes();
    let notify = PROFILE.replace("ACT_ALLOW", "ACT_NOTIFY");
    let mut too_long = artifact(&[profile]);
    too_long["layers"][0]["size"] = json!(1024 * 1024 + 1);
    let mut elsewhere = artifact(&[profile]);
    elsewhere["layers"][0]["urls"] = json!(["https://example.com/x"]);
    let mut two_things = artifact(&[profile]);
    two_things["artifactType"] = json!("application/vnd.example");
    let mut sha512 = artifact(&[profile]);
    sha512["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    for (manifest, said) in [
        (artifact(&[]), "0 layers"),
        (artifact(&[profile, profile]), "2 layers"),
        (too_long, "1048577 bytes, over the 1048576"),
        (elsewhere, "urls"),
        (two_things, "artifactType is application/vnd.example"),
        (sha512, "not a SHA-256 one"),
        (artifact(&[notify.as_bytes()]), "runtimes refuse this artifact: "),
        (artifact(&[&[0x1f, 0x8b, 8, 0]]), "is an archive"),
        (artifact(&[b"{}"]), "defaultAction"),
        (artifact(&[br#"{"defaultAction": "SCMP_ACT_ALLOW", "\u001b[2J": 1}"#]), "\u{fffd}[2J: "),
        (
            fake.manifest("application/vnd.cncf.apparmor-profile.config.v1+json", &[profile]),
            "neither a seccomp",
        ),
        (fake.manifest("application/vnd.oci.empty.v1+json", &[profile]), "untyped"),
    ] {
        let error = refusal(&fake, &manifest).await;
        assert!(error.contains(said), "{said}: {error}");
        assert!(error.starts_with(&fake.host), "{error}");
    }
}

#[tokio::test]
async fn the_empty_config_leaves_the_type_to_the_artifact() {
    let fake = Fake::start().await;
    let mut manifest = fake.manifest("application/vnd.oci.empty.v1+json", &[PROFILE.as_bytes()]);
    manifest["artifactType"] = json!(SECCOMP_MEDIA_TYPE);
    fake.put_manifest("1", OCI_MANIFEST, &manifest);
    let pulled = pull(&fake.reference("web:1"), &Wanted::default(), &Fake::access()).await.unwrap();
    assert_eq!(pulled.profile().unwrap().profile, profile());
    assert_eq!(pulled.document, PROFILE.as_bytes());
}

#[tokio::test]
async fn what_the_operator_publishes_is_read() {
    let fake = Fake::start().await;
    let yaml = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: SeccompProfile\nmetadata: {name: x}\n\
                spec: {defaultAction: SCMP_ACT_ERRNO, syscalls: [{action: SCMP_ACT_ALLOW, names: [read]}]}\n";
    let mut manifest = fake.manifest("application/vnd.unknown.config.v1+json", &[b"x", yaml.as_bytes()]);
    for (layer, title) in ["profile-linux-amd64.yaml", "profile-linux-arm64.yaml"].into_iter().enumerate() {
        manifest["layers"][layer]["annotations"] = json!({"org.opencontainers.image.title": title});
    }
    fake.put_manifest("1", OCI_MANIFEST, &manifest);
    let wanted = Wanted { platform: "linux/arm64".parse().unwrap(), ..Wanted::default() };
    let pulled = pull(&fake.reference("web:1"), &wanted, &Fake::access()).await.unwrap();
    assert_eq!(pulled.kind, Kind::OperatorProfile);
    assert_eq!(pulled.profile().unwrap().profile.syscalls[0].names, ["read"]);
}
