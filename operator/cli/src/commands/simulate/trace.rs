//! A whole trace: would the application have lived?

use std::{io::Write, path::Path};

use anyhow::{Context as _, Result, bail};
use portcullis_profile::{
    Arch,
    evaluate::{Outcome, Runtime},
    import::{
        strace::{Event, Strace},
        trace::{Call, Trace},
    },
    simulate::{Made, Simulation, Stopped, Summary, Written},
};

use super::{Filter, words};
use crate::{
    commands::import::{refusal, source},
    console,
};

/// How many distinct calls are listed.
const LISTED: usize = 40;

/// What runtimes do to an application, all of them the same for the same reasons.
pub(super) struct Group {
    pub(super) runtimes: Vec<Runtime>,
    pub(super) summary: Summary,
}

/// A trace with one call a line.
pub(super) fn plain(filters: &[Filter], native: Arch, path: &Path) -> Result<Vec<Group>> {
    let mut simulations: Vec<Simulation<'_>> =
        filters.iter().map(|filter| Simulation::new(&filter.evaluator)).collect();
    let mut trace = Trace::new(native);
    let mut each = |call: Call| {
        for simulation in &mut simulations {
            simulation.call(call.line, call.arch, call.number, call.arguments);
        }
    };
    source::read(path, |piece| trace.feed(piece, &mut each).with_context(|| source::name(path)))?;
    trace.finish(&mut each).with_context(|| source::name(path))?;
    groups(filters, simulations, path)
}

/// A trace of strace(1).
pub(super) fn strace(filters: &[Filter], native: Arch, path: &Path) -> Result<Vec<Group>> {
    let mut simulations: Vec<Simulation<'_>> =
        filters.iter().map(|filter| Simulation::new(&filter.evaluator)).collect();
    let mut trace = Strace::new(native);
    let mut tabled = 0u64;
    let mut each = |event: Event<'_>| match event {
        Event::Call(call) => {
            let call = Written::from(call);
            simulations.iter_mut().for_each(|simulation| simulation.written(&call));
        }
        Event::Tabled { .. } => tabled += 1,
    };
    source::read(path, |piece| {
        trace.feed(piece, &mut each);
        Ok(())
    })?;
    let read = trace.finish(&mut each);
    let name = source::name(path);
    if tabled > 0 {
        bail!("{name}: it is a table of strace -c, which has no calls in their order: trace without -c");
    }
    for (reason, count, examples) in read.unread.by_reason().filter(|(_, count, _)| *count > 0) {
        let example = examples.first().map(|one| format!(", such as line {}: {}", one.line, one.text));
        console::note(&format!("{name}: {count} {}{}", reason.as_str(), example.unwrap_or_default()));
    }
    if let Some(line) = read.refused {
        console::note(&refusal(&name, line));
    }
    groups(filters, simulations, path)
}

fn groups(filters: &[Filter], simulations: Vec<Simulation<'_>>, path: &Path) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for (filter, simulation) in filters.iter().zip(simulations) {
        let summary = simulation.finish();
        match groups.iter_mut().find(|group| is_same(&group.summary, &summary)) {
            Some(group) => group.runtimes.push(filter.runtime),
            None => groups.push(Group { runtimes: vec![filter.runtime], summary }),
        }
    }
    if groups.iter().all(|group| group.summary.calls == 0) {
        bail!("{}: there is no call in it", source::name(path));
    }
    Ok(groups)
}

pub(super) fn write(groups: &[Group], out: &mut dyn Write) -> Result<()> {
    for (at, Group { runtimes, summary }) in groups.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}: {}", words::runtimes(runtimes), verdict(summary))?;
        table(summary, out)?;
    }
    Ok(())
}

/// Whether two runtimes do the same to every call, and for the same reasons.
fn is_same(one: &Summary, other: &Summary) -> bool {
    one.outcomes == other.outcomes && one.stopped == other.stopped && one.more == other.more
}

fn verdict(summary: &Summary) -> String {
    let calls = summary.calls;
    match summary.first {
        None if summary.untold == 0 => format!("all {calls} calls would pass"),
        None => format!(
            "no call of {calls} would be stopped, as far as the trace tells: {} depend on arguments that it does not show",
            summary.untold
        ),
        Some(first) => format!(
            "the first of {calls} calls that would not pass is line {}: {}",
            first.line,
            words::call_with(first.arch, first.number, &first.arguments)
        ),
    }
}

fn table(summary: &Summary, out: &mut dyn Write) -> Result<()> {
    for (outcome, count) in summary.outcomes.values() {
        let action = outcome.map_or("", |outcome| outcome.action().as_str());
        writeln!(out, "  {count:>12}  {action}")?;
    }
    if summary.untold > 0 {
        writeln!(out, "  {:>12}  depend on arguments that the trace does not show", summary.untold)?;
    }
    if summary.stopped.is_empty() {
        return Ok(());
    }
    let stopped = stopped(summary);
    let rows: Vec<[String; 4]> = stopped.iter().take(LISTED).map(|one| row(one)).collect();
    let heading = ["COUNT", "ACTION", "LINE", "FIRST SUCH CALL"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&heading]).map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    writeln!(out)?;
    for [count, action, line, call] in [&heading].into_iter().chain(&rows) {
        let [first, second, third] = widths;
        writeln!(out, "  {count:>first$}  {action:<second$}  {line:>third$}  {call}")?;
    }
    let unlisted = stopped.len().saturating_sub(LISTED);
    if unlisted > 0 {
        writeln!(out, "  and {unlisted} more distinct calls")?;
    }
    if summary.more > 0 {
        writeln!(out, "  and {} calls more that were not told apart", summary.more)?;
    }
    Ok(())
}

/// Calls that don't pass, those that certainly don't and the most frequent first.
pub(super) fn stopped(summary: &Summary) -> Vec<&Stopped> {
    let mut stopped: Vec<&Stopped> = summary.stopped.values().collect();
    stopped.sort_by_key(|one| (one.decision.is_none(), std::cmp::Reverse(one.count)));
    stopped
}

fn row(stopped: &Stopped) -> [String; 4] {
    let Made { line, arch, number, arguments } = stopped.first;
    let outcome = |outcome: Outcome| outcome.to_string();
    let action = match stopped.decision {
        None => "unknown".to_owned(),
        Some(decision) if decision.is_contested() => format!("perhaps {}", outcome(decision.strictest())),
        Some(decision) => outcome(decision.outcome),
    };
    let call = words::call_with(arch, number, &arguments);
    [stopped.count.to_string(), action, line.to_string(), format!("{call} on {arch}")]
}
