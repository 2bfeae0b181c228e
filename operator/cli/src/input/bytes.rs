//! Text out of files, bounded.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use super::{problem::Problem, tree::Position};

/// The longest file that is read: four profiles of the greatest size that one may have (1 MiB). A longer one is no file of
/// profiles, and an endless one (a device, a pipe) must end.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What to call a file.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// A file's bytes, or those of standard input where the path is `-`: at most one more than [`text`] takes.
///
/// # Errors
/// Why the system can't read it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    bounded(path).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => {
            "it is a directory: name the files in it, for example with DIR/*.json".to_owned()
        }
        _ => error.to_string(),
    })
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Whether bytes begin with UTF-8's byte order mark.
pub(super) fn has_mark(bytes: &[u8]) -> bool {
    bytes.starts_with("\u{feff}".as_bytes())
}

/// The text that bytes are, without a byte order mark.
///
/// # Errors
/// Where they aren't text, or too much of it.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::of_file(format!(
            "is longer than {} MiB: a profile has at most 1 MiB, so this is no file of profiles, or should be several",
            MAX_FILE_BYTES >> 20
        )));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::of_file("is UTF-16: save it as UTF-8"));
    }
    if bytes.contains(&0) {
        return Err(Problem::of_file("is a binary file: a profile is JSON or YAML text"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let before = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            let byte = bytes.get(valid).copied().unwrap_or_default();
            let message = format!("is not UTF-8 text: byte {byte:#04x} begins no character");
            Err(Problem::at(Position { line, column }, message))
        }
    }
}
