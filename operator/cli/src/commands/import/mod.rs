//! `import`: profiles of what was seen elsewhere.

mod audit;
pub(super) mod generation;
mod hook;
pub(super) mod origin;
pub(super) mod source;
mod strace;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    console::Console,
    example::{self, Example},
    verdict::Verdict,
};

pub(super) use strace::refusal;

const EXAMPLES: &[Example] = &[
    Example {
        about: "A profile of what strace saw",
        command: "kubectl seccomp import strace app.strace > app.json",
    },
    Example { about: "Which calls the kernel logged", command: "kubectl seccomp import audit audit.log" },
    Example {
        about: "What podman's hook recorded",
        command: "kubectl seccomp import hook hook.json > app.json",
    },
];

/// What from.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Source {
    /// Make a profile of traces, or of the tables of `strace -c`.
    #[command(long_about = strace::LONG)]
    Strace(strace::Arguments),
    /// Say which calls seccomp logged, by program, or make a profile of them.
    #[command(long_about = audit::LONG)]
    Audit(audit::Arguments),
    /// Make a profile of what oci-seccomp-bpf-hook wrote.
    #[command(long_about = hook::LONG)]
    Hook(hook::Arguments),
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    match &arguments.source {
        Source::Strace(arguments) => strace::run(arguments, console),
        Source::Audit(arguments) => audit::run(arguments, console),
        Source::Hook(arguments) => hook::run(arguments, console),
    }
}
