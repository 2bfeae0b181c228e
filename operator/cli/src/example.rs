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
    let mut text = if words.is_empty() { String::new() } else { format!("{words}\n\n") };
    text.push_str("Examples:");
    for Example { about, command } in examples {
        // Writing to a String can't fail.
        let _ = write!(text, "\n  {about}:\n    $ {command}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_what_it_is_for_and_what_to_type() {
        let examples = [
            Example { about: "Look", command: "kubectl seccomp status" },
            Example { about: "Follow", command: "kubectl seccomp status -w" },
        ];
        assert_eq!(
            help(&examples),
            "Examples:\n  Look:\n    $ kubectl seccomp status\n  Follow:\n    $ kubectl seccomp status -w"
        );
    }
}
