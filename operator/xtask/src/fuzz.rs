//! `fuzz-report`: what the fuzz targets have run, as a section of `docs/performance.md`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::page::{self, thousands};

const REPORTS: &str = "fuzz/target/reports";
/// The command that writes the section.
const COMMAND: &str = "make fuzz";

/// How one target ended.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    target: String,
    executions: u64,
    per_second: u64,
    /// The most memory that the process had, in MiB.
    peak_mib: u64,
    /// The greatest coverage that libFuzzer told of, in edges.
    edges: u64,
}

/// Writes the section from the reports that `fuzz/run.sh` left.
///
/// # Errors
/// Where there is none, or one is of a target that was interrupted or failed.
pub fn write(root: &Path) -> Result<()> {
    let mut reports = Vec::new();
    let folder = root.join(REPORTS);
    for entry in fs::read_dir(&folder).with_context(|| format!("no {REPORTS}: run `make fuzz` first"))? {
        let path = entry?.path();
        let target = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let log = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let report = Report::read(&target, &log)
            .with_context(|| format!("{} tells of no whole run", path.display()))?;
        reports.push(report);
    }
    if reports.is_empty() {
        bail!("{REPORTS} is empty: run `make fuzz` first");
    }
    reports.sort_by(|a, b| a.target.cmp(&b.target));
    page::write(root, COMMAND, &table(&reports))
}

impl Report {
    fn read(target: &str, log: &str) -> Option<Self> {
        let stat = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().parse().ok()
        };
        // libFuzzer says so where nothing ended the run before its time.
        log.lines().find(|line| line.starts_with("Done ") && line.contains(" runs in "))?;
        let covered = |line: &str| line.split_once(" cov: ")?.1.split(' ').next()?.parse().ok();
        Some(Self {
            target: target.to_owned(),
            executions: stat("stat::number_of_executed_units")?,
            per_second: stat("stat::average_exec_per_sec")?,
            peak_mib: stat("stat::peak_rss_mb")?,
            edges: log.lines().filter_map(covered).max()?,
        })
    }
}

fn table(reports: &[Report]) -> String {
    let mut table = "| target | executions | a second | edges covered | peak memory | failures |\n|---|---|---|---|---|---|\n".to_owned();
    for report in reports {
        table += &format!(
            "| `{}` | {} | {} | {} | {} MiB | 0 |\n",
            report.target,
            thousands(report.executions),
            thousands(report.per_second),
            thousands(report.edges),
            report.peak_mib
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
#2\tINITED cov: 84 ft: 85 corp: 1/1b exec/s: 0 rss: 30Mb
#38600\tREDUCE cov: 2083 ft: 5177 corp: 753/232Kb lim: 512 exec/s: 2031 rss: 35Mb L: 175/512 MS: 1 EraseBytes-
Done 10000000 runs in 700 second(s)
stat::number_of_executed_units: 10000000
stat::average_exec_per_sec:     14285
stat::new_units_added:          2093
stat::slowest_unit_time_sec:    0
stat::peak_rss_mb:              35
";

    #[test]
    fn a_run_that_ended_is_reported() {
        let report = Report::read("audit", LOG).expect("a whole run");
        assert_eq!(
            table(&[report]).lines().last(),
            Some("| `audit` | 10,000,000 | 14,285 | 2,083 | 35 MiB | 0 |")
        );
    }

    #[test]
    fn a_run_that_was_cut_off_is_none() {
        assert_eq!(Report::read("audit", &LOG.replace("Done ", "")), None);
        assert_eq!(Report::read("audit", LOG.split_once("stat::average").expect("a line").0), None);
    }
}
