//! The arithmetic in which strace writes arguments.

use std::borrow::Cow;

/// `AT_FDCWD` of include/uapi/linux/fcntl.h.
const AT_FDCWD: i64 = -100;

/// Names that mean the same in every argument.
const EVERYWHERE: &[(&str, u64)] = &[
    ("NULL", 0),
    ("AT_FDCWD", AT_FDCWD.cast_unsigned()),
    ("_IOC_NONE", 0),
    ("_IOC_WRITE", 1),
    ("_IOC_READ", 2),
];

/// The value of names and numbers that are joined with `|`.
pub(super) fn value(text: &str, constant: &dyn Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = without_comments(text);
    let mut value = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (term, after) = first_term(rest);
        value |= term_value(term.trim(), constant)?;
        rest = after;
    }
    Some(value)
}

/// Up to the first `|` outside parentheses, and what follows it.
fn first_term(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn term_value(term: &str, constant: &dyn Fn(&str) -> Option<u64>) -> Option<u64> {
    // Of names that share a value strace writes all.
    if term.contains(" or ") {
        return term.split(" or ").find_map(|name| term_value(name.trim(), constant));
    }
    if let Some((base, shift)) = term.split_once("<<") {
        let (base, shift) = (number(base.trim())?, number(shift.trim())?);
        return base.checked_shl(u32::try_from(shift).ok()?);
    }
    if let Some(inner) = term.strip_prefix("_IOC(").and_then(|rest| rest.strip_suffix(')')) {
        return request(inner, constant);
    }
    if let Some(name) = EVERYWHERE.iter().find(|(name, _)| *name == term) {
        return Some(name.1);
    }
    number(without_file(term)).or_else(|| constant(term))
}

/// An ioctl request by its parts: direction, type, number and size.
///
/// Source: include/uapi/asm-generic/ioctl.h.
fn request(parts: &str, constant: &dyn Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut values = [0_u64; 4];
    let mut parts = parts.split(',');
    for (value, limit) in values.iter_mut().zip([0x3, 0xff, 0xff, 0x3fff]) {
        let part = parts.next()?.trim();
        *value = joined(part, constant).filter(|value| *value <= limit)?;
    }
    let [direction, kind, number, size] = values;
    parts.next().is_none().then_some(direction << 30 | size << 16 | kind << 8 | number)
}

/// Names and numbers of an `_IOC`, which hold no further parentheses.
fn joined(text: &str, constant: &dyn Fn(&str) -> Option<u64>) -> Option<u64> {
    text.split('|').try_fold(0, |value, term| {
        let term = term.trim();
        let known = EVERYWHERE.iter().find(|(name, _)| *name == term).map(|(_, value)| *value);
        Some(value | known.or_else(|| number(term)).or_else(|| constant(term))?)
    })
}

/// A descriptor without what it stands for, as `strace -y` writes it: `3</dev/null>`.
fn without_file(term: &str) -> &str {
    match term.split_once('<') {
        Some((number, file)) if file.ends_with('>') => number,
        _ => term,
    }
}

/// A whole number: decimal, `0x`, or octal with a leading 0.
pub(super) fn number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // from_str_radix would take a sign.
        return digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u64::from_str_radix(digits, 16).ok())?;
    }
    if let Some(digits) = text.strip_prefix('-') {
        let unsigned = digits.starts_with(|first: char| first.is_ascii_digit());
        return unsigned.then(|| text.parse::<i64>().ok().map(i64::cast_unsigned))?;
    }
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

/// The text without `/* comments */`, as strace writes them.
fn without_comments(text: &str) -> Cow<'_, str> {
    if !text.contains("/*") {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}
