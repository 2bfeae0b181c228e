//! `apply`: a profile goes to the cluster, and what becomes of it is waited for.

mod manifest;
mod rollout;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum, ValueHint};
use kube::api::{DynamicObject, Patch, PatchParams, ValidationDirective};
use portcullis_api::{Mode, ProfileKind};
use portcullis_profile::lint::Severity;

use self::manifest::{Manifest, Wanted};
use super::FIELD_MANAGER;
use crate::{
    cluster::{
        self, Cluster, Connection,
        connection::{Limit, duration},
        failure::FailureKind,
        profiles,
    },
    console::Console,
    example::{self, Example},
    platform::Node,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "A seccomp file becomes a profile on every node",
        command: "kubectl seccomp apply -f web.json --name web",
    },
    Example {
        about: "The same, to try it out first: denials are logged only",
        command: "kubectl seccomp apply -f web.json --name web --mode Audit",
    },
    Example {
        about: "Ask the API server whether it would take it",
        command: "kubectl seccomp apply -f web.json --name web --dry-run=server",
    },
];

/// What is applied, and how long is waited.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The file: custom resources as they are, or one profile in any format; `-` is standard input.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    filename: PathBuf,
    /// The object's name, for a file that is no custom resource.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The object's kind, for a file that is no custom resource.
    #[arg(long, value_name = "KIND", default_value = "SeccompProfile", ignore_case = true)]
    kind: Kind,
    /// The object's mode, for a file that is no custom resource.
    #[arg(long, value_name = "MODE", ignore_case = true)]
    mode: Option<ModeName>,
    /// Wait until the profile is on every node.
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait, for example 30s or 5m; 0 is without end.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    timeout: Limit,
    /// Let the API server check everything and change nothing.
    #[arg(long, value_name = "WHERE", require_equals = true)]
    dry_run: Option<DryRun>,
    /// Take over fields that another field manager owns.
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// For the pods of its namespace.
    #[value(name = "SeccompProfile", alias = "sp")]
    SeccompProfile,
    /// For the pods of every namespace.
    #[value(name = "ClusterSeccompProfile", alias = "csp")]
    ClusterSeccompProfile,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    /// What the profile denies is denied.
    #[value(name = "Enforce")]
    Enforce,
    /// What it denies and the runtime default allows is logged and let through.
    #[value(name = "Audit")]
    Audit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// In the API server.
    Server,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    cluster::with(&arguments.connection, async |cluster| {
        let explicit = arguments.connection.namespace.is_some();
        let manifests =
            manifest::read(&arguments.filename, &arguments.wanted(), &cluster.namespace, explicit)?;
        if show_findings(&manifests, console) {
            console.say("Nothing was applied.");
            return Ok(Verdict::No);
        }
        let mut applied = Vec::new();
        for manifest in &manifests {
            let object = apply(&cluster, manifest, arguments).await?;
            let tried = if arguments.dry_run.is_some() { " (server dry run)" } else { "" };
            writeln!(console.out(), "{} applied{tried}", name(manifest))?;
            console.flush()?;
            applied.push((manifest, object.metadata.generation));
        }
        if !arguments.wait || arguments.dry_run.is_some() {
            return Ok(Verdict::Yes);
        }
        let mut verdict = Verdict::Yes;
        for (manifest, generation) in applied {
            if !rollout::wait(&cluster, &manifest.owner, generation, arguments.timeout, console).await? {
                verdict = Verdict::No;
            }
        }
        Ok(verdict)
    })
}

impl Arguments {
    fn wanted(&self) -> Wanted {
        Wanted {
            name: self.name.clone(),
            kind: match self.kind {
                Kind::SeccompProfile => ProfileKind::SeccompProfile,
                Kind::ClusterSeccompProfile => ProfileKind::ClusterSeccompProfile,
            },
            container: self.node.context(),
            mode: self.mode.map(|mode| match mode {
                ModeName::Enforce => Mode::Enforce,
                ModeName::Audit => Mode::Audit,
            }),
        }
    }
}

/// `seccompprofile.portcullis.dev/web`, as kubectl says it.
fn name(manifest: &Manifest) -> String {
    let kind = manifest.owner.kind().as_str().to_ascii_lowercase();
    format!("{kind}.{}/{}", portcullis_api::GROUP, manifest.owner.name())
}

/// Shows what the linter says, and says whether that refuses anything.
fn show_findings(manifests: &[Manifest], console: &mut Console) -> bool {
    let mut refused = false;
    for manifest in manifests {
        for finding in manifest.findings.iter().filter(|finding| finding.severity >= Severity::Warning) {
            let severity = finding.severity.as_str().to_ascii_lowercase();
            console.say(format_args!("{}: {severity}: {finding}", manifest.owner.name()));
            refused |= finding.severity == Severity::Error;
        }
    }
    refused
}

async fn apply(cluster: &Cluster, manifest: &Manifest, arguments: &Arguments) -> Result<DynamicObject> {
    let parameters = PatchParams {
        dry_run: arguments.dry_run.is_some(),
        force: arguments.force_conflicts,
        field_manager: Some(FIELD_MANAGER.to_owned()),
        // A field that the schema does not know would vanish without a word.
        field_validation: Some(ValidationDirective::Strict),
    };
    let api = profiles::objects(cluster, &manifest.owner);
    let patched = api.patch(manifest.owner.name(), &parameters, &Patch::Apply(&manifest.object)).await;
    patched.map_err(|error| {
        let error = profiles::attempt("patch", &manifest.owner).failed(&error);
        match FailureKind::of_attempt(&error) {
            FailureKind::Conflict => {
                error.context("another field manager owns a part of it; --force-conflicts takes it over")
            }
            _ => error,
        }
    })
}
