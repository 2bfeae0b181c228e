//! YAML with places, several documents in a file.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use serde_json::{Number, Value};

use super::{
    problem::Problem,
    tree::{Content, Document, Entry, MAX_DEPTH, MAX_OBJECTS, MAX_VALUES, Node, Position, duplicates},
};

/// Every document up to the first place where the text isn't YAML, and what is wrong there.
pub(super) fn read(text: &str) -> (Vec<Document>, Option<Problem>) {
    let mut options = Options::default();
    options.block_nesting_limit = MAX_DEPTH;
    options.flow_nesting_limit = MAX_DEPTH;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let mark = error.marker();
                let at = Position { line: mark.line(), column: mark.col() + 1 };
                return (documents, Some(Problem::at(at, format!("is not YAML: {}", error.info()))));
            }
        };
        match event {
            Event::DocumentStart(..) if documents.len() >= MAX_OBJECTS => {
                let message = format!("the file has more than {MAX_OBJECTS} documents: split it");
                return (documents, Some(Problem::at(position(&span), message)));
            }
            Event::DocumentStart(..) => builder = Builder::default(),
            Event::DocumentEnd => {
                let Builder { root, problems, .. } = std::mem::take(&mut builder);
                documents.extend(root.map(|root| Document { root, problems, title: None }));
            }
            event => {
                if let Err(problem) = builder.take(event, position(&span)) {
                    return (documents, Some(problem));
                }
            }
        }
    }
    (documents, None)
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

/// Makes a tree of a document's events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    values: usize,
    problems: Vec<Problem>,
}

/// A list or an object whose end hasn't come.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
    /// An object's key whose value hasn't come.
    key: Option<(String, Position)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text =
                    style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                if let Some(Open { content: Content::Map(_), key: key @ None, .. }) = self.open.last_mut() {
                    *key = Some((text.into_owned(), at));
                    return Ok(());
                }
                let value =
                    if is_text { Value::String(text.into_owned()) } else { self.plain(text.as_ref(), at) };
                self.add(Node { at, content: Content::Scalar(value) }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Content::List(Vec::new()), at, anchor),
            Event::MappingStart(_, anchor, _) => self.begin(Content::Map(Vec::new()), at, anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { at, anchor, content, .. }) = self.open.pop() else { return Ok(()) };
                if let Content::Map(entries) = &content {
                    self.problems.extend(duplicates(entries));
                }
                self.add(Node { at, content }, anchor, 1)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(Problem::at(
                        at,
                        "is an alias of something that it is a part of: write it out",
                    ));
                };
                let (count, depth) = node.size();
                if self.open.len() + depth > MAX_DEPTH {
                    return Err(too_deep(at));
                }
                // Counted before it is copied: aliases of aliases double with each line.
                if self.values + count > MAX_VALUES {
                    return Err(too_many(at));
                }
                let node = Node { at, ..node.clone() };
                self.add(node, 0, count)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, content: Content, at: Position, anchor: usize) -> Result<(), Problem> {
        if matches!(self.open.last(), Some(Open { content: Content::Map(_), key: None, .. })) {
            return Err(Problem::at(at, "is a list or an object where a key should be: write a string"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.open.push(Open { at, anchor, content, key: None });
        Ok(())
    }

    /// Puts a whole value where it belongs.
    fn add(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), Problem> {
        self.values += count;
        if self.values > MAX_VALUES {
            return Err(too_many(node.at));
        }
        if anchor != 0 {
            let (more, _) = node.size();
            self.values += more;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { content: Content::List(items), .. }) => items.push(node),
            Some(Open { content: Content::Map(entries), key, .. }) => match key.take() {
                Some((key, at)) => entries.push(Entry { key, at, value: node }),
                None => return Err(Problem::at(node.at, "is no key: write a string")),
            },
            Some(_) => {}
        }
        Ok(())
    }

    /// A word without quotes: YAML 1.2's core schema, <https://yaml.org/spec/1.2.2/#103-core-schema>.
    fn plain(&mut self, text: &str, at: Position) -> Value {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
            "true" | "True" | "TRUE" => return Value::Bool(true),
            "false" | "False" | "FALSE" => return Value::Bool(false),
            _ => {}
        }
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.starts_with('0') && digits.len() > 1 && digits.bytes().all(|digit| digit.is_ascii_digit()) {
            let shown: String = text.chars().take(60).collect();
            self.problems.push(Problem::at(
                at,
                format!("{shown} begins with 0, which kubectl reads as octal and others as decimal: write it without"),
            ));
        }
        number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
    }
}

fn number(text: &str) -> Option<Number> {
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        // from_str_radix takes a sign.
        let digits =
            Some(digits).filter(|digits| digits.starts_with(|first: char| first.is_ascii_hexdigit()))?;
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    };
    let bare = text.strip_prefix('+').unwrap_or(text);
    if !bare.starts_with(|first: char| first.is_ascii_digit() || "-.".contains(first)) {
        return None;
    }
    let integer =
        || bare.parse::<u64>().map(Number::from).or_else(|_| bare.parse::<i64>().map(Number::from)).ok();
    let is_float = bare.bytes().all(|byte| byte.is_ascii_digit() || b"-+.eE".contains(&byte));
    let float = || is_float.then(|| bare.parse::<f64>().ok()).flatten().and_then(Number::from_f64);
    radix("0x", 16).or_else(|| radix("0o", 8)).or_else(integer).or_else(float)
}

fn too_many(at: Position) -> Problem {
    Problem::at(
        at,
        format!(
            "the document has more than {MAX_VALUES} values, aliases written out, more than a profile can"
        ),
    )
}

fn too_deep(at: Position) -> Problem {
    Problem::at(at, format!("nests deeper than {MAX_DEPTH}, deeper than a profile does"))
}
