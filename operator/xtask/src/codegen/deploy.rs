//! `deploy/`: the chart rendered with its default values, as a kustomize base. Needs Helm, so it is no part of [`super::artefacts`].

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Artefact;

const HEADER: &str = "\
# Rendered from charts/portcullis by `make generate`; do not edit.
";
const NAMESPACE: &str = "portcullis-system";
const CHART: &str = "charts/portcullis";
/// Where the image is, until a kustomization says so. The domain is nobody's (RFC 2606), so nobody can put an image there.
const REPOSITORY: &str = "registry.example.com/portcullis";
/// The Kubernetes version to render for, so that the result does not depend on Helm's own.
const KUBERNETES: &str = "1.30.0";

/// Every file of the base.
///
/// # Errors
/// Where Helm can't be run or refuses the chart.
pub fn artefacts(root: &Path, helm: &OsStr) -> Result<Vec<Artefact>> {
    let template = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(helm)
            .current_dir(root)
            .args(["template", "portcullis", CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES])
            .args(["--set", &format!("image.repository={REPOSITORY}")])
            .args(arguments)
            .output()
            .with_context(|| format!("can't run {}: set HELM to Helm's path", helm.display()))?;
        if !output.status.success() {
            bail!("helm template {CHART} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        String::from_utf8(output.stdout).context("helm template wrote bytes that are not UTF-8")
    };
    let file = |name: &str, content: &str| Artefact {
        path: PathBuf::from("deploy").join(name),
        content: format!("{HEADER}{content}"),
    };
    let (policies, operator) = apart(&template(&["--set", "crds.install=false"])?);
    Ok(vec![
        file("kustomization.yaml", KUSTOMIZATION),
        file("namespace.yaml", &namespace()),
        file("crds.yaml", &template(&["--show-only", "templates/crds.yaml"])?),
        file(
            "remove-files.yaml",
            &template(&["--show-only", "templates/remove-files.yaml", "--set", "removeFiles=true"])?,
        ),
        file("policies.yaml", &policies),
        file("operator.yaml", &operator),
    ])
}

/// The files of the base that differ from what they ought to be or are missing.
///
/// # Errors
/// Where Helm can't be run or a file can't be read.
pub fn stale(root: &Path, helm: &OsStr) -> Result<BTreeSet<String>> {
    let mut stale = BTreeSet::new();
    for artefact in artefacts(root, helm)? {
        if artefact.read(root)?.as_ref() != Some(&artefact.content) {
            stale.insert(artefact.path.display().to_string());
        }
    }
    Ok(stale)
}

const KUSTOMIZATION: &str = "\
# Your own kustomization names this folder as a resource and sets where the image is:
#   images: [{name: registry.example.com/portcullis, newName: registry.your.org/portcullis}]
# Then: kubectl apply --server-side -k .
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - namespace.yaml
  - crds.yaml
  - policies.yaml
  - operator.yaml
";

/// What outlives the release, as Helm's `resource-policy: keep` says, and the rest: without Helm one deletes whole files.
fn apart(rendered: &str) -> (String, String) {
    const BETWEEN: &str = "---\n# Source: ";
    let documents = rendered.split(BETWEEN).filter(|document| !document.trim().is_empty());
    let (kept, rest): (Vec<&str>, Vec<&str>) =
        documents.partition(|document| document.contains("helm.sh/resource-policy: keep"));
    let joined =
        |documents: Vec<&str>| documents.iter().map(|document| format!("{BETWEEN}{document}")).collect();
    (joined(kept), joined(rest))
}

/// The chart makes no namespace (`helm uninstall` would delete it with all that is in it), so the base does.
fn namespace() -> String {
    format!(
        "\
# The agent mounts one folder of the host, which only the level `privileged` permits.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
"
    )
}
