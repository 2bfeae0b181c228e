//! Differences for people.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use portcullis_profile::{
    Arch,
    compare::{Change, Changes, Difference},
    docker::arch_name,
    evaluate::Outcome,
    explain,
};

use super::entries::{Entry, entries, example, title};
use crate::{
    answer::Answer,
    layout::{counted, wrapped},
};

const WIDTH: usize = 110;

/// Calls that have the same difference whatever their arguments.
type Alike<'a> = (Vec<Arch>, Outcome, Outcome, Vec<&'a str>);

pub(in crate::commands) fn write(
    [a, b]: [&str; 2],
    changes: &Changes,
    looser_only: bool,
    out: &mut Answer<impl Write>,
) -> io::Result<()> {
    writeln!(out, "A  {a}\nB  {b}\n")?;
    let entries = entries(&changes.calls);
    for one in &changes.architectures {
        let (filters, kills) = if one.in_b { ("B", "A") } else { ("A", "B") };
        writeln!(
            out,
            "{} is in {filters}'s architectures only: {} may be made through it, which {kills} answers by killing the thread\n",
            one.arch,
            counted(one.calls, "call")
        )?;
    }
    for change in
        [Change::OnlyInB, Change::Looser, Change::Mixed, Change::Stricter, Change::OnlyInA, Change::Otherwise]
    {
        let section: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.change == change).collect();
        if !section.is_empty() {
            write_section(change, &section, out)?;
        }
    }
    write_names(changes, out)?;
    write_kept(changes, out)?;
    for field in &changes.fields {
        let shown = |value: &str| if value.is_empty() { "nothing".to_owned() } else { value.to_owned() };
        writeln!(out, "{}: A has {}, B has {}\n", field.field, shown(&field.a), shown(&field.b))?;
    }
    summary(changes, looser_only, out)
}

/// Names that no table here has.
fn write_names(changes: &Changes, out: &mut Answer<impl Write>) -> io::Result<()> {
    if changes.names.is_empty() {
        return Ok(());
    }
    writeln!(out, "? not known here, which count on nodes whose libseccomp knows them")?;
    for one in &changes.names {
        let style = style(one.change);
        write!(out, "  ")?;
        out.paint(style, sign(one.change))?;
        writeln!(out, " {}: {}", one.name, title(one.change))?;
    }
    writeln!(out)
}

fn write_kept(changes: &Changes, out: &mut Answer<impl Write>) -> io::Result<()> {
    if changes.kept.is_empty() {
        return Ok(());
    }
    let style = style(Change::OnlyInB);
    out.paint(style, sign(Change::OnlyInB))?;
    writeln!(out, " B keeps privileges that the pod gave up, unless it has allowPrivilegeEscalation: false")?;
    for text in in_words(changes) {
        lines("    ", &text, out)?;
    }
    writeln!(out)
}

/// What B keeps, the same of several architectures once.
pub(super) fn in_words(changes: &Changes) -> BTreeSet<String> {
    changes.kept.iter().map(ToString::to_string).collect()
}

fn write_section(change: Change, entries: &[&Entry<'_>], out: &mut Answer<impl Write>) -> io::Result<()> {
    let style = style(change);
    out.paint(style, sign(change))?;
    writeln!(out, " {}", title(change))?;
    let mut alike: Vec<Alike<'_>> = Vec::new();
    for entry in entries {
        let Some(whole) = entry.whole() else { continue };
        let known = alike.iter_mut().find(|(arches, mine, theirs, _)| {
            (arches, mine, theirs) == (&entry.arches, &whole.mine, &whole.theirs)
        });
        match known {
            Some((.., calls)) => calls.push(&entry.call),
            None => alike.push((entry.arches.clone(), whole.mine, whole.theirs, vec![&entry.call])),
        }
    }
    for (arches, mine, theirs, calls) in alike {
        writeln!(
            out,
            "  {} in A, {} in B ({}):",
            explain::outcome(mine),
            explain::outcome(theirs),
            through(&arches)
        )?;
        lines("    ", &calls.join(", "), out)?;
    }
    for entry in entries.iter().filter(|entry| entry.whole().is_none()) {
        writeln!(out, "  {} ({})", entry.call, through(&entry.arches))?;
        for difference in entry.differences {
            lines("    ", &described(&entry.call, difference), out)?;
        }
    }
    writeln!(out)
}

fn described(call: &str, difference: &Difference) -> String {
    let perhaps = if difference.certain { "" } else { "perhaps " };
    let example = example(call, difference).map_or_else(String::new, |example| format!(", as {example}"));
    format!(
        "{}{example}: {perhaps}{} in A, {} in B",
        difference.in_words,
        explain::outcome(difference.mine),
        explain::outcome(difference.theirs)
    )
}

fn summary(changes: &Changes, looser_only: bool, out: &mut Answer<impl Write>) -> io::Result<()> {
    if changes.is_empty() {
        let what = if looser_only { "B is nowhere looser than A" } else { "the profiles do the same" };
        return writeln!(out, "{what} ({})", counted(changes.same, "call"));
    }
    if looser_only {
        let kinds = [
            (changes.calls.len(), "call"),
            (changes.names.len(), "unknown name"),
            (in_words(changes).len(), "denial that keeps privileges"),
            (changes.architectures.len(), "architecture"),
        ];
        let looser: Vec<String> = kinds
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| counted(count, what))
            .collect();
        return writeln!(out, "B is looser than A in {}", looser.join(", "));
    }
    let verdict = if changes.is_looser() { "B is looser than A" } else { "B is nowhere looser than A" };
    let calls = counted(changes.calls.len(), "call");
    let differ = if changes.calls.len() == 1 { "differs" } else { "differ" };
    writeln!(out, "{verdict}; {calls} {differ}, {} the same", changes.same)
}

fn through(arches: &[Arch]) -> String {
    let names: Vec<&str> = arches.iter().map(|arch| arch_name(*arch)).collect();
    names.join(", ")
}

fn lines(indent: &str, text: &str, out: &mut Answer<impl Write>) -> io::Result<()> {
    for line in wrapped(text, WIDTH - indent.len()) {
        writeln!(out, "{indent}{line}")?;
    }
    Ok(())
}

const fn sign(change: Change) -> &'static str {
    match change {
        Change::OnlyInB => "+",
        Change::Looser => ">",
        Change::Mixed => "<>",
        Change::Stricter => "<",
        Change::OnlyInA => "-",
        Change::Otherwise => "~",
    }
}

const fn style(change: Change) -> Style {
    match change {
        Change::OnlyInB | Change::Looser | Change::Mixed => AnsiColor::Red.on_default().bold(),
        Change::Stricter | Change::OnlyInA => AnsiColor::Green.on_default().bold(),
        Change::Otherwise => AnsiColor::Cyan.on_default().bold(),
    }
}
