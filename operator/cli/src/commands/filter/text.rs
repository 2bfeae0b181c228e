//! Filters for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use portcullis_profile::{
    Arch,
    compare::reachable,
    docker::arch_name,
    evaluate::Outcome,
    explain,
    filter::{Decided, Others, Reading, Standing, Summary, TooComplex},
};

use super::{Beside, Chain, source::Loaded};
use crate::{
    answer::Answer,
    commands::diff,
    layout::{counted, wrapped},
};

const WIDTH: usize = 110;
/// The width of what stands before texts.
const LABEL: usize = 22;
/// How many calls with one answer are named, where they are few enough to name any.
const NAMED: usize = 14;
/// How many calls' arguments are shown.
const RESTRICTED: usize = 8;
const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

pub(super) fn write(
    chain: &Chain<'_>,
    beside: Option<&Beside>,
    out: &mut Answer<impl Write>,
) -> io::Result<()> {
    let Chain { source, each, together, .. } = chain;
    out.paint(TITLE, &source.name)?;
    let count = source.filters.len();
    writeln!(
        out,
        ": {} on {}{}",
        counted(count, "filter"),
        arch_name(chain.arch),
        if count > 1 { ", the oldest first; of all answers the strictest counts" } else { "" }
    )?;
    for (number, (filter, reading)) in source.filters.iter().zip(each).enumerate() {
        writeln!(out)?;
        out.paint(TITLE, format_args!("Filter {}", number + 1))?;
        writeln!(out, ": {}", described(filter))?;
        write_reading(reading, out)?;
    }
    if count > 1 {
        writeln!(out)?;
        out.paint(TITLE, "Together")?;
        writeln!(out)?;
        write_reading(together, out)?;
    }
    match beside {
        None => Ok(()),
        Some(beside) => write_beside(&source.name, beside, out),
    }
}

fn described(filter: &Loaded) -> String {
    let instructions = counted(filter.program.instructions().len(), "instruction");
    match filter.logs {
        Some(true) => format!("{instructions}, every answer but ALLOW is logged"),
        _ => instructions,
    }
}

fn write_reading(reading: &Result<Reading, TooComplex>, out: &mut Answer<impl Write>) -> io::Result<()> {
    let reading = match reading {
        Ok(reading) => reading,
        Err(error) => return labelled("not read", &error.to_string(), out),
    };
    let summaries = reading.summaries();
    for summary in &summaries {
        write_summary(summary, summaries.len() > 1, summary.arch == reading.native(), out)?;
    }
    let read: Vec<Arch> = summaries.iter().map(|summary| summary.arch).collect();
    for arch in reachable(reading.native()).iter().filter(|arch| !read.contains(arch)) {
        labelled(arch_name(*arch), "every call kills the thread", out)?;
    }
    for one in reading.reservations().iter().take(RESTRICTED) {
        labelled("not known exactly", &one.to_string(), out)?;
    }
    Ok(())
}

/// The calls of one architecture; those of others than the machine's in numbers alone.
fn write_summary(
    summary: &Summary,
    has_title: bool,
    is_native: bool,
    out: &mut Answer<impl Write>,
) -> io::Result<()> {
    if has_title {
        writeln!(out, "  {}", arch_name(summary.arch))?;
    }
    for (outcome, calls) in by_outcome(summary) {
        let names = calls.iter().map(|call| call.name).take(NAMED).collect::<Vec<_>>().join(", ");
        let text = match calls.len() {
            count if !is_native => counted(count, "call"),
            count if count > NAMED => {
                format!("{}: {names} and {} more", counted(count, "call"), count - NAMED)
            }
            count => format!("{}: {names}", counted(count, "call")),
        };
        labelled(&explain::outcome(outcome), &text, out)?;
    }
    let depends = summary.calls.iter().filter(|call| call.words.is_some());
    let (depends, unsure): (Vec<&Decided>, Vec<&Decided>) = depends.partition(|call| call.certain);
    if !unsure.is_empty() {
        labelled("not known exactly", &counted(unsure.len(), "call"), out)?;
    }
    if !is_native {
        if !depends.is_empty() {
            labelled("by arguments", &counted(depends.len(), "call"), out)?;
        }
    } else {
        for call in depends.iter().take(RESTRICTED) {
            labelled(call.name, call.words.as_deref().unwrap_or_default(), out)?;
        }
        let more: Vec<&str> = depends.iter().skip(RESTRICTED).map(|call| call.name).collect();
        if !more.is_empty() {
            labelled("by arguments too", &more.join(", "), out)?;
        }
    }
    let others: Vec<String> = summary.others.iter().map(other).collect();
    labelled("numbers without names", &others.join("; "), out)
}

/// The calls whose arguments don't matter by what happens to them, the loosest first.
fn by_outcome(summary: &Summary) -> Vec<(Outcome, Vec<&Decided>)> {
    let mut all: Vec<(Outcome, Vec<&Decided>)> = Vec::new();
    for call in summary.calls.iter().filter(|call| call.words.is_none()) {
        match all.iter_mut().find(|(outcome, _)| *outcome == call.otherwise) {
            Some((_, calls)) => calls.push(call),
            None => all.push((call.otherwise, vec![call])),
        }
    }
    all.sort_by_key(|(outcome, _)| (outcome.strictness(), outcome.errno()));
    for (_, calls) in &mut all {
        calls.sort_by_key(|call| call.name);
    }
    all
}

fn other(one: &Others) -> String {
    let Others { from, to, outcome, certain } = one;
    let range = if from == to { from.to_string() } else { format!("{from} to {to}") };
    let perhaps = if *certain { "" } else { "perhaps " };
    format!("{range} {perhaps}{}", explain::outcome(*outcome))
}

fn write_beside(source: &str, beside: &Beside, out: &mut Answer<impl Write>) -> io::Result<()> {
    let (style, words) = match beside.standing() {
        _ if !beside.is_known() => (BAD, "not known: what is named differs only perhaps"),
        Standing::Equal => (GOOD, "as committed: every call and argument gets what the profile says"),
        Standing::Looser => (BAD, "looser: some calls or arguments get further than the profile lets them"),
        Standing::Stricter => {
            (BAD, "stricter: some calls or arguments get less far than the profile lets them")
        }
        Standing::Incomparable => (
            BAD,
            "other: looser for some calls or arguments and stricter for others, or with other actions or errnos",
        ),
    };
    writeln!(out)?;
    out.paint(TITLE, format_args!("Beside {}", beside.name))?;
    write!(out, "  ")?;
    out.paint(style, words)?;
    writeln!(out)?;
    if beside.changes.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    diff::text::write([&beside.name, source], &beside.changes, false, out)
}

fn labelled(label: &str, text: &str, out: &mut Answer<impl Write>) -> io::Result<()> {
    for (number, line) in wrapped(text, WIDTH - LABEL - 4).iter().enumerate() {
        writeln!(out, "  {:<LABEL$}  {line}", if number == 0 { label } else { "" })?;
    }
    Ok(())
}
