//! Findings as SARIF 2.1.0, for code scanning services.
//!
//! Source: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>, and of what GitHub reads
//! <https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning>.

use std::{fmt::Write as _, io::Write, path::Path};

use anyhow::Result;
use portcullis_profile::{
    Digest,
    lint::{Code, Severity},
};
use serde_json::{Value, json};

use super::Report;
use crate::{input::Position, output};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const LINT_PAGE: &str = "docs/lint.md";
/// The rule of what can't be read, which has no code of the linter.
const UNREADABLE: &str = "unreadable";

pub(super) fn write(report: &Report<'_>, out: &mut dyn Write) -> Result<()> {
    output::json(&document(report), out)
}

fn document(report: &Report<'_>) -> Value {
    let findings = report.findings.iter().map(|placed| {
        let finding = &placed.finding;
        let code = finding.code.as_str();
        let index = Code::ALL.iter().position(|one| *one == finding.code);
        let path = if placed.path.is_empty() { String::new() } else { format!("{}: ", placed.path) };
        json!({
            "ruleId": code,
            "ruleIndex": index,
            "level": level(finding.severity),
            "message": {"text": format!("{path}{} {} {}", sentence(&placed.message), finding.consequence, finding.remedy)},
            "locations": [location(&placed.loaded.source.file, Some(placed.position))],
            // Lines move; what is found where in the profile doesn't.
            "partialFingerprints": {"finding/v1": fingerprint(&placed.loaded.name, code, &placed.path)},
        })
    });
    let unreadable = report.unreadable.iter().flat_map(|unreadable| {
        unreadable.problems.iter().map(|problem| {
            let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
            json!({
                "ruleId": UNREADABLE,
                "ruleIndex": Code::ALL.len(),
                "level": "error",
                "message": {"text": format!("{path}{}", problem.message)},
                "locations": [location(&unreadable.file, problem.position)],
                "partialFingerprints": {"finding/v1": fingerprint(&unreadable.file, UNREADABLE, &problem.path)},
            })
        })
    });
    let results: Vec<Value> = findings.chain(unreadable).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "kubectl-seccomp",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": report.unreadable.is_empty()}],
            "results": results,
        }],
    })
}

fn rules() -> Vec<Value> {
    let of_codes = Code::ALL.iter().map(|code| {
        json!({
            "id": code.as_str(),
            "shortDescription": {"text": code.title()},
            "fullDescription": {"text": code.consequence()},
            "help": {"text": format!("{} Source: {}. See {LINT_PAGE}.", code.remedy(), code.source())},
            "defaultConfiguration": {"level": level(code.severity())},
        })
    });
    let unreadable = json!({
        "id": UNREADABLE,
        "shortDescription": {"text": "A profile can't be read"},
        "fullDescription": {"text": "A container runtime refuses the profile, or drops parts of it without a word."},
        "help": {"text": "Correct what the message names."},
        "defaultConfiguration": {"level": "error"},
    });
    of_codes.chain([unreadable]).collect()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn location(file: &str, position: Option<Position>) -> Value {
    let Position { line, column } = position.unwrap_or(Position { line: 1, column: 1 });
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(file)},
        "region": {"startLine": line, "startColumn": column},
    }})
}

/// A file as a reference: relative ones stay so, which is what a service resolves against the repository.
fn uri(file: &str) -> String {
    let mut uri = String::from(if Path::new(file).is_absolute() { "file://" } else { "" });
    for byte in file.strip_prefix("./").unwrap_or(file).bytes() {
        // RFC 3986's unreserved characters, and what divides a path.
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

fn fingerprint(profile: &str, code: &str, path: &str) -> String {
    Digest::of(format!("{profile}\n{code}\n{path}").as_bytes()).short().to_owned()
}

fn sentence(message: &str) -> String {
    format!("{}.", message.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_references() {
        assert_eq!(uri("./profiles/a b.json"), "profiles/a%20b.json");
        assert_eq!(uri("/tmp/ä.json"), "file:///tmp/%C3%A4.json");
    }
}
