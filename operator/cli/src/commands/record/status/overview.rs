//! The table of recordings.

use std::io::{self, Write};

use k8s_openapi::jiff::Timestamp;
use portcullis_api::RecordingCondition;

use super::{Line, Report};
use crate::{
    cluster::{Scope, age::age},
    table::Table,
};

/// Writes the table; nothing where there are no recordings.
pub(super) fn write(report: &Report, scope: &Scope, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if report.recordings.is_empty() { Ok(()) } else { table(report, scope, wide).write(out) }
}

/// The table.
pub(super) fn table(report: &Report, scope: &Scope, wide: bool) -> Table {
    let mut header = if *scope == Scope::All { vec!["NAMESPACE"] } else { Vec::new() };
    header.extend(["NAME", "RECORDING", "COMPLETE", "CALLS", "RUNS", "CONTAINERS", "LAST NEW CALL", "AGE"]);
    if wide {
        header.extend(["NODES", "DENIED", "LOST", "MISSING"]);
    }
    let mut table = Table::new(header);
    for line in &report.recordings {
        table.push(row(line, scope, wide));
    }
    table
}

/// A recording's row.
pub(super) fn row(line: &Line, scope: &Scope, wide: bool) -> Vec<String> {
    let now = Timestamp::now();
    let status = line.status.clone().unwrap_or_default();
    let mut row = if *scope == Scope::All { vec![line.namespace.clone()] } else { Vec::new() };
    let containers: Vec<&str> = status.containers.iter().map(|one| one.name.as_str()).collect();
    let last = status.last_new_call_time.as_ref();
    row.extend([
        line.name.clone(),
        line.says(RecordingCondition::Recording),
        line.says(RecordingCondition::Complete),
        status.calls.to_string(),
        status.runs.iter().filter(|run| !run.name.is_empty()).count().to_string(),
        if containers.is_empty() { "-".to_owned() } else { containers.join(", ") },
        last.map_or_else(|| "-".to_owned(), |last| format!("{} ago", age(Some(last), now))),
        age(line.created.as_ref(), now),
    ]);
    if wide {
        let missing = line.condition(RecordingCondition::Complete);
        let lost = status.lost.unwrap_or_default();
        row.extend([
            status.nodes.to_string(),
            status.denied_calls.len().to_string(),
            (lost.calls + lost.values + lost.denials).to_string(),
            missing
                .filter(|one| one.status != "True")
                .map_or_else(|| "-".to_owned(), |one| one.message.clone()),
        ]);
    }
    row
}
