//! `convert`: a profile in another format, or in its canonical form.

mod target;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use portcullis_api::{Mode, ProfileKind};
use portcullis_profile::lint::{LintContext, Severity, lint};

use crate::{
    console::{self, Console},
    example::{self, Example},
    input::{self, Format, Loaded},
    manifest,
    platform::Node,
    verdict::Verdict,
};

const WORDS: &str = "\
Docker's format is resolved for one container and node: the 14 capabilities that a container has by default and those of --cap,
this machine's architecture or that of --arch, and Linux 5.10 or --kernel. OCI documents come out in their canonical form: sorted,
one rule a line, the same bytes for the same content. What the other format can't say is an error or a note, never dropped in
silence.";

const EXAMPLES: &[Example] = &[
    Example {
        about: "Docker's format for a container with the capabilities that it has by default",
        command: "kubectl seccomp convert docker.json > oci.json",
    },
    Example {
        about: "For a container and a node of your own",
        command: "kubectl seccomp convert --cap NET_ADMIN --arch arm64 --kernel 6.1 docker.json",
    },
    Example {
        about: "Make a custom resource of it",
        command: "kubectl seccomp convert --to cr --name web web.json | kubectl apply -f -",
    },
    Example {
        about: "A ClusterSeccompProfile that only logs",
        command: "kubectl seccomp convert --to cr --cluster --name base --mode audit web.json",
    },
];

/// Which file, into what.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// A file with profiles in any format; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Into what.
    #[arg(long, value_enum, default_value_t = Target::Oci)]
    to: Target,
    /// The custom resource's name; that of a custom resource which is read where it is not set.
    #[arg(long)]
    name: Option<String>,
    /// The custom resource's namespace; without one `kubectl apply -n` decides.
    #[arg(long, short, conflicts_with = "cluster")]
    namespace: Option<String>,
    /// Make a ClusterSeccompProfile.
    #[arg(long)]
    cluster: bool,
    /// The custom resource's mode; that of a custom resource which is read, else enforce.
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// A ClusterSeccompProfile to unite the custom resource with, in place of a foreign base profile.
    #[arg(long, value_name = "NAME")]
    base: Vec<String>,
    /// Leave out what a profile's bases allow besides.
    #[arg(long, conflicts_with = "base")]
    without_bases: bool,
    #[command(flatten)]
    node: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// An OCI document, as a runtime reads it.
    Oci,
    /// A custom resource of Portcullis.
    Cr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// What the profile denies is denied.
    Enforce,
    /// What the profile denies and the runtime default allows is logged.
    Audit,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    if arguments.to == Target::Oci {
        let Arguments { name, namespace, cluster, mode, base, .. } = arguments;
        let given = [
            (name.is_some(), "--name"),
            (namespace.is_some(), "--namespace"),
            (*cluster, "--cluster"),
            (mode.is_some(), "--mode"),
            (!base.is_empty(), "--base"),
        ];
        if let Some((_, flag)) = given.iter().find(|(given, _)| *given) {
            bail!("{flag} is for custom resources: add --to cr");
        }
    }
    let profiles = input::profiles_for(&arguments.file, &arguments.node.context())?;
    match arguments.to {
        Target::Oci => {
            let [only] = &profiles[..] else {
                bail!(
                    "{}: there are {} profiles in it, and an OCI document holds one: give each its own file",
                    profiles[0].source.file,
                    profiles.len()
                );
            };
            target::oci(arguments, only, console)?;
        }
        Target::Cr => {
            if arguments.name.is_some() && profiles.len() > 1 {
                bail!(
                    "--name is for one profile, and there are {} in {}",
                    profiles.len(),
                    profiles[0].source.file
                );
            }
            for (number, loaded) in profiles.iter().enumerate() {
                let manifest = target::manifest(arguments, loaded)?;
                refused(loaded);
                if number > 0 {
                    writeln!(console.document(), "---")?;
                }
                write!(console.document(), "{manifest}")?;
            }
        }
    }
    Ok(Verdict::Yes)
}

/// Says so where the controller will refuse the profile.
fn refused(loaded: &Loaded) {
    let errors = lint(&loaded.profile, &LintContext::default())
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    if errors > 0 {
        let findings = crate::layout::counted(errors, "error");
        console::note(&format!("{}: the controller refuses it for {findings}: see `lint`", loaded.name));
    }
}
