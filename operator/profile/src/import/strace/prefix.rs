//! What other programs put before a line of a trace: mail, `docker compose logs`, `docker logs -t`, syslog, `grep -n`.

/// The longest prefix that is looked for, in bytes.
const MAX_PREFIX: usize = 128;

/// A line without the marks of a quotation (`> `, `> > `). A stack frame of `strace -k` begins with a space.
pub(super) fn unquoted(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_prefix(b">") {
        line = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    line
}

/// What follows one prefix that another program wrote; `None` where the line has none.
pub(super) fn after(line: &[u8]) -> Option<&[u8]> {
    piped(line).or_else(|| dated(line)).or_else(|| counted(line)).or_else(|| logged(line))
}

/// A line without what other programs wrote before it.
pub(super) fn without(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = after(line) {
        line = rest;
    }
    line
}

/// `web-1  | `, as `docker compose logs` writes it.
fn piped(line: &[u8]) -> Option<&[u8]> {
    let name = line.iter().take(MAX_PREFIX).position(|&byte| !is_name(byte)).filter(|&length| length > 0)?;
    let spaces = line[name..].iter().take(MAX_PREFIX).position(|&byte| byte != b' ')?;
    line[name + spaces..].strip_prefix(b"| ").or_else(|| line[name + spaces..].strip_prefix(b"|\t"))
}

/// `2026-05-02T14:26:03.123456Z `, as `docker logs -t` and `kubectl logs --timestamps` write it, or with a space.
fn dated(line: &[u8]) -> Option<&[u8]> {
    const DATE: &[u8] = b"dddd-dd-dd";
    let is_date = line.len() > DATE.len()
        && DATE
            .iter()
            .zip(line)
            .all(|(form, byte)| if *form == b'd' { byte.is_ascii_digit() } else { form == byte });
    let (b'T' | b' ', rest) = line.get(DATE.len()..).filter(|_| is_date)?.split_first()? else { return None };
    let time = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b',' | b'Z' | b'+' | b'-');
    let end = rest.iter().take(MAX_PREFIX).position(|&byte| !time(byte))?;
    rest[end..].strip_prefix(b" ").filter(|_| end >= b"dd:dd:dd".len())
}

/// `52:`, as `grep -n` writes it; a time has no letter or space behind its first colon.
fn counted(line: &[u8]) -> Option<&[u8]> {
    let digits = line.iter().take(MAX_PREFIX).position(|byte| !byte.is_ascii_digit())?;
    let rest = line[digits..].strip_prefix(b":").filter(|_| digits > 0)?;
    let minutes = rest.len() > 2 && rest[..2].iter().all(u8::is_ascii_digit) && rest[2] == b':';
    (!minutes).then_some(rest)
}

/// `May 28 15:24:32 host name[7]: `, as syslog and `journalctl` write it.
fn logged(line: &[u8]) -> Option<&[u8]> {
    const MONTHS: &[&[u8]] = &[
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ", b"Nov ",
        b"Dec ",
    ];
    MONTHS.iter().find(|month| line.starts_with(month))?;
    let head = &line[..line.len().min(MAX_PREFIX)];
    let end = memchr::memmem::find(head, b": ")?;
    Some(&line[end + 2..])
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_taken_off() {
        for prefix in [
            "web-1  | ",
            "web_1 |\t",
            "2026-01-31T08:00:01.5Z ",
            "2026-01-31T08:00:01+01:00 ",
            "2026-01-31 08:00:01,250 ",
            "17:",
            "Feb  3 08:00:01 node7 tracer[81]: ",
            "web-1  | 2026-01-31T08:00:01.5Z ",
        ] {
            let line = format!("{prefix}brk(NULL) = 0x55");
            assert_eq!(without(line.as_bytes()), b"brk(NULL) = 0x55", "{prefix}");
        }
        assert_eq!(unquoted(b"> >brk(NULL)"), b"brk(NULL)");
    }

    #[test]
    fn what_is_no_prefix_stays() {
        for line in [
            "08:00:01 brk(NULL) = 0x55",
            " > /usr/lib/libc.so.6(__write+0x14) [0xf7d24]",
            "openat(3, \"a | b\", 0) = 4",
            "2026-01-31",
            "52",
            "",
        ] {
            assert_eq!(without(unquoted(line.as_bytes())), line.as_bytes(), "{line}");
        }
    }
}
