//! The tables of `strace -c`, `-C` and `-U`.
//!
//! Source: strace 6.1's `src/count.c` (`call_summary_pers`): a line of headings, one of dashes, whose groups are as wide
//! as the columns, a row for each call, dashes, and a total. Numbers are aligned to the right; the name to the left
//! where it is the last column. Some locales write a decimal comma, and tools that lay tables out anew separate
//! thousands.

/// What tells that a line is one of headings. `% time` is two words.
const HEADINGS: &[&str] =
    &["%", "time", "seconds", "usecs/call", "calls", "errors", "syscall", "shortest", "longest"];

/// What comes before the table of a personality, where there is more than one: `... for 32 bit mode:`.
const SUMMARY: &[u8] = b"System call usage summary for ";

/// Where in a table a reader is.
#[derive(Debug, Default)]
pub(super) enum Table {
    /// In none.
    #[default]
    Outside,
    /// After the headings, which are kept.
    Headed(Vec<u8>),
    /// Among the rows.
    Rows(Columns),
    /// After the second line of dashes.
    Total,
}

/// What a line of a table is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Row<'l> {
    /// Headings, dashes, the total.
    Frame,
    /// A call, and how often it was made, where the table says.
    Call(&'l [u8], Option<u64>),
    /// What follows is of this personality: `32 bit`.
    Mode(&'l [u8]),
    /// No line of a table.
    NotHere,
}

/// Where the columns that matter are.
#[derive(Debug)]
pub(super) struct Columns {
    /// From where to where each column goes.
    spans: Vec<(usize, usize)>,
    name: usize,
    calls: Option<usize>,
}

impl Table {
    pub(super) fn read<'l>(&mut self, line: &'l [u8]) -> Row<'l> {
        if let Some(mode) = mode(line) {
            *self = Self::Outside;
            return Row::Mode(mode);
        }
        match std::mem::take(self) {
            Self::Headed(headings) if is_dashes(line) => {
                // Headings without a name tell nothing; their rows are no records.
                *self = Columns::new(&headings, line).map_or(Self::Outside, Self::Rows);
                return Row::Frame;
            }
            Self::Rows(_) if is_dashes(line) => {
                *self = Self::Total;
                return Row::Frame;
            }
            Self::Rows(columns) => {
                if let Some((name, calls)) = columns.row(line) {
                    *self = Self::Rows(columns);
                    return Row::Call(name, calls);
                }
            }
            Self::Total if ends_in_total(line) => return Row::Frame,
            _ => {}
        }
        if is_headings(line) {
            *self = Self::Headed(line.to_vec());
            return Row::Frame;
        }
        Row::NotHere
    }

    /// Whether the next line may be one of a table, other than its first.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Outside)
    }
}

impl Columns {
    fn new(headings: &[u8], dashes: &[u8]) -> Option<Self> {
        let spans: Vec<(usize, usize)> =
            tokens(dashes).map(|(start, token)| (start, start + token.len())).collect();
        let of = |heading: &[u8]| {
            let (start, token) = tokens(headings).find(|(_, token)| *token == heading)?;
            column(&spans, start, token.len())
        };
        Some(Self { name: of(b"syscall")?, calls: of(b"calls"), spans })
    }

    fn row<'l>(&self, line: &'l [u8]) -> Option<(&'l [u8], Option<u64>)> {
        let mut name = None;
        let mut calls = String::new();
        for (start, token) in tokens(line) {
            let at = column(&self.spans, start, token.len())?;
            if at == self.name && name.is_none() {
                name = Some(token);
            } else if is_number(token) {
                if Some(at) == self.calls {
                    // A space may separate thousands, too.
                    calls.extend(
                        token.iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| char::from(byte)),
                    );
                }
            } else {
                return None;
            }
        }
        let name = name?;
        let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        (is_name && !name[0].is_ascii_digit()).then(|| (name, calls.parse().ok()))
    }
}

/// The column that a word shares most with; a number that is too wide for its column spills over to the left.
fn column(spans: &[(usize, usize)], start: usize, length: usize) -> Option<usize> {
    let shared = |&(from, to): &(usize, usize)| to.min(start + length).saturating_sub(from.max(start));
    let (at, span) = spans.iter().enumerate().max_by_key(|(at, span)| (shared(span), *at))?;
    // A name that is longer than the last column goes beyond it.
    (shared(span) > 0).then_some(at)
}

/// Digits, and what locales put between them: points, commas, apostrophes and the spaces that do not break (U+00A0, U+202F).
fn is_number(token: &[u8]) -> bool {
    let is_part = |byte: &u8| {
        byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'\'' | 0xc2 | 0xa0 | 0xe2 | 0x80 | 0xaf)
    };
    token.iter().all(is_part)
}

fn mode(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(SUMMARY)?.strip_suffix(b" mode:")
}

fn is_headings(line: &[u8]) -> bool {
    let first = line.iter().find(|byte| **byte != b' ');
    if !matches!(first, Some(b'%' | b's' | b'u' | b'c' | b'e' | b'l')) || line.len() > 512 {
        return false;
    }
    let mut named = false;
    tokens(line).all(|(_, token)| {
        named |= token == b"syscall";
        HEADINGS.iter().any(|heading| heading.as_bytes() == token)
    }) && named
}

fn is_dashes(line: &[u8]) -> bool {
    line.contains(&b'-') && line.iter().all(|byte| matches!(byte, b'-' | b' '))
}

fn ends_in_total(line: &[u8]) -> bool {
    tokens(line).all(|(_, token)| token == b"total" || is_number(token)) && !line.is_empty()
}

/// The words of a line, and where each begins.
fn tokens(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line[at..].iter().position(|&byte| byte != b' ')?;
        let length = line[start..].iter().position(|&byte| byte == b' ').unwrap_or(line.len() - start);
        at = start + length;
        Some((start, &line[start..at]))
    })
}
