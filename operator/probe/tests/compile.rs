//! The eBPF programs compile for every architecture that they name, whichever the tests run on.

use std::process::Command;

#[test]
fn the_programs_compile_for_both_architectures() {
    let out = tempfile::tempdir().expect("a directory");
    for target in ["x86", "arm64"] {
        for define in ["-DPORTCULLIS_TYPED", "-DPORTCULLIS_RAW"] {
            let compiled = Command::new("clang")
                .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", define])
                .arg(format!("-D__TARGET_ARCH_{target}"))
                .arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH))
                .args(["-c", concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/probe.bpf.c"), "-o"])
                .arg(out.path().join("probe.o"))
                .status()
                .expect("clang is needed to build the probe");
            assert!(compiled.success(), "{target} {define}");
        }
    }
}

/// The kernel tests' subject makes calls by itself, in each architecture's own way.
#[test]
fn the_subject_compiles_for_both_architectures() {
    let out = tempfile::tempdir().expect("a directory");
    for target in ["x86_64", "aarch64"] {
        let compiled = Command::new("clang")
            .arg(format!("--target={target}-linux-gnu"))
            .args([
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-ffreestanding",
                "-fno-stack-protector",
                "-fno-pie",
            ])
            .args(["-c", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/subject.c"), "-o"])
            .arg(out.path().join("subject.o"))
            .status()
            .expect("clang is needed to build the probe");
        assert!(compiled.success(), "{target}");
    }
}
