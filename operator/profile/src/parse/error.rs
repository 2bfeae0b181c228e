//! What is wrong with a document.

use std::fmt;

use crate::printable;

/// The most errors that one reading collects; the rest are counted.
const MAX_ERRORS: usize = 20;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// Where, as a JSON path such as `syscalls[3].args[0].op`; empty for the document itself.
    pub path: String,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Everything that is wrong with a document, in its order, bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct ParseErrors {
    errors: Vec<ParseError>,
    omitted: usize,
}

impl ParseErrors {
    /// One error, of the document as a whole.
    #[must_use]
    pub fn of_document(message: String) -> Self {
        let mut errors = Self::default();
        errors.push(&Path::Root, message);
        errors
    }

    /// Adds an error. Both texts may hold words of the document, so this is where they are made fit to be shown.
    pub(crate) fn push(&mut self, path: &Path<'_>, message: String) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(ParseError { path: printable(&path.to_string()), message: printable(&message) });
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds another reading's.
    pub(crate) fn append(&mut self, more: Self) {
        let room = MAX_ERRORS.saturating_sub(self.errors.len());
        self.omitted += more.omitted + more.errors.len().saturating_sub(room);
        self.errors.extend(more.errors.into_iter().take(room));
    }

    /// The same errors in other places.
    pub(crate) fn map_paths(mut self, map: impl Fn(String) -> String) -> Self {
        for error in &mut self.errors {
            error.path = map(std::mem::take(&mut error.path));
        }
        self
    }

    /// The errors, at most 20.
    #[must_use]
    pub fn errors(&self) -> &[ParseError] {
        &self.errors
    }

    /// How many more there are.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The same errors of a document that is a part of another: `within("spec.profile")` makes
    /// `spec.profile.syscalls[3]` of `syscalls[3]`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        for error in &mut self.errors {
            error.path = join(prefix, &error.path);
        }
        self
    }
}

/// A place in a document, written out only where something is wrong there.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The document itself.
    Root,
    /// A field of an object.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list.
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(&shown(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", shown(key)),
            Self::Item(parent, position) => write!(f, "{parent}[{position}]"),
        }
    }
}

/// As much of a word of the document as a message shows: it may be as long as the document.
pub(crate) fn shown(word: &str) -> String {
    word.chars().take(60).collect()
}

/// A path inside a document, seen from around it.
pub(crate) fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.errors.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        if self.omitted > 0 {
            write!(f, "; and {} more", self.omitted)?;
        }
        Ok(())
    }
}
