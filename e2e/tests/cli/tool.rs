//! Running the program, and what these tests put into a namespace.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use portcullis_e2e::{
    cli::kubectl_seccomp,
    image::BUSYBOX,
    settings::workspace_root,
    testing::{TestNamespace, await_object, profiles::PATIENCE},
};
use serde_json::{Value, json};

/// What a run of the program came to.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless the program answered with a code.
    pub(crate) fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "exited with {:?} instead of {code}; it said:\n{}\n{}",
            self.code,
            self.out,
            self.errors
        );
        Ok(self)
    }
}

/// A file of the program's own tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    workspace_root().join("operator/cli/tests/examples").join(name)
}

/// A command line of the program in a test's namespace.
pub(crate) fn command(namespace: &TestNamespace, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(kubectl_seccomp()?);
    command.env_remove("KUBECONFIG").args(arguments);
    command.arg("--kubeconfig").arg(namespace.cluster().kubeconfig());
    command.stdin(Stdio::null());
    Ok(command)
}

/// Runs the program in a test's namespace.
pub(crate) fn run(namespace: &TestNamespace, arguments: &[&str]) -> Result<Said> {
    let mut command = command(namespace, arguments)?;
    command.args(["--namespace", namespace.name()]);
    Ok(Said::of(command.output().context("kubectl-seccomp can't be run")?))
}

/// Runs a line in a shell in a folder, with the program as a plugin of kubectl and a kubeconfig whose namespace is the test's.
pub(crate) fn shell(namespace: &TestNamespace, folder: &Path, line: &str) -> Result<Said> {
    let kubectl = PathBuf::from(namespace.cluster().kubectl().get_program());
    let plugin = kubectl_seccomp()?;
    let folders = [plugin.parent(), kubectl.parent(), Some(folder)];
    let mut path: Vec<PathBuf> = folders.into_iter().flatten().map(Path::to_path_buf).collect();
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let kubeconfig = folder.join("kubeconfig");
    if !kubeconfig.exists() {
        std::fs::copy(namespace.cluster().kubeconfig(), &kubeconfig)?;
        let set = ["config", "set-context", "--current", "--namespace", namespace.name()];
        let status = Command::new(&kubectl).arg("--kubeconfig").arg(&kubeconfig).args(set).output()?.status;
        ensure!(status.success(), "the kubeconfig's namespace can't be set");
    }
    let output = Command::new("bash")
        .args(["-c", line])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(path)?)
        .env("KUBECONFIG", &kubeconfig)
        .stdin(Stdio::null())
        .output()
        .context("bash can't be run")?;
    Ok(Said::of(output))
}

/// A Deployment of one replica with one container, `web`, and waits until it runs.
pub(crate) async fn deployment(namespace: &TestNamespace) -> Result<()> {
    let manifest: Value = json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "web", "image": BUSYBOX, "command": ["sleep", "infinity"],
                        "securityContext": { "allowPrivilegeEscalation": false },
                    }],
                },
            },
        },
    });
    namespace.create_object(&serde_json::from_value::<Deployment>(manifest)?).await?;
    rolled_out(namespace).await
}

/// Waits until the Deployment's pods are those of its present template, and no others.
pub(crate) async fn rolled_out(namespace: &TestNamespace) -> Result<()> {
    let done = |deployment: &Deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        status.observed_generation >= deployment.metadata.generation
            && status.updated_replicas == Some(1)
            && status.available_replicas == Some(1)
            && status.replicas == Some(1)
    };
    await_object(&namespace.api::<Deployment>(), "web", "rolled out", PATIENCE, done).await.map(drop)
}
