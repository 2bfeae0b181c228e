//! What profiles are compared with, as people name it on the command line.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::Args;
use clap_complete::{
    ArgValueCompleter, CompletionCandidate,
    engine::{PathCompleter, ValueCompleter as _},
};
use portcullis_profile::{Baseline, docker::Context};

use crate::input;

/// The option of commands that compare with the runtime default.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Chosen {
    /// Compare with this instead of the strictest supported runtime default: a file with one profile, `-` for standard
    /// input, or one runtime's own default, for example containerd@2.4.
    #[arg(long, value_name = "FILE", add = ArgValueCompleter::new(candidates))]
    baseline: Option<PathBuf>,
}

impl Chosen {
    /// The file or name, to be read beside another file.
    ///
    /// # Errors
    /// Where it can't be read, or both would come from standard input.
    pub(crate) fn read(&self, beside: Option<&Path>, container: &Context) -> Result<Baseline> {
        let Some(chosen) = &self.baseline else { return Ok(Baseline::strictest()) };
        if chosen.as_os_str() == "-" && beside == Some(chosen) {
            bail!("both profiles can't come from standard input: name a file for one");
        }
        if let Some(named) = chosen.to_str().and_then(Baseline::named) {
            return Ok(named);
        }
        let looks_named = chosen.to_str().is_some_and(|text| text.contains('@') && !text.contains('/'));
        if looks_named && !chosen.exists() {
            let names: Vec<&str> = Baseline::names().collect();
            bail!(
                "--baseline {}: there is no such file, and no such default: known are {}",
                chosen.display(),
                names.join(", ")
            );
        }
        let loaded = input::profile_for(chosen, container)?;
        Ok(Baseline::chosen(loaded.name, loaded.profile))
    }
}

/// The known defaults, and files.
fn candidates(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let names = Baseline::names().filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new);
    names.chain(PathCompleter::file().stdio().complete(current)).collect()
}
