//! `record status`: recordings, how far they are, and what they have not seen.

mod detail;
mod follow;
mod overview;

use anyhow::Result;
use clap::Args;
use clap_complete::ArgValueCandidates;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, ResourceExt as _, api::ListParams};
use portcullis_api::{RecordingCondition, RecordingStatus, SeccompRecording};
use serde::Serialize;

use crate::{
    cluster::{
        self, Cluster, Connection, Everywhere, Scope, failure::Attempt, follow::check_format, pages,
        recordings,
    },
    complete,
    console::Console,
    example::{self, Example},
    output::{self, Output},
    verdict::Verdict,
};

/// Recordings in a page: the status of one has some tens of KiB.
const PAGE: u32 = 100;

const EXAMPLES: &[Example] = &[
    Example {
        about: "The recordings of the namespace, and what they lack",
        command: "kubectl seccomp record status",
    },
    Example {
        about: "One by run and container: which calls one test suite alone needed, which phases nobody saw",
        command: "kubectl seccomp record status web",
    },
    Example { about: "As calls and phases come in", command: "kubectl seccomp record status -w" },
    Example {
        about: "Those of every namespace, for a program",
        command: "kubectl seccomp record status -A -o json",
    },
];

/// Which recordings, and how they are shown.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(super) struct Arguments {
    /// One SeccompRecording, in detail.
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces", add = ArgValueCandidates::new(complete::recordings))]
    name: Option<String>,
    /// Show changes as they come, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// How to show it.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Output>,
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(flatten)]
    connection: Connection,
}

/// What there is to say.
#[derive(Debug, Serialize)]
struct Report {
    recordings: Vec<Line>,
}

/// A recording.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    created: Option<Time>,
    /// The run that `record run` brackets at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// Absent where the controller has not looked at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<RecordingStatus>,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    if arguments.watch {
        check_format(arguments.output, "seccomprecordings")?;
    }
    cluster::with(&arguments.connection, async |cluster| {
        let (scope, name) = (cluster.scope(arguments.everywhere), arguments.name.as_deref());
        let report = ask(&cluster, &scope, name).await?;
        match arguments.output {
            Some(Output::Json) => output::json(&report, console.out())?,
            Some(Output::Yaml) => output::yaml(&report, console.out())?,
            wide if arguments.watch => {
                let wide = wide.is_some();
                let recordings = follow::Recordings { cluster: &cluster, scope: &scope, name, wide };
                return follow::follow(&recordings, report, console).await;
            }
            None if name.is_some() => {
                report.recordings.iter().try_for_each(|line| detail::write(line, console.out()))?;
            }
            wide => overview::write(&report, &scope, wide.is_some(), console.out())?,
        }
        if report.recordings.is_empty() {
            console.say(format_args!("No recordings in {}.", scope.describe()));
        }
        Ok(Verdict::Yes)
    })
}

async fn ask(cluster: &Cluster, scope: &Scope, name: Option<&str>) -> Result<Report> {
    let mut found = Vec::new();
    if let Some(name) = name {
        found.push(Line::of(recordings::find(cluster, name).await?));
    } else {
        let client = cluster.client.clone();
        let api: Api<SeccompRecording> = match scope {
            Scope::All => Api::all(client),
            Scope::Namespace(namespace) => Api::namespaced(client, namespace),
        };
        let attempt = Attempt::new::<SeccompRecording>("list", scope.namespace());
        let listed = pages::each(&api, ListParams::default().limit(PAGE), |recording: SeccompRecording| {
            found.push(Line::of(recording));
        });
        listed.await.map_err(|error| attempt.failed(&error))?;
    }
    Ok(Report { recordings: found })
}

impl Line {
    fn of(recording: SeccompRecording) -> Self {
        Self {
            namespace: recording.namespace().unwrap_or_default(),
            name: recording.name_any(),
            created: recording.metadata.creation_timestamp,
            run: recording.spec.run.clone(),
            status: recording.status,
        }
    }

    fn condition(&self, kind: RecordingCondition) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == kind.as_str())
    }

    /// `yes`, or why not in a word; a question mark where nobody has looked.
    fn says(&self, kind: RecordingCondition) -> String {
        match self.condition(kind) {
            Some(condition) if condition.status == "True" => "yes".to_owned(),
            Some(condition) => format!("no ({})", condition.reason),
            None => "?".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
