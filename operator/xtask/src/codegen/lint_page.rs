//! `docs/lint.md`: every finding of the linter.

use std::path::PathBuf;

use portcullis_profile::lint;

use super::Artefact;

/// The page, which says of itself what it is generated from.
pub(super) fn artefact() -> Artefact {
    Artefact { path: PathBuf::from("docs/lint.md"), content: lint::reference_markdown() }
}
