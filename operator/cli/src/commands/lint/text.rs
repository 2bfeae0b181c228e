//! Findings for people.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use portcullis_profile::lint::Severity;

use super::Report;
use crate::{
    answer::Answer,
    layout::{counted, wrapped},
};

/// The width of the longest line; an editor's or a terminal's usual half.
const WIDTH: usize = 100;
/// The width of the labels before texts: that of a code and the longest severity.
const LABEL: usize = 13;

pub(super) fn write(report: &Report<'_>, out: &mut Answer<impl Write>) -> io::Result<()> {
    for placed in &report.findings {
        let finding = &placed.finding;
        let style = style(finding.severity);
        let code = finding.code.as_str();
        let severity = finding.severity.as_str();
        let path = if placed.path.is_empty() { String::new() } else { format!("{}: ", placed.path) };
        out.paint(style, format_args!("{code} {severity:<7}"))?;
        writeln!(out, "  {path}{}", placed.message)?;
        let position = placed.position;
        let single = placed.loaded.name == placed.loaded.source.file;
        let which = if single { "" } else { &placed.loaded.name[placed.loaded.source.file.len()..] };
        writeln!(out, "{:>LABEL$}  {}:{position}{which}", "at", placed.loaded.source.file)?;
        for (label, text) in [("effect", finding.consequence), ("remedy", finding.remedy)] {
            for (number, line) in wrapped(text, WIDTH - LABEL - 2).iter().enumerate() {
                writeln!(out, "{:>LABEL$}  {line}", if number == 0 { label } else { "" })?;
            }
        }
        writeln!(out)?;
    }
    // Why there is nothing to sum up is said on standard error.
    if report.profiles == 0 && !report.unreadable.is_empty() { Ok(()) } else { summary(report, out) }
}

fn summary(report: &Report<'_>, out: &mut Answer<impl Write>) -> io::Result<()> {
    let found: Vec<String> =
        [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "info")]
            .into_iter()
            .map(|(severity, name)| (report.count(severity), name))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| if name == "info" { format!("{count} info") } else { counted(count, name) })
            .collect();
    let found = if found.is_empty() { "no findings".to_owned() } else { found.join(", ") };
    let unreadable = match report.unreadable.len() {
        0 => String::new(),
        count => format!(", {count} unreadable"),
    };
    writeln!(out, "{}: {found}{unreadable}", counted(report.profiles, "profile"))
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default().bold(),
        Severity::Info => AnsiColor::Cyan.on_default().bold(),
    }
}
