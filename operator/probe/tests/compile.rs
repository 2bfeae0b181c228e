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
