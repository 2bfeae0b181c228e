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
mod names;
#[cfg(test)]
mod pasted_tests;
mod prefix;
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
    /// The line that says first that a filter refused a call (`SIGSYS`): what the program would have done next is not in
    /// the trace.
    pub refused: Option<u64>,
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
            refused: None,
            seen: vec![false; CallName::count()].into_boxed_slice(),
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
        Summary { lines: self.lines.count(), unread: self.reader.unread, refused: self.reader.refused }
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
    /// The first line that tells of a filter's refusal.
    refused: Option<u64>,
    /// Which calls were told of, by the names' places.
    seen: Box<[bool]>,
}

/// What stands for the arguments of a call of which only the end is there.
const NO_ARGUMENTS: &[u8] = b"<...>";

impl Reader {
    fn line(&mut self, number: u64, line: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let mut line = prefix::unquoted(line);
        if self.table.is_open() {
            line = prefix::without(line);
            if self.tabled(number, line, each) {
                return;
            }
        }
        let mut read = line::read(line);
        if read.1 == Line::Other {
            line = prefix::without(line);
            read = line::read(line);
        }
        let (process, read) = read;
        match read {
            Line::Call { name, rest, number: told, attached } => {
                match self.call(process, name, told) {
                    Ok((arch, name)) => self.made(Call { line: number, process, arch, name, rest }, each),
                    Err(reason) => self.unread.add(reason, number, line),
                };
                self.latest = process;
                self.processes.began(process, name, rest, attached.is_some());
                if let Some(name) = interrupted(rest).filter(|_| name == b"restart_syscall") {
                    self.ended_only(number, process, name, each);
                }
                self.processes.child(process, name, rest);
                self.attached(attached);
            }
            Line::Attached(child) => self.attached(child),
            Line::Resumed { name, rest } => {
                if !self.processes.resumed(process, name) {
                    match self.call(process, name, None) {
                        Ok((arch, name)) => {
                            self.made(Call { line: number, process, arch, name, rest: NO_ARGUMENTS }, each);
                        }
                        Err(reason) => self.unread.add(reason, number, line),
                    }
                }
                self.processes.child(process, name, rest);
            }
            Line::Refused(signal) => {
                self.refused.get_or_insert(number);
                self.refused_call(number, process, signal, each);
            }
            Line::Killed => {
                self.refused.get_or_insert(number);
                self.processes.end(process);
            }
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

    /// Tells of a call.
    fn made(&mut self, call: Call<'_>, each: &mut impl FnMut(Event<'_>)) {
        self.seen[call.name.index()] = true;
        each(Event::Call(call));
    }

    /// A call that another line names: it counts where no line of its own told of one before.
    fn ended_only(&mut self, line: u64, process: Option<u32>, name: &[u8], each: &mut impl FnMut(Event<'_>)) {
        if let Ok((arch, name)) = self.call(process, name, None) {
            self.once(Call { line, process, arch, name, rest: NO_ARGUMENTS }, each);
        }
    }

    /// The call of a `SIGSYS` line.
    fn refused_call(
        &mut self,
        line: u64,
        process: Option<u32>,
        signal: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) {
        let arch = line::field(signal, b"si_arch=").and_then(of_audit_arch);
        let arch = arch.unwrap_or_else(|| self.processes.of(process));
        let Some(written) = line::field(signal, b"si_syscall=") else { return };
        let written = written.strip_prefix(b"__NR_").unwrap_or(written);
        let name = CallName::find(written)
            .or_else(|| names::numbered(arch, &[b"syscall_", written].concat()).and_then(Result::ok));
        if let Some(name) = name {
            self.once(Call { line, process, arch, name, rest: NO_ARGUMENTS }, each);
        }
    }

    fn once(&mut self, call: Call<'_>, each: &mut impl FnMut(Event<'_>)) {
        if !self.seen[call.name.index()] {
            self.made(call, each);
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
        if let Some(numbered) = names::numbered(before, name) {
            return numbered.map(|name| (before, name));
        }
        let known = CallName::find(name);
        if known.is_none_or(|name| !name.is_on(before))
            && let Some(name) = names::old(before, name)
        {
            return Ok((before, name));
        }
        let name = known.ok_or(Reason::UnknownName)?;
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
                match in_table(arch, name) {
                    Ok(name) => each(Event::Tabled { arch, name, calls }),
                    Err(reason) => self.unread.add(reason, number, line),
                }
                true
            }
        }
    }
}

/// The call of a table's row.
fn in_table(arch: Arch, name: &[u8]) -> Result<CallName, Reason> {
    if let Some(numbered) = names::numbered(arch, name) {
        return numbered;
    }
    let known = CallName::find(name);
    match known.filter(|name| name.is_on(arch)).or_else(|| names::old(arch, name)) {
        Some(name) => Ok(name),
        None if known.is_some() => Err(Reason::OtherArchitecture),
        None => Err(Reason::UnknownName),
    }
}

/// The call that `restart_syscall` goes on with: `<... resuming interrupted poll ...>`.
fn interrupted(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(b"<... resuming interrupted ")?;
    let end = rest.iter().position(|&byte| byte == b' ')?;
    rest[end..].starts_with(b" ...>").then_some(&rest[..end])
}

/// The architecture that `si_arch` names.
fn of_audit_arch(name: &[u8]) -> Option<Arch> {
    match name {
        b"AUDIT_ARCH_X86_64" => Some(Arch::X86_64),
        b"AUDIT_ARCH_I386" => Some(Arch::X86),
        b"AUDIT_ARCH_AARCH64" => Some(Arch::Aarch64),
        b"AUDIT_ARCH_ARM" => Some(Arch::Arm),
        b"AUDIT_ARCH_RISCV64" => Some(Arch::Riscv64),
        b"AUDIT_ARCH_PPC64LE" => Some(Arch::Ppc64le),
        b"AUDIT_ARCH_S390X" => Some(Arch::S390x),
        _ => None,
    }
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
