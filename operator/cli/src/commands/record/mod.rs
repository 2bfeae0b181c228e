//! `record`: a profile of what is called, on this machine or by a test suite in a cluster.

mod export;
mod local;
mod run;
mod status;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    console::Console,
    example::{self, Example},
    verdict::Verdict,
};

pub(super) use local::LONG;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use local::processes_of_container;

const EXAMPLES: &[Example] = &[
    Example { about: "Record a command", command: "kubectl seccomp record --file ls.json -- ls -l" },
    Example {
        about: "Add what a second run needs, and see what that is",
        command: "kubectl seccomp record --file ls.json -- ls; kubectl seccomp record --merge ls.json --file ls.json -- ls -l /",
    },
    Example {
        about: "Record a program for a container that runc starts, into a cluster",
        command: "kubectl seccomp record --with-runtime-base runc -o cr --name app -- ls | kubectl apply -f -",
    },
    Example {
        about: "Record a container from before its start until it ends",
        command: "ID=$(podman create app); kubectl seccomp record --container $ID --file app.json & sleep 3; podman start $ID; wait",
    },
    Example {
        about: "Record five minutes of a container that runs already",
        command: "kubectl seccomp record --container 3f4e --for 5m --file app.json",
    },
    Example {
        about: "Try out in the cluster, in Audit mode, what a recording came to",
        command: "kubectl seccomp record export web | kubectl apply -f -",
    },
];

/// What to record on this machine, or what to do with a cluster's recordings.
#[derive(Debug, Args)]
#[command(
    after_help = example::help_after(local::AFTER, EXAMPLES),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_value_name = "ACTION"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    local: local::LocalArguments,
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
        Some(Command::Export(arguments)) => export::run(arguments, console),
        Some(Command::Run(arguments)) => run::run(arguments, console),
        Some(Command::Status(arguments)) => status::run(arguments, console),
        None => local::run(&arguments.local, console),
    }
}
