//! `import audit`: what seccomp logged.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use portcullis_api::ProfileSpec;
use portcullis_profile::{
    docker,
    import::audit::{Audit, AuditLog, Program, Seen},
    is_printable,
};
use serde_json::{Value, json};

use super::{
    generation::{Form, Options},
    origin::{Origin, counted},
    source,
};
use crate::{
    console::Console,
    example::{self, Example},
    table::Table,
    verdict::Verdict,
};

pub(super) const LONG: &str = "\
Say which calls seccomp logged, by program, or make a profile of them.

Reads records of type 1326 (SECCOMP) as auditd writes them (/var/log/audit/audit.log), as they stand in the kernel log (dmesg, \
journalctl -k) and as journald writes them itself (journalctl _TRANSPORT=audit); other lines are passed over and \
counted. The kernel always logs calls that a profile logs (SCMP_ACT_LOG) or kills for, and those that fail with an errno \
only under SECCOMP_FILTER_FLAG_LOG. Without auditd its own log keeps 10 records in 5 seconds, so a call may be missing.";

/// How to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Table,
    /// One object.
    Json,
    /// An OCI seccomp document that allows the calls.
    Profile,
    /// The same as a SeccompProfile of portcullis.dev/v1alpha1 (YAML).
    Cr,
}

const EXAMPLES: &[Example] = &[
    Example { about: "By program and architecture", command: "kubectl seccomp import audit audit.log" },
    Example {
        about: "As a profile to merge",
        command: "cat audit.log | kubectl seccomp import audit -o profile - > more.json",
    },
];

/// Which logs.
#[derive(Debug, Args)]
#[command(after_help = example::help(EXAMPLES))]
pub(super) struct Arguments {
    /// Logs; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to say it.
    #[arg(long, short, value_name = "FORM", default_value = "table")]
    output: Output,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { files, output, options } = arguments;
    let generation = options.generation()?;
    let mut log = AuditLog::default();
    for file in files {
        let mut audit = Audit::default();
        source::read(file, |piece| audit.feed(piece))?;
        let read = audit.finish();
        source::say_unread(&source::name(file), &read.unread);
        log.absorb(read);
    }
    let found = format!("{} of seccomp among {}", counted(log.records, "record"), counted(log.lines, "line"));
    let form = match output {
        Output::Table => {
            write_table(&log, console)?;
            crate::console::note(&found);
            return Ok(Verdict::Yes);
        }
        Output::Json => {
            serde_json::to_writer_pretty(console.out(), &document(&log)).context("can't write the answer")?;
            writeln!(console.out())?;
            return Ok(Verdict::Yes);
        }
        Output::Profile => Form::Oci,
        Output::Cr => Form::Cr,
    };
    if log.records == 0 {
        bail!(
            "no record of seccomp was found among {}, so there is nothing to allow",
            counted(log.lines, "line")
        );
    }
    let generated = log.observed().profile(&generation);
    let origin = Origin { kind: "audit records", files: files.clone(), found };
    options.write(&generated.profile, form, &origin, ProfileSpec::default(), console.out())?;
    Ok(Verdict::Yes)
}

/// A program's calls by architecture, the most frequent first.
fn by_count(program: &Program) -> Vec<(&Seen, u64)> {
    let mut calls: Vec<(&Seen, u64)> = program.calls.iter().map(|(seen, count)| (seen, *count)).collect();
    calls.sort_by_key(|&(seen, count)| (seen.arch, std::cmp::Reverse(count), *seen));
    calls
}

/// A program's name, which anybody may choose, without what would disturb a terminal.
fn shown(name: Option<&str>) -> String {
    let Some(name) = name else { return "(other programs)".to_owned() };
    let mut shown = String::new();
    for c in name.chars() {
        if is_printable(c) { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    shown
}

fn write_table(log: &AuditLog, console: &mut Console) -> Result<()> {
    if log.programs.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["PROGRAM", "ARCH", "ACTION", "COUNT", "CALL"]);
    for (name, program) in &log.programs {
        for (seen, count) in by_count(program) {
            table.push(vec![
                shown(name.as_deref()),
                docker::arch_name(seen.arch).to_string(),
                seen.action.as_str().trim_start_matches("SCMP_ACT_").to_owned(),
                count.to_string(),
                seen.name.as_str().to_owned(),
            ]);
        }
    }
    table.write(console.out())?;
    Ok(())
}

fn document(log: &AuditLog) -> Value {
    let programs: Vec<Value> = log
        .programs
        .iter()
        .map(|(name, program)| {
            let calls: Vec<Value> = by_count(program)
                .into_iter()
                .map(|(seen, count)| {
                    json!({
                        "name": seen.name.as_str(),
                        "architecture": seen.arch.as_str(),
                        "action": seen.action.as_str(),
                        "count": count,
                    })
                })
                .collect();
            json!({ "program": name, "calls": calls })
        })
        .collect();
    let unread: Vec<Value> = log
        .unread
        .by_reason()
        .map(|(reason, count, examples)| {
            let examples: Vec<Value> = examples
                .iter()
                .map(|example| json!({ "line": example.line, "text": example.text }))
                .collect();
            json!({ "reason": reason.as_str(), "count": count, "examples": examples })
        })
        .collect();
    json!({
        "programs": programs,
        "lines": log.lines,
        "records": log.records,
        "otherLines": log.others,
        "unread": unread,
    })
}
