//! `import strace`: a profile of traces.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::{Args, builder::PossibleValuesParser};
use portcullis_profile::{
    Arch,
    import::{
        Observed, RULED_ARGUMENTS,
        strace::{Strace, Summary},
    },
};

use super::{
    generation::{Made, to_look_at},
    origin::{Origin, counted},
    source,
};
use crate::{
    console::{self, Console},
    example::{self, Example},
    platform,
    verdict::Verdict,
};

pub(super) const LONG: &str = "\
Make a profile of traces, or of the tables of `strace -c`.

Reads what strace writes with -f or -ff, with -o or without, and with whatever options that add to a line (-t, -tt, -ttt, \
-r, -T, -i, -n, -k, -x, -y, -yy, -Y, -v), the tables of -c, -C and -U, and several files at once. The profile allows the \
calls that were made and denies the rest. The calls that the container runtime makes before the program starts are not \
among them.";

const EXAMPLES: &[Example] = &[
    Example {
        about: "Trace a command, and make a profile of it",
        command: "strace -f -o ls.strace ls > /dev/null && kubectl seccomp import strace ls.strace > ls.json",
    },
    Example {
        about: "Several runs, with rules for some arguments",
        command: "kubectl seccomp import strace --args socket,ioctl app.strace run-*.strace > app.json",
    },
    Example {
        about: "With the calls that runc makes itself, into a cluster",
        command: "kubectl seccomp import strace --with-runtime-base runc -o cr --name app app.strace | kubectl apply -f -",
    },
];

/// Which traces, and which profile.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(super) struct Arguments {
    /// What strace wrote; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Allow these calls only with the argument values that were seen: of socket the domain, of clone the namespace
    /// flags, of unshare and setns the flags, of prctl the option, of ioctl the request, of fcntl the command, of
    /// personality the persona.
    #[arg(long = "args", value_name = "CALL,...", value_delimiter = ',', value_parser = ruled())]
    arguments: Vec<String>,
    /// The architecture of the machine that the trace was made on, where it is not this one's.
    #[arg(long, value_name = "ARCH", value_parser = platform::parse_arch)]
    traced_on: Option<Arch>,
    #[command(flatten)]
    made: Made,
}

fn ruled() -> PossibleValuesParser {
    PossibleValuesParser::new(RULED_ARGUMENTS.iter().map(|rule| rule.call))
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { files, arguments: calls, traced_on, made } = arguments;
    let generation = made.options.generation()?;
    let native = traced_on.unwrap_or_else(platform::host_arch);
    let calls: BTreeSet<&str> = calls.iter().map(String::as_str).collect();
    let mut all = Observed::with_arguments(&calls);
    let mut lines = 0;
    for file in files {
        let (observed, summary) = read(file, native, &calls)?;
        let name = source::name(file);
        source::say_unread(&name, &summary.unread);
        if let Some(line) = summary.refused {
            console::note(&refusal(&name, line));
        }
        if observed.is_empty() {
            console::note(&format!("{name}: no system call in {}", counted(summary.lines, "line")));
        }
        lines += summary.lines;
        all.absorb(&observed);
    }
    if all.is_empty() {
        bail!(
            "no system call was found: is this what strace wrote, for example with `strace -f -o FILE COMMAND`?"
        );
    }
    let generated = all.profile(&generation);
    for note in &generated.notes {
        console::note(&note.to_string());
    }
    let seen = all.calls().map(|(_, _, calls)| calls).fold(0, u64::saturating_add);
    let names: BTreeSet<_> = all.calls().map(|(_, name, _)| name).collect();
    let origin = Origin {
        kind: "strace",
        files: files.clone(),
        found: format!(
            "{} of {} in {}",
            counted(seen, "call"),
            counted(names.len() as u64, "name"),
            counted(lines, "line")
        ),
    };
    made.options.write(&generated.profile, made.output, &origin, to_look_at(), console.document())?;
    Ok(Verdict::Yes)
}

/// What to say of a trace in which a filter refused a call.
pub(in crate::commands) fn refusal(name: &str, line: u64) -> String {
    format!(
        "{name}: line {line}: a filter refused a call (SIGSYS), so the trace ends early, and lacks what the program calls after it: \
         trace it without that filter"
    )
}

/// One trace: each is of processes of its own, and may have its own table at the end.
fn read(file: &Path, native: Arch, calls: &BTreeSet<&str>) -> Result<(Observed, Summary)> {
    let mut observed = Observed::with_arguments(calls);
    let mut strace = Strace::new(native);
    source::read(file, |piece| {
        strace.feed(piece, |event| observed.record(event));
        Ok(())
    })?;
    let summary = strace.finish(|event| observed.record(event));
    Ok((observed, summary))
}
