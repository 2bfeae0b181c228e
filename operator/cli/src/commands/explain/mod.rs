//! `explain`: what a profile lets a container do, on one screen.

mod document;
mod markdown;
mod text;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use portcullis_profile::explain::explain;

use crate::{
    baseline::Chosen,
    console::Console,
    example::{self, Example},
    input, output,
    platform::{Container, Nodes},
    verdict::Verdict,
};
use document::Document;

const WORDS: &str = "\
The runtime default is what the defaults of all supported runtimes allow, which the output names; of architectures without one here
nothing is compared. --baseline takes another profile for it.";

const EXAMPLES: &[Example] = &[
    Example { about: "What a profile allows", command: "kubectl seccomp explain web.json" },
    Example { about: "On ARM nodes", command: "kubectl seccomp explain --arch arm64 web.json" },
    Example {
        about: "For a pull request",
        command: "kubectl seccomp explain -o markdown web.json >> summary.md",
    },
    Example {
        about: "Against the default of one containerd",
        command: "kubectl seccomp explain --baseline containerd@1.7 web.json",
    },
    Example {
        about: "Explain what is in the cluster",
        command: "kubectl get seccompprofile web -o yaml | kubectl seccomp explain -",
    },
];

/// Which file, and whose nodes.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// A file with profiles in any format; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    baseline: Chosen,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    container: Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people, on one screen.
    Text,
    /// A list of one JSON object for each profile.
    Json,
    /// For a pull request.
    Markdown,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { file, output, baseline, nodes, container } = arguments;
    let container = container.on(nodes.arch());
    let baseline = baseline.read(Some(file), &container)?;
    let loaded = input::profiles_for(file, &container)?;
    let mut documents = Vec::new();
    for one in &loaded {
        let explanation = explain(&one.profile, nodes.runtime(), nodes.arch(), &baseline)
            .with_context(|| one.name.clone())?;
        documents.push(Document::new(&one.name, explanation));
    }
    match output {
        Output::Json => output::json(&documents, console.out())?,
        Output::Text => {
            for (number, document) in documents.iter().enumerate() {
                if number > 0 {
                    writeln!(console.out())?;
                }
                text::write(document, console.styled())?;
            }
        }
        Output::Markdown => {
            for document in &documents {
                markdown::write(document, console.out())?;
            }
        }
    }
    Ok(Verdict::Yes)
}
