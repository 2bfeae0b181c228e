//! The bytes of a trace, with a progress bar where somebody watches.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// A smaller file is read before a bar could be seen.
const BAR_FROM: u64 = 64 * 1024 * 1024;

/// Hands the bytes of a file, or of standard input where the path is `-`, to a reader, piece by piece.
pub(super) fn pieces(path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let name = name(path);
    let (mut source, length): (Box<dyn Read>, Option<u64>) = if path == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(path).with_context(|| format!("can't read {name}"))?;
        let about = file.metadata().with_context(|| format!("can't read {name}"))?;
        if about.is_dir() {
            bail!("can't read {name}: it is a directory: name the trace in it");
        }
        (Box::new(file), about.is_file().then_some(about.len()))
    };
    let bar = bar(length);
    let mut piece = vec![0; PIECE];
    loop {
        let count = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("can't read {name}")),
        };
        each(&piece[..count])?;
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// What to call a file.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let Some(length) = length.filter(|length| *length >= BAR_FROM && io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    let bar = ProgressBar::new(length);
    if let Ok(style) =
        ProgressStyle::with_template("{bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta}")
    {
        bar.set_style(style);
    }
    bar
}
