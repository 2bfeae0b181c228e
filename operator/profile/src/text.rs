//! Words of a stranger's document in messages.

/// A text in which nothing gives orders to a terminal or turns what stands around it: each such character is U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|one| if is_printable(one) { one } else { char::REPLACEMENT_CHARACTER }).collect()
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
}
