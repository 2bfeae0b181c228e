//! The programs that run in a machine, static, for its processor.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use portcullis_runtimes::{Debian, output, workspace_root};

use crate::{cache, kernel::Processor};

/// The suite whose tools and whose busybox are used.
const SUITE: &str = "bookworm";

/// A C compiler for arm64 and what it needs. Unpacked and not installed, because it conflicts with others.
const CROSS: [&str; 10] = [
    "gcc-12-aarch64-linux-gnu",
    "cpp-12-aarch64-linux-gnu",
    "binutils-aarch64-linux-gnu",
    "libgcc-12-dev-arm64-cross",
    "libc6-dev-arm64-cross",
    "libc6-arm64-cross",
    "linux-libc-dev-arm64-cross",
    "libgcc-s1-arm64-cross",
    "gcc-12-cross-base",
    "gcc-12-aarch64-linux-gnu-base",
];

/// A compiler, and what makes archives.
struct Tools {
    compiler: PathBuf,
    archiver: PathBuf,
}

impl Tools {
    fn of(processor: Processor) -> Result<Self> {
        match processor {
            Processor::Amd64 => Ok(Self { compiler: PathBuf::from("gcc"), archiver: PathBuf::from("ar") }),
            Processor::Arm64 => cross(),
        }
    }
}

fn cross() -> Result<Tools> {
    let compiler = cache::made("cross-arm64", "gcc", |folder| {
        let apt = tempfile::tempdir_in(folder)?;
        Debian::new(apt.path(), SUITE)?.extract(&CROSS, &folder.join("root"))?;
        // Where the folder ends up, not where it is made.
        let root = workspace_root().join(".cluster/kernels/cross-arm64/root");
        let root = root.display();
        let libraries = format!("export LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu");
        wrapper(
            &folder.join("gcc"),
            &format!(
                "{libraries}\nexec {root}/usr/bin/aarch64-linux-gnu-gcc-12 --sysroot={root} -B{root}/usr/bin/aarch64-linux-gnu- -isystem {root}/usr/aarch64-linux-gnu/include -B{root}/usr/aarch64-linux-gnu/lib -L{root}/usr/aarch64-linux-gnu/lib \"$@\""
            ),
        )?;
        wrapper(&folder.join("ar"), &format!("{libraries}\nexec {root}/usr/bin/aarch64-linux-gnu-ar \"$@\""))
    })?;
    let archiver = compiler.with_file_name("ar");
    Ok(Tools { compiler, archiver })
}

fn wrapper(path: &Path, lines: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{lines}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// `kubectl-seccomp`, built by cargo.
///
/// # Errors
/// Where Rust has no target for the processor, or the build fails.
pub(crate) fn kubectl_seccomp(processor: Processor) -> Result<PathBuf> {
    let target = processor.target();
    let tools = Tools::of(processor)?;
    if processor == Processor::Arm64 {
        output(Command::new("rustup").args(["target", "add", target]))
            .with_context(|| format!("Rust's target {target} is not to be had"))?;
    }
    let variable = target.replace('-', "_");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "--package",
        "portcullis-cli",
        "--bin",
        "kubectl-seccomp",
        "--target",
        target,
    ]);
    build.current_dir(workspace_root());
    // Verifying is the kernel's work, so the program itself need not be fast; without its debug information it is small.
    build.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "symbols");
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    build.env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), &tools.compiler);
    build.env(format!("CC_{variable}"), &tools.compiler).env(format!("AR_{variable}"), &tools.archiver);
    output(&mut build)?;
    Ok(workspace_root().join("target").join(target).join("debug/kubectl-seccomp"))
}

/// The program that runs another one under a filter.
///
/// # Errors
/// Where it can't be compiled.
pub(crate) fn denier(processor: Processor, into: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/denier.c");
    let mut compile = Command::new(Tools::of(processor)?.compiler);
    output(compile.args(["-O1", "-static", "-o"]).arg(into).arg(source)).map(drop)
}

/// A static busybox.
///
/// # Errors
/// Where the package can't be had.
pub(crate) fn busybox(processor: Processor) -> Result<PathBuf> {
    cache::made(&format!("busybox-{}", processor.debian()), "busybox", |folder| {
        let (apt, unpacked) = (tempfile::tempdir_in(folder)?, tempfile::tempdir_in(folder)?);
        Debian::of(apt.path(), SUITE, processor.debian())?.extract(&["busybox-static"], unpacked.path())?;
        let found = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.path().join(path));
        let found = found.iter().find(|path| path.exists()).context("the package has no busybox")?;
        fs::copy(found, folder.join("busybox"))?;
        Ok(())
    })
}
