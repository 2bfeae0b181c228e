//! One module for each command.

mod apply;
mod combine;
pub(crate) mod completion;
mod convert;
mod diff;
mod explain;
mod filter;
mod get;
mod history;
mod import;
mod index;
mod inspect;
mod install;
mod lint;
mod man;
mod pin;
mod pull;
mod push;
mod record;
mod revoke;
mod runtime_base;
mod search;
mod simulate;
mod status;
mod use_profile;
mod who;
mod why;

use anyhow::Result;
use clap::Subcommand;

use crate::{console::Console, verdict::Verdict};

/// Server-side apply field manager of what a user changes by this program.
const FIELD_MANAGER: &str = "kubectl-seccomp";

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with profiles.
    Lint(lint::Arguments),
    /// Say what a profile lets a container do.
    Explain(explain::Arguments),
    /// Say what two profiles do differently.
    Diff(diff::Arguments),
    /// Say what the kernel enforces on a process, and how that stands to a profile.
    #[command(long_about = filter::LONG)]
    Filter(Box<filter::Arguments>),
    /// Write a profile in another format, or in its canonical form.
    Convert(convert::Arguments),
    /// Say how far profiles are, and who uses them.
    Status(Box<status::Arguments>),
    /// Say what confines each running container, the riskiest first.
    Who(Box<who::Arguments>),
    /// Say why a pod does not start under its profile, and what to change.
    Why(Box<why::Arguments>),
    /// Put a profile into the cluster, and wait until it is on every node.
    Apply(Box<apply::Arguments>),
    /// Print the document that nodes serve.
    Get(Box<get::Arguments>),
    /// List a profile's revisions, and what changed between them.
    History(Box<history::Arguments>),
    /// Hold a profile at a revision.
    Pin(Box<pin::Arguments>),
    /// Let a profile follow its document again.
    Unpin(Box<pin::UnpinArguments>),
    /// Take a revision away from every node, although pods name it.
    Revoke(Box<revoke::Arguments>),
    /// Put a profile into a workload.
    #[command(name = "use")]
    Use(Box<use_profile::Arguments>),
    /// Print a script that completes words.
    Completion(completion::Arguments),
    /// Print manual pages.
    Man(man::Arguments),
    /// Answers kubectl's question for candidates.
    #[command(name = "__complete", hide = true)]
    Complete(completion::Words),
    /// Put a profile into a registry, as an OCI artifact that runtimes can pull.
    Push(Box<push::Arguments>),
    /// Get a profile out of a registry: an artifact, or a file of an application's image.
    Pull(Box<pull::Arguments>),
    /// Say what a reference names: digest, kind, provenance, what is in it.
    Inspect(Box<inspect::Arguments>),
    /// Keep lists of shared profiles.
    Index(Box<index::Arguments>),
    /// Look for shared profiles.
    Search(search::Arguments),
    /// Get a shared profile by its name, verified by digest.
    Install(Box<install::Arguments>),
    /// Make one profile that allows what any of several allows.
    Merge(combine::MergeArguments),
    /// Make one profile that allows what all of several allow.
    Intersect(combine::IntersectArguments),
    /// Say what a profile does with a call, or with a whole trace.
    Simulate(simulate::Arguments),
    /// Print the calls that a container runtime itself makes under the filter.
    RuntimeBase(runtime_base::Arguments),
    /// Make a profile of what was seen: traces, audit records, a hook's output.
    Import(import::Arguments),
    /// Record the system calls of a command, a container or a test suite, and make a profile of them.
    #[command(long_about = record::LONG)]
    Record(Box<record::Arguments>),
}

impl Command {
    pub(crate) fn run(self, console: &mut Console) -> Result<Verdict> {
        match self {
            Self::Lint(arguments) => lint::run(&arguments, console),
            Self::Explain(arguments) => explain::run(&arguments, console),
            Self::Diff(arguments) => diff::run(&arguments, console),
            Self::Filter(arguments) => filter::run(&arguments, console),
            Self::Convert(arguments) => convert::run(&arguments, console),
            Self::Status(arguments) => status::run(&arguments, console),
            Self::Who(arguments) => who::run(&arguments, console),
            Self::Why(arguments) => why::run(&arguments, console),
            Self::Apply(arguments) => apply::run(&arguments, console),
            Self::Get(arguments) => get::run(&arguments, console),
            Self::History(arguments) => history::run(&arguments, console),
            Self::Pin(arguments) => pin::run(&arguments, console),
            Self::Unpin(arguments) => pin::run_unpin(&arguments, console),
            Self::Revoke(arguments) => revoke::run(&arguments, console),
            Self::Use(arguments) => use_profile::run(&arguments, console),
            Self::Completion(arguments) => completion::run(&arguments, console),
            Self::Man(arguments) => man::run(&arguments, console),
            Self::Complete(arguments) => completion::run_words(&arguments, console),
            Self::Push(arguments) => push::run(&arguments, console),
            Self::Pull(arguments) => pull::run(&arguments, console),
            Self::Inspect(arguments) => inspect::run(&arguments, console),
            Self::Index(arguments) => index::run(&arguments, console),
            Self::Search(arguments) => search::run(&arguments, console),
            Self::Install(arguments) => install::run(&arguments, console),
            Self::Merge(arguments) => combine::merge(&arguments, console),
            Self::Intersect(arguments) => combine::intersect(&arguments, console),
            Self::Simulate(arguments) => simulate::run(&arguments, console),
            Self::RuntimeBase(arguments) => runtime_base::run(&arguments, console),
            Self::Import(arguments) => import::run(&arguments, console),
            Self::Record(arguments) => record::run(&arguments, console),
        }
    }
}
