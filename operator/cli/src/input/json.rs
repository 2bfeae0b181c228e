//! JSON with places: serde_json says whether it is JSON, then a walk over it finds where everything is.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    problem::Problem,
    tree::{Content, Document, Entry, MAX_DEPTH, MAX_VALUES, Node, Position, duplicates},
};

/// Whether a text is JSON rather than YAML: it begins with an object and a quoted key, and no line divides documents.
pub(super) fn is_json(text: &str) -> bool {
    let inside = text.trim_start().strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['"', '}']))
        && !text.lines().any(|line| line.starts_with("---"))
}

/// What keeps a text from being strict JSON, which alone a runtime takes for a profile, and where.
pub(super) fn fault(text: &str) -> Option<Problem> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let what = match line.as_bytes().get(error.column().saturating_sub(1)) {
        Some(b'#') => "a comment begins here",
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

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Document, Problem> {
    // serde_json stops at a depth of 128.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let position = Position { line: error.line(), column: error.column().max(1) };
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Problem::at(position, format!("is not JSON: {}", message.strip_suffix(&place).unwrap_or(&message)))
    })?;
    let at = Position { line: 1, column: 1 };
    let mut walk = Walk { text, offset: 0, at, values: 0, problems: Vec::new() };
    let root = walk.value(0)?;
    Ok(Document { root, problems: walk.problems })
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
