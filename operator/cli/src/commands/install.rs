//! `install`: gets a shared profile.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use portcullis_api::{Mode, ProfileKind};
use portcullis_artifact::{Entry, Wanted};

use crate::{
    console::{self, Console},
    example::{self, Example},
    manifest::{self, Object},
    registry::{RegistryArguments, Trust, check, facts, say_how_read, wait_for, write_document},
    shared::Store,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Get the newest version into nginx.json",
        command: "kubectl seccomp index add web oci://registry.example.com/profiles/index:v1; kubectl seccomp install nginx",
    },
    Example {
        about: "Get a version as a custom resource",
        command: "kubectl seccomp index add team oci://registry.example.com/profiles/index:v1; kubectl seccomp install nginx@1.29.0 --resource > nginx.yaml",
    },
];

/// What, and what it becomes.
///
/// The index says the digest, and nothing else is taken; profiles that the linter refuses are not installed, and those that allow what
/// the runtime default denies only with --allow-looser: nobody signs an index.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// What to install: NAME, NAME@VERSION, INDEX/NAME or INDEX/NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    name: String,
    /// Write the profile to this file, `-` for standard output; NAME.json by default
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file with other content
    #[arg(long)]
    force: bool,
    /// Print a SeccompProfile for `kubectl apply -f -`, and write no file
    #[arg(long, conflicts_with_all = ["output", "force"])]
    resource: bool,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let (name, version) = match arguments.name.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (arguments.name.as_str(), None),
    };
    let wanted = Wanted::default();
    let baseline = arguments.trust.baseline(&wanted.container)?;
    let entry = find(&Store::of_user()?, name)?;
    let (version, reference) = entry.version(version).map_err(anyhow::Error::msg)?;
    let access = arguments.registry.access(&reference)?;
    let pulled = wait_for(portcullis_artifact::pull(&reference, &wanted, &access))?;
    let read = pulled.profile()?;
    say_how_read(&entry.name, &pulled, &read);
    let profile = read.profile;
    check(&entry.name, &profile)?;
    if !arguments.trust.permits(&entry.name, Some(&profile), &baseline, console) {
        return Ok(Verdict::No);
    }
    if arguments.resource {
        let object = Object {
            kind: ProfileKind::SeccompProfile,
            name: entry.name.clone(),
            namespace: None,
            mode: Mode::Enforce,
            bases: Vec::new(),
            recorded_from: None,
        };
        let text = manifest::render(&profile, &object).with_context(|| entry.name.clone())?;
        write!(console.document(), "# {} {} from {}\n{text}", entry.name, version.version, pulled.reference)?;
        return Ok(Verdict::Yes);
    }
    let file = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.json", entry.name)));
    let document = profile.render();
    if !arguments.force {
        refuse_other_content(&file, &document)?;
    }
    write_document(&document, &file, console)?;
    let to_file = file != Path::new("-");
    let mut facts = facts(&pulled, Some(&profile));
    facts.insert(0, ("installed", format!("{} {}", entry.name, version.version)));
    if to_file {
        facts.push(("written", file.display().to_string()));
    }
    for (label, value) in facts {
        if to_file {
            writeln!(console.out(), "{label:<9}  {value}")?;
        } else {
            console::note(&format!("{label} {value}"));
        }
    }
    Ok(Verdict::Yes)
}

/// The profile of a name, which may say the index.
fn find(store: &Store, name: &str) -> Result<Entry> {
    let (index, name) = match name.split_once('/') {
        Some((index, name)) => (Some(index), name),
        None => (None, name),
    };
    let mut found = store.profiles(index)?;
    found.retain(|(_, entry)| entry.name == name);
    match found.len() {
        0 => bail!("no index has a profile {name}: look for one with `search`, or run `index update`"),
        1 => found.pop().map(|(_, entry)| entry).context("one was found"),
        _ => {
            let indexes: Vec<_> = found.iter().map(|(index, _)| format!("{index}/{name}")).collect();
            bail!("several indexes have a profile {name}: write {}", indexes.join(" or "))
        }
    }
}

/// A profile that was changed by hand is worth more than a download.
fn refuse_other_content(file: &Path, document: &[u8]) -> Result<()> {
    if file == Path::new("-") || !file.exists() {
        return Ok(());
    }
    let metadata = std::fs::metadata(file).with_context(|| format!("can't read {}", file.display()))?;
    let equal = metadata.len() == document.len() as u64
        && std::fs::read(file).with_context(|| format!("can't read {}", file.display()))? == document;
    if equal {
        return Ok(());
    }
    bail!("{} has other content: replace it with --force, or write elsewhere with -o", file.display())
}
