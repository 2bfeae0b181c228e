//! `pull`: gets a profile out of a registry.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use portcullis_artifact::{Error, Reference};

use crate::{
    console::{self, Console},
    example::{self, Example},
    platform::Node,
    registry::{
        ImageArguments, RegistryArguments, Trust, check, facts, say_how_read, wait_for, write_document,
    },
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Get a profile into a file",
        command: "kubectl seccomp pull registry.example.com/team/web:1.4 -o web.json",
    },
    Example {
        about: "Get the profile that an application's image brings, without the rest of the image",
        command: "kubectl seccomp pull registry.example.com/team/app:2.0 --path /seccomp/profile.json -o app.json",
    },
    Example {
        about: "Check what another team shares",
        command: "kubectl seccomp pull registry.example.com/team/web:1.4 | kubectl seccomp lint -",
    },
];

/// What, and where to.
///
/// REF may name a profile as an OCI artifact (KEP-6061, or CRI-O's), what the Security Profiles Operator publishes, or a container
/// image with a profile among its files, or in Podman's label io.containers.seccomp.profile; the manifest says which. What is in
/// Docker's format is resolved for one container and node. Everything is verified by its digest. What allows more than the runtime
/// default is written only with --allow-looser: a digest says whose bytes these are, not what they do.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// What to get: REGISTRY/REPOSITORY:TAG, or REGISTRY/REPOSITORY@sha256:DIGEST
    #[arg(value_name = "REF")]
    reference: Reference,
    /// Write the profile to this file, and what it is to standard output; without it, or with `-`, the profile goes to
    /// standard output and what it is to standard error
    #[arg(long, short, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
    /// Write the very bytes that were found, not the profile's canonical form, and whatever is wrong with them
    #[arg(long)]
    verbatim: bool,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    image: ImageArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let wanted = arguments.image.wanted(&arguments.node);
    let baseline = arguments.trust.baseline(&wanted.container)?;
    let access = arguments.registry.access(&arguments.reference)?;
    let pulled = wait_for(portcullis_artifact::pull(&arguments.reference, &wanted, &access))?;
    let name = arguments.reference.to_string();
    let profile = match pulled.profile() {
        Ok(read) => {
            say_how_read(&name, &pulled, &read);
            Some(read.profile)
        }
        Err(error @ Error::Content { .. }) if arguments.verbatim => {
            console::note(&error.to_string());
            None
        }
        Err(error) => return Err(error.into()),
    };
    let document = match &profile {
        Some(profile) if !arguments.verbatim => {
            check(&name, profile)?;
            profile.render()
        }
        _ => pulled.document.clone(),
    };
    if !arguments.trust.permits(&name, profile.as_ref(), &baseline, console) {
        return Ok(Verdict::No);
    }
    write_document(&document, &arguments.output, console)?;
    let mut facts = facts(&pulled, profile.as_ref());
    let to_file = arguments.output.as_os_str() != "-";
    if to_file {
        facts.push(("written", arguments.output.display().to_string()));
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
