//! Install, upgrade and uninstall with Helm: what stays, what goes, and what is taken up again.

use std::{
    collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path, process::Stdio, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::Pod,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::PostParams};
use portcullis_api::{ALLOW_LOOSER_LABEL, Owner, SeccompProfile};
use portcullis_e2e::{
    Cluster, FIRST_NODES, Operator, Usage,
    command::output,
    operator::SYSTEM_NAMESPACE,
    settings::workspace_root,
    testing::{
        NamespaceOptions, TestNamespace, await_gone, is_running,
        profiles::{
            PATIENCE, await_ready, await_removed, confined_pod, current_content, denying, ensure_served,
            local_operator, on_nodes, profile,
        },
        with_namespace_options,
    },
};
use serde_json::json;

const RELEASE: &str = "portcullis";
const CHART: &str = "charts/portcullis";
const DEFINITION: &str = "seccompprofiles.portcullis.dev";

/// Helm's release as it is installed, and the values it was installed with.
struct Release<'a> {
    cluster: &'a Cluster,
    values: tempfile::NamedTempFile,
}

impl<'a> Release<'a> {
    fn read(cluster: &'a Cluster) -> Result<Self> {
        let values = output(cluster.helm().args([
            "get",
            "values",
            RELEASE,
            "--namespace",
            SYSTEM_NAMESPACE,
            "--output",
            "yaml",
        ]))?;
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), values)?;
        Ok(Self { cluster, values: file })
    }

    fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut helm = self.cluster.helm();
        output(helm.current_dir(workspace_root()).args(arguments).args(["--namespace", SYSTEM_NAMESPACE]))
    }

    /// Installs or upgrades a release of that name from a chart's folder.
    fn install(&self, release: &str, chart: &Path, more: &[&str]) -> Result<()> {
        let (chart, values) = (chart.display().to_string(), self.values.path().display().to_string());
        let arguments =
            ["upgrade", "--install", release, &chart, "--values", &values, "--wait", "--timeout", "180s"];
        self.helm(&[&arguments, more].concat()).map(drop)
    }

    fn uninstall(&self, release: &str) -> Result<()> {
        self.helm(&["uninstall", release, "--wait", "--timeout", "120s"]).map(drop)
    }

    /// The DaemonSet of docs/uninstall.md, rendered with the release's values.
    fn remove_files(&self) -> Result<String> {
        let values = self.values.path().display().to_string();
        self.helm(&[
            "template",
            RELEASE,
            CHART,
            "--values",
            &values,
            "--set",
            "removeFiles=true",
            "--show-only",
            "templates/remove-files.yaml",
        ])
    }
}

fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), input)?;
    let path = file.path().display().to_string();
    output(cluster.kubectl().stdin(Stdio::null()).args(arguments).args(["--filename", &path]))
}

/// A copy of the chart with another description of one definition, as an earlier or later version has it.
fn other_chart(description: &str) -> Result<tempfile::TempDir> {
    let copy = tempfile::tempdir()?;
    output(
        std::process::Command::new("cp")
            .arg("--recursive")
            .arg(workspace_root().join(CHART))
            .arg(copy.path()),
    )?;
    let file = copy.path().join("portcullis/files/crds/seccompprofiles.yaml");
    let text = fs::read_to_string(&file)?;
    let (before, after) = text.split_once("shortNames:").context("the definition has no short names")?;
    fs::write(&file, format!("{before}shortNames:\n    - {description}{}", after))?;
    Ok(copy)
}

async fn short_names(cluster: &Cluster) -> Result<Vec<String>> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    Ok(definitions.get(DEFINITION).await?.spec.names.short_names.unwrap_or_default())
}

async fn await_uninstalled(cluster: &Cluster) -> Result<()> {
    let patience = Duration::from_secs(60);
    let agents: Api<DaemonSet> = Api::namespaced(cluster.client(), SYSTEM_NAMESPACE);
    await_gone(&agents, "portcullis-agent", patience).await?;
    let controllers: Api<Deployment> = Api::namespaced(cluster.client(), SYSTEM_NAMESPACE);
    await_gone(&controllers, "portcullis-controller", patience).await
}

/// The inodes of a profile's file on the nodes: the same file as before, not one like it.
fn inodes(operator: &Operator, path: &str) -> Result<Vec<u64>> {
    on_nodes(operator, path)?.iter().map(|file| Ok(fs::metadata(file)?.ino())).collect()
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn upgrades_definitions_and_keeps_profiles_and_files_until_told() -> Result<()> {
    let operator = local_operator().await?;
    // The profile allows almost everything, so that any program runs under it.
    let labels = BTreeMap::from([(ALLOW_LOOSER_LABEL.to_owned(), "true".to_owned())]);
    let options = NamespaceOptions { labels, usage: Usage::Exclusive };
    with_namespace_options(operator.cluster(), "install", options, async |namespace| {
        let release = Release::read(operator.cluster())?;
        let tested = life_cycle(&operator, &release, &namespace).await;
        // Whatever failed, the tests after this one find the operator as it was.
        let restored = release.install(RELEASE, &workspace_root().join(CHART), &["--take-ownership"]);
        tested.and(restored)
    })
    .await
}

async fn life_cycle(operator: &Operator, release: &Release<'_>, namespace: &TestNamespace) -> Result<()> {
    let cluster = operator.cluster();
    let chart = workspace_root().join(CHART);
    let web = Owner::namespaced(namespace.name(), "web")?;
    let path = web.current_path();
    let spec = json!({ "profile": denying(&["swapon"], 1) });
    namespace.apply(&profile("web", &spec))?;
    await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
    let content = current_content(cluster, &web).await?;
    ensure_served(operator, &path, &content)?;
    let before = inodes(operator, &path)?;

    let other = other_chart("spold")?;
    release.install(RELEASE, &other.path().join("portcullis"), &[])?;
    ensure!(short_names(cluster).await?.contains(&"spold".to_owned()), "the other definition is not there");
    release.install(RELEASE, &chart, &[])?;
    ensure!(!short_names(cluster).await?.contains(&"spold".to_owned()), "the definition was not upgraded");
    assert_eq!(inodes(operator, &path)?, before, "an upgrade wrote a file anew");

    release.uninstall(RELEASE)?;
    await_uninstalled(cluster).await?;
    let kept = namespace.api::<SeccompProfile>().get("web").await.context("the profile did not stay")?;
    ensure!(kept.status.is_some(), "the profile lost its status");
    ensure_served(operator, &path, &content)?;
    assert_eq!(inodes(operator, &path)?, before);
    let pod = confined_pod("late", FIRST_NODES[0], &format!("profiles/{path}"))?;
    namespace.run_pod(&pod, "running without an operator", PATIENCE, is_running).await?;

    // What says which pods may name the files stays with them.
    let foreign = confined_pod("foreign", FIRST_NODES[0], "profiles/another/web.json")?;
    let pods: Api<Pod> = namespace.api();
    let said = pods.create(&PostParams::default(), &foreign).await.err().context("another's profile")?;
    ensure!(said.to_string().contains("is a profile of namespace another"), "{said}");

    release.install(RELEASE, &chart, &[]).context("a release of the same name can't be installed again")?;
    await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
    assert_eq!(inodes(operator, &path)?, before, "agents wrote anew what was there");

    let second = release.install("another", &chart, &[]).err().context("a second release was installed")?;
    ensure!(format!("{second:#}").contains("cannot be imported"), "{second:#}");
    release.uninstall(RELEASE)?;
    await_uninstalled(cluster).await?;
    let refused = release.install("another", &chart, &[]).err();
    ensure!(refused.is_some(), "definitions of another release were taken over unasked");
    release.install("another", &chart, &["--take-ownership"])?;
    await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
    release.uninstall("another")?;
    await_uninstalled(cluster).await?;

    remove_files(operator, release, &path).await?;

    release.install(RELEASE, &chart, &["--take-ownership"])?;
    await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
    ensure_served(operator, &path, &content)
}

/// The command of docs/uninstall.md.
async fn remove_files(operator: &Operator, release: &Release<'_>, path: &str) -> Result<()> {
    let cluster = operator.cluster();
    let foreign = operator.file(FIRST_NODES[0], "foreign.json")?;
    fs::write(&foreign, "{}")?;
    let manifest = release.remove_files()?;
    kubectl(cluster, &["apply"], &manifest)?;
    output(cluster.kubectl().args(["--namespace", SYSTEM_NAMESPACE]).args([
        "rollout",
        "status",
        "daemonset/portcullis-remove-files",
        "--timeout=60s",
    ]))?;
    await_removed(operator, path).await?;
    ensure!(foreign.exists(), "a file went that Portcullis did not write");
    fs::remove_file(&foreign)?;
    kubectl(cluster, &["delete", "--wait"], &manifest)?;
    Ok(())
}
