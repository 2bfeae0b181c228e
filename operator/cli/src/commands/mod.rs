//! One module for each command.

mod lint;

use anyhow::Result;
use clap::Subcommand;

use crate::{console::Console, verdict::Verdict};

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with profiles.
    Lint(lint::Arguments),
}

impl Command {
    pub(crate) fn run(self, console: &mut Console) -> Result<Verdict> {
        match self {
            Self::Lint(arguments) => lint::run(&arguments, console),
        }
    }
}
