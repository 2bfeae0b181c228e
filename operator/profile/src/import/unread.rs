//! What an import could not read.

use std::fmt;

use crate::is_printable;

/// How many examples of each reason are kept.
pub const MAX_EXAMPLES: usize = 3;
/// The longest part of a line that an example shows, in bytes.
const MAX_SHOWN: usize = 80;

/// Why something was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The line has no form that is known, such as what the traced program itself wrote.
    NoRecord,
    /// The name is in no table of system calls.
    UnknownName,
    /// The number is in no table of system calls.
    UnknownNumber,
    /// The architecture has no such call, although another has.
    OtherArchitecture,
    /// The tracer itself could not tell the call.
    Untold,
    /// The record of a program's end by a filter, which names no call.
    Abend,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::NoRecord,
        Self::UnknownName,
        Self::UnknownNumber,
        Self::OtherArchitecture,
        Self::Untold,
        Self::Abend,
    ];

    /// For people, after a count: `3 lines: not in a form that is known`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRecord => "not in a form that is known; a program's own output looks so",
            Self::UnknownName => "a name that no table of system calls has",
            Self::UnknownNumber => "a number that no table of system calls has",
            Self::OtherArchitecture => {
                "a call that the architecture does not have: was it traced on another one?"
            }
            Self::Untold => "a call that the tracer could not tell",
            Self::Abend => {
                "ANOM_ABEND with sig=31: a filter ended the program, but the record has no call: look for the SECCOMP \
                 record of the same pid (`ausearch --raw -m SECCOMP`)"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The line's number, from 1.
    pub line: u64,
    /// The line's beginning, with escapes for what does not print.
    pub text: String,
}

impl Example {
    /// As much of the line as people need to find it.
    #[must_use]
    pub fn new(line: u64, text: &[u8]) -> Self {
        let part = &text[..text.len().min(MAX_SHOWN)];
        let mut shown = String::new();
        for c in String::from_utf8_lossy(part).chars() {
            if is_printable(c) {
                shown.push(c);
            } else {
                shown.extend(c.escape_default());
            }
        }
        if part.len() < text.len() {
            shown.push_str("...");
        }
        Self { line, text: shown }
    }
}

/// What was not read, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    entries: Vec<(Reason, u64, Vec<Example>)>,
}

impl Unread {
    /// Counts a line.
    pub(super) fn add(&mut self, reason: Reason, line: u64, text: &[u8]) {
        let at = match self.entries.binary_search_by_key(&reason, |entry| entry.0) {
            Ok(at) => at,
            Err(at) => {
                self.entries.insert(at, (reason, 0, Vec::new()));
                at
            }
        };
        let entry = &mut self.entries[at];
        entry.1 += 1;
        if entry.2.len() < MAX_EXAMPLES {
            entry.2.push(Example::new(line, text));
        }
    }

    /// Takes in what was not read of another text.
    pub fn absorb(&mut self, other: Self) {
        for (reason, count, examples) in other.entries {
            match self.entries.binary_search_by_key(&reason, |entry| entry.0) {
                Ok(at) => {
                    let entry = &mut self.entries[at];
                    entry.1 += count;
                    let room = MAX_EXAMPLES - entry.2.len();
                    entry.2.extend(examples.into_iter().take(room));
                }
                Err(at) => self.entries.insert(at, (reason, count, examples)),
            }
        }
    }

    /// How many lines were not read.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.entries.iter().map(|entry| entry.1).sum()
    }

    /// For each reason that there was: how many lines, and the first of them.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, u64, &[Example])> {
        self.entries.iter().map(|(reason, count, examples)| (*reason, *count, &examples[..]))
    }
}
