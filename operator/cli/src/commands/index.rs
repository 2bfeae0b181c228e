//! `index`: lists of shared profiles.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use jiff::{Timestamp, Unit};
use portcullis_artifact::{Index, IndexSource};

use crate::{
    console::Console,
    example::{self, Example},
    registry::{RegistryArguments, wait_for},
    shared::{Added, Store},
    table::Table,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Add an index that a team keeps in a registry",
        command: "kubectl seccomp index add team oci://registry.example.com/profiles/index:v1",
    },
    Example { about: "Show the indexes that were added", command: "kubectl seccomp index list" },
    Example { about: "Get every index anew", command: "kubectl seccomp index update" },
];

/// What to do.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add an index, and get a copy of it
    Add {
        /// What to call it
        name: String,
        /// Where it is: https://..., oci://REF, or a file
        #[arg(value_name = "URL|FILE")]
        source: IndexSource,
        #[command(flatten)]
        registry: RegistryArguments,
    },
    /// Show the indexes that were added
    List,
    /// Forget an index
    Remove {
        /// Its name
        name: String,
    },
    /// Get the indexes anew
    Update {
        /// Which; all of them where none is named
        names: Vec<String>,
        #[command(flatten)]
        registry: RegistryArguments,
    },
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let store = Store::of_user()?;
    match &arguments.action {
        Action::Add { name, source, registry } => add(&store, name, source, registry, console)?,
        Action::List => list(&store, console)?,
        Action::Remove { name } => {
            store.remove(name)?;
            writeln!(console.out(), "removed {name}")?;
        }
        Action::Update { names, registry } => update(&store, names, registry, console)?,
    }
    Ok(Verdict::Yes)
}

fn fetch(source: &IndexSource, registry: &RegistryArguments) -> Result<(Index, Vec<u8>)> {
    let access = match source {
        IndexSource::Registry(reference) => registry.access(reference)?,
        IndexSource::Web(_) | IndexSource::File(_) => registry.anonymous()?,
    };
    wait_for(portcullis_artifact::fetch_index(source, &access))
}

fn add(
    store: &Store,
    name: &str,
    source: &IndexSource,
    registry: &RegistryArguments,
    console: &mut Console,
) -> Result<()> {
    let (index, text) = fetch(source, registry)?;
    let kept = match source {
        // The command may be run in another folder next time.
        IndexSource::File(file) => {
            let file = std::path::absolute(file)?;
            file.to_str().with_context(|| format!("{} is no text in UTF-8", file.display()))?.to_owned()
        }
        other => other.to_string(),
    };
    store.add(Added { name: name.to_owned(), source: kept }, &text)?;
    writeln!(console.out(), "added {name} with {}", profiles(&index))?;
    Ok(())
}

fn update(
    store: &Store,
    names: &[String],
    registry: &RegistryArguments,
    console: &mut Console,
) -> Result<()> {
    let indexes = if names.is_empty() {
        store.list()?
    } else {
        names.iter().map(|name| store.find(name)).collect::<Result<_>>()?
    };
    for Added { name, source } in indexes {
        let (index, text) =
            fetch(&source.parse()?, registry).with_context(|| format!("can't update {name}"))?;
        store.keep(&name, &text)?;
        writeln!(console.out(), "updated {name} with {}", profiles(&index))?;
    }
    Ok(())
}

fn profiles(index: &Index) -> String {
    match index.profiles.len() {
        1 => "1 profile".to_owned(),
        count => format!("{count} profiles"),
    }
}

fn list(store: &Store, console: &mut Console) -> Result<()> {
    let indexes = store.list()?;
    if indexes.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["NAME", "PROFILES", "UPDATED", "SOURCE"]);
    for Added { name, source } in indexes {
        let (count, updated) = match store.copy(&name) {
            Ok(Some((index, time))) => {
                let updated = Timestamp::try_from(time)?.round(Unit::Second)?;
                (index.profiles.len().to_string(), updated.to_string())
            }
            // A copy that is gone or damaged must not hide the others: `update` mends it.
            Ok(None) | Err(_) => ("-".to_owned(), "never".to_owned()),
        };
        table.push(vec![name, count, updated, source]);
    }
    table.write(console.out())?;
    Ok(())
}
