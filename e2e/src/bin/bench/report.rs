//! The table in `docs/performance.md`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use portcullis_e2e::{progress, settings::workspace_root};

/// What begins the table of the operator, and that of the recorder.
pub(crate) const OPERATOR: &str = "<!-- begin: written by `make bench` -->";
/// See [`OPERATOR`].
pub(crate) const RECORDER: &str = "<!-- begin: written by `make bench`, recorder -->";
const END: &str = "<!-- end -->";

/// What was measured, line by line.
#[derive(Default)]
pub(crate) struct Report(Vec<[String; 3]>);

impl Report {
    pub(crate) fn line(&mut self, what: &str, target: &str, measured: String) {
        progress::say(format_args!("      {what}: {measured} (target {target})"));
        self.0.push([what.to_owned(), target.to_owned(), measured]);
    }

    /// Replaces the table that begins with a mark.
    pub(crate) fn write(&self, begin: &str) -> Result<()> {
        let path = workspace_root().join("docs/performance.md");
        let page =
            std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let missing = || format!("{} has no {begin} and {END}", path.display());
        let (before, rest) = page.split_once(begin).with_context(missing)?;
        let (_, after) = rest.split_once(END).with_context(missing)?;
        let table = self.table()?;
        std::fs::write(&path, format!("{before}{begin}\n{table}{END}{after}"))?;
        progress::say(format_args!("written to {}", path.display()));
        Ok(())
    }

    fn table(&self) -> Result<String> {
        let mut table =
            format!("Measured on {}.\n\n| what | target | measured |\n|---|---|---|\n", machine()?);
        for [what, target, measured] in &self.0 {
            writeln!(table, "| {what} | {target} | {measured} |")?;
        }
        Ok(table)
    }
}

/// Cores, memory and kernel.
fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kib: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    Ok(format!(
        "{cores} cores, {:.0} GiB, Linux {kernel}, with both nodes and the control plane on it",
        kib / 1024.0 / 1024.0
    ))
}
