//! `who`: what confines each running container.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Result, ensure};
use clap::Args;
use clap_complete::ArgValueCandidates;
use portcullis_api::{DEFAULT_SUBDIRECTORY, Mode};
use portcullis_profile::Digest;
use serde::Serialize;

use crate::{
    cluster::{
        self, Cluster, Connection, Everywhere, Scope,
        failure::FailureKind,
        pod::{self, Confinement, Role, SetBy},
        profiles::{self, Profile},
        usage::Paths,
        workload::{Owners, Workload},
    },
    complete,
    console::Console,
    example::{self, Example},
    output::{self, Output},
    table::Table,
    verdict::Verdict,
};

const EXAMPLES: &[Example] = &[
    Example { about: "What confines the containers of the namespace", command: "kubectl seccomp who" },
    Example {
        about: "Fail a review where a container of any namespace but the system's has no filter",
        command: "kubectl seccomp who -A --exclude-namespace kube-system --uncovered",
    },
    Example {
        about: "Every pod, with its node and the file",
        command: "kubectl seccomp who --by-pod -o wide",
    },
];

/// Which containers, and how they are shown.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(crate) struct Arguments {
    /// Only containers without a filter that can be counted on; exits with 1 where there are any.
    #[arg(long)]
    uncovered: bool,
    /// A line for each container of each pod; without it those of a workload that are confined alike share one.
    #[arg(long)]
    by_pod: bool,
    /// A namespace to leave out; may be repeated.
    #[arg(long, value_name = "NAMESPACE", add = ArgValueCandidates::new(complete::namespaces))]
    exclude_namespace: Vec<String>,
    /// How to show it.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    for namespace in &arguments.exclude_namespace {
        let is_name = namespace.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        ensure!(is_name && !namespace.is_empty(), "--exclude-namespace {namespace:?} is no namespace's name");
    }
    cluster::with(&arguments.connection, async |cluster| {
        let scope = cluster.scope(arguments.everywhere);
        let (report, notes) = gather(&cluster, &scope, arguments).await?;
        match arguments.output {
            Some(Output::Json) => output::json(&report, console.out())?,
            Some(Output::Yaml) => output::yaml(&report, console.out())?,
            wide => report.write(wide.is_some(), arguments, console.out())?,
        }
        notes.into_iter().for_each(|note| console.note(note));
        if !matches!(arguments.output, Some(Output::Json | Output::Yaml)) {
            console.say(report.summary.describe(&scope));
        }
        Ok(if arguments.uncovered && report.summary.uncovered > 0 { Verdict::No } else { Verdict::Yes })
    })
}

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    containers: Vec<Line>,
    summary: Summary,
}

/// Containers that are confined alike.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    workload: Workload,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    container: String,
    role: Role,
    /// How many pods have this container.
    pods: usize,
    confinement: Confinement,
    set_by: SetBy,
    #[serde(skip_serializing_if = "Served::is_none")]
    profile: Served,
}

/// The profile behind a Localhost path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "found")]
enum Served {
    /// It is not below Portcullis's directory.
    Foreign,
    /// It is, and no profile has it.
    Missing,
    /// Whether a profile has it is not known.
    Unknown,
    /// A profile has it.
    #[serde(rename_all = "camelCase")]
    Profile {
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<String>,
        audit: bool,
    },
    /// No path is named.
    None,
}

impl Served {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Running containers.
    containers: usize,
    /// Those without a filter that can be counted on.
    uncovered: usize,
    /// By what confines them.
    by_confinement: BTreeMap<String, usize>,
}

/// What containers that are shown in one line have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    confinement: Confinement,
    workload: Workload,
    container: String,
    role: Role,
    set_by: SetBy,
    pod: Option<(String, Option<String>)>,
}

async fn gather(cluster: &Cluster, scope: &Scope, arguments: &Arguments) -> Result<(Report, Vec<String>)> {
    let (profiles, mut notes) = match profiles::list(cluster, scope).await {
        Ok((profiles, notes)) => (Some(profiles), notes),
        // What confines a container is to be seen without Portcullis too.
        Err(error)
            if matches!(
                FailureKind::of_attempt(&error),
                FailureKind::NotInstalled | FailureKind::Forbidden
            ) =>
        {
            (None, vec![format!("profiles are not named: {error:#}")])
        }
        Err(error) => return Err(error),
    };
    let (mut counts, mut summary) = (BTreeMap::<Key, usize>::new(), Summary::default());
    pod::each_living(cluster, scope, &arguments.exclude_namespace, |pod| {
        for container in pod::containers(&pod).filter(|container| container.running.is_some()) {
            summary.add(&container.confinement);
            if arguments.uncovered && !container.confinement.is_uncovered() {
                continue;
            }
            let pod_and_node = || (pod.metadata.name.clone().unwrap_or_default(), pod.spec.node_name.clone());
            let key = Key {
                workload: Workload::of_pod(&pod.metadata),
                container: container.name.to_owned(),
                role: container.role,
                set_by: container.set_by,
                pod: arguments.by_pod.then(pod_and_node),
                confinement: container.confinement,
            };
            *counts.entry(key).or_default() += 1;
        }
    })
    .await?;
    let direct = counts.keys().map(|key| key.workload.clone()).collect();
    let owners = Owners::of(cluster, scope, &direct).await?;
    notes.extend(owners.notes.iter().cloned());
    let containers = lines(counts, &owners, profiles.as_deref());
    Ok((Report { containers, summary }, notes))
}

/// The riskiest first.
fn lines(counts: BTreeMap<Key, usize>, owners: &Owners, profiles: Option<&[Profile]>) -> Vec<Line> {
    // Several controllers can be of one workload: the ReplicaSets of a rollout.
    let mut merged: BTreeMap<Key, usize> = BTreeMap::new();
    for (mut key, count) in counts {
        key.workload = owners.top(&key.workload).clone();
        *merged.entry(key).or_default() += count;
    }
    let paths = profiles.map(Paths::of);
    let mut lines: Vec<Line> = merged
        .into_iter()
        .map(|(key, pods)| {
            let profile = served(&key.confinement, profiles.zip(paths.as_ref()));
            let Key { confinement, workload, container, role, set_by, pod } = key;
            let (pod, node) = pod.map_or((None, None), |(pod, node)| (Some(pod), node));
            Line { workload, pod, node, container, role, pods, confinement, set_by, profile }
        })
        .collect();
    // Stable, so what is alike stays in the order of its names.
    lines.sort_by_key(Line::risk);
    lines
}

fn served(confinement: &Confinement, known: Option<(&[Profile], &Paths<'_>)>) -> Served {
    let Confinement::Localhost { path } = confinement else { return Served::None };
    let ours = path.strip_prefix(DEFAULT_SUBDIRECTORY).is_some_and(|rest| rest.starts_with('/'));
    let Some((profiles, paths)) = known else { return Served::Unknown };
    match paths.find(path).and_then(|(index, revision)| Some((profiles.get(index)?, revision))) {
        Some((profile, revision)) => Served::Profile {
            kind: profile.owner.kind().as_str(),
            namespace: profile.owner.namespace().map(str::to_owned),
            name: profile.owner.name().to_owned(),
            revision: revision.as_ref().map(Digest::short),
            audit: profile.status.mode.unwrap_or(profile.mode) == Mode::Audit && revision.is_none(),
        },
        None if ours => Served::Missing,
        None => Served::Foreign,
    }
}

impl Line {
    /// The lower, the riskier. A profile in Audit mode lets through what the runtime's default does.
    fn risk(&self) -> u8 {
        match (&self.confinement, &self.profile) {
            (Confinement::Privileged, _) => 0,
            (Confinement::Unconfined, _) => 1,
            (Confinement::NotSet, _) => 2,
            (Confinement::Other { .. }, _) => 3,
            (Confinement::Localhost { .. }, Served::Missing) => 4,
            (Confinement::Localhost { .. }, Served::Foreign | Served::Unknown | Served::None) => 5,
            (Confinement::Localhost { .. }, Served::Profile { audit: true, .. }) => 6,
            (Confinement::RuntimeDefault, _) => 7,
            (Confinement::Localhost { .. }, Served::Profile { .. }) => 8,
            (Confinement::Windows, _) => 9,
        }
    }

    fn container(&self) -> String {
        match self.role {
            Role::Ordinary => self.container.clone(),
            Role::Init => format!("{} (init)", self.container),
            Role::Ephemeral => format!("{} (ephemeral)", self.container),
        }
    }

    fn profile(&self) -> String {
        match &self.profile {
            Served::None | Served::Unknown => "-".to_owned(),
            Served::Foreign => "not Portcullis's".to_owned(),
            Served::Missing => "no such profile".to_owned(),
            Served::Profile { namespace, name, revision, audit, .. } => {
                let kind = if namespace.is_some() { "sp" } else { "csp" };
                let mut text = format!("{kind}/{name}");
                if let Some(revision) = revision {
                    text += &format!("@{revision}");
                }
                if let Some(other) = namespace.as_ref().filter(|other| **other != self.workload.namespace) {
                    text += &format!(" of {other}");
                }
                if *audit {
                    text += " (Audit)";
                }
                text
            }
        }
    }
}

impl Report {
    fn write(&self, wide: bool, arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
        if self.containers.is_empty() {
            return Ok(());
        }
        let all = arguments.everywhere.all_namespaces;
        let mut header = if all { vec!["NAMESPACE"] } else { Vec::new() };
        header.push(if arguments.by_pod { "POD" } else { "WORKLOAD" });
        header.push("CONTAINER");
        header.extend((!arguments.by_pod).then_some("PODS"));
        header.extend(["CONFINEMENT", "PROFILE"]);
        if wide {
            header.extend(arguments.by_pod.then_some("NODE"));
            header.extend(["SET BY", "PATH"]);
        }
        let mut table = Table::new(header);
        for line in &self.containers {
            let mut row = if all { vec![line.workload.namespace.clone()] } else { Vec::new() };
            row.push(line.pod.clone().unwrap_or_else(|| line.workload.to_string()));
            row.push(line.container());
            row.extend((!arguments.by_pod).then(|| line.pods.to_string()));
            row.extend([line.confinement.label().to_owned(), line.profile()]);
            if wide {
                row.extend(arguments.by_pod.then(|| line.node.clone().unwrap_or_else(|| "-".to_owned())));
                row.push(line.set_by.label().to_owned());
                row.push(match &line.confinement {
                    Confinement::Localhost { path } => path.clone(),
                    _ => "-".to_owned(),
                });
            }
            table.push(row);
        }
        table.write(out)?;
        Ok(())
    }
}

impl Summary {
    fn add(&mut self, confinement: &Confinement) {
        self.containers += 1;
        self.uncovered += usize::from(confinement.is_uncovered());
        match self.by_confinement.get_mut(confinement.label()) {
            Some(count) => *count += 1,
            None => {
                self.by_confinement.insert(confinement.label().to_owned(), 1);
            }
        }
    }

    fn describe(&self, scope: &Scope) -> String {
        if self.containers == 0 {
            return format!("No container runs in {}.", scope.describe());
        }
        let parts: Vec<String> =
            self.by_confinement.iter().map(|(label, count)| format!("{count} {label}")).collect();
        let covered = self.containers - self.uncovered;
        let mut text = format!(
            "{covered} of {} running containers have a filter: {}.",
            self.containers,
            parts.join(", ")
        );
        if self.by_confinement.contains_key(Confinement::NotSet.label()) {
            text += "\n'not set' means no filter, unless the node's kubelet runs with seccompDefault, which the API does not tell.";
        }
        text
    }
}

#[cfg(test)]
#[path = "who_tests.rs"]
mod tests;
