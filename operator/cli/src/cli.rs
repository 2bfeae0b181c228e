//! The command line.

use clap::Parser;

use crate::commands::Command;

/// Read, check, compare, combine, import and share seccomp profiles.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-seccomp",
    bin_name = "kubectl seccomp",
    version,
    after_help = "Exits with 0, with 1 where the answer is no (a finding, a difference), with 2 where there is none."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}
