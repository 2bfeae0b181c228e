//! A profile that was pulled: what is said of it, and the file it becomes.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use portcullis_artifact::Pulled;
use portcullis_profile::{
    Profile,
    lint::{LintContext, Severity, lint},
};

use crate::console::{self, Console};

/// What is known of a profile that was pulled, as lines of a label and a value.
pub(crate) fn facts(pulled: &Pulled, profile: Option<&Profile>) -> Vec<(&'static str, String)> {
    let mut facts =
        vec![("kind", pulled.kind.as_str().to_owned()), ("reference", pulled.reference.to_string())];
    if pulled.named != pulled.manifest {
        facts.push(("index", pulled.named.to_string()));
    }
    facts.push(("layer", pulled.layer.to_string()));
    facts.extend(pulled.path.clone().map(|path| ("path", path)));
    facts.extend(profile.map(|profile| ("profile", profile.digest().to_string())));
    facts
}

/// Refuses a profile with the linter's errors, and notes its warnings.
pub(crate) fn check(name: &str, profile: &Profile) -> Result<()> {
    let findings = lint(profile, &LintContext::default());
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    if !errors.is_empty() {
        bail!("{name}: {}", errors.join("; "));
    }
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        console::note(&format!("{name}: {finding}"));
    }
    Ok(())
}

/// Writes a document to standard output where the file is `-`, or makes it the file's whole content at once.
///
/// A device or a pipe is written to: to put a file in its place, as with any other, would take it from everybody.
pub(crate) fn write_document(document: &[u8], file: &Path, console: &mut Console) -> Result<()> {
    if file == Path::new("-") {
        console.out().write_all(document)?;
        return Ok(());
    }
    let found = fs::metadata(file).ok();
    if found.as_ref().is_some_and(|found| !found.is_file()) {
        let write = || OpenOptions::new().write(true).open(file)?.write_all(document);
        return write().with_context(|| format!("can't write {}", file.display()));
    }
    // A link stays one.
    let target = found.and_then(|_| fs::canonicalize(file).ok());
    replace(document, target.as_deref().unwrap_or(file))
        .with_context(|| format!("can't write {}", file.display()))
}

fn replace(document: &[u8], file: &Path) -> std::io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // What a new file's permissions are otherwise, which the process' umask reduces.
    let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    new.write_all(document)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_no_file_of_its_own_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str| write_document(b"new", &path(name), &mut Console::new()).unwrap();
        write("file");
        symlink("file", path("link")).unwrap();
        fs::write(path("file"), "old").unwrap();
        write("link");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = path("pipe");
            move || fs::read(pipe).unwrap()
        });
        write("pipe");
        assert_eq!(reader.join().unwrap(), b"new");
        assert!(fs::metadata(path("pipe")).unwrap().file_type().is_fifo());
        assert!(write_document(b"new", folder.path(), &mut Console::new()).is_err());
    }
}
