//! Everything about one recording.

use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;
use portcullis_api::{
    ContainerSummary, LostCounts, PhaseName, RecordingCondition, RecordingStatus, RunSummary,
};

use portcullis_profile::{Fallback, fallback, printable};

use super::Line;
use crate::{
    cluster::{age::age, recordings},
    layout::{counted, wrapped},
    table::Table,
};

const WIDTH: usize = 110;
/// The width of what stands before each line's words.
const LABEL: usize = 14;

/// Writes what there is to say of a recording.
pub(super) fn write(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "SeccompRecording {} in the namespace {}", line.name, line.namespace)?;
    let Some(status) = &line.status else {
        return say(
            "Recording",
            "unknown: the controller has not looked at it; does it run with --recordings?",
            out,
        );
    };
    for kind in
        [RecordingCondition::Recording, RecordingCondition::Complete, RecordingCondition::ProfileCreated]
    {
        let Some(condition) = line.condition(kind) else { continue };
        if kind == RecordingCondition::Complete && !status.missing.is_empty() {
            say(kind.as_str(), &line.says(kind), out)?;
            missing(&status.missing, out)?;
        } else {
            say(kind.as_str(), &format!("{}: {}", line.says(kind), condition.message), out)?;
        }
    }
    facts(line, status, out)?;
    runs(&status.runs, out)?;
    containers(&status.containers, out)?;
    if !status.notes.is_empty() {
        writeln!(out, "\nOf the profile that is made of it")?;
        for note in &status.notes {
            indented("  ", note, out)?;
        }
    }
    Ok(())
}

/// A sentence a line, however long: a gap is read as one thing, and copied as one.
fn missing(missing: &[String], out: &mut dyn Write) -> io::Result<()> {
    missing.iter().try_for_each(|one| writeln!(out, "  {:<LABEL$} - {}", "", printable(one)))
}

fn facts(line: &Line, status: &RecordingStatus, out: &mut dyn Write) -> io::Result<()> {
    let now = Timestamp::now();
    let ago = |time| format!("{} ago", age(Some(time), now));
    if let Some(run) = &line.run {
        say("Run", &format!("{run}, by `kubectl seccomp record run`"), out)?;
    }
    if let Some(last) = &status.last_new_call_time {
        let of = format!("{}, the last new one {}", status.calls, ago(last));
        say("Calls", &of, out)?;
    }
    say("Nodes", &status.nodes.to_string(), out)?;
    if let Some(LostCounts { calls, values, denials }) = status.lost {
        let lost = format!(
            "{calls} calls, {values} argument values, {denials} denials: more was called than is known"
        );
        say("Lost", &lost, out)?;
    }
    if let Some(refused) = recordings::refused(&status.refused_nodes) {
        say("Refused", &refused, out)?;
    }
    let (on_purpose, denied): (Vec<&String>, Vec<&String>) =
        status.denied_calls.iter().partition(|call| fallback(call).is_some());
    let denied: Vec<&str> = denied.into_iter().map(String::as_str).collect();
    if !denied.is_empty() {
        say("Denied", &format!("by the present filters: {}", denied.join(", ")), out)?;
    }
    for Fallback { call, instead, why, .. } in on_purpose.iter().filter_map(|call| fallback(call)) {
        say("On purpose", &format!("{call} is answered with ENOSYS, so that {instead} is made: {why}"), out)?;
    }
    Ok(())
}

fn runs(runs: &[RunSummary], out: &mut dyn Write) -> io::Result<()> {
    if runs.iter().all(|run| run.name.is_empty()) {
        return Ok(());
    }
    writeln!(out, "\nRuns (without one, the profile would deny the calls that are only here)")?;
    let mut table = Table::new(["  RUN", "CALLS", "ONLY HERE"]);
    for run in runs {
        let name = if run.name.is_empty() { "(outside of any)" } else { &run.name };
        table.push(vec![format!("  {name}"), run.calls.to_string(), run.only_here.to_string()]);
    }
    table.write(out)
}

fn containers(containers: &[ContainerSummary], out: &mut dyn Write) -> io::Result<()> {
    if containers.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nContainers")?;
    let mut table = Table::new(["  CONTAINER", "SEEN", "SIGNALS", "IMAGES"]);
    let listed = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
    let phases = |phases: &[PhaseName]| listed(phases.iter().map(|phase| format!("{phase:?}")).collect());
    for one in containers {
        table.push(vec![
            format!("  {}", one.name),
            phases(&one.seen),
            listed(one.signals.clone()),
            counted(one.images.len(), "image"),
        ]);
    }
    table.write(out)
}

fn say(what: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    for (position, line) in wrapped(text, WIDTH - LABEL - 3).into_iter().enumerate() {
        let label = if position == 0 { what } else { "" };
        writeln!(out, "  {label:<LABEL$} {line}")?;
    }
    Ok(())
}

fn indented(indent: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    wrapped(text, WIDTH - indent.len()).iter().try_for_each(|line| writeln!(out, "{indent}{line}"))
}
