//! Sections of `docs/performance.md` that a command writes.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

const PAGE: &str = "docs/performance.md";
const END: &str = "<!-- end -->\n";

/// Replaces the section that a command wrote.
///
/// # Errors
/// Where the page has no such section, or can't be written.
pub(crate) fn write(root: &Path, command: &str, section: &str) -> Result<()> {
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("can't read {PAGE}"))?;
    let page =
        replaced(&page, command, section).with_context(|| format!("{PAGE} has no section of `{command}`"))?;
    fs::write(&path, page).with_context(|| format!("can't write {PAGE}"))
}

/// The page with another section between its marks.
fn replaced(page: &str, command: &str, section: &str) -> Option<String> {
    let begin = format!("<!-- begin: written by `{command}` -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}{section}{END}{after}"))
}

/// A number in groups of three digits.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_alone_is_replaced() {
        let page =
            |section: &str| format!("before\n<!-- begin: written by `make x` -->\n{section}{END}after\n");
        assert_eq!(replaced(&page("old\n"), "make x", "new\n"), Some(page("new\n")));
        assert_eq!(replaced(&page("old\n"), "make y", "new\n"), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([thousands(7), thousands(1234), thousands(10_000_000)], ["7", "1,234", "10,000,000"]);
    }
}
