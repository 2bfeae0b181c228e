//! The table of profiles.

use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;

use super::gather::{Line, Report, Usage};
use crate::{
    cluster::{Scope, age::age},
    table::Table,
};

/// Workloads that a row names; the rest are counted.
const NAMED: usize = 2;

/// Writes the table; nothing where there are no profiles.
pub(super) fn write(report: &Report, scope: &Scope, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if report.profiles.is_empty() { Ok(()) } else { table(report, scope, wide).write(out) }
}

/// The table.
pub(super) fn table(report: &Report, scope: &Scope, wide: bool) -> Table {
    let mut header = if *scope == Scope::All { vec!["NAMESPACE"] } else { Vec::new() };
    header.extend(["NAME", "MODE", "READY", "NODES", "PODS", "STALE", "WARNINGS", "AGE"]);
    if wide {
        header.extend(["REVISION", "PINNED", "PATH"]);
    }
    header.push("USED BY");
    let mut table = Table::new(header);
    for line in &report.profiles {
        table.push(row(line, scope, wide));
    }
    table
}

/// A profile's row.
pub(super) fn row(line: &Line, scope: &Scope, wide: bool) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let or_unknown = |count: Option<usize>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let mut row = if *scope == Scope::All { vec![or_dash(line.namespace.clone())] } else { Vec::new() };
    row.extend([
        line.reference(),
        line.mode.to_owned(),
        line.state(),
        or_dash(line.nodes.as_ref().map(|nodes| nodes.summary.clone())),
        or_unknown(line.usage.as_ref().map(|usage| usage.pods)),
        or_unknown(line.usage.as_ref().and_then(|usage| usage.stale)),
        line.warnings.len().to_string(),
        age(line.created.as_ref(), Timestamp::now()),
    ]);
    if wide {
        row.push(or_dash(line.digest.map(|digest| digest.short())));
        row.push(if line.pin.is_some() { "yes" } else { "no" }.to_owned());
        row.push(or_dash(line.localhost_profile.clone()));
    }
    row.push(line.usage.as_ref().map_or_else(|| "?".to_owned(), |usage| usage.describe(line, wide)));
    row
}

impl Line {
    /// `sp/web` or `csp/web`.
    pub(super) fn reference(&self) -> String {
        format!("{}/{}", if self.namespace.is_some() { "sp" } else { "csp" }, self.name)
    }

    fn state(&self) -> String {
        match self.reason.as_deref() {
            None => "True".to_owned(),
            Some("Unseen") => "Unknown".to_owned(),
            Some(reason) => format!("False ({reason})"),
        }
    }
}

impl Usage {
    /// Some workloads, with their namespace where it is not the profile's.
    fn describe(&self, line: &Line, every: bool) -> String {
        let shown = if every { usize::MAX } else { NAMED };
        let named = self.workloads.iter().take(shown).map(|one| {
            let other = line.namespace.as_deref() != Some(one.workload.namespace.as_str());
            if other {
                format!("{}/{}", one.workload.namespace, one.workload)
            } else {
                one.workload.to_string()
            }
        });
        let mut text = named.collect::<Vec<_>>().join(", ");
        if let Some(more) = self.workloads.len().checked_sub(shown).filter(|more| *more > 0) {
            text += &format!(" and {more} more");
        }
        if text.is_empty() { "-".to_owned() } else { text }
    }
}
