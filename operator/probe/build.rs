//! Compiles the eBPF programs with clang, so that no object is committed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| error.to_string())?;
    let target = match architecture.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => return Err(format!("the probe knows the registers of x86_64 and aarch64, not of {other}")),
    };
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    compile("probe.bpf.c", &[], target, &out.join("probe.o"))?;
    compile("probe.bpf.c", &["-DPORTCULLIS_RAW"], target, &out.join("raw.o"))?;
    compile("empty.bpf.c", &[], target, &out.join("empty.o"))
}

fn compile(source: &str, defines: &[&str], target: &str, object: &Path) -> Result<(), String> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let status = Command::new(&clang)
        // v3 has the atomic operations whose result is used (Linux 5.12).
        .args([
            "-target",
            "bpf",
            "-mcpu=v3",
            "-O2",
            "-g",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Werror",
        ])
        .arg(format!("-D__TARGET_ARCH_{target}"))
        .args(defines)
        .args(headers())
        .arg("-c")
        .arg(format!("bpf/{source}"))
        .arg("-o")
        .arg(object)
        .status()
        .map_err(|error| {
            format!(
                "can't run {clang} ({error}): install the Debian packages clang and libbpf-dev, or set CLANG"
            )
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(format!(
            "{clang} refused bpf/{source}: {status}; bpf/bpf_helpers.h is in the Debian package libbpf-dev"
        ))
    }
}

/// Debian keeps `asm/types.h` below the machine's name, where a compiler for BPF doesn't look.
fn headers() -> Vec<String> {
    let host = env::var("HOST").unwrap_or_default();
    let triplet = host.replace("-unknown-", "-");
    vec![format!("-I/usr/include/{triplet}")]
}
