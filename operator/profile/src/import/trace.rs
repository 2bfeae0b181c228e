//! Traces in a plain format, to be written by hand or by any tracer: one call a line.
//!
//! ```text
//! # A comment; empty lines are passed over.
//! openat AT_FDCWD 0x7ffd1000 O_RDONLY|O_CLOEXEC
//! socket AF_INET SOCK_STREAM 0
//! 39
//! i386 socketcall 1 0xffd0
//! ```
//!
//! A line is an architecture where it is not the machine's own, a call by name or number, and up to six arguments:
//! decimal, hexadecimal (`0x`), octal (a leading 0) or names as [`crate::constants::value`] takes them. Arguments
//! that are left out are 0.

use super::{CallName, lines::Lines};
use crate::{Arch, constants, docker, evaluate::ARGUMENTS, syscalls};

/// A call that a trace says was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The line, from 1.
    pub line: u64,
    /// The architecture.
    pub arch: Arch,
    /// The number there: of `socketcall` or `ipc` for a call that the architecture makes through these alone.
    pub number: u32,
    /// The arguments.
    pub arguments: [u64; ARGUMENTS],
}

/// A line that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// Reads one trace.
#[derive(Debug)]
pub struct Trace {
    lines: Lines,
    native: Arch,
}

impl Trace {
    /// A reader of a trace whose lines speak of this architecture where they name none.
    #[must_use]
    pub fn new(native: Arch) -> Self {
        Self { lines: Lines::default(), native }
    }

    /// Reads the next bytes, and tells of each call whose line ends in them.
    ///
    /// # Errors
    /// The first line that can't be read; there is no going on after it.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Call)) -> Result<(), TraceError> {
        let mut wrong = None;
        self.lines.feed(piece, |number, line| read(number, line, self.native, &mut each, &mut wrong));
        wrong.map_or(Ok(()), Err)
    }

    /// Reads the last line, where no line break ends it.
    ///
    /// # Errors
    /// Where the last line can't be read.
    pub fn finish(mut self, mut each: impl FnMut(Call)) -> Result<(), TraceError> {
        let mut wrong = None;
        self.lines.finish(|number, line| read(number, line, self.native, &mut each, &mut wrong));
        wrong.map_or(Ok(()), Err)
    }
}

fn read(line: u64, bytes: &[u8], native: Arch, each: &mut impl FnMut(Call), wrong: &mut Option<TraceError>) {
    if wrong.is_some() {
        return;
    }
    let words = bytes.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    match call(line, words, native) {
        Ok(Some(call)) => each(call),
        Ok(None) => {}
        Err(problem) => *wrong = Some(TraceError { line, problem }),
    }
}

fn call<'w>(line: u64, words: impl Iterator<Item = &'w [u8]>, native: Arch) -> Result<Option<Call>, String> {
    let mut words = words.take_while(|word| !word.starts_with(b"#"));
    let Some(mut word) = words.next() else { return Ok(None) };
    let mut arch = native;
    if CallName::find(word).is_none()
        && let Some(named) = std::str::from_utf8(word).ok().and_then(arch_of)
    {
        arch = named;
        word = words.next().ok_or("there is no call after the architecture: add its name or number")?;
    }
    let Called { name, number, argument } = called(arch, word)?;
    let mut arguments = [0; ARGUMENTS];
    for (index, text) in words.enumerate() {
        let place = arguments
            .get_mut(index)
            .ok_or_else(|| format!("there are more than {ARGUMENTS} arguments: a call has no more"))?;
        *place = value(arch, name, index, text).ok_or_else(|| {
            format!(
                "{:?} is no value of argument {index} of {name}: write a decimal, hexadecimal (0x) or octal (leading 0) number, or \
                 flags by name",
                shown(text)
            )
        })?;
    }
    if let Some(argument) = argument {
        // What goes with `socketcall` and `ipc` lies in memory.
        arguments = [0; ARGUMENTS];
        arguments[0] = u64::from(argument);
    }
    Ok(Some(Call { line, arch, number, arguments }))
}

/// What a call is on an architecture.
struct Called {
    name: &'static str,
    number: u32,
    /// The first argument of `socketcall` or `ipc`, where the call is made through it alone.
    argument: Option<u32>,
}

/// A call by name or number.
fn called(arch: Arch, word: &[u8]) -> Result<Called, String> {
    if let Some(name) = CallName::find(word).map(CallName::as_str) {
        if let Some(number) = syscalls::number(arch, name) {
            return Ok(Called { name, number, argument: None });
        }
        let through = syscalls::multiplexed(arch, name);
        let carrier = through.and_then(|way| Some((syscalls::number(arch, way.through)?, way.argument)));
        return match carrier {
            Some((number, argument)) => Ok(Called { name, number, argument: Some(argument) }),
            None => Err(format!(
                "{arch} has no call {name}: name the architecture that made it first in the line"
            )),
        };
    }
    let number = number(word).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or_else(|| {
        let text = shown(word);
        let meant =
            syscalls::suggest(&text).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
        format!("{text:?} is no call{meant}: write a system call's name or number")
    })?;
    Ok(Called { name: syscalls::name(arch, number).unwrap_or(""), number, argument: None })
}

/// An architecture by the name that profiles, Go, libseccomp or uname(1) use.
fn arch_of(text: &str) -> Option<Arch> {
    match text {
        "x86_64" => Some(Arch::X86_64),
        "aarch64" => Some(Arch::Aarch64),
        "i386" => Some(Arch::X86),
        _ => docker::arch_of(text).or_else(|| Arch::ALL.iter().copied().find(|arch| arch.as_str() == text)),
    }
}

fn value(arch: Arch, name: &str, index: usize, text: &[u8]) -> Option<u64> {
    number(text).or_else(|| constants::value(arch, name, index, std::str::from_utf8(text).ok()?))
}

/// Plain numbers, which nearly all arguments are.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(digits) = text.strip_prefix(b"0x") {
        let digit = |so_far: u64, digit: &u8| Some(so_far << 4 | u64::from((*digit as char).to_digit(16)?));
        return (1..=16).contains(&digits.len()).then(|| digits.iter().try_fold(0, digit))?;
    }
    // A leading 0 makes an octal number, which is left to the slow way.
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    text.iter().try_fold(0u64, |so_far, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        so_far.checked_mul(10)?.checked_add(digit)
    })
}

/// A word for a message.
fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(word).chars().take(40).collect()
}

/// Reads one call that somebody typed: the words of a line, or a call as it is shown, `socket(AF_INET, SOCK_RAW) on SCMP_ARCH_ARM`.
///
/// # Errors
/// What is wrong with them, and what to do.
pub fn one(native: Arch, words: &[String]) -> Result<Call, String> {
    let text = words.join(" ");
    let words = match as_shown(&text)? {
        Some(words) => words,
        None => words.iter().map(String::as_str).collect(),
    };
    let bytes = words.iter().map(|word| word.as_bytes());
    call(0, bytes, native)?.ok_or_else(|| "no call is named: write its name or number".to_owned())
}

/// The words of a call that is written with parentheses; `None` of any other.
fn as_shown(text: &str) -> Result<Option<Vec<&str>>, String> {
    let Some((name, rest)) = text.split_once('(') else { return Ok(None) };
    let Some((arguments, after)) = rest.rsplit_once(')') else {
        return Err(
            "the parenthesis is not closed: write NAME(ARGUMENT, ...), or NAME ARGUMENT ...".to_owned()
        );
    };
    let name = name.trim();
    // Without a name it is shown as `call 500`.
    let name = name.strip_prefix("call ").unwrap_or(name);
    let after = after.trim().trim_end_matches(':');
    // `on ARCHITECTURE` in a table, `, call 41 of ARCHITECTURE` in an answer.
    let arch = after
        .strip_prefix("on ")
        .or_else(|| after.strip_prefix(", call ")?.split_once(" of ").map(|(_, arch)| arch));
    if arch.is_none() && !after.is_empty() {
        return Err(format!("{:?} after the call is not understood: leave it out", shown(after.as_bytes())));
    }
    // What a trace does not show at the end is left out, as if it were not written.
    let arguments = arguments.trim_end().strip_suffix("..").unwrap_or(arguments);
    let arguments = arguments.split(',').map(str::trim).filter(|argument| !argument.is_empty());
    let words: Vec<&str> =
        arch.map(str::trim).into_iter().chain(name.split_whitespace()).chain(arguments).collect();
    if words.contains(&"?") {
        return Err("an argument that is not known (?) decides nothing: write a value for it".to_owned());
    }
    Ok(Some(words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(text: &[u8]) -> Result<Vec<Call>, TraceError> {
        let (mut calls, mut trace) = (Vec::new(), Trace::new(Arch::X86_64));
        trace.feed(text, |call| calls.push(call))?;
        trace.finish(|call| calls.push(call))?;
        Ok(calls)
    }

    fn one_call(text: &str) -> (Arch, u32, [u64; 6]) {
        let calls = read_all(text.as_bytes()).expect("it can be read");
        let [call] = calls[..] else { panic!("one call: {calls:?}") };
        (call.arch, call.number, call.arguments)
    }

    #[test]
    fn reads_numbers_and_names() {
        assert_eq!(one_call("socket AF_INET 0x80001 017"), (Arch::X86_64, 41, [2, 0x80001, 15, 0, 0, 0]));
        assert_eq!(one_call("39 # getpid"), (Arch::X86_64, 39, [0; 6]));
        assert_eq!(one_call("clone CLONE_NEWUSER|SIGCHLD").2[0], 0x1000_0011);
        assert_eq!(one_call("read -1").2[0], u64::MAX);
        assert_eq!(one_call("i386 getpid"), (Arch::X86, 20, [0; 6]));
        assert_eq!(one_call("SCMP_ARCH_AARCH64 getpid").1, 172);
        // Only through ipc: its number of the call comes first.
        assert_eq!(one_call("i386 semop 7"), (Arch::X86, 117, [1, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn says_which_line_is_wrong_and_how() {
        for (text, says) in [
            ("# fine\nopnat 1\n", "line 2: \"opnat\" is no call (did you mean openat?)"),
            ("read 1 2 3 4 5 6 7", "line 1: there are more than 6 arguments"),
            ("read 1 0x", "line 1: \"0x\" is no value of argument 1 of read"),
            ("arm64 open", "line 1: SCMP_ARCH_AARCH64 has no call open"),
            ("arm64", "line 1: there is no call after the architecture"),
        ] {
            let error = read_all(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn a_call_is_taken_as_it_is_shown() {
        let read = |text: &str| one(Arch::X86_64, &[text.to_owned()]);
        let spaced =
            |words: &[&str]| one(Arch::X86_64, &words.iter().map(ToString::to_string).collect::<Vec<_>>());
        let socket = spaced(&["socket", "AF_ALG", "5"]);
        assert!(socket.is_ok());
        for shown in [
            "socket(AF_ALG, 5)",
            "socket( AF_ALG ,5 )",
            "socket(AF_ALG, 5), call 41 of SCMP_ARCH_X86_64",
            "socket(AF_ALG, 5) on SCMP_ARCH_X86_64",
            "socket(AF_ALG, 5, ..)",
        ] {
            assert_eq!(read(shown), socket, "{shown}");
        }
        assert_eq!(spaced(&["socket(AF_ALG,", "5)"]), socket);
        assert_eq!(read("getpid()"), spaced(&["getpid"]));
        assert_eq!(read("call 500(1) on SCMP_ARCH_AARCH64"), spaced(&["arm64", "500", "1"]));
        assert_eq!(read("i386 socketcall(1)"), spaced(&["i386", "socketcall", "1"]));
        for (wrong, said) in [
            ("socket(AF_ALG", "is not closed"),
            ("socket(AF_ALG) = 3", "after the call is not understood"),
            ("openat(?, 1)", "is not known (?)"),
            ("sokcet(AF_ALG)", "did you mean socket?"),
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_fails_otherwise_than_by_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..300usize) {
            let whole = read_all(&bytes);
            let (mut calls, mut trace) = (Vec::new(), Trace::new(Arch::X86_64));
            let (before, after) = bytes.split_at(at.min(bytes.len()));
            let pieces = trace
                .feed(before, |call| calls.push(call))
                .and_then(|()| trace.feed(after, |call| calls.push(call)))
                .and_then(|()| trace.finish(|call| calls.push(call)));
            prop_assert_eq!(pieces.map(|()| calls), whole);
        }
    }
}
