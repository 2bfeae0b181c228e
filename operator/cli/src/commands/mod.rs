//! One module for each command.

mod convert;
mod diff;
mod explain;
mod lint;

use anyhow::Result;
use clap::Subcommand;

use crate::{console::Console, verdict::Verdict};

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with profiles.
    Lint(lint::Arguments),
    /// Say what a profile lets a container do.
    Explain(explain::Arguments),
    /// Say what two profiles do differently.
    Diff(diff::Arguments),
    /// Write a profile in another format, or in its canonical form.
    Convert(convert::Arguments),
}

impl Command {
    pub(crate) fn run(self, console: &mut Console) -> Result<Verdict> {
        match self {
            Self::Lint(arguments) => lint::run(&arguments, console),
            Self::Explain(arguments) => explain::run(&arguments, console),
            Self::Diff(arguments) => diff::run(&arguments, console),
            Self::Convert(arguments) => convert::run(&arguments, console),
        }
    }
}
