//! Answers for programs.

use std::io::Write;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
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

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Writes a value as YAML.
pub(crate) fn yaml(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    let text = serde_saphyr::to_string(value).context("the answer can't be written as YAML")?;
    out.write_all(text.as_bytes())?;
    Ok(())
}
