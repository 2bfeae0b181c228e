//! Where the fields of a YAML or JSON text stand, so that some can be replaced and all else stays as it is.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};

/// Objects and lists inside one another; a custom resource has 9.
const MAX_DEPTH: usize = 64;
/// Values in a file: more than 16 profiles of the greatest size have.
const MAX_VALUES: usize = 1 << 20;

/// A value and where it stands: byte offsets.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// From its first character to the end of its last.
    pub(super) range: Range<usize>,
    /// Whether it is written with brackets.
    pub(super) flow: bool,
    /// An object's fields; none for anything else.
    pub(super) fields: Vec<Field>,
    /// A string or a word.
    word: Option<String>,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) key: String,
    /// Where its key begins.
    pub(super) at: usize,
    pub(super) value: Place,
}

impl Place {
    /// A field of an object.
    pub(super) fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// A field of an object, where it is a word.
    pub(super) fn word(&self, key: &str) -> Option<&str> {
        self.field(key)?.value.word.as_deref()
    }
}

/// The documents of a text, those that are empty left out.
pub(super) fn documents(text: &str) -> Result<Vec<Place>> {
    let mut options = Options::default();
    options.block_nesting_limit = MAX_DEPTH;
    options.flow_nesting_limit = MAX_DEPTH;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let (mut documents, mut builder, mut values) = (Vec::new(), Builder::new(text), 0);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            anyhow!("{}:{}: is not YAML: {}", mark.line(), mark.col() + 1, error.info())
        })?;
        values += 1;
        if values > MAX_VALUES {
            bail!("has more values than profiles can have");
        }
        match event {
            Event::DocumentStart(..) => builder = Builder::new(text),
            Event::DocumentEnd => documents.extend(builder.root.take()),
            event => builder.take(&event, &span)?,
        }
    }
    Ok(documents)
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Place>,
}

struct Open {
    place: Place,
    is_object: bool,
    /// A key whose value hasn't come.
    key: Option<(String, usize)>,
}

impl<'t> Builder<'t> {
    const fn new(text: &'t str) -> Self {
        Self { text, open: Vec::new(), root: None }
    }

    fn take(&mut self, event: &Event<'_>, span: &Span) -> Result<()> {
        let range = self.range(span)?;
        match event {
            Event::Scalar(word, style, ..) => {
                if let Some(Open { is_object: true, key: key @ None, .. }) = self.open.last_mut() {
                    *key = Some((word.to_string(), range.start));
                    return Ok(());
                }
                let word = (*style != ScalarStyle::Plain || !word.is_empty()).then(|| word.to_string());
                self.add(Place { range, flow: false, fields: Vec::new(), word });
            }
            Event::Alias(_) => self.add(Place { range, flow: false, fields: Vec::new(), word: None }),
            Event::SequenceStart(..) | Event::MappingStart(..) if self.awaits_key() => {
                bail!("{}: has a list or an object where a key should be", span.start.line());
            }
            Event::SequenceStart(style, ..) => self.begin(*style, range, false),
            Event::MappingStart(style, ..) => self.begin(*style, range, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { mut place, .. }) = self.open.pop() else { return Ok(()) };
                // A block has no end of its own: it ends where the last value in it does.
                if place.flow {
                    place.range.end = range.end;
                }
                self.add(place);
            }
            _ => {}
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { is_object: true, key: None, .. }))
    }

    fn begin(&mut self, style: StructureStyle, range: Range<usize>, is_object: bool) {
        let place = Place {
            range: range.start..range.start,
            flow: style == StructureStyle::Flow,
            fields: Vec::new(),
            word: None,
        };
        self.open.push(Open { place, is_object, key: None });
    }

    fn add(&mut self, place: Place) {
        let Some(above) = self.open.last_mut() else {
            self.root = Some(place);
            return;
        };
        above.place.range.end = above.place.range.end.max(place.range.end);
        if let Some((key, at)) = above.key.take() {
            above.place.fields.push(Field { key, at, value: place });
        }
    }

    /// What a span covers, without the space after it that a text over several lines has.
    fn range(&self, span: &Span) -> Result<Range<usize>> {
        let offsets = span.start.byte_offset().zip(span.end.byte_offset());
        let (start, end) = offsets.ok_or_else(|| anyhow!("can't be edited: its places are not known"))?;
        let covered = self.text.get(start..end.max(start)).unwrap_or_default();
        Ok(start..start + covered.trim_end().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered<'t>(text: &'t str, place: &Place) -> &'t str {
        &text[place.range.clone()]
    }

    #[test]
    fn a_value_ends_where_its_last_word_does() {
        let text = "# ä\nkind: A # x\nspec:\n  one:\n    - a\n    - b: |\n        text\n\n  # of two\n  two: {c: [1,\n    2]} # after\n\n---\nkind: B\n";
        let found = documents(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].word("kind"), Some("A"));
        let spec = &found[0].field("spec").unwrap().value;
        let one = spec.field("one").unwrap();
        assert_eq!(&text[one.at..one.value.range.end], "one:\n    - a\n    - b: |\n        text");
        let two = spec.field("two").unwrap();
        assert!(two.value.flow && !spec.flow);
        assert_eq!(covered(text, &two.value), "{c: [1,\n    2]}");
        assert_eq!(covered(text, &found[1]), "kind: B");
    }

    #[test]
    fn json_has_places_too() {
        let text = "{\"kind\": \"A\", \"spec\": {\"profile\": {\"a\": 1}, \"n\": null}}\n";
        let found = documents(text).unwrap();
        let spec = &found[0].field("spec").unwrap().value;
        assert!(spec.flow);
        assert_eq!(covered(text, &spec.field("profile").unwrap().value), "{\"a\": 1}");
        assert_eq!(covered(text, spec), "{\"profile\": {\"a\": 1}, \"n\": null}");
    }

    #[test]
    fn what_is_no_yaml_has_a_line() {
        let error = documents("kind: A\nspec: {{ .Values.x }}\n  b: [").unwrap_err().to_string();
        assert_eq!(error, "2: has a list or an object where a key should be");
        let error = documents("kind: A\nspec:\n  b: [\n").unwrap_err().to_string();
        assert!(error.starts_with("3:6: is not YAML: "), "{error}");
    }
}
