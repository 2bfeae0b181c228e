//! Examples in help texts. Tests run each of them, so none goes stale.
//!
//! A command keeps its examples beside its arguments and shows them after its options:
//!
//! ```text
//! const EXAMPLES: &[Example] = &[Example {
//!     about: "Check every profile of a folder, as a CI job does",
//!     command: "kubectl seccomp lint profiles/*.json",
//! }];
//!
//! #[derive(Debug, Args)]
//! #[command(after_help = example::help(EXAMPLES))]
//! pub(crate) struct Arguments { .. }
//! ```
//!
//! A command with more to say than examples uses [`help_after`].
//!
//! Where a command has no `--kubeconfig`, `tests/examples.rs` runs its examples with a shell among the files of
//! `tests/examples/`; those with it run on a cluster, in `e2e/tests/cli`. One that names `registry.example.com` is for the tests
//! that have a registry, and one that runs `kubectl get` or `kubectl apply` for those on a cluster too.

use std::fmt::Write as _;

use crate::console;

/// Something that a user would want to do, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Example {
    /// What it is for, without a full stop.
    pub(crate) about: &'static str,
    /// What to type into a shell, one line.
    pub(crate) command: &'static str,
}

/// The end of a command's help text.
pub(crate) fn help(examples: &[Example]) -> String {
    help_after("", examples)
}

/// The end of a command's help text, with what is to be said before the examples.
pub(crate) fn help_after(words: &str, examples: &[Example]) -> String {
    laid_out(words, examples, console::help_columns())
}

/// The same in so many columns. clap breaks lines where they are too long, so commands are broken where a shell may go on.
fn laid_out(words: &str, examples: &[Example], columns: usize) -> String {
    let mut text = if words.is_empty() { String::new() } else { format!("{}\n\n", flowing(words)) };
    text.push_str("Examples:");
    for Example { about, command } in examples {
        // Writing to a String can't fail.
        let _ = write!(text, "\n  {about}:\n    $ {}", broken(command, columns));
    }
    text
}

/// A text whose paragraphs are one line each; indented lines stay.
fn flowing(words: &str) -> String {
    let flows = |line: &str| !line.is_empty() && !line.starts_with(' ');
    let (mut text, mut before) = (String::new(), "");
    for (number, line) in words.lines().enumerate() {
        if number > 0 {
            text.push(if flows(before) && flows(line) { ' ' } else { '\n' });
        }
        text.push_str(line);
        before = line;
    }
    text
}

/// A command in lines of so many columns at most, broken between its words.
fn broken(command: &str, columns: usize) -> String {
    /// What stands before a line, and the backslash behind it.
    const AROUND: usize = 8;
    let room = columns.saturating_sub(AROUND);
    let (mut text, mut length) = (String::new(), 0);
    for word in words(command) {
        let own = word.chars().count();
        if length > 0 && length + 1 + own > room {
            text.push_str(" \\\n      ");
            length = 0;
        } else if length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += own;
    }
    text
}

/// A command's words; a space in quotes divides none.
fn words(command: &str) -> Vec<&str> {
    let mut quote = None;
    let divides = |one: char| {
        match quote {
            None if matches!(one, '\'' | '"') => quote = Some(one),
            Some(open) if open == one => quote = None,
            _ => {}
        }
        one == ' ' && quote.is_none()
    };
    command.split(divides).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_broken_where_a_shell_goes_on() {
        assert_eq!(broken("a bb ccc", 80), "a bb ccc");
        assert_eq!(broken("aaa bbb ccc ddd", 16), "aaa bbb \\\n      ccc ddd");
        assert_eq!(broken("a 'b c d e f g h' i", 16), "a \\\n      'b c d e f g h' \\\n      i");
    }

    #[test]
    fn paragraphs_flow_and_indented_lines_stay() {
        let words = "One\ntwo.\n\nThree\n    four five\n    six\nSeven\neight.";
        assert_eq!(flowing(words), "One two.\n\nThree\n    four five\n    six\nSeven eight.");
    }

    #[test]
    fn an_example_is_what_it_is_for_and_what_to_type() {
        let examples = [
            Example { about: "Look", command: "kubectl seccomp status" },
            Example { about: "Follow", command: "kubectl seccomp status -w" },
        ];
        assert_eq!(
            laid_out("", &examples, 80),
            "Examples:\n  Look:\n    $ kubectl seccomp status\n  Follow:\n    $ kubectl seccomp status -w"
        );
    }
}
