//! Audit records of seccomp: type 1326, as auditd, the kernel log and journald write them.
//!
//! Source of the record: `audit_seccomp` in kernel/auditsc.c, `audit_log_untrustedstring` in kernel/audit.c of Linux 6.12:
//! names with a space, a quote or an unprintable byte are written in hexadecimal without quotes.
//! The kernel logs `LOG` and kills always, other actions only where the filter has the flag `LOG`, all subject to
//! `/proc/sys/kernel/seccomp/actions_logged`, and its own log keeps 10 records in 5 seconds: a call that is missing here
//! may have been made.

mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{CallName, Observed, Unread, lines::Lines};
use crate::{Action, Arch};

/// The most programs that are told apart; calls of further ones are counted together.
pub const MAX_PROGRAMS: usize = 4096;

/// What the kernel did with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The architecture by which it was made.
    pub arch: Arch,
    /// The call.
    pub name: CallName,
    /// What the filter said.
    pub action: Action,
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

/// Reads one log.
#[derive(Debug, Default)]
pub struct Audit {
    lines: Lines,
    log: AuditLog,
}

impl Audit {
    /// Reads the next bytes.
    pub fn feed(&mut self, piece: &[u8]) {
        let Self { lines, log } = self;
        lines.feed(piece, |number, line| read(log, number, line));
    }

    /// Reads the last line, where no line break ends it, and gives what was read.
    #[must_use]
    pub fn finish(mut self) -> AuditLog {
        let Self { lines, log } = &mut self;
        lines.finish(|number, line| read(log, number, line));
        self.log.lines = self.lines.count();
        self.log
    }
}

fn read(log: &mut AuditLog, number: u64, line: &[u8]) {
    let Some(payload) = record::payload(line) else {
        log.others += 1;
        return;
    };
    match record::read(payload) {
        Ok((program, seen)) => {
            log.records += 1;
            log.count(Some(program), seen, 1);
        }
        Err(reason) => log.unread.add(reason, number, line),
    }
}
