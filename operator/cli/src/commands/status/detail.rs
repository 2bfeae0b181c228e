//! Everything about one profile.

use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;
use portcullis_api::ConditionType;

use super::gather::{Line, Report, Usage};
use crate::{
    cluster::{age::age, revisions::state},
    layout::one_line,
    table::Table,
};

/// Writes what there is to say of the profile that was asked for.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    report.profiles.iter().try_for_each(|line| {
        head(line, out)?;
        revisions(line, out)?;
        failing_nodes(line, out)?;
        warnings(line, out)?;
        line.usage.as_ref().map_or(Ok(()), |usage| users(usage, out))
    })
}

fn head(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    let of = line.namespace.as_ref().map(|namespace| format!(" in the namespace {namespace}"));
    writeln!(out, "{} {}{}", line.kind, line.name, of.unwrap_or_default())?;
    let now = Timestamp::now();
    let mut say = |what: &str, text: &str| writeln!(out, "  {:<10} {}", one_line(what), one_line(text));
    match line.conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str()) {
        Some(ready) => {
            let answer = if line.ready { "yes".to_owned() } else { format!("no ({})", ready.reason) };
            let since = age(Some(&ready.last_transition_time), now);
            say("Ready", &format!("{answer}, for {since}: {}", ready.message))?;
        }
        None => say("Ready", "unknown: the controller has not looked at this generation yet; does it run?")?,
    }
    for condition in line.conditions.iter().filter(|one| one.type_ != ConditionType::Ready.as_str()) {
        let meaning = match condition.type_.as_str() {
            "Stalled" => "nothing happens until somebody changes the profile or what it depends on",
            _ => "the rollout goes on",
        };
        say(&condition.type_, meaning)?;
    }
    let mode = match line.mode {
        "Audit" => "Audit: what the profile denies and the runtime default allows is let through and logged",
        _ => "Enforce: what the profile denies is denied",
    };
    say("Mode", mode)?;
    if let Some(path) = &line.localhost_profile {
        say("Path", path)?;
    }
    if let Some(digest) = &line.digest {
        say("Revision", &digest.to_string())?;
    }
    if let Some(pin) = &line.pin {
        say("Pinned to", pin)?;
    }
    match &line.nodes {
        Some(nodes) if nodes.failing > 0 => {
            say("Nodes", &format!("{} of {} have it, {} failed", nodes.ready, nodes.desired, nodes.failing))
        }
        Some(nodes) => say("Nodes", &format!("{} of {} have it", nodes.ready, nodes.desired)),
        None => Ok(()),
    }
}

fn revisions(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    if line.revisions.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nRevisions")?;
    let mut table = Table::new(["  DIGEST", "SEQUENCE", "STATE", "BECAME CURRENT", "PODS"]);
    for revision in &line.revisions {
        let since =
            revision.since.as_ref().map(|since| format!("{} ago", age(Some(since), Timestamp::now())));
        table.push(vec![
            format!("  {}", revision.digest.short()),
            revision.sequence.to_string(),
            state(revision.revoked.as_deref(), revision.current),
            since.unwrap_or_else(|| "?".to_owned()),
            revision.pods.map_or_else(|| "?".to_owned(), |pods| pods.to_string()),
        ]);
    }
    table.write(out)
}

fn failing_nodes(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    if line.failing_nodes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nFailing nodes")?;
    let mut table = Table::new(["  NODE", "REASON", "MESSAGE"]);
    for node in &line.failing_nodes {
        table.push(vec![format!("  {}", node.node), node.reason.clone(), node.message.clone()]);
    }
    table.write(out)?;
    match line.nodes.as_ref().and_then(|nodes| {
        usize::try_from(nodes.failing).ok()?.checked_sub(line.failing_nodes.len()).filter(|more| *more > 0)
    }) {
        Some(more) => writeln!(out, "  and {more} more"),
        None => Ok(()),
    }
}

fn warnings(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    if line.warnings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWarnings (docs/lint.md explains the codes)")?;
    for warning in &line.warnings {
        let place = if warning.path.is_empty() { String::new() } else { format!("{}: ", warning.path) };
        writeln!(out, "  {}", one_line(&format!("{}  {place}{}", warning.code, warning.message)))?;
    }
    Ok(())
}

fn users(usage: &Usage, out: &mut dyn Write) -> io::Result<()> {
    if usage.workloads.is_empty() {
        return writeln!(out, "\nUsed by no pod");
    }
    writeln!(out, "\nUsed by")?;
    let mut table = Table::new(["  NAMESPACE", "WORKLOAD", "PODS", "STALE"]);
    for one in &usage.workloads {
        table.push(vec![
            format!("  {}", one.workload.namespace),
            one.workload.to_string(),
            one.pods.to_string(),
            one.stale.map_or_else(|| "?".to_owned(), |stale| stale.to_string()),
        ]);
    }
    table.write(out)?;
    if usage.stale.is_some_and(|stale| stale > 0) {
        writeln!(
            out,
            "  Stale pods run under an older revision: a container keeps the filter that it started with. \
             `kubectl rollout restart` gives them the current one."
        )?;
    }
    Ok(())
}
