//! `charts/portcullis/files/crds/`: the definitions as the chart installs them. Helm reads only what lies inside a chart.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Artefact;

/// Where the chart's templates look for them.
pub(super) const DIRECTORY: &str = "charts/portcullis/files/crds";

const HEADER: &str = "\
# Generated from operator/api by `make generate`; do not edit.
";

/// Keeps an object when its release is uninstalled: deleting a definition deletes every profile.
/// <https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource>
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// The custom resource definitions with Helm's annotation.
pub(super) fn artefacts() -> Result<Vec<Artefact>> {
    let crds = portcullis_api::crds().context("can't render the custom resource definitions")?;
    crds.into_iter()
        .map(|mut crd| {
            let name = crd.spec.names.plural.clone();
            crd.metadata
                .annotations
                .get_or_insert_with(BTreeMap::new)
                .insert(KEEP.0.to_owned(), KEEP.1.to_owned());
            let yaml =
                serde_saphyr::to_string(&crd).with_context(|| format!("can't write {name} as YAML"))?;
            Ok(Artefact {
                path: PathBuf::from(DIRECTORY).join(format!("{name}.yaml")),
                content: format!("{HEADER}{yaml}"),
            })
        })
        .collect()
}
