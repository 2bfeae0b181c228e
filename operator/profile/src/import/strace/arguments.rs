//! The arguments of a call, as strace wrote them.

/// As many as any call has; strace writes some calls with more, having taken structures apart.
pub(super) const MAX_ARGUMENTS: usize = 16;

/// Cuts what follows a call's parenthesis into arguments, at most `limit` of them. Of an unfinished call those that were written, so the
/// last may be missing.
pub(super) fn split(rest: &[u8], limit: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        let in_file = open.last() == Some(&b'<');
        match byte {
            b'>' if in_file && !is_arrow(rest, at) => {
                open.pop();
            }
            b'<' if in_file => open.push(byte),
            // What a descriptor stands for, as `strace -y` writes it, may hold any other sign.
            _ if in_file => {}
            b'"' => at = string_end(rest, at),
            b'/' if rest[at..].starts_with(b"/*") => at = comment_end(rest, at),
            b'<' if rest[at..].starts_with(b"<unfinished ...>") => break,
            b'<' if is_file(rest, at) => open.push(byte),
            b'(' | b'[' | b'{' => open.push(byte),
            b')' | b']' | b'}' if open.pop().is_none() => break,
            b',' if open.is_empty() => {
                found.push(trimmed(&rest[start..at]));
                start = at + 1;
                if found.len() == limit {
                    return found;
                }
            }
            _ => {}
        }
        at += 1;
        if open.len() > 64 {
            return found;
        }
    }
    let last = trimmed(&rest[start.min(rest.len())..at.min(rest.len())]);
    if !last.is_empty() {
        found.push(last);
    }
    found
}

/// Where a string's closing quote is; strace escapes quotes inside.
fn string_end(rest: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Where the last sign of a `/* comment */` is.
fn comment_end(rest: &[u8], start: usize) -> usize {
    rest[start + 2..].windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |at| start + 2 + at + 1)
}

/// Whether `<` begins what a descriptor stands for: it follows a number or `AT_FDCWD`, and no shift does (`1<<4`).
fn is_file(rest: &[u8], at: usize) -> bool {
    let after_number = at > 0 && (rest[at - 1].is_ascii_digit() || rest[..at].ends_with(b"AT_FDCWD"));
    after_number && rest.get(at + 1) != Some(&b'<')
}

/// Whether `>` is the head of an arrow between two addresses: `TCP:[127.0.0.1:80->127.0.0.1:4000]`.
fn is_arrow(rest: &[u8], at: usize) -> bool {
    at > 0 && rest[at - 1] == b'-' && matches!(rest.get(at + 1), Some(b'0'..=b'9' | b'['))
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The value of `name=...` among the arguments of a call whose arguments strace names, in an order of its own: clone.
pub(super) fn named<'a>(arguments: &[&'a [u8]], name: &[u8]) -> Option<&'a [u8]> {
    arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix(b"="))
}
