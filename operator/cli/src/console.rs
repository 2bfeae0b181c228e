//! What people and pipes see.

use std::io::{self, Write};

use anstream::{AutoStream, stderr, stdout};
use anstyle::{AnsiColor, Style};
use portcullis_profile::printable;

/// The colour of errors.
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// The colour of what to know besides.
const NOTE: Style = AnsiColor::Cyan.on_default().bold();

/// Standard output and standard error; styles are written always and taken out where they are not wanted.
///
/// That is where the stream is no terminal, and where `NO_COLOR` is set (<https://no-color.org>).
pub(crate) struct Console {
    out: io::BufWriter<AutoStream<io::Stdout>>,
    errors: AutoStream<io::Stderr>,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { out: io::BufWriter::new(stdout()), errors: stderr() }
    }

    /// Standard output: the answer.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Everything that was written so far reaches its reader.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush()?;
        Ok(())
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
        let _ = writeln!(self.errors, "{ERROR}error:{ERROR:#} {}", fit(&format!("{error:#}")));
    }
}

/// Says on standard error what to know about the answer: what was assumed, what was passed over.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told where standard error is closed.
    let _ = writeln!(stderr(), "{NOTE}note:{NOTE:#} {}", fit(text));
}

/// A text of several lines that gives a terminal no other orders: file names, objects and servers' answers are a stranger's.
fn fit(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Whether an error means that a pipe's reader has gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
