//! Lines of the Security Profiles Operator's log enricher. They don't say what the filter did with the call.
//!
//! Source: `internal/pkg/daemon/enricher` of the Security Profiles Operator 0.8 (klog's key and value pairs).

use std::{borrow::Cow, sync::LazyLock};

use memchr::memmem::Finder;

use super::{Record, Seen};
use crate::{
    Arch,
    import::{CallName, Reason},
    syscalls,
};

/// The calls of one line.
pub(super) struct Enriched {
    pub(super) program: String,
    pub(super) calls: Vec<String>,
    /// The number of the only call, which tells the architecture.
    pub(super) number: Option<u32>,
}

/// Reads a line; `None` where it is none of the enricher's about seccomp.
pub(super) fn read(line: &[u8]) -> Option<Enriched> {
    static MARK: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"\"type\"=\"seccomp\""));
    MARK.find(line)?;
    if value(line, b"\"type\"=\"")? != "seccomp" {
        return None;
    }
    Some(Enriched {
        program: value(line, b"\"executable\"=\"")?.to_owned(),
        calls: vec![value(line, b"\"syscallName\"=\"")?.to_owned()],
        number: value(line, b"\"syscallID\"=").and_then(|digits| digits.parse().ok()),
    })
}

/// What follows a key, up to the next quote or space.
fn value<'l>(line: &'l [u8], key: &[u8]) -> Option<&'l str> {
    let start = memchr::memmem::find(line, key)? + key.len();
    let quoted = key.ends_with(b"\"");
    let ends = |&byte: &u8| byte == b'"' || (!quoted && byte == b' ');
    let length = line[start..].iter().position(ends)?;
    std::str::from_utf8(&line[start..start + length]).ok()
}

impl Enriched {
    /// What the line says, on `native` where it doesn't tell the architecture.
    pub(super) fn records(self, native: Arch) -> Result<Vec<Record<'static>>, Reason> {
        let Self { program, calls, number } = self;
        if calls.is_empty() {
            return Err(Reason::NoRecord);
        }
        let record = |call: String| {
            let name = CallName::find(call.as_bytes()).ok_or(Reason::UnknownName)?;
            let has = |arch: &Arch| match number {
                Some(number) => syscalls::name(*arch, number) == Some(name.as_str()),
                None => name.is_on(*arch),
            };
            let others = Arch::ALL.iter().copied().filter(|_| number.is_some());
            let arch = std::iter::once(native).chain(others).find(has).ok_or(Reason::OtherArchitecture)?;
            Ok(Record { program: Cow::Owned(program.clone()), seen: Seen { arch, name, action: None } })
        };
        calls.into_iter().map(record).collect()
    }
}
