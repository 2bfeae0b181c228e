//! `revoke`: taking a revision away from every node, although pods name it.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use portcullis_api::{MAX_REVOCATION_LENGTH, Owner, ProfileKind, REVOKED_ANNOTATION, SeccompRevision};
use portcullis_profile::Digest;
use serde::Serialize;
use serde_json::json;

use super::FIELD_MANAGER;
use crate::{
    cluster::{
        self, Cluster, Connection, Scope,
        failure::{Attempt, FailureKind},
        pod::{self, Confinement},
        profiles::{self, Reference},
        revisions::{self, Revision},
    },
    complete,
    console::Console,
    example::{self, Example},
    output,
    table::Table,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example {
        about: "Take the revision before the current one away from every node",
        command: "kubectl seccomp revoke web previous --reason 'allows too much'",
    },
    Example { about: "Take that back", command: "kubectl seccomp revoke web previous --undo" },
];

/// Which revision.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// The profile: NAME, sp/NAME or csp/NAME. Or, without a digest, a revision's path as pods name it: profiles/web@0123456789ab.json.
    #[arg(index = 1, value_name = "NAME|PATH", add = ArgValueCandidates::new(complete::profiles))]
    which: String,
    /// The revision: its digest, the first digits of it, or 'previous'; `history` lists them.
    #[arg(index = 2, value_name = "DIGEST")]
    digest: Option<String>,
    /// Why, for those who read Events, statuses and this program's tables. Without it that is the time.
    #[arg(long, value_name = "TEXT", conflicts_with = "undo", value_parser = reason)]
    reason: Option<String>,
    /// Take the revocation back.
    #[arg(long)]
    undo: bool,
    /// Revoke even what the profile's path serves: the path goes too, and pods that name it can't start until the profile changes.
    #[arg(long, conflicts_with = "undo")]
    current: bool,
    /// For programs.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Form>,
    #[command(flatten)]
    connection: Connection,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

fn reason(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > MAX_REVOCATION_LENGTH {
        return Err(format!("it has {length} characters, and {MAX_REVOCATION_LENGTH} are told"));
    }
    Ok(text.to_owned())
}

/// What was done.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    digest: Digest,
    /// Why it is revoked; absent where that was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// Whether anything had to be changed.
    changed: bool,
    /// The pods that name it; absent where they could not be read, or where it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Vec<PodName>>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct PodName {
    namespace: String,
    name: String,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    cluster::with(&arguments.connection, async |cluster| {
        let (answer, note) = revoke(&cluster, arguments).await?;
        match arguments.output {
            Some(Form::Json) => output::json(&answer, console.out())?,
            Some(Form::Yaml) => output::yaml(&answer, console.out())?,
            None => answer.write(console.out())?,
        }
        if let Some(note) = note {
            console.note(note);
        }
        Ok(Verdict::Yes)
    })
}

async fn revoke(cluster: &Cluster, arguments: &Arguments) -> Result<(Answer, Option<String>)> {
    let (owner, wanted) = which(cluster, arguments).await?;
    let all = revisions::of_owner(cluster, &owner).await?;
    let (position, revision) = choose(&all, &wanted, arguments.undo)?;
    let short = revision.digest.short();
    let serves = position == 0 && revision.revoked.is_none();
    if serves && !arguments.undo && !arguments.current && profiles::exists(cluster, &owner).await? {
        bail!(
            "{owner} serves the revision {short} at its own path: change the profile first, so that it serves another one; or take that \
             path away as well, with --current"
        );
    }
    let before = revision.revoked.clone();
    let after = match (&before, &arguments.reason) {
        _ if arguments.undo => None,
        (_, Some(reason)) => Some(reason.clone()),
        (Some(before), None) => Some(before.clone()),
        (None, None) => Some(format!("{:.0}", Timestamp::now())),
    };
    let changed = before != after;
    if changed {
        annotate(cluster, &owner, &revision.digest, after.as_deref()).await?;
    }
    let (pods, note) = match after {
        Some(_) => pods(cluster, &owner, &revision.digest, position == 0).await?,
        None => (None, None),
    };
    let answer = Answer {
        kind: owner.kind().as_str(),
        namespace: owner.namespace().map(str::to_owned),
        name: owner.name().to_owned(),
        digest: revision.digest,
        revoked: after,
        changed,
        pods,
    };
    Ok((answer, note))
}

/// Whose revision, and which. A profile that is gone may have revoked ones still.
async fn which(cluster: &Cluster, arguments: &Arguments) -> Result<(Owner, String)> {
    if arguments.which.contains('@') {
        if arguments.digest.is_some() {
            bail!("{} says which revision: leave the digest out", arguments.which);
        }
        return of_path(&arguments.which);
    }
    let Some(digest) = arguments.digest.clone() else {
        bail!(
            "which revision of {}? Give its digest too; `kubectl seccomp history {0}` lists them",
            arguments.which
        )
    };
    let reference: Reference = arguments.which.parse().map_err(anyhow::Error::msg)?;
    let owner = match (profiles::find(cluster, &reference).await, reference.kind) {
        (Ok(profile), _) => profile.owner,
        (Err(error), Some(kind)) if FailureKind::of_attempt(&error) == FailureKind::NotFound => match kind {
            ProfileKind::SeccompProfile => Owner::namespaced(&cluster.namespace, &reference.name)?,
            ProfileKind::ClusterSeccompProfile => Owner::cluster(&reference.name)?,
        },
        (Err(error), _) => return Err(error),
    };
    Ok((owner, digest))
}

/// The profile and the first digits of the digest that a path names.
fn of_path(path: &str) -> Result<(Owner, String)> {
    let read = || {
        let path = pod::clean(path);
        let parts: Vec<&str> = path.split('/').collect();
        let (namespace, leaf) = match parts[..] {
            [_, leaf] => (None, leaf),
            [_, namespace, leaf] => (Some(namespace), leaf),
            _ => return None,
        };
        let (name, digits) = leaf.strip_suffix(".json")?.split_once('@')?;
        let owner = match namespace {
            Some(namespace) => Owner::namespaced(namespace, name),
            None => Owner::cluster(name),
        };
        Some((owner.ok()?, digits.to_owned()))
    };
    read().with_context(|| {
        format!(
            "{path:?} is no path of a revision: give one as pods name it, profiles/NAME@0123456789ab.json or profiles/NAMESPACE/NAME@0123456789ab.json"
        )
    })
}

/// The revision that is meant, and its place: the first is the one that the profile's path serves.
fn choose<'r>(all: &'r [Revision], wanted: &str, undo: bool) -> Result<(usize, &'r Revision)> {
    let digests: Vec<Digest> = all.iter().map(|revision| revision.digest).collect();
    let digest = revisions::choose(&digests, wanted)?;
    let found = all.iter().enumerate().find(|(_, revision)| revision.digest == digest);
    let (position, revision) = found.context("the revision is not there any more")?;
    if undo && revision.revoked.is_none() {
        bail!("the revision {} is not revoked", digest.short());
    }
    Ok((position, revision))
}

async fn annotate(cluster: &Cluster, owner: &Owner, digest: &Digest, reason: Option<&str>) -> Result<()> {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = json!({ "metadata": { "annotations": { REVOKED_ANNOTATION: reason } } });
    let api = Api::<SeccompRevision>::all(cluster.client.clone());
    let patched = api.patch_metadata(&owner.revision_name(digest), &parameters, &Patch::Merge(&patch)).await;
    patched
        .map(drop)
        .map_err(|error| Attempt::new::<SeccompRevision>("patch", None).failed(&error))
        .context("only an administrator revokes: the ClusterRole portcullis-admin, or the verbs patch and revoke on seccomprevisions")
}

/// The pods that name a revision, at its own path or (where it was the current one) at its profile's; or why that is not known.
async fn pods(
    cluster: &Cluster,
    owner: &Owner,
    digest: &Digest,
    was_current: bool,
) -> Result<(Option<Vec<PodName>>, Option<String>)> {
    let mut paths = vec![owner.revision_path(digest)];
    paths.extend(was_current.then(|| owner.current_path()));
    let scope = owner.namespace().map_or(Scope::All, |own| Scope::Namespace(own.to_owned()));
    let mut found = Vec::new();
    let read = pod::each_living(cluster, &scope, &[], |pod| {
        let names = pod::containers(&pod).any(|container| match &container.confinement {
            // Below the sub-directory, which is one name.
            Confinement::Localhost { path } => {
                path.split_once('/').is_some_and(|(_, below)| paths.iter().any(|path| path == below))
            }
            _ => false,
        });
        if names {
            found.push(PodName {
                namespace: pod.metadata.namespace.unwrap_or_default(),
                name: pod.metadata.name.unwrap_or_default(),
            });
        }
    })
    .await;
    match read {
        Ok(()) => Ok((Some(found), None)),
        Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
            Ok((None, Some(format!("which pods name it is not known: {error:#}"))))
        }
        Err(error) => Err(error),
    }
}

impl Answer {
    fn write(&self, out: &mut dyn Write) -> Result<()> {
        let place = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let which = format!("revision {} of {} {place}{}", self.digest.short(), self.kind, self.name);
        let Some(reason) = &self.revoked else {
            writeln!(
                out,
                "The revocation of {which} is taken back: nodes serve it while its profile or a pod needs it."
            )?;
            return Ok(());
        };
        let how = if self.changed { "is" } else { "was already" };
        writeln!(
            out,
            "The {which} {how} revoked: {reason}\nNodes remove its files, and the profile can't have this content again."
        )?;
        match self.pods.as_deref() {
            None => {}
            Some([]) => writeln!(out, "No pod names it.")?,
            Some(pods) => {
                writeln!(out, "These pods name it. What runs goes on; their containers can't start again:")?;
                let mut table = Table::new(["  NAMESPACE", "POD"]);
                for PodName { namespace, name } in pods {
                    table.push(vec![format!("  {namespace}"), name.clone()]);
                }
                table.write(out)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "revoke_tests.rs"]
mod tests;
