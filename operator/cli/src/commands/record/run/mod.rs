//! `record run`: a command whose time is one test run of a recording.

mod bracket;
mod child;
mod nodes;

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use clap_complete::ArgValueCandidates;
use k8s_openapi::jiff::Timestamp;
use portcullis_api::SeccompRecording;
use portcullis_profile::recording::{Absence, Tally, only_in};

use self::{
    bracket::Bracket,
    child::{Ended, Signals},
    nodes::Nodes,
};
use crate::{
    cluster::{
        self, Cluster, Connection,
        connection::{Limit, duration},
        recordings,
    },
    complete,
    console::Console,
    example::{self, Example},
    layout::counted,
    verdict::Verdict,
};

/// Longest value of a label.
const MAX_RUN: usize = 63;

const WORDS: &str = "\
While the command runs, the recording's spec.run names the run, and what every recorded pod does counts for it, those that ran \
before among them and those that come. Before the command starts, and after it has ended, this waits until each node with such pods \
has said that it has read its counters. Signals go to the command; spec.run is taken away whatever happens, except by SIGKILL.

Exits as the command did, with 128 and the signal where one killed it, and with 2 where the command could not be run or \
spec.run not be set or taken away. Everything that this itself says goes to standard error.";

const EXAMPLES: &[Example] = &[
    Example {
        about: "Count what the pods do during a test suite for the run 'api-tests'",
        command: "kubectl seccomp record run web --run api-tests -- ./api-tests.sh",
    },
    Example {
        about: "The same under the command's own name",
        command: "kubectl seccomp record run web -- ./api-tests.sh",
    },
];

/// Which recording, and which command.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(super) struct Arguments {
    /// The SeccompRecording.
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::recordings))]
    recording: String,
    /// The run's name; by default that of the command, so that a suite has the same name each time.
    #[arg(long, value_name = "SUITE", value_parser = run_name)]
    run: Option<String>,
    /// How long the nodes may take to answer, at the beginning and at the end, for example 30s or 2m; 0 is without end.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    timeout: Limit,
    /// Begin although another run seems to be under way: one that was killed could not take its name away.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    connection: Connection,
    /// The command and its arguments, after --.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let (program, rest) = arguments.command.split_first().context("a command is needed, after --")?;
    let run = arguments.run.clone().unwrap_or_else(|| name_of(program));
    cluster::with(&arguments.connection, async |cluster| {
        let mut signals = Signals::new()?;
        let recording = recordings::find(&cluster, &arguments.recording).await?;
        refuse_ended(&recording)?;
        let work =
            async |nodes: &mut Nodes, signals: &mut Signals| child::run(program, rest, nodes, signals).await;
        let run = Run { cluster: &cluster, recording, name: run, limit: arguments.timeout };
        run.around(arguments.take_over, &mut signals, console, work).await
    })
}

fn refuse_ended(recording: &SeccompRecording) -> Result<()> {
    let ended = recording.status.as_ref().and_then(|status| status.ended_at.as_ref());
    ensure!(
        ended.is_none(),
        "{} has ended, and does not begin again: make another one",
        recordings::describe(recording)
    );
    Ok(())
}

/// A run, and what it is of.
struct Run<'a> {
    cluster: &'a Cluster,
    recording: SeccompRecording,
    name: String,
    limit: Limit,
}

impl Run<'_> {
    /// Does some work while the recording names the run.
    async fn around(
        self,
        take_over: bool,
        signals: &mut Signals,
        console: &mut Console,
        work: impl AsyncFnOnce(&mut Nodes, &mut Signals) -> Result<Ended>,
    ) -> Result<Verdict> {
        let begun_at = Timestamp::now();
        let bracket = Bracket::begin(self.cluster, &self.recording, &self.name, take_over).await?;
        let mut nodes = Nodes::watch(self.cluster, &self.recording);
        let begun = tokio::select! {
            begun = self.begin(&bracket, &mut nodes, console) => begun,
            number = signals.next() => Ok(Some(Ended::Signal(number))),
        };
        let worked = match begun {
            Ok(None) => work(&mut nodes, signals).await,
            Ok(Some(ended)) => {
                console.note("interrupted before the command began");
                Ok(ended)
            }
            Err(error) => Err(error),
        };
        // Whatever came of it, the run ends.
        let ended = bracket.end(self.cluster).await;
        let worked = match (worked, &ended) {
            (Ok(worked), _) => worked,
            (Err(error), Ok(_)) => return Err(error),
            (Err(error), Err(also)) => return Err(error.context(format!("{also:#}"))),
        };
        let Some(after) = ended? else {
            let of = recordings::describe(&self.recording);
            console.note(format_args!("{of} was deleted meanwhile: nothing is left of the run"));
            return Ok(Verdict::Exited(worked.code()));
        };
        let waited = tokio::select! {
            waited = self.finish(&bracket, after, &nodes, begun_at, console) => waited,
            _ = signals.next() => {
                console.note("interrupted: what the nodes counted last may come later, and counts for the run all the same");
                Ok(())
            }
        };
        // The command's own answer is worth more than ours.
        if let Err(error) = waited {
            console.note(format_args!("{error:#}"));
        }
        Ok(Verdict::Exited(worked.code()))
    }

    /// Waits until the run has begun on each node that has running pods of the recording.
    async fn begin(
        &self,
        bracket: &Bracket,
        nodes: &mut Nodes,
        console: &mut Console,
    ) -> Result<Option<Ended>> {
        let unknown = nodes.listed().await;
        if let Some(why) = &unknown {
            console.note(format_args!(
                "which nodes have pods of the recording is not known, so only those are waited for that wrote something before: {why:#}"
            ));
        }
        let here = nodes.running().clone();
        let of = recordings::describe(&self.recording);
        if here.is_empty() && unknown.is_none() {
            console.say(format_args!("run {} of {of} begins: no pod of it runs yet", self.name));
            return Ok(None);
        }
        // Any generation: every node that has a part.
        let since = unknown.is_some().then_some(0);
        let late = bracket.answers(self.cluster, bracket.generation, &here, since, self.limit).await?;
        if !late.is_empty() {
            bail!(
                "the run could not begin: no answer in time from the recorder of {}; does one run there (recorder.enabled), and is it of \
                 this version? --timeout gives it longer",
                list(&late)
            );
        }
        let who = match unknown {
            Some(_) => "every node with a part of it".to_owned(),
            None => format!("{} with running pods of it", counted(here.len(), "node")),
        };
        console.say(format_args!("run {} of {of} begins: {who} answered", self.name));
        Ok(None)
    }

    /// Waits until the last counts are written down, and says what the run came to.
    async fn finish(
        &self,
        bracket: &Bracket,
        after: i64,
        nodes: &Nodes,
        begun_at: Timestamp,
        console: &mut Console,
    ) -> Result<()> {
        let since = Some(bracket.generation);
        let late = bracket.answers(self.cluster, after, nodes.seen(), since, self.limit).await?;
        if !late.is_empty() {
            console.note(format_args!(
                "no answer in time from the recorder of {}: what was counted there last may be missing, or may count for no run",
                list(&late)
            ));
        }
        let recorded = recordings::recorded(self.cluster, &self.recording).await?;
        for problem in &recorded.problems {
            console.note(problem);
        }
        for absence in absences_since(&recorded.tally, begun_at) {
            console.note(format_args!("{absence}, and is not in the run; run it again"));
        }
        let mine = recorded.tally.subjects.iter().filter(|(subject, _)| subject.run == self.name);
        let calls: BTreeSet<_> = mine.flat_map(|(_, seen)| seen.calls.keys()).collect();
        console.say(format_args!(
            "run {} ended: {} recorded for it so far, {} of them in no other run",
            self.name,
            counted(calls.len(), "call"),
            only_in(&recorded.tally, &self.name).len()
        ));
        Ok(())
    }
}

/// When recorders were away during a run.
fn absences_since(tally: &Tally, begun_at: Timestamp) -> impl Iterator<Item = &Absence> {
    let begun_at = u64::try_from(begun_at.as_second()).unwrap_or_default();
    tally.absences.iter().filter(move |absence| !absence.is_over_at(begun_at))
}

/// Some names, so that a line stays one.
fn list(nodes: &BTreeSet<String>) -> String {
    const NAMED: usize = 5;
    let named: Vec<&str> = nodes.iter().take(NAMED).map(String::as_str).collect();
    let more = nodes.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{} {}{more}", if nodes.len() == 1 { "the node" } else { "the nodes" }, named.join(", "))
}

/// A label's value.
fn run_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: char| c.is_ascii_alphanumeric();
    let good = (1..=MAX_RUN).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge);
    good.then(|| text.to_owned()).ok_or_else(|| {
        "no name of a run: use at most 63 letters, digits, dashes, dots and underscores, the first and last a letter or digit".to_owned()
    })
}

/// The command's name as a label can have it.
fn name_of(program: &OsString) -> String {
    let file = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
    let name: String =
        file.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let name: String = name.chars().take(MAX_RUN).collect();
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
