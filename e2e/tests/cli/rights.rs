//! A user of one namespace gets what the rights are enough for, and is told what to ask for.

use anyhow::{Result, ensure};
use portcullis_api::SeccompProfile;
use portcullis_e2e::testing::{
    profiles::{await_ready, local_operator, numbered, profile},
    with_namespace,
};
use serde_json::json;

use crate::tool::{fixture, run};

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn what_a_user_may_not_read_is_named_and_the_rest_is_shown() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "cli-rights", async |namespace| {
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
        namespace.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "viewer" },
            "rules": [{ "apiGroups": ["portcullis.dev"], "resources": ["seccompprofiles"], "verbs": ["get", "list"] }],
        }))?;
        namespace.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "viewer" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "viewer" },
            "subjects": [{ "kind": "User", "name": "viewer", "apiGroup": "rbac.authorization.k8s.io" }],
        }))?;
        let as_viewer = |arguments: &[&str]| run(&namespace, &[arguments, &["--as", "viewer"]].concat());

        let status = as_viewer(&["status"])?.expect(0)?;
        ensure!(status.out.contains("sp/web   Enforce   True    2/2     ?      ?"), "{}", status.out);
        for (part, right) in [
            ("cluster profiles are left out", "ClusterRole with the verb list on the resource clusterseccompprofiles"),
            ("how old pods' profiles are is not known", "ClusterRole with the verb list on the resource seccomprevisions"),
            ("who uses the profiles is not known", "Role with the verb list on the resource pods"),
        ] {
            ensure!(
                status.errors.lines().any(|line| line.starts_with(&format!("note: {part}")) && line.contains(right)),
                "{part}: {right} is not said:\n{}",
                status.errors
            );
        }
        let everywhere = run_everywhere(&namespace, &["status", "-A", "--as", "viewer"])?;
        ensure!(everywhere.contains("ClusterRole with the verb list on the resource seccompprofiles"), "{everywhere}");

        let who = as_viewer(&["who"])?.expect(2)?;
        ensure!(who.errors.contains("Role with the verb list on the resource pods"), "{}", who.errors);
        let file = fixture("web.json").display().to_string();
        let apply = as_viewer(&["apply", "-f", &file, "--name", "web"])?.expect(2)?;
        ensure!(apply.errors.contains("Role with the verb patch on the resource seccompprofiles"), "{}", apply.errors);
        let get = as_viewer(&["get", "web"])?.expect(2)?;
        ensure!(get.errors.contains("ClusterRole with the verb get on the resource seccomprevisions"), "{}", get.errors);
        Ok(())
    })
    .await
}

/// Standard error of a run that fails and names no namespace.
fn run_everywhere(namespace: &portcullis_e2e::testing::TestNamespace, arguments: &[&str]) -> Result<String> {
    let output = crate::tool::command(namespace, arguments)?.output()?;
    ensure!(output.status.code() == Some(2), "it exited with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
