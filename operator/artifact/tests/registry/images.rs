//! Profiles baked into images.

use std::io::Write as _;

use portcullis_artifact::{Kind, Wanted, inspect, pull};
use serde_json::{Value, json};

use crate::{
    fake::{Fake, IMAGE_CONFIG, OCI_INDEX, OCI_MANIFEST},
    profiles::{PROFILE, profile},
};

pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn link(name: &str, target: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    builder.append_link(&mut header, name, target).unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An image of layers, the lowest first.
fn image(fake: &Fake, tag: &str, layers: &[Vec<u8>]) -> Value {
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let manifest = fake.manifest(IMAGE_CONFIG, &layers);
    fake.put_manifest(tag, OCI_MANIFEST, &manifest);
    manifest
}

async fn found(fake: &Fake, path: &str) -> Result<(String, String), String> {
    let wanted = Wanted { path: path.to_owned(), ..Wanted::default() };
    let pulled = pull(&fake.reference("app:1"), &wanted, &Fake::access()).await;
    let pulled = pulled.map_err(|error| error.to_string())?;
    assert_eq!(pulled.kind, Kind::Image);
    Ok((pulled.path.clone().unwrap(), String::from_utf8(pulled.document).unwrap()))
}

const PATH: &str = "/seccomp/profile.json";
const FILE: &str = "seccomp/profile.json";

#[tokio::test]
async fn the_topmost_file_is_read_and_nothing_below_it() {
    let fake = Fake::start().await;
    let lower = layer(&[(FILE, "lower")]);
    let layers =
        [layer(&[("bin/sh", "x")]), lower, gzip(&layer(&[(FILE, PROFILE)])), zstd(&layer(&[("etc/x", "y")]))];
    let manifest = image(&fake, "1", &layers);
    let pulled = pull(&fake.reference("app:1"), &Wanted::default(), &Fake::access()).await.unwrap();
    assert_eq!(pulled.profile().unwrap().profile, profile());
    let digest = |layer: usize| manifest["layers"][layer]["digest"].as_str().unwrap();
    assert_eq!(pulled.layer.to_string(), digest(2));
    let blobs: Vec<String> = fake.lines().into_iter().filter(|line| line.contains("/blobs/")).collect();
    assert_eq!(blobs, [3, 2].map(|layer| format!("GET /v2/app/blobs/{}", digest(layer))));
}

#[tokio::test]
async fn whiteouts_hide_lower_layers_only() {
    let fake = Fake::start().await;
    let file = layer(&[(FILE, "lower")]);
    for whiteout in ["seccomp/.wh.profile.json", ".wh.seccomp", "seccomp/.wh..wh..opq"] {
        image(&fake, "1", &[file.clone(), layer(&[(whiteout, "")])]);
        let error = found(&fake, PATH).await.unwrap_err();
        assert!(error.contains("/seccomp/profile.json is not in the image"), "{error}");
        image(&fake, "1", &[file.clone(), layer(&[(FILE, "upper"), (whiteout, "")])]);
        assert_eq!(found(&fake, PATH).await.unwrap().1, "upper");
    }
}

#[tokio::test]
async fn links_are_followed_through_layers() {
    let fake = Fake::start().await;
    let target = layer(&[("opt/web.json", "linked")]);
    let to_file = link(FILE, "../opt/web.json", tar::EntryType::Symlink);
    image(&fake, "1", &[to_file, target.clone()]);
    assert_eq!(found(&fake, PATH).await.unwrap(), ("/opt/web.json".to_owned(), "linked".to_owned()));

    let to_directory = link("seccomp", "/opt", tar::EntryType::Symlink);
    image(&fake, "1", &[to_directory, target.clone()]);
    assert_eq!(found(&fake, "/seccomp/web.json").await.unwrap().1, "linked");

    // A hard link is to its own layer's file, not to one above.
    let hard = link(FILE, "opt/web.json", tar::EntryType::Link);
    let own = [&target[..1024], hard.as_slice()].concat();
    image(&fake, "1", &[own, layer(&[("opt/web.json", "above")])]);
    assert_eq!(found(&fake, PATH).await.unwrap().1, "linked");

    let around = link(FILE, "/seccomp/profile.json", tar::EntryType::Symlink);
    image(&fake, "1", &[around]);
    assert!(found(&fake, PATH).await.unwrap_err().contains("more than 40 links"));
    let nowhere = link(FILE, "/opt/gone.json", tar::EntryType::Symlink);
    image(&fake, "1", &[nowhere]);
    assert!(found(&fake, PATH).await.unwrap_err().contains("(a link to /opt/gone.json) is not in the image"));
}

#[tokio::test]
async fn what_is_no_file_or_no_profile_is_refused() {
    let fake = Fake::start().await;
    image(&fake, "1", &[layer(&[(FILE, "{}")])]);
    let pulled = pull(&fake.reference("app:1"), &Wanted::default(), &Fake::access()).await.unwrap();
    let error = pulled.profile().unwrap_err().to_string();
    assert!(error.contains("/seccomp/profile.json: ") && error.contains("defaultAction"), "{error}");
    assert!(found(&fake, "/seccomp/../x").await.unwrap_err().contains("without .."));
    let error = found(&fake, "/seccomp").await.unwrap_err();
    assert!(error.contains("/seccomp is not in the image"), "{error}");
    image(&fake, "1", &[vec![7; 4096]]);
    let error = found(&fake, PATH).await.unwrap_err();
    assert!(error.contains("its layer sha256:") && error.contains("can't be read"), "{error}");
}

#[tokio::test]
async fn podmans_label_is_read_where_no_file_is_there() {
    let fake = Fake::start().await;
    let dockers =
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"}]}"#;
    let labelled = |labels: Value, files: &[(&str, &str)]| {
        let mut manifest = image(&fake, "1", &[layer(files)]);
        let config = json!({"os": "linux", "config": {"Labels": labels}});
        manifest["config"] = fake.put_blob(config.to_string());
        manifest["config"]["mediaType"] = json!(IMAGE_CONFIG);
        fake.put_manifest("1", OCI_MANIFEST, &manifest);
        manifest
    };
    let label = json!({"io.containers.seccomp.profile": dockers, "maintainer": "x"});
    let manifest = labelled(label.clone(), &[("bin/sh", "x")]);
    let pulled = pull(&fake.reference("app:1"), &Wanted::default(), &Fake::access()).await.unwrap();
    assert_eq!(pulled.path.as_deref(), Some("label io.containers.seccomp.profile"));
    assert_eq!(json!(pulled.layer), manifest["config"]["digest"]);
    let read = pulled.profile().unwrap();
    assert_eq!((read.left_out, read.profile.syscalls[0].names[0].as_str()), (Some(0), "read"));
    // A file counts more, another path is another question, and no label is no profile.
    labelled(label.clone(), &[(FILE, PROFILE)]);
    assert_eq!(found(&fake, PATH).await.unwrap().0, PATH);
    assert!(found(&fake, "/etc/profile.json").await.unwrap_err().contains("is not in the image"));
    for labels in [json!({"maintainer": "x"}), json!(null), json!({"io.containers.seccomp.profile": 7})] {
        labelled(labels, &[("bin/sh", "x")]);
        assert!(found(&fake, PATH).await.unwrap_err().contains("is not in the image"));
    }
}

#[tokio::test]
async fn a_platform_is_chosen() {
    let fake = Fake::start().await;
    let mut entries = Vec::new();
    for (tag, content) in [("amd64", "for amd64"), ("arm64", "for arm64"), ("unknown", "attestation")] {
        let manifest = image(&fake, tag, &[layer(&[(FILE, content)])]);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest = portcullis_profile::Digest::of(&bytes);
        let os = if tag == "unknown" { "unknown" } else { "linux" };
        entries.push(json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": bytes.len(),
            "platform": {"os": os, "architecture": tag}}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let named = fake.put_manifest("1", OCI_INDEX, &index);
    let pull_for = async |platform: &str| {
        let wanted = Wanted { platform: platform.parse().unwrap(), ..Wanted::default() };
        pull(&fake.reference("app:1"), &wanted, &Fake::access()).await
    };
    let pulled = pull_for("linux/arm64").await.unwrap();
    assert_eq!(pulled.document, b"for arm64");
    assert_eq!(pulled.named, named);
    assert_eq!(json!(pulled.manifest), entries[1]["digest"]);
    let error = pull_for("linux/s390x").await.unwrap_err().to_string();
    assert!(error.contains("no image for linux/s390x, only for linux/amd64, linux/arm64"), "{error}");
    let seen = inspect(&fake.reference("app:1"), &Wanted::default(), &Fake::access()).await.unwrap();
    assert_eq!((seen.kind, seen.platforms.len()), (Kind::ImageIndex, 3));
}
