//! Records commands on other kernels and processors, in emulated machines, and writes what it came to into docs/recording.md.

mod cache;
mod kernel;
mod machine;
mod programs;

use std::{collections::BTreeSet, fs, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use portcullis_runtimes::workspace_root;
use serde_json::Value;

use kernel::{ALL, Expected, Kernel};
use machine::{Said, boot};

const PAGE: &str = "docs/recording.md";
const BEGIN: &str = "<!-- begin: written by `make test-kernels` -->\n";
const END: &str = "<!-- end -->";

#[derive(Debug, Parser)]
#[command(about = "Records commands on other kernels and processors, in emulated machines")]
struct Arguments {
    /// The kernels, as `arm64@bookworm`; all unless given, and then docs/recording.md is written.
    #[arg(long = "kernel", value_name = "KERNEL")]
    kernels: Vec<Kernel>,
    /// Leave docs/recording.md as it is.
    #[arg(long)]
    keep: bool,
}

/// What a kernel came to.
#[derive(Debug)]
struct Row {
    release: String,
    processor: &'static str,
    records: String,
}

#[expect(clippy::print_stderr, reason = "what a person sees while it runs")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let all = arguments.kernels.is_empty();
    let kernels = if all { ALL.to_vec() } else { arguments.kernels };
    let (mut rows, mut failed) = (Vec::new(), 0);
    for kernel in kernels {
        eprintln!("... {kernel}");
        match boot(&kernel).and_then(|said| Ok((judge(&kernel, &said)?, said.took))) {
            Ok((row, took)) => {
                eprintln!(
                    "    ok Linux {} on {}: {} ({:.0} s)",
                    row.release,
                    row.processor,
                    row.records,
                    took.as_secs_f64()
                );
                rows.push(row);
            }
            Err(error) => {
                eprintln!("failed {kernel}: {error:#}");
                failed += 1;
            }
        }
    }
    if all && failed == 0 && !arguments.keep {
        write(&rows)?;
        eprintln!("{PAGE} is written");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a machine did what is expected of its kernel.
fn judge(kernel: &Kernel, said: &Said) -> Result<Row> {
    let release = said.section("release")?.to_owned();
    let (words, code) = (said.section("ebpf")?, said.section("ebpf exit")?);
    let records = match kernel.expected {
        Expected::Refused => {
            ensure!(code == "2" && words.contains("Linux 5.15 or later"), "exit {code}: {words}");
            "refused: Linux 5.15 or later".to_owned()
        }
        Expected::Records => {
            ensure!(code == "0" && words.contains("none lost"), "exit {code}: {words}");
            ensure!(!words.contains("no typed tracepoints"), "{words}");
            let (ebpf, ptrace) = (allowed(said, "ebpf")?, allowed(said, "ptrace")?);
            ensure!(ebpf == ptrace, "eBPF saw {ebpf:?}, ptrace {ptrace:?}");
            let makes = |calls: &BTreeSet<String>| calls.iter().any(|call| call.starts_with("mkdir"));
            ensure!(makes(&ebpf), "no mkdir in {ebpf:?}");
            // A call that a filter denies is never made, so a recording of it has none.
            let denied = allowed(said, "denied")?;
            ensure!(!makes(&denied) && denied.contains("execve"), "under a filter: {denied:?}");
            let made: Vec<&str> = said.section("made")?.lines().collect();
            ensure!(made.contains(&"made") && !made.contains(&"denied"), "made: {made:?}");
            format!("typed tracepoints, {} calls, as ptrace sees them", ebpf.len())
        }
    };
    Ok(Row { release, processor: kernel.processor.name(), records })
}

/// The calls that a recorded profile allows.
fn allowed(said: &Said, recording: &str) -> Result<BTreeSet<String>> {
    let profile = said.section(&format!("{recording} profile"))?;
    let profile: Value = serde_json::from_str(profile).with_context(|| {
        format!(
            "{recording}: no profile in {profile:?}; it said: {}",
            said.section(recording).unwrap_or_default()
        )
    })?;
    let rules = profile["syscalls"].as_array().context("a profile has rules")?;
    let names = rules.iter().flat_map(|rule| rule["names"].as_array().into_iter().flatten());
    Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Writes the table into its page.
fn write(rows: &[Row]) -> Result<()> {
    let path = workspace_root().join(PAGE);
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the table's place has no end")?;
    let mut table = "| Linux | processor | `record --method ebpf` |\n|---|---|---|\n".to_owned();
    for Row { release, processor, records } in rows {
        table += &format!("| {release} | {processor} | {records} |\n");
    }
    fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    Ok(())
}
