//! Portcullis on a cluster, installed as a user does it: by Helm.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Request},
};
use portcullis_api::SeccompNode;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::{
    Cluster, Lock, command,
    image::{Architecture, OperatorImage},
    progress,
    settings::workspace_root,
    testing::{Seen, await_gone, eventually, is_ready},
};

/// Where the operator is installed.
pub const SYSTEM_NAMESPACE: &str = "portcullis-system";
/// Labels of the controllers' and of the agents' pods.
pub const CONTROLLERS: &str = "app.kubernetes.io/component=controller";
/// See [`CONTROLLERS`].
pub const AGENTS: &str = "app.kubernetes.io/component=agent";
/// See [`CONTROLLERS`].
pub const RECORDERS: &str = "app.kubernetes.io/component=recorder";
/// How long an installation, or a pod that is replaced, may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Portcullis on a cluster.
#[derive(Clone, Debug)]
pub struct Operator {
    cluster: Cluster,
}

impl Operator {
    /// The operator of this build on the cluster that the environment names, installed once for each test binary.
    ///
    /// # Errors
    /// Where there is no cluster, or the operator can't be built or installed.
    pub async fn from_env() -> Result<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let cluster = Cluster::from_env().await?;
        INSTALLED.get_or_try_init(|| Self::install(&cluster, &[])).await?;
        // A client belongs to the runtime that made it, and every test has its own.
        Ok(Self { cluster })
    }

    /// The same with further values of the chart. For a program that installs it once.
    ///
    /// # Errors
    /// As [`Operator::from_env`].
    pub async fn with_values(values: &[&str]) -> Result<Self> {
        let cluster = Cluster::from_env().await?;
        Self::install(&cluster, values).await?;
        Ok(Self { cluster })
    }

    /// The same with the recorder, which other tests are better without: it makes requests of its own.
    ///
    /// # Errors
    /// As [`Operator::from_env`].
    pub async fn with_recorder() -> Result<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let cluster = Cluster::from_env().await?;
        INSTALLED.get_or_try_init(|| Self::install(&cluster, &["recorder.enabled=true"])).await?;
        Ok(Self { cluster })
    }

    /// Builds the image, brings it to the nodes, and installs or upgrades the chart until everything runs.
    async fn install(cluster: &Cluster, values: &[&str]) -> Result<()> {
        let _lock: Option<Lock> = cluster.exclusive().await?;
        let image = cluster.operator_image()?;
        let mut settings = Self::settings(cluster, &image)?;
        // Through the API server, which has the address of no pod.
        settings.push("networkPolicy.metricsFrom[0].ipBlock.cidr=0.0.0.0/0".to_owned());
        settings.extend(values.iter().copied().map(str::to_owned));
        ensure_namespace(cluster).await?;
        progress::step("install Portcullis", || Self::helm_upgrade(cluster, &settings))?;
        let operator = Self { cluster: cluster.clone() };
        operator.wait_until_synced().await
    }

    /// The chart's values for an image of this build, as `--set` takes them.
    ///
    /// # Errors
    /// Where the image has no tag or was not built.
    pub fn settings(cluster: &Cluster, image: &str) -> Result<Vec<String>> {
        let (repository, tag) = image.rsplit_once(':').with_context(|| format!("{image} has no tag"))?;
        let mut settings = vec![format!("image.repository={repository}"), format!("image.tag={tag}")];
        if cluster.is_local() {
            // The tag is the same for every build of a version, so the pods are told by an annotation that they are old.
            let binary = OperatorImage::new(Architecture::of_machine()?).binary();
            let content =
                std::fs::read(&binary).with_context(|| format!("can't read {}", binary.display()))?;
            let build = format!("{:x?}", &Sha256::digest(content)[..6]).replace(", ", "");
            let build = build.trim_matches(['[', ']']);
            for workload in ["controller", "agent", "recorder"] {
                settings.push(format!(r"{workload}.podAnnotations.portcullis\.dev/build=b{build}"));
            }
        }
        Ok(settings)
    }

    fn helm_upgrade(cluster: &Cluster, settings: &[String]) -> Result<()> {
        let mut helm = cluster.helm();
        helm.current_dir(workspace_root());
        helm.args([
            "upgrade",
            "--install",
            "portcullis",
            "charts/portcullis",
            "--namespace",
            SYSTEM_NAMESPACE,
        ]);
        helm.args(["--wait", "--timeout", "180s", "--set", &settings.join(",")]);
        command::output(&mut helm).map(drop)
    }

    /// Waits until every agent has reported what it has on disk.
    async fn wait_until_synced(&self) -> Result<()> {
        let nodes: Api<SeccompNode> = Api::all(self.cluster.client());
        eventually("every agent has reported", PATIENCE, async || {
            let agents = self.pods(AGENTS).await?;
            let uids: Vec<_> = agents.iter().filter_map(|pod| pod.uid()).collect();
            let reported: Vec<_> = nodes
                .list(&ListParams::default())
                .await?
                .into_iter()
                .filter_map(|node| node.status.filter(|status| status.digest.is_some())?.agent_pod_uid)
                .collect();
            let missing = uids.iter().filter(|uid| !reported.contains(uid)).count();
            Ok(if missing == 0 && !uids.is_empty() {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("{missing} of {} agents are missing", uids.len()))
            })
        })
        .await
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The operator's pods with a label, those that are being deleted left out.
    ///
    /// # Errors
    /// Where they can't be listed.
    pub async fn pods(&self, label: &str) -> Result<Vec<Pod>> {
        let list = self.pod_api().list(&ListParams::default().labels(label)).await?;
        Ok(list.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client(), SYSTEM_NAMESPACE)
    }

    /// The agent's pod on a node.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn agent_on(&self, node: &str) -> Result<Pod> {
        self.pod_on(AGENTS, node).await
    }

    /// The pod with a label on a node.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn pod_on(&self, label: &str, node: &str) -> Result<Pod> {
        let pods = self.pods(label).await?;
        let on_node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
        pods.into_iter().find(on_node).with_context(|| format!("no pod with {label} runs on {node}"))
    }

    /// Deletes the agent of a node and waits until one that is Ready has taken its place.
    ///
    /// # Errors
    /// Returns an error if there is none, or none comes in time.
    pub async fn replace_agent(&self, node: &str) -> Result<()> {
        let old = self.agent_on(node).await?.name_any();
        self.pod_api().delete(&old, &DeleteParams::default()).await?;
        await_gone(&self.pod_api(), &old, PATIENCE).await?;
        eventually("the agent is replaced", PATIENCE, async || {
            Ok(match self.agent_on(node).await {
                Ok(agent) if is_ready(&agent) => Seen::Done(()),
                Ok(agent) => Seen::NotYet(format!("{} is not Ready", agent.name_any())),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await
    }

    /// A pod's metrics by their full names with labels, as `portcullis_x_total{kind="y"}`.
    ///
    /// # Errors
    /// Where the pod does not answer.
    pub async fn metrics(&self, pod: &Pod) -> Result<BTreeMap<String, f64>> {
        let path = format!("/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{}:8080/proxy", pod.name_any());
        let request = Request::new(path).get("metrics", &kube::api::GetParams::default())?;
        let text = self.cluster.client().request_text(request).await?;
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Where a profile's file is on this machine.
    ///
    /// # Errors
    /// Where the cluster is the user's own.
    pub fn file(&self, node: &str, path: &str) -> Result<PathBuf> {
        self.cluster.node_path(node, format!("/var/lib/kubelet/seccomp/profiles/{path}"))
    }

    /// Permits a namespace to hold profiles that are looser than the runtime default.
    ///
    /// # Errors
    /// Where the namespace can't be labelled.
    pub async fn permit_looser(&self, namespace: &str) -> Result<()> {
        let labels = json!({ "metadata": { "labels": { portcullis_api::ALLOW_LOOSER_LABEL: "true" } } });
        let namespaces: Api<Namespace> = Api::all(self.cluster.client());
        namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(labels)).await?;
        Ok(())
    }
}

/// Makes the operator's namespace as the README says: Pod Security allows a hostPath at no other level.
async fn ensure_namespace(cluster: &Cluster) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": SYSTEM_NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "privileged" } },
    });
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let parameters = PatchParams::apply("portcullis-e2e").force();
    namespaces.patch(SYSTEM_NAMESPACE, &parameters, &Patch::Apply(namespace)).await?;
    Ok(())
}
