//! `record export --update`: what a recording adds to a committed profile.

use std::{io::Write, path::Path};

use anyhow::{Context as _, Result};
use portcullis_api::SeccompRecording;
use portcullis_profile::{
    Baseline,
    compare::{CallChange, Change, Changes},
    docker::arch_name,
    explain,
};

use super::{
    committed::Committed,
    known::Known,
    merge::{self, Merged},
    refuse_nothing,
};
use crate::{
    cluster::{
        Cluster,
        recordings::{self, Recorded},
    },
    commands::diff::entries::{Entry, entries},
    console::Console,
    layout::{counted, wrapped},
    replace::replace,
    verdict::Verdict,
};

const WIDTH: usize = 110;

/// Which file, and what may become of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) file: &'a Path,
    pub(super) name: Option<&'a str>,
    /// Nothing is written, and a difference is an answer.
    pub(super) check: bool,
    /// Whether what goes with recorded calls is allowed as well.
    pub(super) companions: bool,
    /// What is recorded is bounded by this where it keeps to it.
    pub(super) baseline: &'a Baseline,
}

/// Merges a recording into a file, or says what that would add.
pub(super) async fn run(
    cluster: &Cluster,
    recording: &SeccompRecording,
    recorded: &Recorded,
    target: Target<'_>,
    console: &mut Console,
) -> Result<Verdict> {
    let committed = Committed::read(target.file, target.name)?;
    refuse_nothing(recording, recorded)?;
    let shown = target.file.display();
    let wished = &committed.object.spec.profile.bases;
    let bases = recordings::bases(cluster, &cluster.namespace, wished)
        .await
        .with_context(|| format!("{shown}: spec"))?;
    let wanted = merge::Wanted { baseline: target.baseline, companions: target.companions };
    let merged = merge::merge(recording, &recorded.tally, &committed.object, &bases, wanted)
        .with_context(|| format!("{shown} and {}", recordings::describe(recording)))?;
    write(&merged, console.out())?;
    let is_same = merged.gained.is_empty();
    let profile = (!is_same).then_some(&merged.profile);
    let origin = !is_same || merged.origin_is_new;
    let what = summary(&merged);
    let name = committed.object.metadata.name.as_deref().unwrap_or_default();
    let out = console.out();
    if target.check {
        let holds =
            if is_same { "allows all that was recorded" } else { "does not allow all that was recorded" };
        writeln!(out, "SeccompProfile {name} in {shown} {holds}: {what}")?;
    } else if origin {
        let edited = committed.with(profile, &merged.recorded_from).with_context(|| shown.to_string())?;
        replace(target.file, edited.text.as_bytes())
            .with_context(|| format!("can't write {}", target.file.display()))?;
        let did = if is_same { "has recordedFrom brought up to date" } else { "is updated" };
        writeln!(console.out(), "SeccompProfile {name} in {shown} {did}: {what}")?;
        if edited.comments > 0 {
            console.note(format_args!(
                "{} stood inside of what was replaced and {} gone from {shown}",
                counted(edited.comments, "comment"),
                if edited.comments == 1 { "is" } else { "are" }
            ));
        }
    } else {
        writeln!(out, "SeccompProfile {name} in {shown} stays as it is: {what}")?;
    }
    Known::of(recorded, &merged.notes).note(console);
    Ok(match (target.check && !is_same, recorded.problems.is_empty()) {
        (true, _) => Verdict::No,
        (false, true) => Verdict::Yes,
        (false, false) => Verdict::Incomplete,
    })
}

/// What is new, call by call, and what is kept.
fn write(merged: &Merged, out: &mut dyn Write) -> Result<()> {
    let Changes { calls, architectures, .. } = &merged.gained;
    for one in architectures.iter().filter(|one| one.in_b) {
        writeln!(
            out,
            "+ {}: calls were made through it, and the file does not list it: {} are allowed through it now\n",
            one.arch,
            counted(one.calls, "call")
        )?;
    }
    let gained = entries(calls);
    let of =
        |wanted: &[Change]| gained.iter().filter(|entry| wanted.contains(&entry.change)).collect::<Vec<_>>();
    section("+ added", &of(&[Change::OnlyInB]), true, out)?;
    section("> looser", &of(&[Change::Looser, Change::Mixed]), true, out)?;
    section("~ otherwise", &of(&[Change::Stricter, Change::OnlyInA, Change::Otherwise]), true, out)?;
    let kept = entries(&merged.kept);
    section(
        "= kept: allowed by the file, and not recorded this time",
        &kept.iter().collect::<Vec<_>>(),
        false,
        out,
    )
}

/// Entries, those that are so whatever their arguments in one list. What each profile does is said where the second one is new.
fn section(title: &str, entries: &[&Entry<'_>], is_new: bool, out: &mut dyn Write) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    let (whole, partly): (Vec<&&Entry<'_>>, Vec<&&Entry<'_>>) =
        entries.iter().partition(|entry| entry.whole().is_some());
    let mut through: Vec<(String, Vec<&str>)> = Vec::new();
    for entry in whole {
        let arches = arches(entry);
        match through.iter_mut().find(|(known, _)| *known == arches) {
            Some((_, calls)) => calls.push(&entry.call),
            None => through.push((arches, vec![&entry.call])),
        }
    }
    for (arches, calls) in through {
        for line in wrapped(&format!("{} ({arches})", calls.join(", ")), WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
    }
    for entry in partly {
        writeln!(out, "  {} ({})", entry.call, arches(entry))?;
        for one in entry.differences {
            let (before, after) = (explain::outcome(one.mine), explain::outcome(one.theirs));
            let words = match is_new {
                true => format!("{}: {after} (before: {before})", one.in_words),
                false => one.in_words.clone(),
            };
            for line in wrapped(&words, WIDTH - 4) {
                writeln!(out, "    {line}")?;
            }
        }
    }
    writeln!(out)?;
    Ok(())
}

fn arches(entry: &Entry<'_>) -> String {
    let names: Vec<&str> = entry.arches.iter().map(|arch| arch_name(*arch)).collect();
    names.join(", ")
}

/// Calls of which something is kept that was not recorded this time.
fn kept(merged: &Merged) -> Vec<String> {
    let mut calls: Vec<String> = entries(&merged.kept).into_iter().map(|entry| entry.call).collect();
    calls.dedup();
    calls
}

/// Some names, so that a line stays one.
fn named(calls: &[String]) -> String {
    const NAMED: usize = 12;
    let named = calls.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match calls.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn summary(merged: &Merged) -> String {
    let count = |calls: &[CallChange], wanted: &[Change]| {
        entries(calls).iter().filter(|entry| wanted.contains(&entry.change)).count()
    };
    let gained = &merged.gained.calls;
    let added = count(gained, &[Change::OnlyInB]);
    let looser = count(gained, &[Change::Looser, Change::Mixed]);
    let arches = merged.gained.architectures.iter().filter(|one| one.in_b).count();
    let kept = kept(merged);
    let counts = [
        (added, format!("{} added", counted(added, "call"))),
        (looser, format!("{looser} looser")),
        (arches, format!("{} more", counted(arches, "architecture"))),
        (usize::from(merged.gained.is_empty()), "nothing to add".to_owned()),
        (kept.len(), format!("{} kept that this recording did not see ({})", kept.len(), named(&kept))),
    ];
    let said: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
    said.join(", ")
}
