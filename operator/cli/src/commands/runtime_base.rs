//! `runtime-base`: what the container runtime needs of every profile.

use anyhow::Result;
use clap::{Args, ValueEnum};
use portcullis_profile::runtime_base::{self, Denied, Evidence};

use crate::{
    console::{self, Console},
    example::{self, Example},
    platform::RuntimeName,
    verdict::Verdict,
};

const WORDS: &str = "\
A runtime loads the filter and then still has work to do before the application is executed: a
profile without these calls starts no container. With no_new_privs (allowPrivilegeEscalation: false
in Kubernetes) it loads the filter last and needs few; without, it loads the filter before it drops
privileges. A recording made on a cluster holds these calls already; one made with strace doesn't.";
const EXAMPLES: &[Example] = &[
    Example {
        about: "What every profile for runc has to allow",
        command: "kubectl seccomp runtime-base --runtime runc --no-new-privs > base.json",
    },
    Example {
        about: "Where each of crun's calls is known from",
        command: "kubectl seccomp runtime-base --runtime crun -o table",
    },
];

/// Which runtime, and how.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// The runtime.
    #[arg(long, value_enum)]
    runtime: RuntimeName,
    /// Containers run with no_new_privs.
    #[arg(long)]
    no_new_privs: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Json)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A profile of these calls alone, as OCI JSON.
    Json,
    /// One name a line.
    Names,
    /// Each call with where it is known from, and what happens without it.
    Table,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { runtime, no_new_privs, output } = *arguments;
    let runtime = runtime.into();
    console::note(runtime_base::versions(runtime));
    match output {
        Output::Json => {
            console
                .document()
                .write_all(&runtime_base::profile(runtime, no_new_privs).canonical().render())?;
        }
        Output::Names => {
            for name in runtime_base::names(runtime, no_new_privs) {
                writeln!(console.out(), "{name}")?;
            }
        }
        Output::Table => table(runtime, no_new_privs, console)?,
    }
    Ok(Verdict::Yes)
}

fn table(
    runtime: portcullis_profile::evaluate::Runtime,
    no_new_privs: bool,
    console: &mut Console,
) -> Result<()> {
    let calls = runtime_base::calls(runtime);
    writeln!(
        console.out(),
        "{:<16} {:<14} {:<11} {:<15} SOURCE",
        "CALL",
        "NO_NEW_PRIVS",
        "IF DENIED",
        "SINCE"
    )?;
    for name in runtime_base::names(runtime, no_new_privs) {
        let Some(call) = calls.iter().find(|call| call.name == name) else {
            writeln!(
                console.out(),
                "{name:<16} {:<14} {:<11} {:<15} every program",
                "with, without",
                "-",
                "-"
            )?;
            continue;
        };
        let when = if call.escalation { "without" } else { "with, without" };
        let denied = match call.denied {
            Denied::Fails => "fails",
            Denied::Starts => "starts",
            Denied::ExecFails => "exec fails",
            Denied::Untried => "-",
        };
        let source = match call.evidence {
            Evidence::Measured => "measured",
            Evidence::Source(source) => source,
        };
        let since = call.since.unwrap_or("-");
        writeln!(console.out(), "{name:<16} {when:<14} {denied:<11} {since:<15} {source}")?;
    }
    Ok(())
}
