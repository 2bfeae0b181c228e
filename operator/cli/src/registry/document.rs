//! A profile that was pulled: what is said of it, and the file it becomes.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use portcullis_artifact::Pulled;
use portcullis_profile::{
    Profile,
    lint::{LintContext, Severity, lint},
};

use crate::{
    console::{self, Console},
    replace::replace,
};

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
pub(crate) fn write_document(document: &[u8], file: &Path, console: &mut Console) -> Result<()> {
    if file == Path::new("-") {
        console.document().write_all(document)?;
        return Ok(());
    }
    replace(file, document).with_context(|| format!("can't write {}", file.display()))
}
