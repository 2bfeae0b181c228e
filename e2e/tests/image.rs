//! The operator's image: the Containerfile as an engine builds it, beside the one that the harness packs.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::{
    command,
    image::{Architecture, MAX_BINARY_BYTES, OperatorImage},
    settings::workspace_root,
};
use serde_json::Value;

/// Files by their paths, each with its mode and its size in bytes.
type Files = BTreeMap<String, (u32, u64)>;

/// The image's configuration and the files of its layers, from an OCI archive.
fn read(archive: &Path) -> Result<(Value, Files)> {
    let mut blobs = BTreeMap::new();
    for entry in tar::Archive::new(std::fs::File::open(archive)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content)?;
        blobs.insert(path, content);
    }
    let json = |path: &str| -> Result<Value> {
        Ok(serde_json::from_slice(blobs.get(path).with_context(|| format!("no {path}"))?)?)
    };
    let blob = |descriptor: &Value| -> Result<String> {
        let digest = descriptor["digest"].as_str().context("no digest")?;
        Ok(format!("blobs/{}", digest.replace(':', "/")))
    };
    let manifest = json(&blob(&json("index.json")?["manifests"][0])?)?;
    let configuration = json(&blob(&manifest["config"])?)?;
    let mut files = Files::new();
    for layer in manifest["layers"].as_array().context("no layers")? {
        let content = blobs[&blob(layer)?].as_slice();
        // Engines compress layers, whatever they are asked; the harness has no need to.
        let is_gzip = content.starts_with(&[0x1f, 0x8b]);
        let content: Box<dyn std::io::Read> =
            if is_gzip { Box::new(flate2::read::GzDecoder::new(content)) } else { Box::new(content) };
        for entry in tar::Archive::new(content).entries()? {
            let entry = entry?;
            let path = entry.path()?.to_string_lossy().trim_matches('/').to_owned();
            files.insert(path, (entry.header().mode()?, entry.size()));
        }
    }
    Ok((configuration, files))
}

#[test]
fn an_engine_builds_what_the_harness_packs() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let (built, packed) = (scratch.path().join("built.tar"), scratch.path().join("packed.tar"));
    let architecture = Architecture::of_machine()?;
    // What the binary does is of no concern here, so that the layout is compared without minutes of compiling.
    let context = scratch.path().join("context");
    let binary = context.join("target/image").join(architecture.name()).join("portcullis");
    std::fs::create_dir_all(binary.parent().context("the binary is in no folder")?)?;
    std::fs::write(&binary, "#!static")?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    for file in ["Containerfile", ".dockerignore"] {
        std::fs::copy(workspace_root().join(file), context.join(file))?;
    }
    std::fs::write(context.join("secret"), "not for the image's context")?;
    OperatorImage::new(architecture).image(&binary)?.write_archive(&packed)?;
    let buildah = |action: &str| -> Result<Command> {
        let mut buildah = portcullis_e2e::buildah()?;
        buildah
            .current_dir(&context)
            .args(["--storage-driver", "vfs", "--root"])
            .arg(scratch.path().join("root"));
        buildah.arg("--runroot").arg(scratch.path().join("runroot")).arg(action);
        Ok(buildah)
    };
    let mut bud = buildah("bud")?;
    bud.args([
        "--isolation",
        "chroot",
        "--file",
        "Containerfile",
        "--tag",
        "localhost/portcullis:containerfile",
        "--quiet",
    ]);
    let argument = format!("TARGETARCH={}", architecture.name());
    command::output(bud.args(["--build-arg", &argument, "."]))?;
    let target = format!("oci-archive:{}", built.display());
    command::output(buildah("push")?.args([
        "--quiet",
        "--disable-compression",
        "localhost/portcullis:containerfile",
        &target,
    ]))?;

    let ((engine, engine_files), (own, own_files)) = (read(&built)?, read(&packed)?);
    for key in ["/config/Entrypoint", "/config/User", "/architecture", "/os"] {
        ensure!(engine.pointer(key).is_some(), "the engine's image has no {key}: {engine}");
        assert_eq!(engine.pointer(key), own.pointer(key), "{key}");
    }
    let permissions = |files: &Files| {
        let file = files.get("portcullis").copied();
        file.map(|(mode, size)| (mode & 0o7777, size))
    };
    assert_eq!(permissions(&engine_files), permissions(&own_files));
    assert_eq!(own_files.keys().collect::<Vec<_>>(), ["portcullis"], "the image holds one file");
    assert_eq!(engine_files.len(), 1, "the image holds one file: {engine_files:?}");
    assert_eq!(own_files["portcullis"].0, 0o755);
    Ok(())
}

#[test]
fn the_binary_runs_without_anything_around_it() -> Result<()> {
    let binary = OperatorImage::new(Architecture::of_machine()?).build_binary()?;
    let size = std::fs::metadata(&binary)?.len();
    ensure!(size < MAX_BINARY_BYTES, "{} has {size} bytes", binary.display());
    let scratch = tempfile::tempdir()?;
    std::fs::copy(&binary, scratch.path().join("portcullis"))?;
    let said =
        command::output(Command::new("chroot").arg(scratch.path()).args(["/portcullis", "--version"]))?;
    ensure!(said.starts_with("portcullis "), "it said {said:?}");
    Ok(())
}
