//! `push`: puts a profile into a registry.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use portcullis_artifact::{Pushed, Reference};
use serde_json::json;

use crate::{
    console::Console,
    example::{self, Example},
    input,
    platform::Node,
    registry::{RegistryArguments, wait_for},
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Push a profile, and say where it comes from",
        command: "kubectl seccomp push web.json registry.example.com/team/web:1.4 --source https://github.com/example/web --revision 3f2a1c9",
    },
    Example {
        about: "Push, and keep the reference that never changes its meaning",
        command: "REF=$(kubectl seccomp push web.json registry.example.com/team/web:1.4 -o name)",
    },
];

/// What, and where to.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// File with one profile, in any format that is read; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to: REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "REF")]
    reference: Reference,
    /// An annotation of the manifest; may be given several times
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    /// Where the profile's source is (org.opencontainers.image.source)
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// The source's revision (org.opencontainers.image.revision)
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// When it was made, as 2026-01-31T12:00:00Z (org.opencontainers.image.created); not said by default, so that equal
    /// content has an equal digest
    #[arg(long, value_name = "TIME")]
    created: Option<Timestamp>,
    /// How to say what was pushed
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    registry: RegistryArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Lines for people
    Text,
    /// A JSON object
    Json,
    /// The reference with the digest, alone
    Name,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    if key.is_empty() {
        return Err("the key is empty: write KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

impl Arguments {
    /// The manifest's annotations.
    ///
    /// Source: <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>.
    fn annotations(&self) -> Result<BTreeMap<String, String>> {
        let own = [
            ("source", self.source.clone()),
            ("revision", self.revision.clone()),
            ("created", self.created.map(|time| time.to_string())),
        ];
        let own = own
            .into_iter()
            .filter_map(|(key, value)| Some((format!("org.opencontainers.image.{key}"), value?)));
        let mut annotations = BTreeMap::new();
        for (key, value) in self.annotations.iter().cloned().chain(own) {
            if annotations.insert(key.clone(), value).is_some() {
                anyhow::bail!("the annotation {key} is given twice");
            }
        }
        Ok(annotations)
    }
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let loaded = input::profile_for(&arguments.file, &arguments.node.context())?;
    let annotations = arguments.annotations()?;
    let access = arguments.registry.access(&arguments.reference)?;
    let push = portcullis_artifact::push(&loaded.profile, &arguments.reference, &annotations, &access);
    let Pushed { reference, manifest, profile } = wait_for(push).with_context(|| loaded.name.clone())?;
    let out = console.out();
    match arguments.output {
        Output::Text => {
            writeln!(out, "pushed     {}", arguments.reference)?;
            writeln!(out, "reference  {reference}")?;
            writeln!(out, "manifest   {manifest}")?;
            writeln!(out, "profile    {profile}")?;
        }
        Output::Json => {
            let pushed =
                json!({"reference": reference.to_string(), "manifest": manifest, "profile": profile});
            writeln!(out, "{pushed:#}")?;
        }
        Output::Name => writeln!(out, "{reference}")?,
    }
    Ok(Verdict::Yes)
}
