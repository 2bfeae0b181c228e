//! What keeps a file from being read.

use std::fmt;

use portcullis_profile::{ParseErrors, printable};

use super::{Source, tree::Position};

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where in the file, as far as there is such a place.
    pub(crate) position: Option<Position>,
    /// Where in the document, as a JSON path; empty for the document itself.
    pub(crate) path: String,
    /// What is wrong there, and what to do.
    pub(crate) message: String,
}

impl Problem {
    /// A problem at a place. The message may hold words of the file.
    pub(super) fn at(position: Position, message: impl AsRef<str>) -> Self {
        Self { position: Some(position), ..Self::of_file(message) }
    }

    /// A problem of the file as a whole.
    pub(super) fn of_file(message: impl AsRef<str>) -> Self {
        Self { position: None, path: String::new(), message: printable(message.as_ref()) }
    }
}

/// A file, or a document in it, that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The file.
    pub(crate) file: String,
    /// At least one.
    pub(crate) problems: Vec<Problem>,
    /// How many more there are.
    pub(crate) omitted: usize,
    /// Whether the system couldn't read it, so that nothing is known of what is in it.
    pub(crate) unopened: bool,
}

impl Unreadable {
    pub(super) fn new(file: &str, problem: Problem) -> Self {
        Self { file: file.to_owned(), problems: vec![problem], omitted: 0, unopened: false }
    }

    /// A file that the system couldn't read.
    pub(super) fn unopened(file: &str, reason: String) -> Self {
        Self { unopened: true, ..Self::new(file, Problem::of_file(reason)) }
    }

    /// A profile's own problems, put into their places.
    pub(super) fn of_profile(errors: &ParseErrors, source: &Source) -> Self {
        let problems = errors.errors().iter().map(|error| {
            let path = source.path(&error.path);
            Problem { position: Some(source.position(&error.path)), path, message: error.message.clone() }
        });
        Self {
            file: source.file.clone(),
            problems: problems.collect(),
            omitted: errors.omitted(),
            unopened: false,
        }
    }
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Problem { position, path, message }) in self.problems.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "\n" })?;
            f.write_str(if self.unopened { "can't read " } else { "" })?;
            f.write_str(&self.file)?;
            if let Some(position) = position {
                write!(f, ":{position}")?;
            }
            let path = if path.is_empty() { String::new() } else { format!(" {path}:") };
            write!(f, ":{path} {message}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more", self.file, self.omitted)?;
        }
        Ok(())
    }
}
