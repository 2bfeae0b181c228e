//! Which processes of a trace use another architecture than the machine's own, and which are in the middle of a call.

use rustc_hash::FxHashMap;

use super::line::decimal;
use crate::{Arch, import::CallName};

/// The most processes that are kept; a trace with more of them at once forgets the rest, which then count for the
/// machine's own architecture until a call tells again.
const MAX_PROCESSES: usize = 1 << 16;

/// How many processes are looked through for one that a line does not name.
const MAX_LOOKED_THROUGH: usize = 1024;

/// What is known of the processes. Architectures of the machine's own are not kept.
#[derive(Debug)]
pub(super) struct Processes {
    native: Arch,
    others: FxHashMap<Option<u32>, Arch>,
    /// The call whose end will come on a later line.
    unfinished: FxHashMap<Option<u32>, Option<CallName>>,
}

impl Processes {
    pub(super) fn new(native: Arch) -> Self {
        Self { native, others: FxHashMap::default(), unfinished: FxHashMap::default() }
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
        self.unfinished.remove(&process);
    }

    /// A call has begun; where a message broke its line, its end may come later.
    pub(super) fn began(&mut self, process: Option<u32>, name: &[u8], rest: &[u8], broken: bool) {
        if broken || rest.ends_with(b"<unfinished ...>") {
            if self.unfinished.len() < MAX_PROCESSES {
                self.unfinished.insert(process, CallName::find(name));
            }
        } else if !self.unfinished.is_empty() {
            self.unfinished.remove(&process);
        }
    }

    /// Whether the call that ends here was seen to begin. strace names no process where there is one alone, which may change
    /// between the two.
    pub(super) fn resumed(&mut self, process: Option<u32>, name: &[u8]) -> bool {
        if self.unfinished.remove(&process).is_some() {
            return true;
        }
        let name = CallName::find(name);
        let found = match process {
            Some(_) => (self.unfinished.get(&None) == Some(&name)).then_some(None),
            None => {
                let mut some = self.unfinished.iter().take(MAX_LOOKED_THROUGH);
                some.find(|(_, unfinished)| **unfinished == name).map(|(&process, _)| process)
            }
        };
        found.is_some_and(|process| self.unfinished.remove(&process).is_some())
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
