//! What people and pipes see.

use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice, stderr};
use anstyle::{AnsiColor, Style};
use portcullis_profile::printable;

use crate::answer::Answer;

/// How many columns help takes where nobody says how many there are, and at most.
const USUAL_COLUMNS: usize = 100;

/// How many columns help has: the terminal's, or what `COLUMNS` says.
pub(crate) fn help_columns() -> usize {
    let of_terminal =
        || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let stated = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = of_terminal().filter(|&columns| columns > 0).or_else(stated);
    columns.map_or(USUAL_COLUMNS, |columns: usize| columns.clamp(1, USUAL_COLUMNS))
}

/// The colour of errors.
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// The colour of what to know besides.
const NOTE: Style = AnsiColor::Cyan.on_default().bold();

/// Standard output and standard error, with styles where they are wanted.
///
/// They are not where the stream is no terminal, and where `NO_COLOR` is set (<https://no-color.org>).
pub(crate) struct Console {
    out: Answer<Out>,
    errors: AutoStream<io::Stderr>,
}

/// Standard output.
pub(crate) type Out = io::BufWriter<Reader<io::Stdout>>;

/// Whoever reads the answer. One that has seen enough and is gone, as in `kubectl seccomp explain FILE | head`, is no failure, and must not
/// keep a command from its verdict: what comes after is dropped.
pub(crate) struct Reader<W> {
    stream: W,
    is_gone: bool,
}

impl<W> Reader<W> {
    const fn new(stream: W) -> Self {
        Self { stream, is_gone: false }
    }

    fn unless_gone<T>(&mut self, done: T, act: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.is_gone {
            return Ok(done);
        }
        match act(&mut self.stream) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_gone = true;
                Ok(done)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Reader<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), Write::flush)
    }
}

impl Console {
    pub(crate) fn new() -> Self {
        let colours = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let out = io::BufWriter::new(Reader::new(io::stdout()));
        Self { out: Answer::new(out, colours), errors: stderr() }
    }

    /// Standard output: the answer.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// The same, for an answer with styles.
    pub(crate) const fn styled(&mut self) -> &mut Answer<Out> {
        &mut self.out
    }

    /// Standard output, for a document that a file or a program gets byte for byte. A terminal gets it as it gets every answer.
    pub(crate) fn document(&mut self) -> &mut dyn Write {
        if io::stdout().is_terminal() { &mut self.out } else { self.out.stream() }
    }

    /// Everything that was written so far reaches its reader.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush()?;
        Ok(())
    }

    /// Whether the reader of standard output was found to be gone, so that a command without an end has nobody to go on for.
    pub(crate) fn is_unread(&self) -> bool {
        self.out.stream_ref().get_ref().is_gone
    }

    /// Says on standard error how far something is, or what it came to: no part of the answer.
    pub(crate) fn say(&mut self, text: impl std::fmt::Display) {
        // Nobody is left to be told where standard error is closed.
        let _ = self.out.flush();
        let _ = writeln!(self.errors, "{}", fit(&text.to_string()));
    }

    /// The same as [`note`], after what was written so far.
    pub(crate) fn note(&mut self, text: impl std::fmt::Display) {
        let _ = self.out.flush();
        note(&text.to_string());
    }

    /// Says on standard error why there is no answer.
    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        // Nobody is left to be told where standard error is closed.
        let _ = self.out.flush();
        let _ = writeln!(self.errors, "{ERROR}error:{ERROR:#} {}", indented(&format!("{error:#}")));
    }
}

/// Says on standard error what to know about the answer: what was assumed, what was passed over.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told where standard error is closed.
    let _ = writeln!(stderr(), "{NOTE}note:{NOTE:#} {}", indented(text));
}

/// A text of several lines that gives a terminal no other orders: file names, objects and servers' answers are a stranger's.
fn fit(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// The same, whose later lines can't be taken for a message of their own.
fn indented(text: &str) -> String {
    let mut lines = text.split('\n').map(printable);
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |text, line| {
        let indent = if line.is_empty() || line.starts_with(' ') { "" } else { "  " };
        format!("{text}\n{indent}{line}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose every write ends so.
    struct Fails(io::ErrorKind, usize);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_failure_and_a_full_disk_is_one() {
        let mut gone = Reader::new(Fails(io::ErrorKind::BrokenPipe, 0));
        assert!(!gone.is_gone);
        gone.write_all(b"a").unwrap();
        gone.write_all(b"b").unwrap();
        gone.flush().unwrap();
        assert!(gone.is_gone);
        assert_eq!(gone.stream.1, 1, "nothing is written any more");
        let mut full = Reader::new(Fails(io::ErrorKind::StorageFull, 0));
        assert_eq!(full.write_all(b"a").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!full.is_gone);
    }
}
