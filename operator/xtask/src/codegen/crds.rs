//! `crds/`: one file a kind.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::Artefact;

const HEADER: &str = "\
# Generated from operator/api by `make generate`; do not edit.
";

/// The custom resource definitions.
pub(super) fn artefacts() -> Result<Vec<Artefact>> {
    let crds = portcullis_api::crds().context("can't render the custom resource definitions")?;
    crds.iter()
        .map(|crd| {
            let name = &crd.spec.names.plural;
            let yaml = serde_saphyr::to_string(crd).with_context(|| format!("can't write {name} as YAML"))?;
            Ok(Artefact {
                path: PathBuf::from("crds").join(format!("{name}.yaml")),
                content: format!("{HEADER}---\n{yaml}"),
            })
        })
        .collect()
}
