//! Where programs come from.

use std::{fs::File, io::Read as _, path::PathBuf};

use anyhow::{Context as _, Result};
use portcullis_profile::{
    Arch,
    filter::{INSTRUCTION_BYTES, Program},
    program::MAX_INSTRUCTIONS,
};

/// A task's filters, or programs that could be.
#[derive(Debug)]
pub(super) struct Source {
    /// For people.
    pub(super) name: String,
    /// The oldest first; at least one.
    pub(super) filters: Vec<Loaded>,
    /// What to know about them.
    pub(super) notes: Vec<String>,
}

/// One filter.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) program: Program,
    /// Whether the kernel logs what it does, where it says so.
    pub(super) logs: Option<bool>,
}

impl Source {
    /// Programs in files, the oldest first.
    pub(super) fn of_files(files: &[PathBuf], arch: Arch) -> Result<Self> {
        let mut filters = Vec::with_capacity(files.len());
        for file in files {
            let program = read(file, arch).with_context(|| file.display().to_string())?;
            filters.push(Loaded { program, logs: None });
        }
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        Ok(Self { name: names.join(", "), filters, notes: Vec::new() })
    }
}

fn read(file: &PathBuf, arch: Arch) -> Result<Program> {
    // One more than the longest program: whatever is longer is none.
    const MOST: u64 = ((MAX_INSTRUCTIONS + 1) * INSTRUCTION_BYTES) as u64;
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(Program::from_bytes(&bytes, is_big_endian(arch))?)
}

/// Whether a machine has the first byte of a number first.
pub(super) const fn is_big_endian(arch: Arch) -> bool {
    matches!(
        arch,
        Arch::Mips
            | Arch::Mips64
            | Arch::Mips64n32
            | Arch::Ppc
            | Arch::Ppc64
            | Arch::S390
            | Arch::S390x
            | Arch::Parisc
            | Arch::Parisc64
            | Arch::M68k
            | Arch::Sheb
    )
}
