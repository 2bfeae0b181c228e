//! The OCI image layout as a tar archive.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>.

use std::{collections::HashMap, io::Write, path::Path};

use anyhow::{Context as _, Result};
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder,
    MediaType, OciLayoutBuilder, Os, RootFsBuilder, Sha256Digest,
};
use sha2::{Digest as _, Sha256};

use super::{Architecture, Entry, Image};
use crate::paths::{self, hex};

/// The annotation by which containerd names what it imports.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation by which other tools do.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Image {
    /// Writes the image as an OCI archive; equal content gives an equal image digest.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn write_archive(&self, file: &Path) -> Result<()> {
        let layer = self.layer()?;
        let mut blobs = Vec::new();
        let layer_descriptor = add_blob(&mut blobs, MediaType::ImageLayer, layer)?;
        let configuration = self.configuration(&layer_descriptor)?;
        let configuration = add_blob(&mut blobs, MediaType::ImageConfig, configuration)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(configuration)
            .layers(vec![layer_descriptor])
            .build()?;
        let mut manifest =
            add_blob(&mut blobs, MediaType::ImageManifest, manifest.to_string()?.into_bytes())?;
        let name = |key: &str| (key.to_owned(), self.reference.clone());
        manifest.set_annotations(Some(HashMap::from([name(CONTAINERD_NAME), name(REF_NAME)])));
        let index = ImageIndexBuilder::default().schema_version(2_u32).manifests(vec![manifest]).build()?;
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
        let mut files = vec![
            ("oci-layout".to_owned(), layout.to_string()?.into_bytes()),
            ("index.json".to_owned(), index.to_string()?.into_bytes()),
        ];
        files.append(&mut blobs);
        write_tar(file, &files).with_context(|| format!("can't write the image {}", self.reference))
    }

    fn configuration(&self, layer: &Descriptor) -> Result<Vec<u8>> {
        let mut config = ConfigBuilder::default()
            .entrypoint(self.entrypoint.clone())
            .cmd(self.command.clone())
            .env(vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()]);
        if let Some(user) = &self.user {
            config = config.user(user.clone());
        }
        let rootfs =
            RootFsBuilder::default().typ("layers").diff_ids(vec![layer.digest().to_string()]).build()?;
        let configuration = ImageConfigurationBuilder::default()
            .architecture(match self.architecture {
                Architecture::Amd64 => Arch::Amd64,
                Architecture::Arm64 => Arch::ARM64,
            })
            .os(Os::Linux)
            .config(config.build()?)
            .rootfs(rootfs)
            .build()?;
        Ok(configuration.to_string()?.into_bytes())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for (path, entry) in &self.files {
            let added = match entry {
                Entry::Folder(mode) => {
                    append(&mut layer, &format!("{path}/"), tar::EntryType::Directory, *mode, &[])
                }
                Entry::File(content, mode) => {
                    append(&mut layer, path, tar::EntryType::Regular, *mode, content)
                }
                Entry::Link(target) => {
                    let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                    layer.append_link(&mut header, path, target)
                }
            };
            added.with_context(|| format!("can't add {path} to the image {}", self.reference))?;
        }
        layer.into_inner().context("can't finish a layer")
    }
}

fn add_blob(blobs: &mut Vec<(String, Vec<u8>)>, kind: MediaType, content: Vec<u8>) -> Result<Descriptor> {
    let digest = hex(&Sha256::digest(&content));
    let size = u64::try_from(content.len())?;
    blobs.push((format!("blobs/sha256/{digest}"), content));
    Ok(Descriptor::new(kind, size, digest.parse::<Sha256Digest>()?))
}

fn write_tar(file: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    if let Some(parent) = file.parent() {
        paths::create_dir(parent)?;
    }
    // A reader never meets half an archive.
    let unfinished = file.with_extension("unfinished");
    let mut archive = tar::Builder::new(std::fs::File::create(&unfinished)?);
    for (path, content) in files {
        append(&mut archive, path, tar::EntryType::Regular, 0o644, content)?;
    }
    archive.into_inner()?.sync_all()?;
    Ok(std::fs::rename(&unfinished, file)?)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> std::io::Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    archive.append_data(&mut header, path, content)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::*;

    fn entries(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), content)
        });
        read.collect()
    }

    #[test]
    fn an_archive_holds_what_its_digests_say() {
        let file = std::env::temp_dir().join(format!("portcullis-image-{}.tar", std::process::id()));
        let image =
            Image::new("localhost/x:1").unwrap().file("/a/b/c", b"content", 0o755).link("/a/d", "/a/b/c");
        image.write_archive(&file).unwrap();
        let outer = entries(&std::fs::read(&file).unwrap());
        std::fs::remove_file(&file).unwrap();
        for (path, content) in &outer {
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(hex(&Sha256::digest(content)), digest);
            }
        }
        let index: serde_json::Value = serde_json::from_slice(&outer["index.json"]).unwrap();
        assert_eq!(index["manifests"][0]["annotations"][CONTAINERD_NAME], "localhost/x:1");
        let blob = |digest: &serde_json::Value| {
            outer[&format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"))].clone()
        };
        let manifest: serde_json::Value =
            serde_json::from_slice(&blob(&index["manifests"][0]["digest"])).unwrap();
        let layer = entries(&blob(&manifest["layers"][0]["digest"]));
        assert_eq!(layer["a/b/c"], b"content");
        assert_eq!(layer.keys().collect::<Vec<_>>(), ["a/", "a/b/", "a/b/c", "a/d"]);
    }

    #[test]
    fn equal_content_gives_an_equal_layer() {
        let image = || Image::new("localhost/x:1").unwrap().file("b", b"2", 0o644).file("a", b"1", 0o644);
        assert_eq!(image().layer().unwrap(), image().layer().unwrap());
    }
}
