//! `merge` and `intersect`: one profile of several.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use portcullis_profile::{
    compose::NamedProfile,
    merge::{self, Combined, Contribution, MergeError},
};

use crate::{
    console::{self, Console},
    example::{self, Example},
    input::{self, Loaded},
    platform::Node,
    verdict::Verdict,
};

/// How many calls of a profile are named.
const NAMED: usize = 8;

const MERGE_WORDS: &str = "\
Every call gets the least strict action that one of the profiles gives it, argument by argument.
From the least strict on: ALLOW, LOG, TRACE, NOTIFY, ERRNO, TRAP, KILL_THREAD, KILL_PROCESS. Of two
errnos ENOSYS counts as less strict, because programs take it as a reason to use an older call; of
others the smaller one does. So a profile that allows by default makes a result that does.

Architectures: the result lists all that one of the profiles lists, and its rules hold on all of
them.

It is an error where no answer is the less strict one: flags or listener fields that differ, rules
that leave open what happens, conditions on arguments that no rules express together.

The result goes to standard output as OCI JSON, what each file added to standard error. That the
result does what it should is shown before it is printed, over all arguments.";
const MERGE_EXAMPLES: &[Example] = &[
    Example {
        about: "Allow what either of two profiles allows",
        command: "kubectl seccomp merge web.json new.json > both.json",
    },
    Example {
        about: "Add the calls that runc makes itself",
        command: "kubectl seccomp runtime-base --runtime runc --no-new-privs | kubectl seccomp merge web.json -",
    },
];

/// Which files.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(MERGE_WORDS, MERGE_EXAMPLES))]
pub(crate) struct MergeArguments {
    /// Files with profiles; `-` is standard input. Every profile of a file counts.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    node: Node,
}

const INTERSECT_WORDS: &str = "\
Every call gets the strictest action that one of the profiles gives it, argument by argument, as
KEP-6061 defines an intersection. From the strictest on: KILL_PROCESS, KILL_THREAD, TRAP, ERRNO,
NOTIFY, TRACE, LOG, ALLOW. Of two errnos ENOSYS counts as less strict, and of others the smaller
one.

Architectures: the result lists those that all of the profiles list. A profile that lists none
filters the node's own alone, and so does the result then.

It is an error where no answer is the stricter one: flags or listener fields that differ, rules that
leave open what happens, conditions on arguments that no rules express together.

The result goes to standard output as OCI JSON, what each file took away to standard error. That the
result does what it should is shown before it is printed, over all arguments.";
const INTERSECT_EXAMPLES: &[Example] = &[Example {
    about: "Allow only what both allow",
    command: "kubectl seccomp intersect web.json new.json > both.json",
}];

/// Which files.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(INTERSECT_WORDS, INTERSECT_EXAMPLES))]
pub(crate) struct IntersectArguments {
    /// Files with profiles; `-` is standard input. Every profile of a file counts.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    node: Node,
}

type Combine = fn(&[NamedProfile<'_>]) -> Result<Combined, MergeError>;

pub(crate) fn merge(arguments: &MergeArguments, console: &mut Console) -> Result<Verdict> {
    run(&arguments.files, &arguments.node, merge::merge, "added", console)
}

pub(crate) fn intersect(arguments: &IntersectArguments, console: &mut Console) -> Result<Verdict> {
    run(&arguments.files, &arguments.node, merge::intersect, "took out", console)
}

fn run(
    files: &[PathBuf],
    node: &Node,
    combine: Combine,
    did: &str,
    console: &mut Console,
) -> Result<Verdict> {
    let container = node.context();
    let mut loaded: Vec<Loaded> = Vec::new();
    for file in files {
        loaded.extend(input::profiles_for(file, &container)?);
    }
    let named: Vec<NamedProfile<'_>> =
        loaded.iter().map(|one| NamedProfile { name: &one.name, profile: &one.profile }).collect();
    let combined = combine(&named)?;
    for (at, contribution) in combined.contributions.iter().enumerate() {
        console::note(&provenance(contribution, at == 0, did, NAMED));
    }
    let notes = combined.notes.len();
    for note in combined.notes.iter().take(NAMED) {
        console::note(&note.to_string());
    }
    if notes > NAMED {
        console::note(&format!("and {} more differences of this kind", notes - NAMED));
    }
    console.document().write_all(&combined.profile.render())?;
    Ok(Verdict::Yes)
}

/// What a file did to the result, in so many names at most.
pub(super) fn provenance(contribution: &Contribution, is_first: bool, did: &str, named: usize) -> String {
    let Contribution { profile, calls, changed, arguments } = contribution;
    let lets = format!("{profile}: lets {} through", count(*calls));
    if is_first {
        return lets;
    }
    let mut parts = Vec::new();
    if !changed.is_empty() {
        parts.push(format!("{did} {}: {}", count(changed.len()), some(changed, named)));
    }
    if !arguments.is_empty() {
        parts.push(format!(
            "changed the arguments of {}: {}",
            count(arguments.len()),
            some(arguments, named)
        ));
    }
    if parts.is_empty() {
        parts.push(format!("{did} nothing"));
    }
    format!("{lets}; {}", parts.join("; "))
}

fn count(calls: usize) -> String {
    format!("{calls} {}", if calls == 1 { "call" } else { "calls" })
}

/// The first names of a list.
fn some(names: &[String], named: usize) -> String {
    let first = names[..names.len().min(named)].join(", ");
    match names.len().checked_sub(named) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}
