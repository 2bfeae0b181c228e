//! A profile that was pulled: what is said of it, and the file it becomes.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use portcullis_artifact::{Kind, Pulled, Read};
use portcullis_profile::{
    Profile,
    lint::{LintContext, Severity, lint},
};

use crate::{
    console::{self, Console},
    platform,
    replace::replace,
};

/// How many errors are shown.
const SHOWN: usize = 5;

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

/// Notes what to know of how a profile was read.
pub(crate) fn say_how_read(name: &str, pulled: &Pulled, read: &Read) {
    if let Some(left_out) = read.left_out {
        console::note(&format!("{name}: {}", platform::dockers(&pulled.container, left_out)));
    }
    let is = match (pulled.kind, &pulled.path, read.left_out) {
        (Kind::SeccompArtifact, Some(_), _) => "its layer is an archive",
        (Kind::SeccompArtifact, None, Some(_)) => "it is in Docker's format",
        _ => return,
    };
    console::note(&format!(
        "{name}: {is}, and runtimes take an OCI document alone (KEP-6061): push what this makes of it"
    ));
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
        let shown = errors.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
        let more = match errors.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("\nand {more} more: `lint` names all"),
        };
        bail!("{name} is refused:\n{shown}{more}");
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
