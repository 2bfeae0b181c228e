//! Which processes of a trace use another architecture than the machine's own.

use rustc_hash::FxHashMap;

use super::line::decimal;
use crate::Arch;

/// The most processes that are kept; a trace with more of them at once forgets the rest, which then count for the
/// machine's own architecture until a call tells again.
const MAX_PROCESSES: usize = 1 << 16;

/// Architectures by process; those of the machine's own are not kept.
#[derive(Debug)]
pub(super) struct Processes {
    native: Arch,
    others: FxHashMap<Option<u32>, Arch>,
}

impl Processes {
    pub(super) fn new(native: Arch) -> Self {
        Self { native, others: FxHashMap::default() }
    }

    pub(super) fn of(&self, process: Option<u32>) -> Arch {
        if self.others.is_empty() {
            return self.native;
        }
        self.others.get(&process).copied().unwrap_or(self.native)
    }

    pub(super) fn set(&mut self, process: Option<u32>, arch: Arch) {
        if arch == self.native {
            self.others.remove(&process);
        } else if self.others.len() < MAX_PROCESSES {
            self.others.insert(process, arch);
        }
    }

    /// A process has ended, and its number may be used anew.
    pub(super) fn end(&mut self, process: Option<u32>) {
        self.others.remove(&process);
    }

    /// A call has returned: a new process begins with its parent's architecture.
    pub(super) fn child(&mut self, parent: Option<u32>, name: &[u8], rest: &[u8]) {
        if self.others.is_empty() || !matches!(name, b"fork" | b"vfork" | b"clone" | b"clone3") {
            return;
        }
        let arch = self.of(parent);
        if let Some(child) = returned(rest).filter(|_| arch != self.native) {
            self.set(Some(child), arch);
        }
    }
}

/// The positive number that a call returned: `...) = 1234`, with or without what follows it.
fn returned(rest: &[u8]) -> Option<u32> {
    let at = rest.windows(4).rposition(|window| {
        window == b" = ?" || (window.starts_with(b" = ") && window[3].is_ascii_digit())
    })?;
    let digits = &rest[at + 3..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    decimal(&digits[..end])
}
