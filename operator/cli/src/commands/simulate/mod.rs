//! `simulate`: what a profile does with a call, or would have done to an application.

mod one;
mod source;
mod trace;
mod words;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use portcullis_profile::{
    Arch, Profile,
    evaluate::{Evaluator, Runtime},
    program::{self, MAX_INSTRUCTIONS, MAX_STACK, ProgramBound},
};

use crate::{
    console::Console,
    example::{self, Example},
    input,
    platform::{self, RuntimeName},
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
    Example { about: "How large the filter gets", command: "kubectl seccomp simulate web.json --bpf" },
];

/// A profile, and what is asked of it.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// A file with one profile; `-` is standard input.
    #[arg(value_name = "PROFILE")]
    profile: PathBuf,
    /// A system call by name or number, and its arguments.
    #[arg(value_name = "SYSCALL", required_unless_present_any = ["trace", "strace", "bpf"], allow_hyphen_values = true)]
    call: Vec<String>,
    /// A trace with one call a line; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["call", "strace"])]
    trace: Option<PathBuf>,
    /// A trace of strace(1), with or without -f, -tt, -T, -v and the like; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "call")]
    strace: Option<PathBuf>,
    /// Say how large the filter can get at most, against the kernel's limits.
    #[arg(long)]
    bpf: bool,
    /// The container runtime whose reading of the profile counts; both where it is not set.
    #[arg(long, value_enum)]
    runtime: Option<RuntimeName>,
    /// The architecture of the node, and of calls that name none; this machine's where it is not set.
    #[arg(long, value_parser = platform::parse_arch)]
    arch: Option<Arch>,
}

/// A runtime's filter.
struct Filter {
    runtime: Runtime,
    evaluator: Evaluator,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { profile, call, trace, strace, bpf, runtime, arch } = arguments;
    let native = arch.unwrap_or_else(platform::host_arch);
    let loaded = input::profile_for(profile, &platform::usual_container(native))?;
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
    let fits = if *bpf { size(&loaded.profile, native, console)? } else { Verdict::Yes };
    let verdict = match (trace, strace) {
        (Some(file), _) => trace::plain(&filters, native, file, console),
        (_, Some(file)) => trace::strace(&filters, native, file, console),
        (None, None) if call.is_empty() => Ok(Verdict::Yes),
        (None, None) => one::run(&loaded.profile, &filters, native, call, console),
    }?;
    Ok(if fits == Verdict::Yes { verdict } else { Verdict::No })
}

/// What the filter takes of the kernel's limits.
fn size(profile: &Profile, native: Arch, console: &mut Console) -> Result<Verdict> {
    let mut arches = profile.architectures.clone();
    arches.push(native);
    let ProgramBound { instructions, longest_path } = program::bound(profile, &arches);
    let out = console.out();
    writeln!(
        out,
        "filter: at most {instructions} instructions; the kernel takes {MAX_INSTRUCTIONS} in one filter"
    )?;
    writeln!(
        out,
        "stack:  {} of {MAX_STACK} for all filters of a process, each with 4 more",
        instructions + 4
    )?;
    writeln!(out, "path:   a call runs at most {longest_path} of them")?;
    if instructions > MAX_INSTRUCTIONS {
        writeln!(
            out,
            "The bound is over the limit, so the kernel may refuse the filter: name fewer calls, list fewer architectures, or \
             use fewer conditions"
        )?;
        return Ok(Verdict::No);
    }
    Ok(Verdict::Yes)
}
