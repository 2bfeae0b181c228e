//! The committed runtime defaults against the runtimes' newest releases. Needs no cluster, but Go with a module proxy, and apt.

use std::process::Command;

use anyhow::{Context as _, Result};
use portcullis_e2e::{command::output, progress, settings::workspace_root};

/// Fails with the branch, the version and the calls where a newer release has another default than the committed one, or a newer
/// branch denies what the strictest allows.
#[test]
fn no_newer_release_has_another_default() -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut check = Command::new(cargo);
    check.args(["run", "--quiet", "--package", "xtask", "--", "runtime-defaults", "--check"]);
    let said = output(check.current_dir(workspace_root()))
        .context("the runtime defaults in operator/profile/data/runtime-default are out of date")?;
    said.lines().for_each(|line| progress::say(format_args!("{line}")));
    Ok(())
}
