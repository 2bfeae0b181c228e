//! Audit records of seccomp: type 1326, as auditd, the kernel log and journald write them.
//!
//! Source of the record: `audit_seccomp` in kernel/auditsc.c, `audit_log_untrustedstring` in kernel/audit.c of Linux 6.12:
//! names with a space, a quote or an unprintable byte are written in hexadecimal without quotes.
//! The kernel logs `LOG` and kills always, other actions only where the filter has the flag `LOG`, all subject to
//! `/proc/sys/kernel/seccomp/actions_logged`, and its own log keeps 10 records in 5 seconds: a call that is missing here
//! may have been made.
//!
//! The same records are read where another tool has written them: `ausearch -i`, `journalctl -o json`, snappy-debug, and
//! the enricher of the Security Profiles Operator.

mod enricher;
mod interpreted;
mod json;
mod recent;
mod record;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use rustc_hash::FxHashMap;

use super::{CallName, Observed, Reason, Unread, lines::Lines};
use crate::{Action, Arch};
use recent::Recent;

/// The most programs that are told apart; calls of further ones are counted together.
pub const MAX_PROGRAMS: usize = 4096;

/// What the kernel did with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// The architecture by which it was made.
    pub arch: Arch,
    /// The call.
    pub name: CallName,
    /// What the filter said; `None` where the log does not tell.
    pub action: Option<Action>,
}

/// The calls of one program, and how often the log has each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Counts by call.
    pub calls: BTreeMap<Seen, u64>,
}

/// What a whole log was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLog {
    /// By the executable's path, or by the thread's name where the kernel knew no path. `None` stands for all programs
    /// beyond [`MAX_PROGRAMS`].
    pub programs: BTreeMap<Option<String>, Program>,
    /// How many lines it has.
    pub lines: u64,
    /// How many of them are records of seccomp that were read.
    pub records: u64,
    /// How many say again, in another form, what one near them says.
    pub repeated: u64,
    /// How many are something else.
    pub others: u64,
    /// Records of seccomp that could not be read.
    pub unread: Unread,
}

impl AuditLog {
    /// Takes in what another log says.
    pub fn absorb(&mut self, other: Self) {
        for (name, program) in other.programs {
            for (seen, count) in program.calls {
                self.count(name.clone(), seen, count);
            }
        }
        self.lines += other.lines;
        self.records += other.records;
        self.repeated += other.repeated;
        self.others += other.others;
        self.unread.absorb(other.unread);
    }

    /// Every call of every program.
    #[must_use]
    pub fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        for (seen, count) in self.programs.values().flat_map(|program| &program.calls) {
            observed.add(seen.arch, seen.name, *count);
        }
        observed
    }

    fn count(&mut self, program: Option<String>, seen: Seen, count: u64) {
        let full = self.programs.len() >= MAX_PROGRAMS;
        let key = if full && !self.programs.contains_key(&program) { None } else { program };
        *self.programs.entry(key).or_default().calls.entry(seen).or_default() += count;
    }
}

/// What runc calls itself until it executes the program of the container.
const RUNC_INIT: &str = "runc:[";

/// Whether a program of a log is the container runtime itself, before it executes the container's program.
#[must_use]
pub fn is_runtime(program: &str) -> bool {
    program.starts_with(RUNC_INIT)
}

/// Reads one log.
#[derive(Debug)]
pub struct Audit {
    lines: Lines,
    reader: Reader,
}

#[derive(Debug)]
struct Reader {
    /// The architecture of records that name none.
    native: Arch,
    recent: Recent,
    /// By program. A log of a gigabyte has four million records, so they are counted by hash and sorted at the end.
    programs: FxHashMap<String, FxHashMap<Seen, u64>>,
    /// Those of further programs.
    others: FxHashMap<Seen, u64>,
    log: AuditLog,
}

/// What one record says.
#[derive(Debug)]
struct Record<'l> {
    program: Cow<'l, str>,
    seen: Seen,
}

impl Audit {
    /// A reader of a log whose records are of this architecture where they name none.
    #[must_use]
    pub fn new(native: Arch) -> Self {
        let reader = Reader {
            native,
            recent: Recent::default(),
            programs: FxHashMap::default(),
            others: FxHashMap::default(),
            log: AuditLog::default(),
        };
        Self { lines: Lines::default(), reader }
    }

    /// Reads the next bytes.
    pub fn feed(&mut self, piece: &[u8]) {
        let Self { lines, reader } = self;
        lines.feed(piece, |number, line| reader.line(number, line));
    }

    /// Reads the last line, where no line break ends it, and gives what was read.
    #[must_use]
    pub fn finish(mut self) -> AuditLog {
        let Self { lines, reader } = &mut self;
        lines.finish(|number, line| reader.line(number, line));
        let Reader { programs, others, mut log, .. } = self.reader;
        let counted = |calls: FxHashMap<Seen, u64>| Program { calls: calls.into_iter().collect() };
        log.programs = programs.into_iter().map(|(name, calls)| (Some(name), counted(calls))).collect();
        if !others.is_empty() {
            log.programs.insert(None, counted(others));
        }
        log.lines = self.lines.count();
        log
    }
}

impl Reader {
    fn line(&mut self, number: u64, line: &[u8]) {
        match json::read(line) {
            Some(json::Document::Message(message)) => self.text(number, &message),
            Some(json::Document::Enriched(enriched)) => {
                self.count(number, line, enriched.records(self.native));
            }
            None => self.text(number, line),
        }
    }

    fn text(&mut self, number: u64, line: &[u8]) {
        if let Some(payload) = record::payload(line) {
            let read = record::read(&payload);
            if read.is_ok() && self.recent.repeats(&payload) {
                self.log.repeated += 1;
                return;
            }
            match read {
                Ok(record) => {
                    self.log.records += 1;
                    self.add(record);
                }
                Err(reason) => self.log.unread.add(reason, number, line),
            }
        } else if let Some(enriched) = enricher::read(line) {
            self.count(number, line, enriched.records(self.native));
        } else if record::is_abend(line) {
            self.log.unread.add(Reason::Abend, number, line);
        } else {
            self.log.others += 1;
        }
    }

    fn count(&mut self, number: u64, line: &[u8], read: Result<Vec<Record<'_>>, Reason>) {
        match read {
            Ok(records) => {
                self.log.records += 1;
                records.into_iter().for_each(|record| self.add(record));
            }
            Err(reason) => self.log.unread.add(reason, number, line),
        }
    }

    fn add(&mut self, Record { program, seen }: Record<'_>) {
        let calls = if let Some(calls) = self.programs.get_mut(&*program) {
            calls
        } else if self.programs.len() < MAX_PROGRAMS {
            self.programs.entry(program.into_owned()).or_default()
        } else {
            &mut self.others
        };
        *calls.entry(seen).or_default() += 1;
    }
}
