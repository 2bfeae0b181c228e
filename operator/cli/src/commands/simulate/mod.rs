//! `simulate`: what a profile does with a call, or would have done to an application.

mod json;
mod one;
mod trace;
mod words;

use std::{io::Write, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use portcullis_profile::{
    Arch, Profile,
    evaluate::{Evaluator, Runtime},
    program::{self, MAX_INSTRUCTIONS, MAX_STACK, ProgramBound},
};

use crate::{
    console::Console,
    example::{self, Example},
    input::{self, Loaded},
    platform::{self, Container, RuntimeName},
    verdict::Verdict,
};

const WORDS: &str = "\
Arguments are decimal, hexadecimal (0x), octal (a leading 0) or flags by name
(CLONE_NEWUSER|SIGCHLD, AF_INET, O_RDONLY); those left out are 0.

A trace is text, one call a line: a name or number, then arguments. An architecture may come first
(i386, arm64); `#` begins a comment.
    openat AT_FDCWD 0x7ffd1000 O_RDONLY|O_CLOEXEC
    i386 socketcall 1

--bpf gives bounds: the exact size depends on libseccomp's version, and is never larger.

Where rules leave open what happens, the strictest possibility counts. Exits with 0 where every call
passes (ALLOW, LOG), with 1 where one would not.";
const EXAMPLES: &[Example] = &[
    Example { about: "One call", command: "kubectl seccomp simulate web.json socket AF_INET SOCK_RAW" },
    Example {
        about: "Would the application that strace followed have lived?",
        command: "kubectl seccomp simulate web.json --strace app.strace",
    },
    Example {
        about: "The same for a trace of one's own",
        command: "echo connect 3 | kubectl seccomp simulate web.json --trace -",
    },
    Example {
        about: "What stops it, for a program",
        command: "kubectl seccomp simulate web.json --strace app.strace -o json",
    },
    Example { about: "How large the filter gets", command: "kubectl seccomp simulate web.json --bpf" },
];

/// A profile, and what is asked of it.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// A file with one profile; `-` is standard input.
    #[arg(value_name = "PROFILE")]
    profile: PathBuf,
    /// A system call by name or number, and its arguments; or as it is shown, 'socket(AF_ALG, SOCK_SEQPACKET)'.
    #[arg(value_name = "SYSCALL", required_unless_present_any = ["trace", "strace", "bpf"], allow_negative_numbers = true)]
    call: Vec<String>,
    /// A trace with one call a line; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["call", "strace"])]
    trace: Option<PathBuf>,
    /// A trace of strace(1), with or without -f, -tt, -T, -v and the like, packed by gzip or not; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "call")]
    strace: Option<PathBuf>,
    /// Say how large the filter can get at most, against the kernel's limits.
    #[arg(long)]
    bpf: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The container runtime whose reading of the profile counts; both where it is not set.
    #[arg(long, value_enum)]
    runtime: Option<RuntimeName>,
    /// The architecture of the node, and of calls that name none; this machine's where it is not set.
    #[arg(long, value_parser = platform::parse_arch)]
    arch: Option<Arch>,
    #[command(flatten)]
    container: Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// A runtime's filter.
struct Filter {
    runtime: Runtime,
    evaluator: Evaluator,
}

/// What each filter costs besides its instructions in a process's stack of filters.
///
/// Source: `MAX_INSNS_PER_PATH` and `seccomp_attach_filter` in the kernel's kernel/seccomp.c.
const STACKED_WITH: usize = 4;

/// Everything that was asked.
struct Answer<'a> {
    loaded: &'a Loaded,
    native: Arch,
    bound: Option<ProgramBound>,
    simulated: Simulated,
}

enum Simulated {
    /// Only the filter's size was asked.
    Nothing,
    One(one::Decided),
    Traces(Vec<trace::Group>),
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { profile, call, trace, strace, bpf, output, runtime, arch, container } = arguments;
    let native = arch.unwrap_or_else(platform::host_arch);
    let loaded = input::profile_for(profile, &container.on(native))?;
    let runtimes = runtime.map_or_else(|| vec![Runtime::Runc, Runtime::Crun], |one| vec![one.into()]);
    let filters = runtimes
        .into_iter()
        .map(|runtime| {
            let evaluator = Evaluator::new(&loaded.profile, runtime, native).with_context(|| {
                format!("{}: {} starts no container with this profile", loaded.name, words::runtime(runtime))
            })?;
            Ok(Filter { runtime, evaluator })
        })
        .collect::<Result<Vec<Filter>>>()?;
    let simulated = match (trace, strace) {
        (Some(file), _) => Simulated::Traces(trace::plain(&filters, native, file)?),
        (_, Some(file)) => Simulated::Traces(trace::strace(&filters, native, file)?),
        (None, None) if call.is_empty() => Simulated::Nothing,
        (None, None) => Simulated::One(one::decide(&filters, native, call)?),
    };
    let bound = bpf.then(|| bound(&loaded.profile, native));
    let answer = Answer { loaded: &loaded, native, bound, simulated };
    match output {
        Output::Text => answer.write(console.out())?,
        Output::Json => json::write(&answer, console.out())?,
    }
    Ok(if answer.passes() { Verdict::Yes } else { Verdict::No })
}

impl Answer<'_> {
    /// Whether every call passes, and the filter fits.
    fn passes(&self) -> bool {
        let fits = self.bound.as_ref().is_none_or(|bound| bound.instructions <= MAX_INSTRUCTIONS);
        fits && match &self.simulated {
            Simulated::Nothing => true,
            Simulated::One(decided) => decided.passes(),
            Simulated::Traces(groups) => groups.iter().all(|group| group.summary.lives()),
        }
    }

    fn write(&self, out: &mut dyn Write) -> Result<()> {
        if let Some(bound) = &self.bound {
            size(bound, out)?;
        }
        match &self.simulated {
            Simulated::Nothing => Ok(()),
            Simulated::One(decided) => decided.write(&self.loaded.profile, out),
            Simulated::Traces(groups) => trace::write(groups, out),
        }
    }
}

/// What the filter can take at most.
fn bound(profile: &Profile, native: Arch) -> ProgramBound {
    let mut arches = profile.architectures.clone();
    arches.push(native);
    program::bound(profile, &arches)
}

/// The same beside the kernel's limits.
fn size(bound: &ProgramBound, out: &mut dyn Write) -> Result<()> {
    let ProgramBound { instructions, longest_path } = bound;
    writeln!(
        out,
        "filter: at most {instructions} instructions; the kernel takes {MAX_INSTRUCTIONS} in one filter"
    )?;
    writeln!(
        out,
        "stack:  {} of {MAX_STACK} for all filters of a process, each with {STACKED_WITH} more",
        instructions + STACKED_WITH
    )?;
    writeln!(out, "path:   a call runs at most {longest_path} of them")?;
    if *instructions > MAX_INSTRUCTIONS {
        writeln!(
            out,
            "The bound is over the limit, so the kernel may refuse the filter: name fewer calls, list fewer architectures, or \
             use fewer conditions"
        )?;
    }
    Ok(())
}
