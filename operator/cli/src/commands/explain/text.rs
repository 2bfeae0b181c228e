//! An explanation on one screen.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::document::{Against, Call, Document, Group, Named};
use crate::{
    answer::Answer,
    layout::{counted, wrapped},
};

const WIDTH: usize = 110;
/// The width of what stands before texts.
const LABEL: usize = 22;
/// How many calls of a list are named.
const NAMED: usize = 14;
/// How many of a group's calls are named where none is beyond the default.
const NAMED_USUAL: usize = 7;
/// How many calls' arguments are shown.
const RESTRICTED: usize = 6;
const TITLE: Style = Style::new().bold();
const BEYOND: Style = AnsiColor::Yellow.on_default().bold();

pub(super) fn write(document: &Document<'_>, out: &mut Answer<impl Write>) -> io::Result<()> {
    let Document { profile, architecture, default, companions, calls, .. } = document;
    out.paint(TITLE, profile)?;
    writeln!(out, " on {architecture}")?;
    labelled("by default a call", default, out)?;
    let mut counts = vec![format!("{} allowed", calls.allowed)];
    counts.extend((calls.by_arguments > 0).then(|| format!("{} by their arguments", calls.by_arguments)));
    counts.extend((calls.delegated > 0).then(|| format!("{} left to another process", calls.delegated)));
    counts.push(format!("{} denied", calls.denied));
    let companions: Vec<&str> = companions.iter().map(|arch| arch.as_str()).collect();
    let through = if companions.is_empty() {
        "calls through any other architecture kill the thread".to_owned()
    } else {
        format!("calls through {} too, through others kill the thread", companions.join(", "))
    };
    labelled("system calls", &format!("{}; {through}", counts.join(", ")), out)?;
    match &document.runtime_default {
        Some(against) => write_against(against, out)?,
        None => labelled("compared with", "nothing: no runtime default of this architecture is known", out)?,
    }
    write_kept(document, out)?;
    writeln!(out)?;
    out.paint(TITLE, "What reviewers look for")?;
    writeln!(out, "  (+ beyond what it is compared with, ? by its arguments)")?;
    let (none, some): (Vec<_>, Vec<_>) = document.groups.iter().partition(|group| group.calls.is_empty());
    for group in some {
        write_group(group, out)?;
    }
    if !none.is_empty() {
        let names: Vec<&str> = none.iter().map(|group| group.name).collect();
        labelled("nothing of", &names.join(", "), out)?;
    }
    write_arguments(document, out)
}

fn write_kept(document: &Document<'_>, out: &mut Answer<impl Write>) -> io::Result<()> {
    for (number, kept) in document.keeps_privileges.iter().enumerate() {
        if number == 0 {
            out.paint(BEYOND, "keeps privileges that the pod gave up")?;
            writeln!(out, ", unless it has allowPrivilegeEscalation: false")?;
        }
        labelled("", kept, out)?;
    }
    Ok(())
}

fn write_against(against: &Against, out: &mut Answer<impl Write>) -> io::Result<()> {
    labelled("compared with", &against.source, out)?;
    labelled("  allows beyond it", &names(&against.beyond), out)?;
    labelled("  denies besides", &names(&against.less), out)
}

fn names(calls: &[Named]) -> String {
    if calls.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = calls
        .iter()
        .take(NAMED)
        .map(|named| if named.when.is_empty() { named.call.clone() } else { format!("{}?", named.call) })
        .collect();
    let more = match calls.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}: {}{more}", counted(calls.len(), "call"), shown.join(", "))
}

fn write_group(group: &Group, out: &mut Answer<impl Write>) -> io::Result<()> {
    let beyond = group.calls.iter().any(|call| call.beyond);
    let style = if beyond { BEYOND } else { Style::new() };
    let mut shown: Vec<&Call> = group.calls.iter().collect();
    // Stable, so those of a kind stay in their order.
    shown.sort_by_key(|call| !call.beyond);
    let named = if beyond { NAMED } else { NAMED_USUAL };
    let names: Vec<String> = shown.iter().take(named).map(|call| mark(call)).collect();
    let more = match shown.len().saturating_sub(named) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!("{}{more}", names.join(", "));
    for (number, line) in wrapped(&text, WIDTH - LABEL - 2).iter().enumerate() {
        let label = if number == 0 { group.name } else { "" };
        out.paint(style, format_args!("{label:<LABEL$}"))?;
        writeln!(out, "  {line}")?;
    }
    if beyond {
        labelled("", group.why, out)?;
    }
    Ok(())
}

fn mark(call: &Call) -> String {
    let before = if call.beyond { "+" } else { "" };
    let after = match call.reach {
        "byArguments" => "?",
        "logged" => " (logged)",
        "leftToAnotherProcess" => " (left to another process)",
        _ => "",
    };
    format!("{before}{}{after}", call.name)
}

fn write_arguments(document: &Document<'_>, out: &mut Answer<impl Write>) -> io::Result<()> {
    if document.arguments.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    out.paint(TITLE, "Decided by arguments")?;
    writeln!(out)?;
    for restriction in document.arguments.iter().take(RESTRICTED) {
        let doubt =
            if restriction.certain { "" } else { " (unsure: libseccomp may merge these rules otherwise)" };
        labelled(restriction.call, &format!("{}{doubt}", restriction.words), out)?;
    }
    match document.arguments.get(RESTRICTED..) {
        None | Some([]) => Ok(()),
        Some(more) => {
            let names: Vec<&str> = more.iter().map(|restriction| restriction.call).collect();
            labelled("more, with -o json", &names.join(", "), out)
        }
    }
}

fn labelled(label: &str, text: &str, out: &mut Answer<impl Write>) -> io::Result<()> {
    for (number, line) in wrapped(text, WIDTH - LABEL - 2).iter().enumerate() {
        writeln!(out, "{:<LABEL$}  {line}", if number == 0 { label } else { "" })?;
    }
    Ok(())
}
