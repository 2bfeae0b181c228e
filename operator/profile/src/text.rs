//! Words of a stranger's document in messages.

use std::borrow::Cow;

/// A text in which nothing gives orders to a terminal or turns what stands around it: each such character is U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|one| if is_printable(one) { one } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// A text that means the same as JSON, or in a line of a log, in which nothing gives orders to a terminal: each such character, line ends
/// among them, is JSON's escape.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for one in text.chars() {
        match one {
            '\n' => safe += "\\n",
            '\t' => safe += "\\t",
            '\r' => safe += "\\r",
            _ if is_printable(one) => safe.push(one),
            _ => one.encode_utf16(&mut [0; 2]).iter().for_each(|unit| safe += &format!("\\u{unit:04x}")),
        }
    }
    Cow::Owned(safe)
}

/// Whether a character shows what it is: it is neither a control character nor one of Unicode's format characters that turn the
/// direction of writing, end a line or are seen nowhere. The joiners of Persian, Hindi and emoji are no such.
///
/// Source: <https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing> and the blocks' charts.
#[must_use]
pub fn is_printable(one: char) -> bool {
    let is_format = matches!(
        one,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !one.is_control() && !is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gives_orders_to_a_terminal() {
        for text in ["a \"b\" 'c' \\u ä 日本", "हिन्दी", "a\u{301}", "👩\u{200d}🔬"] {
            assert_eq!(printable(text), text);
        }
        assert_eq!(
            printable("\u{1b}[31mx\u{9b}2J\u{7}\r\n"),
            "\u{fffd}[31mx\u{fffd}2J\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(printable("a\u{202e}b\u{200b}c"), "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn what_is_escaped_is_the_same_json() {
        let words = "\u{1b}]0;x\u{7} \u{9b}\u{7f} \u{202e} \u{e0001} \r\n\tä👩\u{200d}🔬";
        let json = serde_json::to_string(words).unwrap();
        let safe = escaped(&json);
        assert_eq!(printable(&safe), safe);
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), words);
        assert_eq!(escaped("a\nb\u{1b}"), "a\\nb\\u001b");
        assert!(matches!(escaped("a b"), Cow::Borrowed(_)));
    }
}
