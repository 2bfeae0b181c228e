//! `charts/portcullis/files/crds/`: the definitions as the chart installs them. Helm reads only what lies inside a chart.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Artefact;

/// Where the chart's templates look for them.
pub(super) const DIRECTORY: &str = "charts/portcullis/files/crds";

const HEADER: &str = "\
# Generated from operator/api by `make generate`; do not edit.
";

/// Keep an object when its release is uninstalled, or when it is no longer rendered: deleting a definition deletes every profile, and with
/// the revisions every file. Helm's annotation means nothing to the others' pruning.
///
/// - <https://helm.sh/docs/howto/charts_tips_and_tricks/#tell-helm-not-to-uninstall-a-resource>
/// - <https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/>; server-side, because client-side apply's annotation doubles the size
/// - <https://fluxcd.io/flux/components/kustomize/kustomizations/#prune>
const KEEP: [(&str, &str); 3] = [
    ("helm.sh/resource-policy", "keep"),
    ("argocd.argoproj.io/sync-options", "Prune=false,ServerSideApply=true"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];

/// The custom resource definitions with the annotations that keep them.
pub(super) fn artefacts() -> Result<Vec<Artefact>> {
    let crds = portcullis_api::crds().context("can't render the custom resource definitions")?;
    crds.into_iter()
        .map(|mut crd| {
            let name = crd.spec.names.plural.clone();
            crd.metadata
                .annotations
                .get_or_insert_with(BTreeMap::new)
                .extend(KEEP.map(|(key, value)| (key.to_owned(), value.to_owned())));
            let yaml =
                serde_saphyr::to_string(&crd).with_context(|| format!("can't write {name} as YAML"))?;
            Ok(Artefact {
                path: PathBuf::from(DIRECTORY).join(format!("{name}.yaml")),
                content: format!("{HEADER}{yaml}"),
            })
        })
        .collect()
}
