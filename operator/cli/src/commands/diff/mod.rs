//! `diff`: what two profiles do differently.

pub(super) mod entries;
mod json;
mod text;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use portcullis_profile::compare::changes_on;

use crate::{
    console::Console,
    example::{self, Example},
    input,
    platform::{self, Nodes},
    verdict::Verdict,
};

const WORDS: &str = "\
What a runtime would do with every call and argument is compared, not text: the order of rules and how they are divided don't
matter; on nodes of every architecture that a profile lists, where --arch names none. Exits with 0 where the profiles do the same, with 1 where not, with 2 where a file can't be read. With --looser-only
exits with 1 only where B lets a call, or an argument, get further than A does.";

const EXAMPLES: &[Example] = &[
    Example { about: "What changes for the container", command: "kubectl seccomp diff api.json web.json" },
    Example {
        about: "Fail a review where a call gets further than before",
        command: "kubectl seccomp diff --looser-only api.json web.json",
    },
    Example {
        about: "As crun loads them on ARM nodes",
        command: "kubectl seccomp diff --arch arm64 --runtime crun api.json web.json",
    },
    Example {
        about: "Compare with what another program writes",
        command: "cat api.json | kubectl seccomp diff - web.json",
    },
];

/// Which files, and whose nodes.
#[derive(Debug, Args)]
#[command(
    after_help = example::help_after(WORDS, EXAMPLES),
    mut_arg("arch", |arch| arch.help("The nodes' architecture, for example arm64; each that a profile lists where it is not set"))
)]
pub(crate) struct Arguments {
    /// A file with one profile in any format; `-` is standard input.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one.
    #[arg(value_name = "B")]
    b: PathBuf,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Show, and count as a difference, only what B lets get further than A does.
    #[arg(long)]
    looser_only: bool,
    #[command(flatten)]
    nodes: Nodes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { a, b, output, looser_only, nodes } = arguments;
    if a == b && a.as_os_str() == "-" {
        anyhow::bail!("both profiles can't come from standard input: name a file for one");
    }
    let container = platform::usual_container(nodes.arch());
    let (a, b) = (input::profile_for(a, &container)?, input::profile_for(b, &container)?);
    let natives = nodes.arches([&a.profile, &b.profile]);
    let mut changes = changes_on(&a.profile, &b.profile, nodes.runtime(), &natives)
        .map_err(|(in_b, refusal)| anyhow::anyhow!("{}: {refusal}", if in_b { &b.name } else { &a.name }))?;
    if *looser_only {
        changes.calls.retain(|call| call.change.is_looser());
        changes.names.retain(|one| one.change.is_looser());
        changes.architectures.retain(|one| one.in_b && one.calls > 0);
        changes.fields.clear();
    }
    let names = [a.name.as_str(), b.name.as_str()];
    match output {
        Output::Text => text::write(names, &changes, *looser_only, console.out())?,
        Output::Json => json::write(names, &changes, console.out())?,
    }
    Ok(if changes.is_empty() { Verdict::Yes } else { Verdict::No })
}
