//! JSON with places: serde_json says whether it is JSON, then a walk over it finds where everything is.

use std::borrow::Cow;

use portcullis_profile::printable;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    problem::Problem,
    tree::{Content, Document, Entry, MAX_DEPTH, MAX_OBJECTS, MAX_VALUES, Node, Position, duplicates},
};

/// What begins a line that is a comment. Inspektor Gadget writes one with a container's name before each profile.
const COMMENT: &str = "//";

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(COMMENT)
}

/// Whether a text is JSON rather than YAML: it begins with an object and a quoted key, and no line divides documents.
pub(super) fn is_json(text: &str) -> bool {
    let mut begin = text.trim_start();
    while begin.starts_with(COMMENT) {
        begin = begin.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    let inside = begin.strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['"', '}']))
        && !text.lines().any(|line| line.starts_with("---"))
}

/// The text with spaces for lines that are comments, which no string of JSON can be in.
fn without_comments(text: &str) -> Cow<'_, str> {
    if !text.lines().any(is_comment) {
        return Cow::Borrowed(text);
    }
    let line = |line: &str| match is_comment(line) {
        true => format!("{}\n", " ".repeat(line.len() - usize::from(line.ends_with('\n')))),
        false => line.to_owned(),
    };
    Cow::Owned(text.split_inclusive('\n').map(line).collect())
}

/// The last comment in a text, as a name for what follows it.
fn title(text: &str) -> Option<String> {
    const SHOWN: usize = 80;
    let comment = text.lines().rfind(|line| is_comment(line))?;
    let words: String = comment.trim().trim_start_matches('/').trim().chars().take(SHOWN).collect();
    (!words.is_empty()).then(|| printable(&words))
}

/// What keeps a text from being strict JSON, which alone a runtime takes for a profile, and where.
pub(super) fn fault(text: &str) -> Option<Problem> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let what = match line.as_bytes().get(error.column().saturating_sub(1)) {
        Some(b'#' | b'/') => "a comment begins here",
        Some(b'\'') => "a string has single quotes here",
        _ => "YAML begins here",
    };
    let position = Position { line: error.line(), column: error.column().max(1) };
    Some(Problem::at(position, format!("{what}, and a runtime reads strict JSON")))
}

/// That a file begins with a byte order mark.
pub(super) fn mark() -> Problem {
    Problem::at(
        Position { line: 1, column: 1 },
        "the file begins with a byte order mark (U+FEFF), and a runtime reads strict JSON",
    )
}

/// Every document up to the first place where the text isn't JSON, and what is wrong there.
pub(super) fn read(text: &str) -> (Vec<Document>, Option<Problem>) {
    let plain = without_comments(text);
    let mut documents = Vec::new();
    let mut walk = Walk {
        text: &plain,
        offset: 0,
        at: Position { line: 1, column: 1 },
        values: 0,
        problems: Vec::new(),
    };
    // serde_json stops at a depth of 128.
    for value in serde_json::Deserializer::from_str(&plain).into_iter::<IgnoredAny>() {
        if let Err(error) = value {
            return (documents, Some(no_json(&error)));
        }
        if documents.len() >= MAX_OBJECTS {
            let message = format!("the file has more than {MAX_OBJECTS} documents: split it");
            return (documents, Some(Problem::at(walk.at, message)));
        }
        let begin = walk.offset;
        walk.space();
        let title = text.get(begin..walk.offset).and_then(title);
        walk.values = 0;
        match walk.value(0) {
            Ok(root) => {
                documents.push(Document { root, problems: std::mem::take(&mut walk.problems), title });
            }
            Err(problem) => return (documents, Some(problem)),
        }
    }
    (documents, None)
}

fn no_json(error: &serde_json::Error) -> Problem {
    let position = Position { line: error.line(), column: error.column().max(1) };
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    Problem::at(position, format!("is not JSON: {}", message.strip_suffix(&place).unwrap_or(&message)))
}

/// A walk over text that is JSON.
struct Walk<'t> {
    text: &'t str,
    offset: usize,
    at: Position,
    values: usize,
    problems: Vec<Problem>,
}

impl<'t> Walk<'t> {
    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        self.space();
        let at = self.at;
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Problem::at(
                at,
                format!("has more than {MAX_VALUES} values, more than a profile can"),
            ));
        }
        if depth > MAX_DEPTH {
            return Err(Problem::at(
                at,
                format!("nests deeper than {MAX_DEPTH}, deeper than a profile does"),
            ));
        }
        let content = match self.peek() {
            Some(b'{') => Content::Map(self.object(depth)?),
            Some(b'[') => Content::List(self.list(depth)?),
            Some(b'"') => Content::Scalar(Value::String(self.string()?)),
            _ => Content::Scalar(self.word()?),
        };
        Ok(Node { at, content })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Entry>, Problem> {
        let mut entries = Vec::new();
        self.step();
        while self.more(b'}') {
            let at = self.at;
            let key = self.string()?;
            self.space();
            // The colon.
            self.step();
            entries.push(Entry { key, at, value: self.value(depth + 1)? });
        }
        self.problems.extend(duplicates(&entries));
        Ok(entries)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        self.step();
        while self.more(b']') {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    /// Goes to the next member, or behind the end.
    fn more(&mut self, end: u8) -> bool {
        self.space();
        if self.peek() == Some(b',') {
            self.step();
            self.space();
        }
        let ends = self.peek().is_none_or(|byte| byte == end);
        if ends {
            self.step();
        }
        !ends
    }

    fn string(&mut self) -> Result<String, Problem> {
        let (start, at) = (self.offset, self.at);
        self.step();
        while let Some(byte) = self.peek() {
            if byte == b'\\' {
                self.step();
            }
            self.step();
            if byte == b'"' {
                break;
            }
        }
        self.parsed(start, at)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Value, Problem> {
        let (start, at) = (self.offset, self.at);
        while self.peek().is_some_and(|byte| !byte.is_ascii_whitespace() && !b",]}".contains(&byte)) {
            self.step();
        }
        self.parsed(start, at)
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, start: usize, at: Position) -> Result<T, Problem> {
        let text = self.text.get(start..self.offset).unwrap_or_default();
        serde_json::from_str(text).map_err(|error| Problem::at(at, format!("is not JSON: {error}")))
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.step();
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    /// One byte on. Columns are characters: bytes that continue one don't count.
    fn step(&mut self) {
        match self.peek() {
            Some(b'\n') => self.at = Position { line: self.at.line + 1, column: 1 },
            Some(byte) if byte & 0xc0 != 0x80 => self.at.column += 1,
            _ => {}
        }
        self.offset += 1;
    }
}
