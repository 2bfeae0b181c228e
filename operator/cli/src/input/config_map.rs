//! Profiles that a ConfigMap holds as texts.

use std::{path::Path, sync::Arc};

use portcullis_profile::printable;
use serde_json::Value;

use super::{
    File, json,
    kinds::{Reading, metadata},
    problem::{Problem, Unreadable},
    tree::{Content, Document, Entry, Node, Position},
    yaml,
};
use crate::manifest;

/// What no profile lacks.
const REQUIRED: &str = "defaultAction";

impl Reading<'_> {
    /// Adds the profiles among a ConfigMap's texts to its file.
    pub(super) fn config_map(&self, item: &Node, file: &mut File) {
        let before = file.profiles.len();
        if let Some(Content::Map(entries)) = item.get("data").map(|data| &data.content) {
            for entry in entries {
                if let Content::Scalar(Value::String(text)) = &entry.value.content
                    && text.contains(REQUIRED)
                {
                    self.entry(item, entry, text, file);
                }
            }
        }
        if file.profiles.len() == before {
            file.passed_over += 1;
        }
    }

    fn entry(&self, item: &Node, entry: &Entry, text: &str, file: &mut File) {
        let (documents, broken) = match json::is_json(text) {
            true => json::read(text),
            false => yaml::read(text),
        };
        let place = Places::of(entry.at, text, self.text);
        let key = printable(&entry.key);
        let text_of = format!("data[{key}]");
        let object = [metadata(item, "namespace"), metadata(item, "name")];
        let object: Vec<String> = object.into_iter().flatten().collect();
        for Document { mut root, problems, .. } in documents {
            if root.get(REQUIRED).is_none() {
                continue;
            }
            root.put(&|at| place.of_text(at));
            if !problems.is_empty() {
                let problems =
                    problems.into_iter().map(|problem| place.of_problem(problem, &text_of)).collect();
                let unreadable =
                    Unreadable { file: file.name.clone(), problems, omitted: 0, unopened: false };
                file.profiles.push(Err(unreadable));
                continue;
            }
            let reading = Reading {
                text,
                container: self.container,
                root: Arc::new(root),
                title: Some(format!("ConfigMap {}, {key}", object.join("/"))),
                text_of: Some(text_of.clone()),
            };
            let at = file.profiles.len();
            reading.document(&reading.root, "", file);
            for loaded in file.profiles[at..].iter_mut().flatten() {
                // What the file would be called, and where the ConfigMap is.
                let stem = Path::new(&key).file_stem().map(|stem| stem.to_string_lossy().into_owned());
                loaded.source.object = stem.filter(|stem| manifest::is_name(stem));
                loaded.source.namespace = metadata(item, "namespace");
            }
        }
        // Another program's text may be in a format of its own.
        let is_meant = [".json", ".yaml", ".yml"].iter().any(|end| key.ends_with(end));
        if let Some(problem) = broken.filter(|_| is_meant) {
            file.profiles.push(Err(Unreadable::new(&file.name, place.of_problem(problem, &text_of))));
        }
    }
}

/// Where the lines of a text are in its file.
struct Places {
    /// Where the text's key is.
    key: Position,
    /// How far the text is indented, where it stands line by line below its key.
    indent: Option<usize>,
}

impl Places {
    /// A text below a key. One that was written in one line, with `\n` in it, is where the key is.
    fn of(key: Position, text: &str, file: &str) -> Self {
        let below = file.lines().skip(key.line);
        let indent_of = |(own, there): (&str, &str)| {
            let indent = there.strip_suffix(own)?;
            indent.chars().all(|one| one == ' ').then(|| indent.chars().count())
        };
        let mut indents = text.lines().zip(below).filter(|(own, _)| !own.trim().is_empty()).map(indent_of);
        let first = indents.next().flatten();
        Self { key, indent: first.filter(|first| indents.all(|other| other == Some(*first))) }
    }

    /// The text's own problem, put into its place in the file.
    fn of_problem(&self, problem: Problem, path: &str) -> Problem {
        Problem { position: problem.position.map(|at| self.of_text(at)), path: path.to_owned(), ..problem }
    }

    /// A place in the text as a place in the file.
    fn of_text(&self, at: Position) -> Position {
        match self.indent {
            Some(indent) => Position { line: self.key.line + at.line, column: at.column + indent },
            None => self.key,
        }
    }
}
