//! `record -- COMMAND` and `record --container ID`: what is called on this machine, without a cluster.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod product;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(in crate::commands) use linux::processes_of_container;

use std::{ffi::OsString, path::PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum, ValueHint, builder::PossibleValuesParser};
use portcullis_profile::recording::RECORDED_ARGUMENTS;

use super::super::import::generation::{Form, Options};
use crate::{
    baseline::Chosen,
    cluster::connection::{Limit, duration},
    console::Console,
    platform,
    verdict::Verdict,
};

pub(in crate::commands) const LONG: &str = "\
Record which system calls a command, or a container of this machine, makes, and make a profile of them.

A command is followed with all that it starts until the last of it has ended, and counts from its own execve on, because that \
is what a filter sees that a container runtime has loaded. As root this is done by eBPF, in a cgroup of its own, and costs \
the command next to nothing. Who is not root records by ptrace, which stops each task twice a call: docs/recording.md says \
what that costs.

A container of podman, containerd, CRI-O or docker is recorded by its id, which `podman create`, `podman ps --no-trunc` or \
`crictl ps --no-trunc` print, or by its name, which podman, docker and nerdctl keep on disk; no runtime is asked. Start the recording before the container, or its start is missed. This \
needs root.

The profile allows what was seen and denies the rest. What it has not seen (errors, signals, a reload) is said at the end: \
record that too, and add it with --merge.";

pub(super) const AFTER: &str = "\
Without --file the profile is standard output, and what the command writes there goes to standard error.

Exits with what the command exited with, with 128 and its number where a signal ended it; with 2 where nothing could be \
recorded, or something was lost. A recording of a container exits with 0 or 2.";

/// What to record, and which profile to make of it.
#[derive(Debug, Args)]
pub(super) struct LocalArguments {
    /// The command, and its arguments.
    #[arg(
        last = true,
        value_name = "COMMAND",
        required_unless_present = "container",
        conflicts_with = "container"
    )]
    command: Vec<OsString>,
    /// The container's id, the first digits of one that runs, or a name that podman, docker or nerdctl gave it here.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// How long to record, for example 5m; until it ends, or until Ctrl-C, where this is not given. A container goes on then, and a
    /// command is asked to end (SIGTERM).
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Limit>,
    /// How to record a command; by default by eBPF where this process may, and by ptrace elsewhere.
    #[arg(long, value_enum, conflicts_with = "container")]
    method: Option<Method>,
    /// Run the command, and read and write files, as this user; where root records, as who ran sudo by default.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Write the profile to this file, and leave standard output to the command.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Add what is recorded to the profile in this file, and say what was added; the file itself stays as it is unless
    /// --file names it too.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    merge: Option<PathBuf>,
    /// Allow these calls only with the argument values that were seen: of socket the domain, of clone and unshare the
    /// flags, of prctl the option, of ioctl the request, of fcntl the command.
    #[arg(long = "args", value_name = "CALL,...", value_delimiter = ',', value_parser = ruled(), hide_possible_values = true)]
    arguments: Vec<String>,
    /// The form of the profile.
    #[arg(long, short, value_name = "FORM", default_value = "oci")]
    output: Form,
    #[command(flatten)]
    baseline: Chosen,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    format: platform::Container,
    /// This process is to become the command: what `linux::command` starts.
    #[arg(long, hide = true, requires = "command")]
    become_by: Option<OsString>,
}

/// How a command is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// By programs in the kernel that count. Needs root, and costs next to nothing.
    Ebpf,
    /// By stopping each task at each call. Needs no rights, and costs much.
    Ptrace,
}

fn ruled() -> PossibleValuesParser {
    PossibleValuesParser::new(RECORDED_ARGUMENTS.iter().map(|argument| argument.call))
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn run(arguments: &LocalArguments, console: &mut Console) -> Result<Verdict> {
    linux::run(arguments, console)
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) fn run(_: &LocalArguments, _: &mut Console) -> Result<Verdict> {
    anyhow::bail!(
        "recording needs Linux on x86-64 or aarch64, where system calls can be watched: run this on such a machine, or use \
         `kubectl seccomp import` with what was traced on one"
    )
}
