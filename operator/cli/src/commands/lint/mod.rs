//! `lint`: what is wrong with profiles.

mod json;
mod sarif;
mod text;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use portcullis_profile::{
    Arch,
    lint::{Code, Finding, LintContext, Severity, lint},
};

use crate::{
    console::{self, Console},
    example::{self, Example},
    input::{self, Format, Loaded, Position, Unreadable},
    platform::{self, Container},
    verdict::Verdict,
};

const WORDS: &str = "\
Exits with 0 without findings of severity Error (with --strict: without Errors and Warnings), with 1 otherwise, with 2 where a
file can't be read. The other files are linted all the same. Every code is explained in docs/lint.md.";

const EXAMPLES: &[Example] = &[
    Example { about: "Check a profile", command: "kubectl seccomp lint web.json" },
    Example { about: "Fail a job for warnings too", command: "kubectl seccomp lint --strict *.json" },
    Example {
        about: "For nodes of these kinds",
        command: "kubectl seccomp lint --arch amd64,arm64 --runc-version 1.1 web.json",
    },
    Example { about: "For a code scanner", command: "kubectl seccomp lint -o sarif *.json > seccomp.sarif" },
    Example {
        about: "Check what is in the cluster",
        command: "kubectl get seccompprofiles -A -o yaml | kubectl seccomp lint -",
    },
];

/// Which files, and what they are for.
#[derive(Debug, Args)]
#[command(after_help = example::help_after(WORDS, EXAMPLES))]
pub(crate) struct Arguments {
    /// Files with profiles in any format; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to write what is found.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Let warnings count as errors do.
    #[arg(long)]
    strict: bool,
    /// The architectures of the nodes, for example amd64,arm64. Docker's format is read for the first one.
    #[arg(long, value_name = "ARCH", value_delimiter = ',', value_parser = platform::parse_arch)]
    arch: Vec<Arch>,
    /// The oldest runc on the nodes, for example 1.2.
    #[arg(long, value_name = "VERSION", value_parser = runc_version)]
    runc_version: Option<(u32, u32)>,
    #[command(flatten)]
    container: Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, as code scanning services take it.
    Sarif,
}

fn runc_version(text: &str) -> Result<(u32, u32), String> {
    let mut numbers = text.trim_start_matches('v').splitn(3, '.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err("no version: write for example 1.2".to_owned()),
    }
}

/// A finding and where it is.
struct Placed<'a> {
    loaded: &'a Loaded,
    finding: Finding,
    /// The finding's path in the file's document.
    path: String,
    /// What is wrong, with the file's own indexes.
    message: String,
    position: Position,
}

/// Everything that was found.
struct Report<'a> {
    findings: Vec<Placed<'a>>,
    unreadable: Vec<&'a Unreadable>,
    profiles: usize,
}

impl Report<'_> {
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|placed| placed.finding.severity == severity).count()
    }
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { files, output, strict, arch, runc_version, container } = arguments;
    let node_architectures: BTreeSet<Arch> = arch.iter().copied().collect();
    let container = container.on(arch.first().copied().unwrap_or_else(platform::host_arch));
    let files: Vec<_> = files.iter().map(|path| input::read(path, &container)).collect();
    let mut report = Report { findings: Vec::new(), unreadable: Vec::new(), profiles: 0 };
    for file in &files {
        match file {
            Err(unreadable) => report.unreadable.push(unreadable),
            Ok(file) => {
                file.notes().for_each(|note| console::note(&note));
                for profile in &file.profiles {
                    match profile {
                        Err(unreadable) => report.unreadable.push(unreadable),
                        Ok(loaded) => {
                            report.profiles += 1;
                            report.findings.extend(of_file(loaded));
                            let context = LintContext {
                                node_architectures: node_architectures.clone(),
                                oldest_runc: *runc_version,
                                is_whole: matches!(loaded.source.format, Format::Oci | Format::Docker),
                            };
                            let findings = lint(&loaded.profile, &context);
                            report
                                .findings
                                .extend(findings.into_iter().map(|finding| place(loaded, finding)));
                        }
                    }
                }
            }
        }
    }
    // A gate that checks nothing must not pass.
    if report.profiles == 0 && report.unreadable.is_empty() {
        anyhow::bail!("there is no seccomp profile in what was read, so nothing was checked");
    }
    match output {
        Output::Text => text::write(&report, console.styled())?,
        Output::Json => json::write(&report, console.out())?,
        Output::Sarif => sarif::write(&report, console.out())?,
    }
    for unreadable in &report.unreadable {
        console.error(&anyhow::Error::msg(unreadable.to_string()));
    }
    let worst = if *strict { Severity::Warning } else { Severity::Error };
    Ok(if !report.unreadable.is_empty() {
        Verdict::Incomplete
    } else if report.findings.iter().any(|placed| placed.finding.severity >= worst) {
        Verdict::No
    } else {
        Verdict::Yes
    })
}

/// What is wrong with a profile's file.
fn of_file(loaded: &Loaded) -> impl Iterator<Item = Placed<'_>> {
    let placed = move |code, path: &str, message: String, position| Placed {
        loaded,
        finding: Finding::new(code, path.to_owned(), message.clone()),
        path: path.to_owned(),
        message,
        position,
    };
    let not_json = loaded.not_json.iter().map(move |problem| {
        let position = problem.position.unwrap_or_else(|| loaded.source.own_position(""));
        placed(Code::NotJson, "", problem.message.clone(), position)
    });
    let idle_keys = loaded.idle_keys.iter().map(move |path| {
        let message = "no format of profiles has this key, and a runtime drops it".to_owned();
        placed(Code::UnknownKey, path, message, loaded.source.own_position(path))
    });
    not_json.chain(idle_keys)
}

fn place(loaded: &Loaded, finding: Finding) -> Placed<'_> {
    let source = &loaded.source;
    Placed {
        path: source.path(&finding.path),
        message: source.message(&finding.message),
        position: source.position(&finding.path),
        loaded,
        finding,
    }
}
