//! `who`: what confines each running container.

mod line;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use anyhow::{Result, ensure};
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use crate::{
    cluster::{
        self, Cluster, Connection, Everywhere, Scope,
        pod::{self, Confinement},
        profiles,
        sandbox::RuntimeClasses,
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

use line::{Key, Line};
use waiting::Waiting;

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
    /// Containers that can't start under what they name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Waiting>,
    summary: Summary,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Running containers.
    containers: usize,
    /// Those without a filter that can be counted on.
    uncovered: usize,
    /// Those in a sandbox with a kernel of its own.
    sandboxed: usize,
    /// By what confines them.
    by_confinement: BTreeMap<String, usize>,
    #[serde(skip)]
    named_missing: usize,
    #[serde(skip)]
    privileged_by_crio: usize,
}

async fn gather(cluster: &Cluster, scope: &Scope, arguments: &Arguments) -> Result<(Report, Vec<String>)> {
    // What confines a container is to be seen without Portcullis too.
    let (profiles, mut notes) = profiles::list_if_allowed(cluster, scope, "profiles are not named").await?;
    let paths = profiles.as_deref().map(Paths::of);
    let known = profiles.as_deref().zip(paths.as_ref());
    let (mut counts, mut waiting) = (BTreeMap::<Key, usize>::new(), BTreeMap::<_, usize>::new());
    pod::each_living(cluster, scope, &arguments.exclude_namespace, |pod| {
        for container in pod::containers(&pod) {
            let workload = Workload::of_pod(&pod.metadata);
            if container.running.is_some() {
                let by_pod = arguments.by_pod.then_some(&pod);
                *counts.entry(Key::of(container, &pod, by_pod, workload, known)).or_default() += 1;
            } else if let Some(key) = waiting::key(&container, workload, known) {
                *waiting.entry(key).or_default() += 1;
            }
        }
    })
    .await?;
    let direct: BTreeSet<Workload> = counts.keys().map(|key| key.workload.clone()).collect();
    let owners = Owners::of(cluster, scope, &direct).await?;
    notes.extend(owners.notes.iter().cloned());
    let classes = if counts.keys().any(|key| key.runtime_class.is_some()) {
        let (classes, note) = RuntimeClasses::read(cluster).await?;
        notes.extend(note);
        classes
    } else {
        RuntimeClasses::default()
    };
    let mut containers = lines(counts, &owners, &classes);
    let summary = Summary::of(&containers);
    containers.retain(|line| !arguments.uncovered || line.uncovered);
    let waiting = waiting::of(waiting, profiles.as_deref().unwrap_or_default());
    notes.extend(waiting::notes(&waiting));
    Ok((Report { containers, waiting, summary }, notes))
}

/// The riskiest first.
fn lines(counts: BTreeMap<Key, usize>, owners: &Owners, classes: &RuntimeClasses) -> Vec<Line> {
    // Several controllers can be of one workload: the ReplicaSets of a rollout.
    let mut merged: BTreeMap<Key, usize> = BTreeMap::new();
    for (mut key, count) in counts {
        key.workload = owners.top(&key.workload).clone();
        *merged.entry(key).or_default() += count;
    }
    let mut lines: Vec<Line> = merged.into_iter().map(|(key, pods)| Line::of(key, pods, classes)).collect();
    // Stable, so what is alike stays in the order of its names.
    lines.sort_by_key(Line::risk);
    lines
}

impl Report {
    fn write(&self, wide: bool, arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
        if self.containers.is_empty() {
            return Ok(());
        }
        let all = arguments.everywhere.all_namespaces;
        let classes = self.containers.iter().any(|line| line.runtime_class.is_some());
        let mut header = if all { vec!["NAMESPACE"] } else { Vec::new() };
        header.push(if arguments.by_pod { "POD" } else { "WORKLOAD" });
        header.push("CONTAINER");
        header.extend((!arguments.by_pod).then_some("PODS"));
        header.extend(["CONFINEMENT", "PROFILE"]);
        if wide {
            header.extend(arguments.by_pod.then_some("NODE"));
            header.push("SET BY");
            header.extend(classes.then_some("RUNTIME CLASS"));
            header.push("PATH");
        }
        let mut table = Table::new(header);
        for line in &self.containers {
            let mut row = if all { vec![line.workload.namespace.clone()] } else { Vec::new() };
            row.push(line.pod.clone().unwrap_or_else(|| line.workload.to_string()));
            row.push(line.container());
            row.extend((!arguments.by_pod).then(|| line.pods.to_string()));
            row.extend([line.confinement(), line.profile()]);
            if wide {
                row.extend(arguments.by_pod.then(|| line.node.clone().unwrap_or_else(|| "-".to_owned())));
                row.push(line.set_by.label().to_owned());
                row.extend(classes.then(|| line.runtime_class.clone().unwrap_or_else(|| "-".to_owned())));
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
    fn of(lines: &[Line]) -> Self {
        let mut summary = Self::default();
        for line in lines {
            summary.containers += line.pods;
            summary.uncovered += if line.uncovered { line.pods } else { 0 };
            summary.sandboxed += if line.sandbox { line.pods } else { 0 };
            summary.named_missing += if line.names_nothing() { line.pods } else { 0 };
            summary.privileged_by_crio += if line.is_privileged_by_crio() { line.pods } else { 0 };
            *summary.by_confinement.entry(line.confinement.label().to_owned()).or_default() += line.pods;
        }
        summary
    }

    fn describe(&self, scope: &Scope) -> String {
        if self.containers == 0 {
            return format!("No container runs in {}.", scope.describe());
        }
        let parts: Vec<String> =
            self.by_confinement.iter().map(|(label, count)| format!("{count} {label}")).collect();
        let covered = self.containers - self.uncovered - self.sandboxed;
        let mut text = format!(
            "{covered} of {} running containers have a filter: {}.",
            self.containers,
            parts.join(", ")
        );
        if self.sandboxed > 0 {
            text += &format!(
                "\n{} of them run in a sandbox (gVisor, Kata), which has a kernel of its own and loads no filter unless it is told to.",
                self.sandboxed
            );
        }
        if self.named_missing > 0 {
            text += &format!(
                "\n{} of them name a file that no profile has: cri-dockerd starts them without a filter, and elsewhere they can't start again.",
                self.named_missing
            );
        }
        if self.privileged_by_crio > 0 {
            text += "\n'privileged' on CRI-O means no filter, unless the node's crio.conf has privileged_seccomp_profile, which the API does not tell.";
        }
        if self.by_confinement.contains_key(Confinement::NotSet.label()) {
            text += "\n'not set' means no filter, unless the node's kubelet runs with seccompDefault, which the API does not tell.";
        }
        text
    }
}

#[cfg(test)]
mod tests;
