//! kubectl's own completion goes on behind `kubectl seccomp`.

use anyhow::{Result, ensure};
use portcullis_api::SeccompProfile;
use portcullis_e2e::testing::{
    profiles::{await_ready, local_operator, numbered, profile},
    with_namespace,
};
use serde_json::json;

use crate::tool::{deployment, shell};

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn kubectl_completes_commands_profiles_and_workloads() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "cli-complete", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        deployment(&namespace).await?;
        let folder = tempfile::tempdir()?;
        let install = "kubectl seccomp completion kubectl > kubectl_complete-seccomp && chmod +x kubectl_complete-seccomp";
        shell(&namespace, folder.path(), install)?.expect(0)?;
        for (words, candidates) in [
            ("his", &["history\tList a profile's revisions, and what changed between them"][..]),
            ("get ''", &["web"]),
            ("get w", &["web"]),
            ("use web d", &["deploy/web"]),
            ("status --output ''", &["wide\tThe table with more columns", "json\tJSON", "yaml\tYAML"]),
            (&format!("get -n {} ''", namespace.name()), &["web"]),
        ] {
            let said = shell(&namespace, folder.path(), &format!("kubectl __complete seccomp {words}"))?.expect(0)?;
            let lines: Vec<&str> = said.out.lines().collect();
            ensure!(lines.last().is_some_and(|line| *line == ":4"), "{words}: {}", said.out);
            for candidate in candidates {
                ensure!(lines.contains(candidate), "{words} is not completed by {candidate}:\n{}", said.out);
            }
        }
        // A cluster that is not there completes nothing, and soon.
        let nowhere = "kubectl __complete seccomp get --server https://127.0.0.1:1 ''";
        let said = shell(&namespace, folder.path(), nowhere)?.expect(0)?;
        ensure!(!said.out.lines().any(|line| line == "web"), "{}", said.out);
        Ok(())
    })
    .await
}
