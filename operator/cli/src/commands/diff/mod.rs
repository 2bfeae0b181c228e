//! `diff`: what two profiles do differently.

pub(super) mod entries;
pub(super) mod json;
pub(super) mod text;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use portcullis_profile::{
    Arch, Baseline,
    compare::{Changes, changes_from, changes_on},
    docker::{Context, arch_name},
    evaluate::Refusal,
};

use crate::{
    baseline::Chosen,
    console::{self, Console},
    example::{self, Example},
    input,
    platform::{Container, Nodes},
    verdict::Verdict,
};

const WORDS: &str = "\
What a runtime would do with every call and argument is compared, not text: the order of rules and how they are divided don't
matter; on nodes of every architecture that a profile lists, where --arch names none. Exits with 0 where the profiles do the same, with 1 where not, with 2 where a file can't be read. With --looser-only
exits with 1 only where B lets a call, or an argument, get further than A does.

With one file A is the runtime default: what the defaults of all supported runtimes allow, or what --baseline names.";

const EXAMPLES: &[Example] = &[
    Example { about: "What changes for the container", command: "kubectl seccomp diff api.json web.json" },
    Example {
        about: "Fail a review where a call gets further than before",
        command: "kubectl seccomp diff --looser-only api.json web.json",
    },
    Example {
        about: "What goes further than the runtime default, and so needs a permission in a namespace",
        command: "kubectl seccomp diff --looser-only web.json",
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
    /// A file with one profile in any format; `-` is standard input. Alone it is B, and A is the runtime default.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one.
    #[arg(value_name = "B", conflicts_with = "baseline")]
    b: Option<PathBuf>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Show, and count as a difference, only what B lets get further than A does.
    #[arg(long)]
    looser_only: bool,
    #[command(flatten)]
    baseline: Chosen,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    container: Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { a, b, output, looser_only, baseline, nodes, container } = arguments;
    let container = container.on(nodes.arch());
    let (names, mut changes) = match b {
        Some(b) => of_files(a, b, &container, *nodes)?,
        None => of_baseline(&baseline.read(Some(a), &container)?, a, &container, *nodes)?,
    };
    if *looser_only {
        changes.calls.retain(|call| call.change.is_looser());
        changes.names.retain(|one| one.change.is_looser());
        changes.architectures.retain(|one| one.in_b && one.calls > 0);
        changes.fields.clear();
    }
    let names = names.each_ref().map(String::as_str);
    match output {
        Output::Text => text::write(names, &changes, *looser_only, console.styled())?,
        Output::Json => json::write(names, &changes, console.out())?,
    }
    Ok(if changes.is_empty() { Verdict::Yes } else { Verdict::No })
}

/// What two profiles are called, and what they do differently.
type Compared = ([String; 2], Changes);

fn of_files(a: &Path, b: &Path, container: &Context, nodes: Nodes) -> Result<Compared> {
    if a == b && a.as_os_str() == "-" {
        bail!("both profiles can't come from standard input: name a file for one");
    }
    let (a, b) = (input::profile_for(a, container)?, input::profile_for(b, container)?);
    let natives = nodes.arches([&a.profile, &b.profile]);
    let changes = changes_on(&a.profile, &b.profile, nodes.runtime(), &natives);
    named(a.name, b.name, changes)
}

fn of_baseline(baseline: &Baseline, file: &Path, container: &Context, nodes: Nodes) -> Result<Compared> {
    let b = input::profile_for(file, container)?;
    let (known, unknown): (Vec<Arch>, Vec<Arch>) =
        nodes.arches([&b.profile]).into_iter().partition(|&arch| baseline.on(arch).is_some());
    let without = |arches: &[Arch]| arches.iter().map(|&arch| arch_name(arch)).collect::<Vec<_>>().join(", ");
    if known.is_empty() {
        bail!(
            "{}: {baseline} is not known of nodes of {}: name a profile to compare with, by --baseline",
            b.name,
            without(&unknown)
        );
    }
    if !unknown.is_empty() {
        console::note(&format!(
            "{baseline} is not known of nodes of {}, which are left out",
            without(&unknown)
        ));
    }
    let changes = changes_from(baseline, &b.profile, nodes.runtime(), &known);
    named(baseline.to_string(), b.name, changes)
}

fn named(a: String, b: String, changes: Result<Changes, (bool, Refusal)>) -> Result<Compared> {
    match changes {
        Ok(changes) => Ok(([a, b], changes)),
        Err((in_b, refusal)) => bail!("{}: {refusal}", if in_b { b } else { a }),
    }
}
