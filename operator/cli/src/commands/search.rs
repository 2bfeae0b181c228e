//! `search`: looks for shared profiles.

use anyhow::Result;
use clap::{Args, ValueEnum};
use portcullis_artifact::Entry;
use serde_json::json;

use crate::{
    console::{self, Console},
    example::{self, Example},
    output,
    shared::Store,
    table::Table,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Look for a web server's profile in an index of a registry",
        command: "kubectl seccomp index add web oci://registry.example.com/profiles/index:v1; kubectl seccomp search nginx",
    },
    Example {
        about: "Show every shared profile",
        command: "kubectl seccomp index add all oci://registry.example.com/profiles/index:v1; kubectl seccomp search -o json",
    },
];

/// What.
///
/// Looks in the copies of the indexes, without a network; exits with 1 where nothing is found.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// What has to be in the name, a keyword or the description, in any case; every profile without it
    word: Option<String>,
    /// Look in this index only
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// How to say it
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A table
    Text,
    /// A JSON list
    Json,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let word = arguments.word.as_deref().unwrap_or_default();
    let mut found = Store::of_user()?.profiles(arguments.index.as_deref())?;
    found.retain(|(_, entry)| entry.matches(word));
    found.sort_by(|(one, a), (other, b)| {
        (!a.name.contains(word), &a.name, one).cmp(&(!b.name.contains(word), &b.name, other))
    });
    match arguments.output {
        Output::Text => table(&found, console)?,
        Output::Json => {
            let list: Vec<_> =
                found.iter().map(|(index, entry)| json!({"index": index, "profile": entry})).collect();
            output::json(&list, console.out())?;
        }
    }
    if found.is_empty() {
        console::note(&format!("no shared profile has {word:?} in its name, keywords or description"));
    }
    Ok(if found.is_empty() { Verdict::No } else { Verdict::Yes })
}

fn table(found: &[(String, Entry)], console: &mut Console) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["INDEX", "NAME", "VERSION", "DESCRIPTION"]);
    for (index, entry) in found {
        let newest = entry.versions.first().map_or_else(String::new, |version| version.version.clone());
        table.push(vec![index.clone(), entry.name.clone(), newest, entry.description.clone()]);
    }
    table.write(console.out())?;
    Ok(())
}
