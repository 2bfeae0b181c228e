//! Commands, and how long they take.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// The binary that is measured, and a folder for samples that goes with it.
pub(super) struct Workshop {
    binary: PathBuf,
    folder: tempfile::TempDir,
}

impl Workshop {
    pub(super) fn new(binary: &Path) -> Result<Self> {
        Ok(Self { binary: binary.to_owned(), folder: tempfile::tempdir()? })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The median time of a command, `seccomp` being the binary. A first run, which isn't counted, brings its files into memory.
    pub(super) fn median(&self, runs: usize, words: &[&str]) -> Result<Duration> {
        self.run(words)?;
        let mut times = (0..runs).map(|_| self.run(words)).collect::<Result<Vec<Duration>>>()?;
        times.sort_unstable();
        times.get(runs / 2).copied().context("no run was asked for")
    }

    fn run(&self, words: &[&str]) -> Result<Duration> {
        let (program, arguments) = words.split_first().context("no command")?;
        let program = if *program == "seccomp" { self.binary.as_path() } else { Path::new(program) };
        let mut command = Command::new(program);
        // grep reads bytes, not characters, as the importers do; and its way with characters is far slower.
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
        let begun = Instant::now();
        // Into pipes: grep stops at the first match where its output is /dev/null.
        let output = command.output();
        let time = begun.elapsed();
        let output = output.with_context(|| format!("{} can't be run: install it", program.display()))?;
        // 1 is the answer no: a finding, a call that is denied.
        ensure!(
            matches!(output.status.code(), Some(0 | 1)),
            "{words:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(time)
    }
}

/// Milliseconds with one digit.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
