//! Every example of a help text that needs a cluster, run by a shell as it stands there.

use anyhow::{Context as _, Result, ensure};
use portcullis_api::SeccompProfile;
use portcullis_e2e::testing::{
    TestNamespace,
    profiles::{await_ready, local_operator},
    with_namespace,
};

use crate::tool::{deployment, fixture, run, shell};

/// The examples of a command that need a cluster.
fn examples(namespace: &TestNamespace, command: &str) -> Result<Vec<String>> {
    let help = std::process::Command::new(portcullis_e2e::cli::kubectl_seccomp()?)
        .args(command.split(' ').chain(["--help"]))
        .output()?;
    let help = String::from_utf8(help.stdout)?;
    ensure!(help.contains("Examples:\n"), "{command} shows no example in {}", namespace.name());
    let cluster = help.contains("--kubeconfig");
    let needs = |line: &String| cluster || line.contains("kubectl get ") || line.contains("kubectl apply ");
    Ok(portcullis_e2e::cli::examples(&help).into_iter().filter(needs).collect())
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn the_examples_of_help_texts_work_as_they_stand_there() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "cli-examples", async |namespace| {
        let folder = tempfile::tempdir()?;
        for name in ["web.json", "api.json", "app.strace"] {
            std::fs::copy(fixture(name), folder.path().join(name))?;
        }
        // What the examples speak of: a profile with a revision before the current one, and a workload.
        for name in ["api.json", "web.json"] {
            let file = folder.path().join(name);
            let file = file.to_str().context("a path of text")?;
            run(&namespace, &["apply", "-f", file, "--name", "web"])?.expect(0)?;
        }
        deployment(&namespace).await?;
        let mut ran = 0;
        // Those that pipe into `kubectl apply` come last: kubectl then owns fields that `apply` would not take over.
        for command in [
            "status",
            "who",
            "apply",
            "get",
            "history",
            "revoke",
            "pin",
            "unpin",
            "use",
            "lint",
            "explain",
            "diff",
            "convert",
            "import strace",
        ] {
            for line in examples(&namespace, command)? {
                await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
                let said = shell(&namespace, folder.path(), &line)?;
                ensure!(
                    matches!(said.code, Some(0 | 1)),
                    "{line}\nexited with {:?}:\n{}\n{}",
                    said.code,
                    said.out,
                    said.errors
                );
                ran += 1;
            }
        }
        ensure!(ran >= 17, "only {ran} examples were found");
        Ok(())
    })
    .await
}
