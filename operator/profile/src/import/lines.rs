//! Lines out of bytes that come in pieces.

use memchr::memchr;

/// The most of a line that is kept; the rest of it is passed over. What a parser wants of a line stands at its
/// beginning, and strings are what makes a line long.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// Cuts pieces into lines, without their line breaks.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come yet, at most [`MAX_LINE`] of it.
    begun: Vec<u8>,
    /// How many lines were given out.
    count: u64,
}

impl Lines {
    /// Gives out each line that ends in this piece, with its number from 1.
    pub(super) fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(u64, &[u8])) {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            self.count += 1;
            if self.begun.is_empty() {
                each(self.count, cut(line));
            } else {
                self.begin(line);
                each(self.count, cut(&self.begun));
                self.begun.clear();
            }
            piece = rest;
        }
        self.begin(piece);
    }

    /// Gives out the last line where no line break ends it.
    pub(super) fn finish(&mut self, each: impl FnOnce(u64, &[u8])) {
        if !self.begun.is_empty() {
            self.count += 1;
            each(self.count, cut(&self.begun));
            self.begun.clear();
        }
    }

    /// How many lines were given out.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn begin(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.begun.len();
        self.begun.extend_from_slice(&part[..part.len().min(room)]);
    }
}

/// The part of a line that is kept, without the carriage return of a file that came through Windows.
fn cut(line: &[u8]) -> &[u8] {
    let line = &line[..line.len().min(MAX_LINE)];
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.feed(piece, |number, line| found.push((number, line.to_vec())));
        }
        lines.finish(|number, line| found.push((number, line.to_vec())));
        found
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let whole = b"one\n\ntwo\r\nthree";
        let expected = [(1, &b"one"[..]), (2, b""), (3, b"two"), (4, b"three")];
        for at in 0..whole.len() {
            let (before, after) = whole.split_at(at);
            let found = lines(&[before, after]);
            assert_eq!(found.iter().map(|(n, l)| (*n, &l[..])).collect::<Vec<_>>(), expected, "{at}");
        }
    }

    #[test]
    fn of_an_endless_line_a_bounded_part_is_kept() {
        let mut found = Vec::new();
        let mut cutter = Lines::default();
        for _ in 0..1000 {
            cutter.feed(&[b'x'; 1024], |_, line| found.push(line.len()));
            assert!(cutter.begun.len() <= MAX_LINE);
        }
        cutter.feed(b"\nshort\n", |_, line| found.push(line.len()));
        assert_eq!(found, [MAX_LINE, 5]);
        assert_eq!(lines(&[&[b'y'; MAX_LINE + 9], b"\n"])[0].1.len(), MAX_LINE);
    }
}
