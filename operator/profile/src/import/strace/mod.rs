//! Traces of strace(1): files of one process or many, with whatever options they were made, and the tables of
//! `strace -c`.
//!
//! # Architectures
//! strace says that a process runs in another mode (`[ Process PID=1 runs in 32 bit mode. ]`), but not where it writes
//! to a file (`-o`), which implies `-q`. So a process is also taken to use another architecture of its family from
//! a call on that the one before does not have, such as `mmap2`, or by the numbers that `strace -n` writes. What such
//! a process called before is counted for the architecture before.

mod arguments;
mod line;
mod processes;
mod table;
#[cfg(test)]
mod tests;

use crate::{
    Arch,
    import::{CallName, Reason, Unread, calls::family, lines::Lines},
    syscalls,
};
use arguments::MAX_ARGUMENTS;
use line::Line;
use processes::Processes;
use table::{Row, Table};

/// Something that a trace says.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A call was made.
    Call(Call<'a>),
    /// A table says that calls were made.
    Tabled {
        /// By which architecture's.
        arch: Arch,
        /// The call.
        name: CallName,
        /// How often; `None` where the table has no such column.
        calls: Option<u64>,
    },
}

/// A call in a trace.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The line that it begins on, from 1.
    pub line: u64,
    /// The process or thread, where the trace says.
    pub process: Option<u32>,
    /// The architecture by which it was made.
    pub arch: Arch,
    /// Its name.
    pub name: CallName,
    /// What follows the opening parenthesis.
    rest: &'a [u8],
}

impl Call<'_> {
    /// The number on its architecture; `None` for a call that was made through another, such as `socketcall`.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        syscalls::number(self.arch, self.name.as_str())
    }

    /// What the trace has after the opening parenthesis.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.rest
    }

    /// The values of the six arguments, each `None` where the trace does not tell: pointers to what it shows instead,
    /// names that are not known, what an unfinished call did not write.
    #[must_use]
    pub fn values(&self) -> [Option<u64>; 6] {
        let written = arguments::split(self.rest, MAX_ARGUMENTS);
        std::array::from_fn(|index| self.value_of(&written, index))
    }

    /// The value of one argument, see [`Call::values`].
    #[must_use]
    pub fn value(&self, index: usize) -> Option<u64> {
        let limit = if self.name.as_str() == "clone" { MAX_ARGUMENTS } else { index + 1 };
        self.value_of(&arguments::split(self.rest, limit), index)
    }

    fn value_of(&self, written: &[&[u8]], index: usize) -> Option<u64> {
        let name = self.name.as_str();
        let text = if name == "clone" {
            // strace writes clone's arguments with names, and in an order of its own.
            let flags = usize::from(crate::constants::clone_flags(self.arch));
            let key: &[u8] = match index {
                index if index == flags => b"flags",
                0 | 1 => b"child_stack",
                _ => return None,
            };
            // With `-e raw=clone` it writes them as any other call's.
            let raw = || written.get(index).copied().filter(|text| text.starts_with(b"0"));
            arguments::named(written, key).or_else(raw)?
        } else {
            written.get(index).copied()?
        };
        crate::constants::value(self.arch, name, index, std::str::from_utf8(text).ok()?)
    }
}

/// What a whole trace was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many lines it has.
    pub lines: u64,
    /// What could not be read.
    pub unread: Unread,
}

/// Reads one trace.
#[derive(Debug)]
pub struct Strace {
    lines: Lines,
    reader: Reader,
}

impl Strace {
    /// A reader of a trace that was made on a machine of this architecture.
    #[must_use]
    pub fn new(native: Arch) -> Self {
        let reader = Reader {
            native,
            processes: Processes::new(native),
            table: Table::default(),
            table_arch: native,
            latest: None,
            unread: Unread::default(),
        };
        Self { lines: Lines::default(), reader }
    }

    /// Reads the next bytes, and tells of each call whose line ends in them.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Event<'_>)) {
        let Self { lines, reader } = self;
        lines.feed(piece, |number, line| reader.line(number, line, &mut each));
    }

    /// Reads the last line, where no line break ends it.
    #[must_use]
    pub fn finish(mut self, mut each: impl FnMut(Event<'_>)) -> Summary {
        let Self { lines, reader } = &mut self;
        lines.finish(|number, line| reader.line(number, line, &mut each));
        Summary { lines: self.lines.count(), unread: self.reader.unread }
    }
}

#[derive(Debug)]
struct Reader {
    native: Arch,
    processes: Processes,
    table: Table,
    /// The architecture of the table that is being read, or comes next.
    table_arch: Arch,
    /// The process of the latest call.
    latest: Option<u32>,
    unread: Unread,
}

impl Reader {
    fn line(&mut self, number: u64, line: &[u8], each: &mut impl FnMut(Event<'_>)) {
        if self.table.is_open() && self.tabled(number, line, each) {
            return;
        }
        let (process, read) = line::read(line);
        match read {
            Line::Call { name, rest, number: told, attached } => {
                match self.call(process, name, told) {
                    Ok((arch, name)) => each(Event::Call(Call { line: number, process, arch, name, rest })),
                    Err(reason) => self.unread.add(reason, number, line),
                };
                self.latest = process;
                self.processes.child(process, name, rest);
                self.attached(attached);
            }
            Line::Attached(child) => self.attached(child),
            Line::Resumed { name, rest } => self.processes.child(process, name, rest),
            Line::Mode { process: told, mode } => match of_mode(self.native, mode) {
                Some(arch) => {
                    self.processes.set(told.or(process), arch);
                    // Where there is one process alone, strace does not say which.
                    if process.is_none() {
                        self.processes.set(None, arch);
                    }
                }
                None => self.unread.add(Reason::NoRecord, number, line),
            },
            Line::Ended => self.processes.end(process),
            Line::Untold => self.unread.add(Reason::Untold, number, line),
            Line::Passed => {}
            Line::Other => {
                if !self.tabled(number, line, each) {
                    self.unread.add(Reason::NoRecord, number, line);
                }
            }
        }
    }

    /// A new process: strace takes it for one of the architecture that it saw latest, and says so where that is wrong
    /// (`alloctcb` in its `src/strace.c`).
    fn attached(&mut self, child: Option<u32>) {
        if child.is_some() {
            self.processes.set(child, self.processes.of(self.latest));
        }
    }

    /// Which call it is, and by which architecture it was made.
    fn call(
        &mut self,
        process: Option<u32>,
        name: &[u8],
        told: Option<u32>,
    ) -> Result<(Arch, CallName), Reason> {
        let before = self.processes.of(process);
        if let Some(number) = name.strip_prefix(b"syscall_0x") {
            return unknown_number(before, number).map(|name| (before, name));
        }
        let name = CallName::find(name).ok_or(Reason::UnknownName)?;
        let is = |arch: Arch| match told {
            Some(number) => syscalls::name(arch, number) == Some(name.as_str()),
            None => name.is_on(arch),
        };
        if is(before) {
            return Ok((before, name));
        }
        let other = family(self.native).iter().copied().find(|&arch| is(arch));
        // A number may be one that the tables lack, or one of socketcall's.
        let other = other.or_else(|| family(self.native).iter().copied().find(|&arch| name.is_on(arch)));
        let arch = other.ok_or(Reason::OtherArchitecture)?;
        if told.is_none() || is(arch) {
            self.processes.set(process, arch);
        }
        Ok((arch, name))
    }

    /// Reads a line of a table; `false` where it is none.
    fn tabled(&mut self, number: u64, line: &[u8], each: &mut impl FnMut(Event<'_>)) -> bool {
        match self.table.read(line) {
            Row::Frame => true,
            Row::NotHere => false,
            Row::Mode(mode) => {
                self.table_arch = of_mode(self.native, mode).unwrap_or(self.native);
                true
            }
            Row::Call(name, calls) => {
                let arch = self.table_arch;
                let found = match name.strip_prefix(b"syscall_0x") {
                    Some(digits) => unknown_number(arch, digits),
                    None => CallName::find(name).ok_or(Reason::UnknownName).and_then(|name| {
                        if name.is_on(arch) { Ok(name) } else { Err(Reason::OtherArchitecture) }
                    }),
                };
                match found {
                    Ok(name) => each(Event::Tabled { arch, name, calls }),
                    Err(reason) => self.unread.add(reason, number, line),
                }
                true
            }
        }
    }
}

/// A call that strace knew by its number alone: `syscall_0x1c7`; the table here may be newer.
fn unknown_number(arch: Arch, digits: &[u8]) -> Result<CallName, Reason> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let name = number.and_then(|number| syscalls::name(arch, number)).ok_or(Reason::UnknownNumber)?;
    CallName::find(name.as_bytes()).ok_or(Reason::UnknownName)
}

/// The architecture that strace calls so on a machine of `native`.
///
/// Source: `PERSONALITY0_WORDSIZE` and `personality_names` in strace 6.1's `src/syscall.c`.
fn of_mode(native: Arch, mode: &[u8]) -> Option<Arch> {
    use Arch::*;
    let arch = match (native, mode) {
        (_, b"64 bit") => native,
        (X86_64, b"x32") => X32,
        (X86_64, b"32 bit") => X86,
        (Aarch64, b"32 bit") => Arm,
        (Ppc64, b"32 bit") => Ppc,
        (S390x, b"32 bit" | b"31 bit") => S390,
        (Parisc64, b"32 bit") => Parisc,
        (Mips64, b"32 bit" | b"o32") => Mips,
        (Mipsel64, b"32 bit" | b"o32") => Mipsel,
        (Mips64, b"n32") => Mips64n32,
        (Mipsel64, b"n32") => Mipsel64n32,
        (Mips64 | Mipsel64, b"n64") => native,
        _ => return None,
    };
    Some(arch)
}
