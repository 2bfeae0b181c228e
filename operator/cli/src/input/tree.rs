//! A JSON or YAML document in which every value knows its place in the file.

use std::{collections::HashSet, fmt};

use serde_json::{Map, Value};

use super::problem::Problem;

/// Objects and lists inside one another. An OCI document has 5, one in a list of custom resources 9.
pub(super) const MAX_DEPTH: usize = 64;

/// Values in one document, aliases written out: more than a profile of 1 MiB, the most that one may have, has where each takes
/// eight bytes; names of calls take ten.
pub(super) const MAX_VALUES: usize = 128 * 1024;

/// Objects in one file, in documents or in lists: each costs time, however small it is, and no cluster has more profiles to
/// write into one file.
pub(super) const MAX_OBJECTS: usize = 4096;

/// A place in a file: a line and a column in characters, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(super) at: Position,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A field of an object, and where its key begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    /// What is wrong with it, were it a profile: duplicate keys, numbers that readers disagree on.
    pub(super) problems: Vec<Problem>,
    /// The comment before it, where that is a name for it.
    pub(super) title: Option<String>,
}

/// So many bytes of a text count as another value where it is copied: aliases of a long one are a way to fill the memory.
const BYTES_OF_A_VALUE: usize = 256;

impl Node {
    /// A field of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// A field of an object, where it is a string.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Puts it, and all that is in it, into other places.
    pub(super) fn put(&mut self, place: &impl Fn(Position) -> Position) {
        self.at = place(self.at);
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.put(place)),
            Content::Map(entries) => {
                for entry in entries {
                    entry.at = place(entry.at);
                    entry.value.put(place);
                }
            }
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.content == Content::Scalar(Value::Null)
    }

    /// The value without its places.
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Map(entries) => {
                let mut object = Map::new();
                for entry in entries {
                    object.entry(entry.key.clone()).or_insert_with(|| entry.value.to_value());
                }
                Value::Object(object)
            }
        }
    }

    /// Where a path such as `syscalls[3].args[0].op` leads: to a key, or an item of a list. Where a part of it isn't
    /// there, to the last that is.
    pub(super) fn locate(&self, path: &str) -> Position {
        let (mut node, mut at) = (self, self.at);
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (&node.content, step.strip_suffix(']')) {
                (Content::List(items), Some(index)) => {
                    index.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item, item.at))
                }
                (Content::Map(entries), None) => {
                    entries.iter().find(|entry| entry.key == step).map(|entry| (&entry.value, entry.at))
                }
                _ => None,
            };
            let Some(found) = next else { return at };
            (node, at) = found;
        }
        at
    }

    /// How many values it holds, itself counted, and how deep they nest.
    pub(super) fn size(&self) -> (usize, usize) {
        let inner = |sizes: &mut dyn Iterator<Item = (usize, usize)>| {
            sizes.fold((1, 1), |(count, depth), (more, deeper)| (count + more, depth.max(deeper + 1)))
        };
        match &self.content {
            Content::Scalar(Value::String(text)) => (1 + text.len() / BYTES_OF_A_VALUE, 0),
            Content::Scalar(_) => (1, 0),
            Content::List(items) => inner(&mut items.iter().map(Self::size)),
            Content::Map(entries) => inner(&mut entries.iter().map(|entry| entry.value.size())),
        }
    }
}

/// The keys that stand twice in an object.
pub(super) fn duplicates(entries: &[Entry]) -> impl Iterator<Item = Problem> {
    let mut seen = HashSet::new();
    entries.iter().filter(move |entry| !seen.insert(entry.key.as_str())).map(|entry| {
        let shown: String = entry.key.chars().take(60).collect();
        Problem::at(
            entry.at,
            format!("the key {shown:?} stands twice; runtimes keep the last one only: remove one of them"),
        )
    })
}
