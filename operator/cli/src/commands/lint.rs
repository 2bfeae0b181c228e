//! `lint`: what is wrong with profiles.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use portcullis_profile::lint::{LintContext, Severity, lint};

use crate::{console::Console, input, verdict::Verdict};

/// Which files.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files with profiles; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Result<Verdict> {
    let mut worst = None;
    for file in &arguments.files {
        for loaded in input::profiles(file)? {
            for finding in lint(&loaded.profile, &LintContext::default()) {
                writeln!(console.out(), "{}: {:?}: {finding}", loaded.name, finding.severity)?;
                worst = worst.max(Some(finding.severity));
            }
        }
    }
    Ok(if worst == Some(Severity::Error) { Verdict::No } else { Verdict::Yes })
}
