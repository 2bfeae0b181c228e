//! `get`: the document that nodes serve, or the object.

use std::io::Write;

use anyhow::Result;
use clap::{Args, ValueEnum};
use kube::Api;
use portcullis_api::SeccompRevision;

use crate::{
    cluster::{
        Cluster,
        failure::Attempt,
        profiles::{self, One, Profile},
        revisions,
    },
    console::Console,
    example::{self, Example},
    output,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example { about: "The OCI document in force", command: "kubectl seccomp get web" },
    Example {
        about: "The one before it, to compare",
        command: "kubectl seccomp get web --revision previous > before.json",
    },
    Example { about: "The object", command: "kubectl seccomp get web -o yaml" },
];

/// Which profile, and what of it.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// What to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "profile")]
    output: Form,
    /// An earlier revision: its digest, the first digits of it, or 'previous'.
    #[arg(long, value_name = "DIGEST")]
    revision: Option<String>,
    #[command(flatten)]
    profile: One,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The OCI document that nodes serve, with bases and mode worked in.
    Profile,
    /// The object as JSON; with --revision that of the revision.
    Json,
    /// The object as YAML; with --revision that of the revision.
    Yaml,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    arguments.profile.with(async |cluster, profile| {
        match arguments.output {
            Form::Profile => {
                document(&cluster, &profile, arguments.revision.as_deref(), console.document()).await?
            }
            Form::Json => {
                output::json(
                    &object(&cluster, &profile, arguments.revision.as_deref()).await?,
                    console.out(),
                )?;
            }
            Form::Yaml => {
                output::yaml(
                    &object(&cluster, &profile, arguments.revision.as_deref()).await?,
                    console.out(),
                )?;
            }
        }
        Ok(Verdict::Yes)
    })
}

async fn document(
    cluster: &Cluster,
    profile: &Profile,
    revision: Option<&str>,
    out: &mut dyn Write,
) -> Result<()> {
    let digest = match revision {
        Some(wanted) => revisions::choose(&profile.kept(), wanted)?,
        None => profile.current()?,
    };
    let content = revisions::content(cluster, &profile.owner, &digest).await?;
    out.write_all(content.as_bytes())?;
    if !content.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(())
}

/// The object without what only the API server has use for.
async fn object(cluster: &Cluster, profile: &Profile, revision: Option<&str>) -> Result<serde_json::Value> {
    let Some(wanted) = revision else {
        let attempt = profiles::attempt("get", &profile.owner);
        let found = profiles::objects(cluster, &profile.owner).get(profile.owner.name()).await;
        let mut object = found.map_err(|error| attempt.failed(&error))?;
        object.metadata.managed_fields = None;
        return Ok(serde_json::to_value(object)?);
    };
    let digest = revisions::choose(&profile.kept(), wanted)?;
    let attempt = Attempt::new::<SeccompRevision>("get", None);
    let name = profile.owner.revision_name(&digest);
    let found = Api::<SeccompRevision>::all(cluster.client.clone()).get(&name).await;
    let mut object = found.map_err(|error| attempt.failed(&error))?;
    object.metadata.managed_fields = None;
    Ok(serde_json::to_value(object)?)
}
