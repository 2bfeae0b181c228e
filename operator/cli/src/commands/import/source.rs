//! Large files, read piece by piece.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use portcullis_profile::import::Unread;

use crate::console;

/// How much is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What to call a file.
pub(in crate::commands) fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Reads a file, or standard input where the path is `-`, and shows on a terminal how far it is. What gzip packed is
/// unpacked.
///
/// # Errors
/// Where it can't be read, and what a piece's reader says.
pub(in crate::commands) fn read(path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let name = name(path);
    let failed = || format!("can't read {name}");
    let (input, length): (Box<dyn Read>, Option<u64>) = if path == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(path).with_context(failed)?;
        let metadata = file.metadata().with_context(failed)?;
        if metadata.is_dir() {
            bail!("can't read {name}: it is a directory: name the files in it, for example with DIR/*");
        }
        // Pipes and devices have no length.
        (Box::new(file), Some(metadata.len()).filter(|_| metadata.is_file()))
    };
    let bar = bar(&name, length);
    let mut input = unpacked(bar.wrap_read(input)).with_context(failed)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match input.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => each(&piece[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// What gzip packed, as `logrotate` and `strace -o '|gzip'` leave it, is unpacked; anything else stays.
fn unpacked<'r>(mut input: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut head = Vec::new();
    input.by_ref().take(GZIP.len() as u64).read_to_end(&mut head)?;
    let is_packed = head == GZIP;
    let whole = io::Cursor::new(head).chain(input);
    Ok(if is_packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

/// A bar that shows itself where somebody looks, and only for what takes long.
fn bar(name: &str, length: Option<u64>) -> ProgressBar {
    /// Shorter files are read before anybody could see a bar.
    const LONG: u64 = 32 * 1024 * 1024;
    if !io::stderr().is_terminal() || length.is_some_and(|length| length < LONG) {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = match length {
        Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{msg} {spinner} {bytes} {bytes_per_sec}",
    };
    // The templates are constants, and a bar in another style is better than none.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(name.to_owned())
}

/// Says what could not be read of a file.
pub(super) fn say_unread(name: &str, unread: &Unread) {
    for (reason, count, examples) in unread.by_reason() {
        let lines = if count == 1 { "line" } else { "lines" };
        console::note(&format!("{name}: {count} {lines} not read: {reason}"));
        for example in examples {
            console::note(&format!("  line {}: {}", example.line, example.text));
        }
    }
}
