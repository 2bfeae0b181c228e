//! `filter`: what the kernel enforces on a process.

mod json;
mod source;
mod text;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod task;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "no_task.rs"]
mod task;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args, ValueEnum, ValueHint};
use portcullis_profile::{
    Arch,
    compare::{Budget, Changes},
    filter::{Assembly, Program, Reading, Standing, TooComplex},
};

use self::source::Source;
use crate::{
    console::{self, Console},
    example::{self, Example},
    input,
    platform::{Container, Nodes},
    verdict::Verdict,
};

pub(in crate::commands) const LONG: &str = "\
Say what the kernel enforces on a process, and how that stands to a profile.

The kernel knows no profiles: it runs programs, which a container runtime made of one. This reads the programs that are in force for a \
process (ptrace(2), PTRACE_SECCOMP_GET_FILTER), along all of their ways at once: for each architecture and call, and for every argument, \
what they do together. So it tells whether a container runs under the profile that is committed, or under what somebody loaded besides, \
or under an older one: a running container keeps the filter that it started with.

This needs root of the machine, and a kernel with CONFIG_CHECKPOINT_RESTORE, as distributions build it. The process stands still for some \
milliseconds. A program in a file (--file) needs neither.";

const WORDS: &str = "\
Exits with 0 where the filters do what the profile says, or there is none to compare with; with 1 where they don't; with 2 where that can't \
be known: no filter, no right, a kernel that keeps no copies, or a program that asks for what no profile can say.

A task has a list of filters, of which the strictest answer counts. A process's threads may have different ones: --pid takes a thread's id too.";

const EXAMPLES: &[Example] = &[
    Example { about: "What a process is under", command: "kubectl seccomp filter --pid 4711" },
    Example {
        about: "Whether a container runs under the profile that is committed",
        command: "kubectl seccomp filter --container 3f2504e04f89 --profile web.json",
    },
    Example {
        about: "The profile that comes nearest to a program",
        command: "kubectl seccomp filter --file web.bpf -o profile",
    },
    Example { about: "The program itself", command: "kubectl seccomp filter --file web.bpf -o asm" },
];

/// Whose filters, and what to compare them with.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source").required(true),
    after_help = example::help_after(WORDS, EXAMPLES)
)]
pub(crate) struct Arguments {
    /// The process, or the thread, whose filters to read.
    #[arg(long, value_name = "PID", group = "source")]
    pid: Option<u32>,
    /// The container of whose first process to read them: its id, the first digits of one that runs, or a name that podman, docker or
    /// nerdctl gave it here.
    #[arg(long = "container", value_name = "ID", group = "source")]
    container_id: Option<String>,
    /// A program as it lies in memory, and as libseccomp's seccomp_export_bpf writes it; several are a task's list, the oldest first.
    #[arg(long = "file", value_name = "FILE", group = "source", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// A file with the profile that should be in force, in any format; `-` is standard input.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    profile: Option<PathBuf>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    docker: Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people: what the filters do, and what differs from the profile.
    Text,
    /// The OCI profile that comes nearest to them; what it can't say is said on standard error.
    Profile,
    /// One JSON document.
    Json,
    /// The programs, instruction by instruction.
    Asm,
}

/// Filters that were read, each alone and all together.
struct Chain<'a> {
    source: &'a Source,
    arch: Arch,
    each: Vec<Result<Reading, TooComplex>>,
    together: Result<Reading, TooComplex>,
}

/// A profile beside the filters.
struct Beside {
    name: String,
    changes: Changes,
}

impl Beside {
    fn standing(&self) -> Standing {
        Standing::of(&self.changes)
    }

    /// Whether something is sure to differ, or nothing does.
    fn is_known(&self) -> bool {
        self.changes.is_empty()
            || !self.changes.architectures.is_empty()
            || self.changes.calls.iter().flat_map(|call| &call.differences).any(|one| one.certain)
    }
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { pid, container_id, files, profile, output, nodes, docker } = arguments;
    let source = match (pid, container_id) {
        (Some(pid), _) => task::of_process(*pid)?,
        (None, Some(id)) => task::of_container(id)?,
        (None, None) => Source::of_files(files, nodes.arch())?,
    };
    for note in &source.notes {
        console::note(note);
    }
    if *output == Output::Asm {
        assembly(&source, nodes.arch(), console)?;
        if profile.is_none() {
            return Ok(Verdict::Yes);
        }
    }
    let chain = Chain::read(&source, nodes.arch());
    let beside = match profile {
        None => None,
        Some(file) => {
            let loaded = input::profile_for(file, &docker.on(nodes.arch()))?;
            let reading = chain.together()?;
            let changes = reading.changes_from(&loaded.profile, nodes.runtime(), &Budget::patient());
            let changes = changes.with_context(|| loaded.name.clone())?;
            Some(Beside { name: loaded.name, changes })
        }
    };
    match output {
        Output::Asm => {}
        Output::Text => text::write(&chain, beside.as_ref(), console.styled())?,
        Output::Json => json::write(&chain, beside.as_ref(), console.out())?,
        Output::Profile => write_profile(&chain, console)?,
    }
    Ok(verdict(beside.as_ref()))
}

/// 0 as committed, 1 otherwise; where only what may be differs, nobody knows.
fn verdict(beside: Option<&Beside>) -> Verdict {
    match beside {
        None => Verdict::Yes,
        Some(beside) if beside.changes.is_empty() => Verdict::Yes,
        Some(beside) if beside.is_known() => Verdict::No,
        Some(_) => {
            console::note(
                "whether the filters do what the profile says can't be known: no difference that is named is sure",
            );
            Verdict::Incomplete
        }
    }
}

impl<'a> Chain<'a> {
    fn read(source: &'a Source, arch: Arch) -> Self {
        let programs: Vec<Program> = source.filters.iter().map(|one| one.program.clone()).collect();
        let read = |programs: &[Program]| Reading::of(programs, arch, &Budget::patient());
        let each: Vec<_> = programs.iter().map(|one| read(std::slice::from_ref(one))).collect();
        let together = match &each[..] {
            [only] => only.clone(),
            _ => read(&programs),
        };
        Self { source, arch, each, together }
    }

    fn together(&self) -> Result<&Reading> {
        match &self.together {
            Ok(reading) => Ok(reading),
            Err(error) => bail!("{}: {error}", self.source.name),
        }
    }
}

fn write_profile(chain: &Chain<'_>, console: &mut Console) -> Result<()> {
    let written = chain.together()?.write(&Budget::patient());
    console.document().write_all(&written.profile.canonical().render())?;
    for note in &written.notes {
        console.note(note);
    }
    Ok(())
}

fn assembly(source: &Source, arch: Arch, console: &mut Console) -> Result<()> {
    let big_endian = source::is_big_endian(arch);
    for (number, filter) in source.filters.iter().enumerate() {
        if source.filters.len() > 1 {
            writeln!(console.out(), "; filter {} of {}", number + 1, source.filters.len())?;
        }
        write!(console.out(), "{}", Assembly { program: &filter.program, big_endian })?;
    }
    Ok(())
}
