//! Filters of a process of this machine.

use std::fs;

use anyhow::{Result, bail};
use portcullis_trace::filters;

use super::source::{Loaded, Source};
use crate::commands::record;

/// How many threads are named that have other filters.
const MAX_NAMED: usize = 5;

pub(super) fn of_process(pid: u32) -> Result<Source> {
    of_task(pid, &format!("process {pid}{}", command(pid)))
}

/// The first process of a container: what is process 1 inside, else the lowest id.
pub(super) fn of_container(id: &str) -> Result<Source> {
    let (short, processes) = record::processes_of_container(id)?;
    let mut processes: Vec<u32> = processes.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect();
    processes.sort_unstable();
    let is_first = |pid: &&u32| {
        field(**pid, "NSpid:").is_some_and(|ids| ids.split_whitespace().next_back() == Some("1"))
    };
    let Some(&pid) = processes.iter().find(is_first).or(processes.first()) else {
        bail!("container {short}: no process runs in it, so there is no filter to read: start it")
    };
    of_task(pid, &format!("container {short}, process {pid}{}", command(pid)))
}

fn of_task(pid: u32, name: &str) -> Result<Source> {
    // Its text says its cause already.
    let found = filters(pid).map_err(|error| anyhow::anyhow!("{error}"))?;
    let filters: Vec<Loaded> =
        found.into_iter().map(|one| Loaded { program: one.program, logs: one.logs }).collect();
    let notes = threads_unlike(pid, filters.len()).into_iter().collect();
    Ok(Source { name: name.to_owned(), filters, notes })
}

/// What a process runs, in brackets.
fn command(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { String::new() } else { format!(" ({name})") }
}

/// The threads of a process that have another number of filters: `Seccomp_filters` of proc_pid_status(5), since Linux 5.9.
fn threads_unlike(pid: u32, count: usize) -> Option<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut unlike: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&thread| filter_count(thread).is_some_and(|own| own != count))
        .collect();
    unlike.sort_unstable();
    let named: Vec<String> = unlike.iter().take(MAX_NAMED).map(u32::to_string).collect();
    let more = if unlike.len() > MAX_NAMED { " and others" } else { "" };
    (!unlike.is_empty()).then(|| {
        format!(
            "threads {}{more} of the process have another number of filters: name one by --pid to read its own",
            named.join(", ")
        )
    })
}

fn filter_count(task: u32) -> Option<usize> {
    field(task, "Seccomp_filters:")?.trim().parse().ok()
}

/// A line of proc_pid_status(5), behind its name.
fn field(task: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{task}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}
