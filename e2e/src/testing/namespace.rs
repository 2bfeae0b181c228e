//! A namespace for one test: dumped when the test fails, deleted after it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    panic::{AssertUnwindSafe, resume_unwind},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{await_object, dump};
use crate::{Cluster, Usage, command, settings::KEEP_VARIABLE};

/// How long the controller manager may take to prepare a namespace.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is special about a test's namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceOptions {
    /// Labels, such as those of Pod Security.
    pub labels: BTreeMap<String, String>,
    /// How the test uses the cluster.
    pub usage: Usage,
}

/// The namespace of one test.
#[derive(Clone, Debug)]
pub struct TestNamespace {
    cluster: Cluster,
    name: String,
}

/// Runs a test in a namespace of its own, beside other tests.
///
/// # Errors
/// Where the namespace can't be made or deleted, and the test's own.
///
/// # Panics
/// Where the test does.
pub async fn with_namespace<F, Running>(cluster: &Cluster, purpose: &str, test: F) -> Result<()>
where
    F: FnOnce(TestNamespace) -> Running,
    Running: Future<Output = Result<()>>,
{
    with_namespace_options(cluster, purpose, NamespaceOptions::default(), test).await
}

/// Runs a test in a namespace of its own.
///
/// The namespace is dumped when the test fails or panics: events, pods, logs, profiles, the nodes' files. It is deleted after
/// the test unless `PORTCULLIS_KEEP` is `1`.
///
/// # Errors
/// Where the namespace can't be made or deleted, and the test's own.
///
/// # Panics
/// Where the test does.
pub async fn with_namespace_options<F, Running>(
    cluster: &Cluster,
    purpose: &str,
    options: NamespaceOptions,
    test: F,
) -> Result<()>
where
    F: FnOnce(TestNamespace) -> Running,
    Running: Future<Output = Result<()>>,
{
    let _usage = cluster.usage(options.usage).await?;
    let namespace = TestNamespace::create(cluster, purpose, options.labels).await?;
    let outcome = AssertUnwindSafe(test(namespace.clone())).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        namespace.show_dump().await;
    }
    let deleted = namespace.delete_unless_kept().await;
    outcome.unwrap_or_else(|panic| resume_unwind(panic)).and(deleted)
}

impl TestNamespace {
    async fn create(cluster: &Cluster, purpose: &str, labels: BTreeMap<String, String>) -> Result<Self> {
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": { "generateName": format!("e2e-{purpose}-"), "labels": labels },
        }))?;
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        let made = namespaces.create(&PostParams::default(), &namespace).await;
        let name = made.with_context(|| format!("a namespace for {purpose} can't be made"))?.name_any();
        // Pods are refused until the controller manager has made the account they run as.
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), &name);
        await_object(&accounts, "default", "there", PATIENCE, |_| true).await?;
        Ok(Self { cluster: cluster.clone(), name })
    }

    /// The namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster it is in.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A client with the rights of the kubeconfig's user.
    #[must_use]
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    /// The objects of a kind in the namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// Creates an object in the namespace.
    ///
    /// # Errors
    /// Where the API server refuses it.
    pub async fn create_object<K>(&self, object: &K) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let created = self.api::<K>().create(&PostParams::default(), object).await;
        created.with_context(|| format!("{} can't be created in {}", object.name_any(), self.name))
    }

    /// Creates a pod and waits for a condition of it.
    ///
    /// # Errors
    /// Where the API server refuses it or the time is over.
    pub async fn run_pod(
        &self,
        pod: &Pod,
        what: &str,
        patience: Duration,
        condition: impl FnMut(&Pod) -> bool,
    ) -> Result<Pod> {
        let name = self.create_object(pod).await?.name_any();
        await_object(&self.api(), &name, what, patience, condition).await
    }

    /// Runs kubectl in the namespace and gives what it prints.
    ///
    /// # Errors
    /// Where kubectl fails; the error holds what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::output(self.cluster.kubectl().args(["--namespace", &self.name]).args(arguments))
    }

    /// Applies manifests as a user does, with `kubectl apply -f -`, and gives what kubectl prints.
    ///
    /// # Errors
    /// Where kubectl fails; the error holds what it said.
    pub fn apply(&self, manifest: &Value) -> Result<String> {
        let mut kubectl = self.cluster.kubectl();
        kubectl.args(["--namespace", &self.name, "apply", "-f", "-"]);
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl can't be started")?;
        let mut input = child.stdin.take().context("kubectl's input is not connected")?;
        // A kubectl that fails early does not read; what it says is in its output then.
        let written = input.write_all(manifest.to_string().as_bytes());
        drop(input);
        let output = child.wait_with_output().context("kubectl was lost")?;
        if !output.status.success() {
            bail!("kubectl apply failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        written.context("kubectl did not read the manifest")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command in a pod's first container and gives what it prints.
    ///
    /// # Errors
    /// Where the command fails; the error holds what it said.
    pub fn exec(&self, pod: &str, arguments: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "--"], arguments].concat())
    }

    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows this with the failed test, and only then"
    )]
    async fn show_dump(&self) {
        eprintln!("{}", dump(&self.cluster, &self.name).await);
    }

    async fn delete_unless_kept(&self) -> Result<()> {
        if std::env::var_os(KEEP_VARIABLE).is_some_and(|value| value == "1") {
            return Ok(());
        }
        let namespaces: Api<Namespace> = Api::all(self.client());
        let deleted = namespaces.delete(&self.name, &DeleteParams::default()).await;
        // A test may have deleted it itself.
        if matches!(&deleted, Err(kube::Error::Api(status)) if status.code == 404) {
            return Ok(());
        }
        deleted.map(drop).with_context(|| format!("the namespace {} can't be deleted", self.name))
    }
}
