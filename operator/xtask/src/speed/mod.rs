//! `speed`: what the model and the command line take, beside other tools on the same input in the same run.
//!
//! The model's figures are those of the last `cargo bench -p portcullis-profile`.

mod criterion;
mod pods;
mod samples;
mod tools;

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::page::{self, thousands};
use criterion::Estimates;
use samples::Log;
use tools::{Workshop, milliseconds};

/// The command that writes the section.
const COMMAND: &str = "make bench-cli";
const MIB: f64 = 1024.0 * 1024.0;

/// Measures, and writes the section; each line is shown as it is known.
///
/// # Errors
/// Where a tool is missing or fails, or `cargo bench` has left no figures.
pub fn write(root: &Path, binary: &Path, mut show: impl FnMut(&str)) -> Result<()> {
    let binary = fs::canonicalize(binary).with_context(|| format!("no {}", binary.display()))?;
    let mut table =
        "| what | target | measured | beside it, on the same input |\n|---|---|---|---|\n".to_owned();
    let mut line = |[what, target, measured, beside]: [&str; 4]| -> Result<()> {
        let line = format!("| {what} | {target} | {measured} | {beside} |");
        show(&line);
        writeln!(table, "{line}")?;
        Ok(())
    };
    model(&Estimates::read(&root.join("target/criterion"))?, &mut line)?;
    let size = fs::metadata(&binary)?.len();
    let size = format!("{:.1} MiB", f64::from(u32::try_from(size)?) / MIB);
    line(["`kubectl-seccomp`, one static binary", "< 12 MiB", &size, ""])?;
    let workshop = Workshop::new(&binary)?;
    start(&workshop, &mut line)?;
    traces(&workshop, &mut line)?;
    let who = pods::measure(&binary)?;
    line([
        &format!("`who -A` of {} pods in {} workloads", thousands(pods::PODS), thousands(pods::WORKLOADS)),
        "pages, not all at once",
        &format!("{:.1} s, {:.1} MiB at most", who.seconds, who.peak_mib),
        &format!("{:.0} MB of JSON in {} answers", who.megabytes, who.answers),
    ])?;
    page::write(root, COMMAND, &table)
}

fn model(of: &Estimates, line: &mut impl FnMut([&str; 4]) -> Result<()>) -> Result<()> {
    let ns = |name: &str| of.nanoseconds(name);
    let names = "four_hundred_names";
    let (lint, json) = (ns(&format!("{names}/parse_lint"))?, ns(&format!("{names}/serde_json_value"))?);
    line([
        "parse and lint a profile of 400 names",
        "< 1 ms",
        &format!("{:.3} ms", lint / 1e6),
        &format!("serde_json alone {:.3} ms: {:.1} times as long", json / 1e6, lint / json),
    ])?;
    line([
        "evaluate a call: no condition / a condition / no rule",
        "< 50 ns",
        &format!(
            "{:.1} / {:.1} / {:.1} ns",
            ns("evaluate/unconditional")?,
            ns("evaluate/conditional")?,
            ns("evaluate/default")?
        ),
        "",
    ])?;
    let (model, libseccomp) = (ns("compile/model")?, ns("compile/libseccomp")?);
    line([
        "make a profile ready for evaluation",
        "",
        &format!("{:.3} ms", model / 1e6),
        &format!("libseccomp's program {:.3} ms: {:.1} times as long", libseccomp / 1e6, libseccomp / model),
    ])?;
    let (read, made) = (ns("filter/read")?, ns("filter/libseccomp")?);
    line([
        "read libseccomp's program of the runtime default back",
        "",
        &format!("{:.3} ms", read / 1e6),
        &format!("libseccomp makes it in {:.3} ms: {:.1} times as long", made / 1e6, made / read),
    ])?;
    line(["merge 100 profiles", "", &format!("{:.1} ms", ns("merge/hundred")? / 1e6), ""])?;
    let calls = 100_000.0 / ns("trace/simulate")? * 1e3;
    line([
        "simulate a trace, from its bytes to the summary",
        "millions of calls a second",
        &format!("{calls:.1} million calls a second"),
        "",
    ])
}

fn start(workshop: &Workshop, line: &mut impl FnMut([&str; 4]) -> Result<()>) -> Result<()> {
    const RUNS: usize = 101;
    let start = workshop.median(RUNS, &["seccomp", "--version"])?;
    let shell = workshop.median(RUNS, &["true"])?;
    line([
        "start (`--version`), median of 101",
        "< 5 ms",
        &format!("{} ms", milliseconds(start)),
        &format!("`true` {} ms", milliseconds(shell)),
    ])?;
    let profile = samples::runtime_default(workshop.folder())?;
    let lint = workshop.median(RUNS, &["seccomp", "lint", &profile])?;
    let jq = workshop.median(RUNS, &["jq", ".", &profile])?;
    line([
        "`lint` of the runtime default, the process's start included",
        "",
        &format!("{} ms", milliseconds(lint)),
        &format!(
            "`jq .` {} ms: {:.1} times as long",
            milliseconds(jq),
            jq.as_secs_f64() / lint.as_secs_f64()
        ),
    ])
}

fn traces(workshop: &Workshop, line: &mut impl FnMut([&str; 4]) -> Result<()>) -> Result<()> {
    // Odd, for a median; a gigabyte takes seconds.
    const RUNS: usize = 3;
    let (strace, audit) = (samples::strace(workshop.folder())?, samples::audit(workshop.folder())?);
    let profile = samples::runtime_default(workshop.folder())?;
    let third = "a third of `grep -c`";
    let all: [(&str, &str, &Log, &[&str]); 4] = [
        ("`import strace`", third, &strace, &["seccomp", "import", "strace"]),
        (
            "`import strace` with the arguments of `ioctl` and `socket`",
            "",
            &strace,
            &["seccomp", "import", "strace", "--args", "ioctl,socket"],
        ),
        ("`import audit`", third, &audit, &["seccomp", "import", "audit"]),
        (
            "`simulate --strace`, for runc and crun",
            "",
            &strace,
            &["seccomp", "simulate", &profile, "--strace"],
        ),
    ];
    for (what, target, log, words) in all {
        let ours = workshop.median(RUNS, &[words, &[&log.path]].concat())?;
        let grep = workshop.median(RUNS, &["grep", "-c", log.word, &log.path])?;
        let rate = |time: Duration| log.megabytes / time.as_secs_f64();
        line([
            &format!("{what}, {:.0} MB in {} lines", log.megabytes, thousands(log.lines)),
            target,
            &format!("{:.0} MB/s", rate(ours)),
            &format!("`grep -c {}` {:.0} MB/s: {:.2} of it", log.word, rate(grep), rate(ours) / rate(grep)),
        ])?;
    }
    Ok(())
}
