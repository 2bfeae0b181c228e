//! Running another program to its end.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What a command writes.
///
/// # Errors
/// Where it can't be started or fails, with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.output().with_context(|| format!("`{line}` can't be started: is it installed?"))?;
    ensure!(output.status.success(), "`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
