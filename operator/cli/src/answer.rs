//! Where an answer goes: strangers' words give a terminal no orders.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::Style;
use portcullis_profile::is_printable;

/// Takes an answer and passes it on with U+FFFD in place of every character that is not printable, but for line ends and tabs.
///
/// Names, messages and paths in it are a stranger's. What orders a terminal does get are colours, by [`Answer::paint`] alone.
pub(crate) struct Answer<W> {
    stream: W,
    /// Whether the reader wants colours.
    colours: bool,
    /// The beginning of a character whose end was not written yet.
    begun: Vec<u8>,
}

impl<W: Write> Answer<W> {
    pub(crate) const fn new(stream: W, colours: bool) -> Self {
        Self { stream, colours, begun: Vec::new() }
    }

    /// Writes a text in a style where the reader wants colours.
    pub(crate) fn paint(&mut self, style: Style, text: impl Display) -> io::Result<()> {
        if !self.colours {
            return write!(self, "{text}");
        }
        write!(self.stream, "{style}")?;
        write!(self, "{text}")?;
        write!(self.stream, "{style:#}")
    }

    /// What it passes on to, for what has to arrive byte for byte.
    pub(crate) const fn stream(&mut self) -> &mut W {
        &mut self.stream
    }

    pub(crate) const fn stream_ref(&self) -> &W {
        &self.stream
    }

    fn pass(&mut self, text: &str) -> io::Result<()> {
        let is_fit = |one: char| is_printable(one) || matches!(one, '\n' | '\t');
        for part in text.split_inclusive(|one| !is_fit(one)) {
            let fit = part.trim_end_matches(|one| !is_fit(one));
            self.stream.write_all(fit.as_bytes())?;
            if fit.len() < part.len() {
                write!(self.stream, "{}", char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Answer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.pass(chunk.valid())?;
            let rest = chunk.invalid();
            let may_go_on = chunks.peek().is_none() && is_begun(rest);
            if may_go_on {
                self.begun = rest.to_vec();
            } else if !rest.is_empty() {
                write!(self.stream, "{}", char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Whether bytes that are no character can become one.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;
    use proptest::prelude::*;

    use super::*;
    use crate::{output, table::Table};

    const RED: Style = AnsiColor::Red.on_default().bold();

    /// Strings with much of what terminals obey.
    fn hostile() -> impl Strategy<Value = String> {
        let orders = prop_oneof![
            Just("\u{1b}[2J".to_owned()),
            Just("\u{1b}[31m".to_owned()),
            Just("\u{1b}]0;owned\u{7}".to_owned()),
            Just("\u{9b}1A".to_owned()),
            Just("\r\u{8}\u{7f}".to_owned()),
            Just("\u{202e}\u{2066}\u{200f}".to_owned()),
            any::<char>().prop_map(String::from),
            ".*",
        ];
        proptest::collection::vec(orders, 0..6).prop_map(|parts| parts.concat())
    }

    /// Fails where a terminal would get an order that is none of `own`.
    fn assert_fit(written: &[u8], own: &[String]) {
        let mut text = String::from_utf8(written.to_vec()).expect("text");
        for code in own {
            text = text.replace(code, "");
        }
        let order = text.chars().find(|one| !is_printable(*one) && !matches!(one, '\n' | '\t'));
        assert_eq!(order, None, "{text:?}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_gives_orders(texts in proptest::collection::vec(hostile(), 1..4), at in any::<prop::sample::Index>()) {
            for colours in [true, false] {
                let mut answer = Answer::new(Vec::new(), colours);
                for text in &texts {
                    // In two halves, so that characters are cut.
                    let (one, other) = text.as_bytes().split_at(at.index(text.len() + 1));
                    answer.write_all(one).unwrap();
                    answer.write_all(other).unwrap();
                    answer.paint(RED, text).unwrap();
                }
                let own = if colours { vec![RED.render().to_string(), RED.render_reset().to_string()] } else { Vec::new() };
                assert_fit(&answer.stream, &own);
                // A stranger's own colour is none of ours.
                let codes = String::from_utf8_lossy(&answer.stream).matches('\u{1b}').count();
                let each = RED.render().to_string().matches('\u{1b}').count() + 1;
                prop_assert_eq!(codes, if colours { texts.len() * each } else { 0 });
            }
        }

        #[test]
        fn bytes_of_no_text_give_no_orders(bytes in any::<Vec<u8>>()) {
            let mut answer = Answer::new(Vec::new(), true);
            answer.write_all(&bytes).unwrap();
            assert_fit(&answer.stream, &[]);
        }

        #[test]
        fn tables_keep_their_rows(cells in proptest::collection::vec(hostile(), 3)) {
            let mut table = Table::new(["A", "B", "C"]);
            table.push(cells.clone());
            let mut out = Vec::new();
            table.write(&mut out).unwrap();
            table.write_row(&cells, &mut out).unwrap();
            assert_fit(&out, &[]);
            prop_assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3);
        }

        #[test]
        fn programs_get_the_very_words(words in hostile()) {
            let value = serde_json::json!({"key": [&words, {&words: 1}]});
            let mut out = Vec::new();
            output::json(&value, &mut out).unwrap();
            assert_fit(&out, &[]);
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), value.clone());
            let mut out = Vec::new();
            output::yaml(&value, &mut out).unwrap();
            assert_fit(&out, &[]);
            prop_assert_eq!(serde_saphyr::from_slice::<serde_json::Value>(&out).unwrap(), value);
        }
    }

    #[test]
    fn what_is_printable_arrives_as_it_is() {
        let text = "a\tb\n日本 हिन्दी 👩\u{200d}🔬\n";
        let mut answer = Answer::new(Vec::new(), true);
        for byte in text.as_bytes() {
            answer.write_all(&[*byte]).unwrap();
        }
        assert_eq!(String::from_utf8(answer.stream).unwrap(), text);
    }
}
