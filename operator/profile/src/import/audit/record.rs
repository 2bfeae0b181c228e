//! One record.

use std::{borrow::Cow, sync::LazyLock};

use memchr::memmem::Finder;

use super::{Record, Seen, interpreted};
use crate::{
    Arch,
    filter::{action, architecture},
    import::{CallName, Reason},
};

/// The longest name of a program that is kept, in bytes: a path may have `PATH_MAX` (4096).
const MAX_NAME: usize = 4096;

/// Who wrote a record, and so what stands before its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// auditd, or `ausearch`.
    Auditd,
    /// The kernel's log, also by way of syslog or journald.
    Kernel,
    /// journald's own reading of the audit socket.
    Journald,
    /// snappy-debug.
    Snappy,
}

/// The fields of a record.
pub(super) struct Payload<'l> {
    pub(super) form: Form,
    pub(super) fields: &'l [u8],
}

/// The fields, where a line is a record of seccomp.
pub(super) fn payload(line: &[u8]) -> Option<Payload<'_>> {
    let (at, mark, form) =
        MARKS.iter().find_map(|(mark, form)| Some((mark.find(line)?, mark.needle(), *form)))?;
    // These words must be the message's first: `audit[1]: SECCOMP auid=`, or nothing before it.
    let own = mark.ends_with(b"auid=");
    let before = line[..at].trim_ascii_end();
    if own && !before.is_empty() && !before.ends_with(b":") {
        return None;
    }
    let fields = &line[at + if own { mark.len() - b"auid=".len() } else { mark.len() }..];
    // auditd's log_format = ENRICHED appends names after a group separator.
    let end = memchr::memchr(0x1d, fields).unwrap_or(fields.len());
    Some(Payload { form, fields: &fields[..end] })
}

/// What each form's records are found by. To prepare the search for it takes longer than the search.
static MARKS: LazyLock<[(Finder<'_>, Form); 4]> = LazyLock::new(|| {
    let marks: [(&[u8], Form); 4] = [
        (b"type=SECCOMP ", Form::Auditd),
        (b"type=1326 ", Form::Kernel),
        (b"SECCOMP auid=", Form::Journald),
        (b"Log: auid=", Form::Snappy),
    ];
    marks.map(|(mark, form)| (Finder::new(mark), form))
});

/// Whether a line is the record of a program's end by `SIGSYS`, which is 31 on all machines but MIPS's.
pub(super) fn is_abend(line: &[u8]) -> bool {
    static MARK: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"ANOM_ABEND"));
    MARK.find(line).is_some()
        && line.split(|&byte| byte == b' ').any(|word| word == b"sig=31" || word == b"sig=SIGSYS")
}

/// The fields that matter.
#[derive(Default)]
struct Fields<'r> {
    comm: Option<&'r [u8]>,
    exe: Option<&'r [u8]>,
    arch: Option<&'r [u8]>,
    syscall: Option<&'r [u8]>,
    code: Option<&'r [u8]>,
}

impl<'r> Fields<'r> {
    fn new(fields: &'r [u8]) -> Self {
        let mut found = Self::default();
        // What matters stands in the last third of a record.
        let mut end = fields.len();
        for start in memchr::memrchr_iter(b' ', fields).map(|space| space + 1).chain([0]) {
            found.take(&fields[start..end]);
            if found.are_enough() {
                break;
            }
            end = start.saturating_sub(1);
        }
        found
    }

    /// Takes a word; of most the beginning says that it doesn't matter.
    fn take(&mut self, word: &'r [u8]) {
        let (field, value) = match word {
            [b'a', b'r', b'c', b'h', b'=', value @ ..] => (&mut self.arch, value),
            [b'c', b'o', b'd', b'e', b'=', value @ ..] => (&mut self.code, value),
            [b'c', b'o', b'm', b'm', b'=', value @ ..] => (&mut self.comm, value),
            [b'e', b'x', b'e', b'=', value @ ..] => (&mut self.exe, value),
            [b's', b'y', b's', b'c', b'a', b'l', b'l', b'=', value @ ..] => (&mut self.syscall, value),
            // snappy-debug writes `330(pkey_alloc)` for `syscall=330`.
            [b'0'..=b'9', ..] => match numbered(word) {
                Some(number) => (&mut self.syscall, number),
                None => return,
            },
            _ => return,
        };
        field.get_or_insert(value);
    }

    /// Whether nothing before would be looked at: where the path tells nothing, the thread's name does.
    fn are_enough(&self) -> bool {
        let has_path = self.exe.is_some_and(|exe| exe != b"\"/\"" && exe != b"(null)");
        self.arch.is_some()
            && self.syscall.is_some()
            && self.code.is_some()
            && (has_path || self.comm.is_some() && self.exe.is_some())
    }
}

/// The number of `330(pkey_alloc)`.
fn numbered(word: &[u8]) -> Option<&[u8]> {
    let digits = word.iter().position(|byte| !byte.is_ascii_digit()).filter(|&length| length > 0)?;
    (word[digits] == b'(' && word.ends_with(b")")).then_some(&word[..digits])
}

/// Which program made which call, and what the kernel did.
pub(super) fn read<'l>(payload: &Payload<'l>) -> Result<Record<'l>, Reason> {
    let fields = Fields::new(payload.fields);
    // A record that was cut off lacks its last field.
    let (Some(arch), Some(syscall), Some(code)) = (fields.arch, fields.syscall, fields.code) else {
        return Err(Reason::NoRecord);
    };
    if let Some(arch) = interpreted::architecture(arch) {
        return interpreted::read(payload.fields, arch, syscall, code);
    }
    let program =
        program(fields.exe.and_then(name), || fields.comm.and_then(name)).ok_or(Reason::NoRecord)?;
    let arch = architecture(hexadecimal(arch).ok_or(Reason::NoRecord)?).ok_or(Reason::UnknownNumber)?;
    let number = decimal(syscall).ok_or(Reason::NoRecord)?;
    let number = u32::try_from(number).map_err(|_| Reason::UnknownNumber)?;
    let arch = if arch == Arch::X86_64 && number & X32_BIT != 0 { Arch::X32 } else { arch };
    let name = CallName::numbered(arch, number);
    let code = code.strip_prefix(b"0x").map(own_digits).and_then(hexadecimal).ok_or(Reason::NoRecord)?;
    Ok(Record {
        program,
        seen: Seen {
            arch,
            name: name.ok_or(Reason::UnknownNumber)?,
            action: Some(action(code).ok_or(Reason::NoRecord)?),
        },
    })
}

/// The path, or the thread's name where there is none. runc's init has `/` for a path, which tells nothing.
pub(super) fn program<'l>(
    exe: Option<Cow<'l, str>>,
    comm: impl FnOnce() -> Option<Cow<'l, str>>,
) -> Option<Cow<'l, str>> {
    match exe {
        Some(exe) if exe != "/" => Some(exe),
        exe => comm().or(exe),
    }
}

/// The digits that the kernel wrote, in lower case. Where the group separator of an enriched record was lost in copying, a
/// field in capitals follows at once: `code=0x80000000AUID="unset"`.
fn own_digits(value: &[u8]) -> &[u8] {
    let own = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    &value[..value.iter().position(|byte| !own(byte)).unwrap_or(value.len())]
}

/// `__X32_SYSCALL_BIT` of arch/x86/include/uapi/asm/unistd.h.
const X32_BIT: u32 = 0x4000_0000;

/// A name in quotes, or in hexadecimal; `(null)` is none.
fn name(value: &[u8]) -> Option<Cow<'_, str>> {
    if let Some(quoted) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        let quoted = &quoted[..quoted.len().min(MAX_NAME)];
        // Nearly all names are UTF-8, and to see that is faster than to look for what is not.
        return Some(text(quoted).map_or_else(|| String::from_utf8_lossy(quoted), Cow::Borrowed));
    }
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> = value[..value.len().min(2 * MAX_NAME)]
        .chunks(2)
        .map(|pair| {
            text(pair)
                .filter(|pair| !pair.starts_with('+'))
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect();
    Some(Cow::Owned(String::from_utf8_lossy(&bytes?).into_owned()))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let (first, rest) = digits.split_first()?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    rest.iter().try_fold(digit(first)?, |number, byte| number.checked_mul(16)?.checked_add(digit(byte)?))
}

/// A call's number, which may be -1.
fn decimal(digits: &[u8]) -> Option<i64> {
    /// As many digits surely fit.
    const MAX_FAST: usize = 9;
    if digits.len() > MAX_FAST || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return text(digits)?.parse().ok();
    }
    Some(digits.iter().fold(0, |number, byte| number * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library's own reading is the measure.
    #[test]
    fn numbers_are_read_as_the_standard_library_reads_them() {
        let long = "0".repeat(40) + "7f";
        for digits in ["", "0", "7FfC0000", "ffffffff", "100000000", "+1", "-1", "g", " 1", "1 ", &long] {
            let signless = !digits.starts_with('+');
            let measure = signless.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
            assert_eq!(hexadecimal(digits.as_bytes()), measure, "{digits:?}");
        }
        for digits in
            ["", "0", "-1", "+7", "41", "999999999", "1000000000", "99999999999999999999", "4 1", "0x4"]
        {
            assert_eq!(decimal(digits.as_bytes()), digits.parse().ok(), "{digits:?}");
        }
        assert_eq!((hexadecimal(b"\xff"), decimal(b"\xff")), (None, None));
    }
}
