//! `status`: profiles, how far they are, and who uses them.

mod detail;
mod follow;
mod gather;
mod overview;

use anyhow::Result;
use clap::Args;
use clap_complete::ArgValueCandidates;

use crate::{
    cluster::{self, Connection, Everywhere, follow::check_format, profiles::Reference},
    complete,
    console::Console,
    example::{self, Example},
    output::{self, Output},
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "The profiles of the namespace and of the cluster, and who uses them",
        command: "kubectl seccomp status",
    },
    Example {
        about: "Those of every namespace, with their paths",
        command: "kubectl seccomp status -A -o wide",
    },
    Example { about: "Everything about one", command: "kubectl seccomp status web" },
    Example { about: "For a program", command: "kubectl seccomp status -A -o json" },
];

/// Which profiles, and how they are shown.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// One profile, in detail: NAME, sp/NAME or csp/NAME.
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces", add = ArgValueCandidates::new(complete::profiles))]
    name: Option<Reference>,
    /// Show changes as they come, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// How to show it.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    if arguments.watch {
        check_format(arguments.output, "seccompprofiles")?;
    }
    cluster::with(&arguments.connection, async |cluster| {
        let question = gather::Question {
            cluster: &cluster,
            scope: cluster.scope(arguments.everywhere),
            one: arguments.name.as_ref(),
        };
        let report = question.ask().await?;
        match arguments.output {
            Some(Output::Json) => output::json(&report, console.out())?,
            Some(Output::Yaml) => output::yaml(&report, console.out())?,
            _ if arguments.name.is_some() && !arguments.watch => detail::write(&report, console.out())?,
            wide if arguments.watch => {
                return follow::follow(&question, report, wide.is_some(), console).await;
            }
            wide => overview::write(&report, &question.scope, wide.is_some(), console.out())?,
        }
        report.notes.iter().for_each(|note| console.note(note));
        if report.profiles.is_empty() {
            console.say(format_args!("No profiles in {}.", question.scope.describe()));
        }
        Ok(Verdict::Yes)
    })
}
