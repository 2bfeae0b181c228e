//! The operator's image: one static binary, in the layout that the Containerfile makes too.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Image, NON_ROOT};
use crate::{
    command::{self, command},
    paths,
    settings::workspace_root,
};

/// How large the binary may be: 25 MiB.
pub const MAX_BINARY_BYTES: u64 = 25 * 1024 * 1024;

/// A processor that the operator is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// This machine's.
    ///
    /// # Errors
    /// On another processor.
    pub fn of_machine() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("the local cluster runs on x86_64 and aarch64, not on {other}"),
        }
    }

    /// The name in images and in the Containerfile's `TARGETARCH`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The compiler's target.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The linker and C compiler when another processor builds for this one: Debian's names.
    const fn cross_compiler(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu-gcc",
            Self::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }
}

/// The operator's image for one processor.
#[derive(Clone, Copy, Debug)]
pub struct OperatorImage {
    architecture: Architecture,
}

impl OperatorImage {
    /// The image for a processor.
    #[must_use]
    pub const fn new(architecture: Architecture) -> Self {
        Self { architecture }
    }

    /// The name that the local cluster knows the image by: the workspace's version.
    #[must_use]
    pub fn reference() -> String {
        format!("localhost/portcullis:{}", env!("CARGO_PKG_VERSION"))
    }

    /// Where the binary is put for the Containerfile.
    #[must_use]
    pub fn binary(self) -> PathBuf {
        workspace_root().join("target/image").join(self.architecture.name()).join("portcullis")
    }

    /// Builds the static binary and puts it where the Containerfile finds it.
    ///
    /// # Errors
    /// Where the compiler fails, the binary is not static or is too large.
    pub fn build_binary(self) -> Result<PathBuf> {
        let target = self.architecture.target();
        self.check_cross_compiler()?;
        let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        flags.push_str(" -C target-feature=+crt-static");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build =
            command(&cargo, ["build", "--release", "--quiet", "--package", "portcullis", "--target"]);
        // Flags in a configuration file would make every ordinary build of this target a static one, with caches apart.
        build.arg(target).current_dir(workspace_root()).env("RUSTFLAGS", flags.trim());
        if self.is_cross()? {
            let variable = target.to_uppercase().replace('-', "_");
            build.env(format!("CARGO_TARGET_{variable}_LINKER"), self.architecture.cross_compiler());
        }
        command::output(&mut build)?;
        let built = workspace_root().join("target").join(target).join("release/portcullis");
        check_binary(&built)?;
        let binary = self.binary();
        if let Some(folder) = binary.parent() {
            paths::create_dir(folder)?;
        }
        std::fs::copy(&built, &binary).with_context(|| format!("can't copy {}", built.display()))?;
        Ok(binary)
    }

    /// The image with a binary that is built.
    ///
    /// # Errors
    /// Where the binary can't be read.
    pub fn image(self, binary: &Path) -> Result<Image> {
        let mut image = Image::new(&Self::reference())?.copy(binary, "/portcullis", 0o755)?;
        image.architecture = self.architecture;
        image.entrypoint = vec!["/portcullis".to_owned()];
        image.user = Some(NON_ROOT.to_owned());
        Ok(image)
    }

    fn is_cross(self) -> Result<bool> {
        Ok(Architecture::of_machine()? != self.architecture)
    }

    fn check_cross_compiler(self) -> Result<()> {
        let compiler = self.architecture.cross_compiler();
        if self.is_cross()? && command::output(&mut command(compiler, ["--version"])).is_err() {
            bail!(
                "building for {} needs {compiler} (Debian: apt-get install gcc-{}-linux-gnu libc6-dev-{}-cross) and \
                 `rustup target add {}`",
                self.architecture.name(),
                compiler.split('-').next().unwrap_or_default(),
                self.architecture.name(),
                self.architecture.target()
            );
        }
        Ok(())
    }
}

fn check_binary(binary: &Path) -> Result<()> {
    let content = std::fs::read(binary).with_context(|| format!("cargo made no {}", binary.display()))?;
    let bytes = u64::try_from(content.len())?;
    if bytes > MAX_BINARY_BYTES {
        bail!("{} has {bytes} bytes, more than the {MAX_BINARY_BYTES} it may have", binary.display());
    }
    if has_interpreter(&content) {
        bail!("{} needs a dynamic loader, which an empty image does not have", binary.display());
    }
    Ok(())
}

/// Whether an ELF64 little-endian program has a PT_INTERP segment, see elf(5).
fn has_interpreter(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| Some(u16::from_le_bytes(program.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(program.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(program.get(at..at + 8)?.try_into().ok()?));
    // e_phoff, e_phentsize and e_phnum of Elf64_Ehdr.
    let (Some(table), Some(size), Some(count)) = (u64_at(32), u16_at(54), u16_at(56)) else { return false };
    let Ok(table) = usize::try_from(table) else { return false };
    (0..usize::from(count)).any(|index| u32_at(table + index * usize::from(size)) == Some(PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        assert!(has_interpreter(&std::fs::read("/proc/self/exe").unwrap()), "tests are linked dynamically");
        let static_program =
            ["/usr/bin/busybox", "/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
        if let Some(program) = static_program {
            assert!(!has_interpreter(&program), "Debian's busybox-static is static");
        }
        assert!(!has_interpreter(b"no program"));
    }
}
