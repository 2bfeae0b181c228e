//! `import audit`: what seccomp logged.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use portcullis_profile::{
    Action, docker,
    import::audit::{Audit, AuditLog, Program, Seen, is_runtime},
    is_printable,
};
use serde_json::{Value, json};

use super::{
    generation::{Form, Options, to_look_at},
    origin::{Origin, counted},
    source,
};
use crate::{
    console::{self, Console},
    example::{self, Example},
    output, platform,
    table::Table,
    verdict::Verdict,
};

pub(super) const LONG: &str = "\
Say which calls seccomp logged, by program, or make a profile of them.

Reads records of type 1326 (SECCOMP) as auditd writes them (/var/log/audit/audit.log), as they stand in the kernel log (dmesg, \
journalctl -k) and as journald writes them itself (journalctl _TRANSPORT=audit), with `ausearch -i` and \
`journalctl -o json` too, and the lines of snappy-debug and of the Security Profiles Operator's enricher. Compressed \
files (.gz) are unpacked. Other lines are passed over and counted. An event that the journal has twice counts once. A log \
without any record does not say that nothing was denied: that is an error, unless --allow-empty is set. The kernel always logs calls that a profile logs (SCMP_ACT_LOG) or kills for, and those that fail with an errno \
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
    /// The same as a SeccompProfile of portcullis.dev/v1alpha1 (YAML), in Audit mode.
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
    /// Take a log without any record of seccomp for an answer: that nothing was logged.
    #[arg(long)]
    allow_empty: bool,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let Arguments { files, output, allow_empty, options } = arguments;
    let generation = options.generation()?;
    let mut log = AuditLog::default();
    for file in files {
        let mut audit = Audit::new(platform::host_arch());
        source::read(file, |piece| {
            audit.feed(piece);
            Ok(())
        })?;
        let read = audit.finish();
        source::say_unread(&source::name(file), &read.unread);
        log.absorb(read);
    }
    let makes_profile = matches!(output, Output::Profile | Output::Cr);
    if log.records == 0 && (makes_profile || !allow_empty) {
        bail!(empty(&log, makes_profile));
    }
    say_of_records(&log);
    let found = format!("{} of seccomp among {}", counted(log.records, "record"), counted(log.lines, "line"));
    let form = match output {
        Output::Table => {
            write_table(&log, console)?;
            console::note(&found);
            return Ok(Verdict::Yes);
        }
        Output::Json => {
            output::json(&document(&log), console.out())?;
            return Ok(Verdict::Yes);
        }
        Output::Profile => Form::Oci,
        Output::Cr => Form::Cr,
    };
    let generated = log.observed().profile(&generation);
    for note in &generated.notes {
        console::note(&note.to_string());
    }
    let origin = Origin { kind: "audit records", files: files.clone(), found };
    options.write(&generated.profile, form, &origin, to_look_at(), console.document())?;
    Ok(Verdict::Yes)
}

/// Why there is no answer where no record was read.
fn empty(log: &AuditLog, makes_profile: bool) -> String {
    let found = format!("no record of seccomp was found among {}", counted(log.lines, "line"));
    if makes_profile {
        return format!("{found}, so there is nothing to allow");
    }
    format!(
        "{found}. That does not say that nothing was denied: the kernel logs denials with an errno only where the filter has \
         SECCOMP_FILTER_FLAG_LOG, and the records may be in another file (/var/log/audit/audit.log, `journalctl -k`). \
         --allow-empty takes it for an answer"
    )
}

/// Says what a reader of the records has to know.
fn say_of_records(log: &AuditLog) {
    if log.repeated > 0 {
        let records = counted(log.repeated, "record");
        console::note(&format!(
            "{records} passed over: the journal has these events twice, and they count once"
        ));
    }
    if log.programs.keys().flatten().any(|program| is_runtime(program)) {
        console::note(
            "runc:[...] is the container runtime itself, before it executes the program; `runtime-base` lists what it calls",
        );
    }
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
                seen.action.map_or("-", |action| action.as_str().trim_start_matches("SCMP_ACT_")).to_owned(),
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
                        "action": seen.action.map(Action::as_str),
                        "count": count,
                    })
                })
                .collect();
            let runtime = name.as_deref().is_some_and(is_runtime);
            json!({ "program": name, "runtime": runtime, "calls": calls })
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
        "repeatedRecords": log.repeated,
        "otherLines": log.others,
        "unread": unread,
    })
}
