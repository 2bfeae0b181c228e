//! `record`: what a test suite calls, and the profile of it.

mod export;
mod run;
mod status;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    console::Console,
    example::{self, Example},
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[Example {
    about: "Try out in the cluster, in Audit mode, what a recording came to",
    command: "kubectl seccomp record export web | kubectl apply -f -",
}];

/// What to do with recordings.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES), args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a profile of what a SeccompRecording has seen, or merge it into a committed one.
    Export(Box<export::Arguments>),
    /// Run a command, and count what the recorded pods do meanwhile for one test run.
    Run(Box<run::Arguments>),
    /// Say how far recordings are, and what they have not seen.
    #[command(visible_alias = "list")]
    Status(Box<status::Arguments>),
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    match &arguments.command {
        Command::Export(arguments) => export::run(arguments, console),
        Command::Run(arguments) => run::run(arguments, console),
        Command::Status(arguments) => status::run(arguments, console),
    }
}
