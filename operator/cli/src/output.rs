//! Answers for programs.

use std::io::Write;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use portcullis_profile::{escaped, is_printable};
use serde::Serialize;

/// How an answer of several objects is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Writes a value as JSON, in which what orders a terminal is escaped.
pub(crate) fn json(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("the answer can't be written as JSON")?;
    // Between its strings are line ends alone, and in them none.
    for line in text.lines() {
        writeln!(out, "{}", escaped(line))?;
    }
    Ok(())
}

/// Writes a value as YAML. Where its strings would show what orders a terminal it is written as JSON, which is YAML too and has escapes
/// for every character.
pub(crate) fn yaml(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    let text = serde_saphyr::to_string(value).context("the answer can't be written as YAML")?;
    if !text.chars().all(|one| is_printable(one) || one == '\n') {
        return json(value, out);
    }
    out.write_all(text.as_bytes())?;
    Ok(())
}
