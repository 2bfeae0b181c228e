//! Findings for programs.

use std::io::Write;

use anyhow::Result;
use portcullis_profile::lint::Severity;
use serde::Serialize;

use super::Report;
use crate::{input::Position, output};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    findings: Vec<Finding<'a>>,
    unreadable: Vec<Unreadable<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Finding<'a> {
    code: &'static str,
    severity: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    profile: &'a str,
    path: &'a str,
    message: &'a str,
    consequence: &'static str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct Unreadable<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    path: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Summary {
    profiles: usize,
    errors: usize,
    warnings: usize,
    infos: usize,
    unreadable: usize,
}

pub(super) fn write(report: &Report<'_>, out: &mut dyn Write) -> Result<()> {
    let findings = report.findings.iter().map(|placed| {
        let finding = &placed.finding;
        let Position { line, column } = placed.position;
        Finding {
            code: finding.code.as_str(),
            severity: finding.severity.as_str(),
            file: &placed.loaded.source.file,
            line,
            column,
            profile: &placed.loaded.name,
            path: &placed.path,
            message: &placed.message,
            consequence: finding.consequence,
            remedy: finding.remedy,
        }
    });
    let unreadable = report.unreadable.iter().flat_map(|unreadable| {
        unreadable.problems.iter().map(|problem| Unreadable {
            file: &unreadable.file,
            line: problem.position.map(|position| position.line),
            column: problem.position.map(|position| position.column),
            path: &problem.path,
            message: &problem.message,
        })
    });
    let document = Document {
        findings: findings.collect(),
        unreadable: unreadable.collect(),
        summary: Summary {
            profiles: report.profiles,
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            infos: report.count(Severity::Info),
            unreadable: report.unreadable.len(),
        },
    };
    output::json(&document, out)
}
