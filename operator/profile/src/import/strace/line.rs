//! One line of a trace.
//!
//! Source of each form: strace 6.1's `src/strace.c` (`printleader`, `print_exit`), `src/syscall.c`
//! (`print_syscall_resume`, `print_personality`) and `src/unwind.c`, and strace(1).

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// A call begins: `openat(AT_FDCWD, ...`.
    Call {
        /// The name before the parenthesis.
        name: &'l [u8],
        /// Everything after the parenthesis.
        rest: &'l [u8],
        /// The number, where `strace -n` wrote it.
        number: Option<u32>,
        /// A new process, of which strace told in the middle of the line.
        attached: Option<u32>,
    },
    /// The end of a call that another process interrupted: `<... wait4 resumed>`.
    Resumed {
        /// The name.
        name: &'l [u8],
        /// Everything after `resumed>`.
        rest: &'l [u8],
    },
    /// `[ Process PID=1 runs in 32 bit mode. ]`, without the brackets.
    Mode {
        /// The process.
        process: Option<u32>,
        /// `32 bit`.
        mode: &'l [u8],
    },
    /// `+++ exited with 0 +++` and the like: the process is gone.
    Ended,
    /// `+++ killed by SIGSYS +++`: a filter ended the process.
    Killed,
    /// `--- SIGSYS {si_code=SYS_SECCOMP, ...} ---`: a filter refused a call.
    Refused(&'l [u8]),
    /// The tracer could not tell the call: `????(`.
    Untold,
    /// `strace: Process 7 attached`: a new process.
    Attached(Option<u32>),
    /// A signal, a stack frame, a message of strace's own, an empty line.
    Passed,
    /// None of these.
    Other,
}

/// Reads a line, and which process it is of, where it says so.
pub(super) fn read(line: &[u8]) -> (Option<u32>, Line<'_>) {
    let mut leader = Leader { rest: line, process: None, number: None, first: true };
    leader.skip();
    let Leader { rest, process, number, .. } = leader;
    (process, body(rest, number))
}

/// What stands before a call: the process, times, an instruction pointer, the call's number.
struct Leader<'l> {
    rest: &'l [u8],
    process: Option<u32>,
    number: Option<u32>,
    /// Nothing was read yet.
    first: bool,
}

impl Leader<'_> {
    fn skip(&mut self) {
        loop {
            let read = match self.rest {
                [b' ' | b'\t', rest @ ..] => {
                    self.rest = rest;
                    continue;
                }
                [b'0'..=b'9', ..] => self.digits(),
                [b'[', ..] => self.bracket(),
                [b'(', b'+', ..] => self.parenthesis(),
                _ => false,
            };
            if !read {
                return;
            }
            self.first = false;
        }
    }

    /// A process (`1234 `, `1234<comm> `), or a time (`12:00:00.000000`, `1695000000.000000`).
    fn digits(&mut self) -> bool {
        let digits = leading(self.rest, |byte| byte.is_ascii_digit());
        let (number, after) = self.rest.split_at(digits);
        let end = match after {
            [b' ', ..] => digits,
            // `strace -Y` adds what the process is called, in which it escapes `<` and `>`.
            [b'<', comm @ ..] => match comm.iter().position(|&byte| byte == b'>') {
                Some(at) if comm.get(at + 1) == Some(&b' ') => digits + at + 2,
                _ => return false,
            },
            [b'.' | b':', ..] => {
                let end = leading(self.rest, |byte| byte.is_ascii_digit() || byte == b'.' || byte == b':');
                if self.rest.get(end) != Some(&b' ') {
                    return false;
                }
                self.rest = &self.rest[end..];
                return true;
            }
            _ => return false,
        };
        if self.first {
            self.process = decimal(number);
        }
        self.rest = &self.rest[end..];
        true
    }

    /// The time since the line before, beside another time: `(+     0.000123)`.
    fn parenthesis(&mut self) -> bool {
        let end = self.rest.iter().take(64).position(|&byte| byte == b')');
        if let Some(end) = end {
            self.rest = &self.rest[end + 1..];
        }
        end.is_some()
    }

    /// `[pid 1234]`, the number that `strace -n` writes, or the address that `strace -i` writes.
    fn bracket(&mut self) -> bool {
        if let Some(rest) = self.rest.strip_prefix(b"[pid ") {
            let spaces = leading(rest, |byte| byte == b' ');
            let digits = leading(&rest[spaces..], |byte| byte.is_ascii_digit());
            self.process = decimal(&rest[spaces..spaces + digits]);
            return self.close();
        }
        if self.rest.starts_with(b"[ Process PID=") {
            return false;
        }
        let inner = &self.rest[1..];
        let spaces = leading(inner, |byte| byte == b' ');
        let digits = leading(&inner[spaces..], |byte| byte.is_ascii_digit());
        // Addresses have 8 or 16 digits without spaces; numbers are at least 4 wide.
        if inner.get(spaces + digits) == Some(&b']') && (spaces > 0 || digits < 8) {
            self.number = decimal(&inner[spaces..spaces + digits]);
        }
        self.close()
    }

    /// Goes behind the next `] `.
    fn close(&mut self) -> bool {
        // A comm has at most 15 bytes, which may be escaped; a security context is longer.
        let end =
            self.rest.iter().take(256).zip(self.rest.iter().skip(1)).position(|pair| pair == (&b']', &b' '));
        if let Some(end) = end {
            self.rest = &self.rest[end + 2..];
        }
        end.is_some()
    }
}

fn body(rest: &[u8], number: Option<u32>) -> Line<'_> {
    let named = name_length(rest);
    if named > 0 && rest.get(named) == Some(&b'(') {
        let (rest_of_call, attached) = without_message(&rest[named + 1..]);
        return Line::Call { name: &rest[..named], rest: rest_of_call, number, attached };
    }
    match rest {
        [] => Line::Passed,
        [b'<', b'.', b'.', b'.', b' ', rest @ ..] => resumed(rest),
        // `grep -A` separates what it found so.
        b"--" => Line::Passed,
        [b'-', b'-', b'-', b' ', signal @ ..] => refused(signal),
        [b'+', b'+', b'+', b' ', ..] if rest.starts_with(b"+++ killed by SIGSYS") => Line::Killed,
        [b'+', b'+', b'+', b' ', ..] => Line::Ended,
        [b'>', b' ', ..] => Line::Passed,
        [b'?', b'?', b'?', b'?', ..] => Line::Untold,
        [b'[', ..] => mode(rest),
        // strace says so of itself from 5.1 on.
        _ if rest.starts_with(b"strace: [") => mode(&rest[b"strace: ".len()..]),
        _ if rest.starts_with(MESSAGE) => Line::Attached(attached(rest)),
        _ if rest.starts_with(b"strace: ") || rest.starts_with(b"Process ") => Line::Passed,
        _ if is_remainder(rest) => Line::Passed,
        _ => Line::Other,
    }
}

/// How long the name of a call is. `SYS_332` is how strace before 4.9 wrote a number.
fn name_length(rest: &[u8]) -> usize {
    let old = if rest.starts_with(b"SYS_") { b"SYS_".len() } else { 0 };
    old + leading(&rest[old..], |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `SIGSYS {...} ---`, where a filter sent it; any other signal is passed over.
fn refused(signal: &[u8]) -> Line<'_> {
    let from_filter =
        signal.starts_with(b"SIGSYS ") && memchr::memmem::find(signal, b"SYS_SECCOMP").is_some();
    if from_filter { Line::Refused(signal) } else { Line::Passed }
}

/// The value of `name=` in what strace writes of a signal.
pub(super) fn field<'s>(signal: &'s [u8], name: &[u8]) -> Option<&'s [u8]> {
    let start = memchr::memmem::find(signal, name)? + name.len();
    let length = leading(&signal[start..], |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    Some(&signal[start..start + length])
}

/// A call without the message that strace may write in the middle of it, and the process that it is about:
/// `fork(strace: Process 7 attached`.
fn without_message(rest: &[u8]) -> (&[u8], Option<u32>) {
    let message = rest.ends_with(ATTACHED).then(|| memchr::memmem::rfind(rest, MESSAGE)).flatten();
    message.map_or((rest, None), |at| (&rest[..at], attached(&rest[at..])))
}

const MESSAGE: &[u8] = b"strace: Process ";
const ATTACHED: &[u8] = b" attached";

fn attached(message: &[u8]) -> Option<u32> {
    decimal(message.strip_prefix(MESSAGE)?.strip_suffix(ATTACHED)?)
}

/// Whether a line is what is left of a call after such a message: `, child_tidptr=0x7f746119ba10) = 7`, `<unfinished ...>`.
fn is_remainder(line: &[u8]) -> bool {
    if line == b"<unfinished ...>" {
        return true;
    }
    if !line.starts_with(b")") && !line.starts_with(b", ") {
        return false;
    }
    let end = memchr::memmem::rfind(line, b" = ");
    end.is_some_and(|at| line[..at].trim_ascii_end().ends_with(b")"))
}

/// `wait4 resumed>...`.
fn resumed(rest: &[u8]) -> Line<'_> {
    let named = name_length(rest);
    match rest[named..].strip_prefix(b" resumed>") {
        Some(after) => Line::Resumed { name: &rest[..named], rest: after },
        // What it resumes may have been a call that the tracer could not tell: `<... ???? resumed>`.
        None if rest.starts_with(b"???? resumed>") => Line::Untold,
        // strace before 4.12 wrote `<... wait4 resumed> ...` with other words for some.
        None => Line::Other,
    }
}

/// `[ Process PID=1 runs in 32 bit mode. ]`.
fn mode(rest: &[u8]) -> Line<'_> {
    let Some(rest) = rest.strip_prefix(b"[ Process PID=") else { return Line::Other };
    let digits = leading(rest, |byte| byte.is_ascii_digit());
    let said = rest[digits..].trim_ascii_end().strip_prefix(b" runs in ");
    let said = said.and_then(|rest| rest.strip_suffix(b" mode. ]"));
    said.map_or(Line::Other, |mode| Line::Mode { process: decimal(&rest[..digits]), mode })
}

fn leading(bytes: &[u8], mut is: impl FnMut(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !is(byte)).unwrap_or(bytes.len())
}

/// A number that fits, such as a process's.
pub(super) fn decimal(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
