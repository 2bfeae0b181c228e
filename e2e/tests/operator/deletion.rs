//! Deleted profiles: they stay while pods name them, then their files go everywhere.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use portcullis_api::{ConditionType, FINALIZER, Reason, SeccompProfile};
use portcullis_e2e::testing::{
    await_gone, is_running,
    profiles::{
        PATIENCE, TELLING_ERRNO, await_ready, await_reason, await_removed, confined_pod, current_content,
        denying, ensure_denied, ensure_served, local_operator, numbered, profile, revisions,
    },
    with_namespace, with_namespace_options,
};
use serde_json::json;

use crate::support::{await_event, owner, permitted};

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_profile_in_use_stays_with_its_files_until_the_pod_is_gone() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "in-use", permitted(), async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        namespace
            .apply(&profile("web", &json!({ "profile": denying(&["mkdir", "mkdirat"], TELLING_ERRNO) })))?;
        await_ready(&profiles, "web").await?;
        let finalizers = profiles.get("web").await?.metadata.finalizers.unwrap_or_default();
        assert_eq!(finalizers, [FINALIZER], "one finalizer in all, not one for each node");
        let content = current_content(operator.cluster(), &web).await?;
        let pod = confined_pod("user", "node2", &format!("profiles/{}", web.current_path()))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;

        namespace.kubectl(&["delete", "seccompprofile", "web", "--wait=false"])?;
        let kind = ConditionType::Reconciling;
        let message = await_reason(&profiles, "web", kind, Reason::InUse).await?;
        let user = format!("{}/user", namespace.name());
        assert!(message.contains(&user) && message.contains(FINALIZER), "{message}");
        ensure_served(&operator, &web.current_path(), &content)?;
        ensure_denied(&namespace, "user")?;

        namespace.kubectl(&["delete", "pod", "user", "--now"])?;
        await_gone(&profiles, "web", PATIENCE).await?;
        await_removed(&operator, &web.current_path()).await?;
        ensure!(revisions(operator.cluster(), &web).await?.is_empty(), "revisions are left");
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_profile_that_no_pod_names_goes_at_once_with_all_its_revisions() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "unused", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        for number in 1..=2 {
            namespace.apply(&profile("web", &json!({ "profile": numbered(number) })))?;
            await_ready(&profiles, "web").await?;
        }
        let web = owner(&namespace, "web")?;
        let mut paths: Vec<_> = revisions(operator.cluster(), &web)
            .await?
            .iter()
            .map(|(meta, _)| web.revision_path(&meta.digest))
            .collect();
        assert_eq!(paths.len(), 2);
        paths.push(web.current_path());
        namespace.kubectl(&["delete", "seccompprofile", "web", "--timeout=60s"])?;
        for path in &paths {
            await_removed(&operator, path).await?;
        }
        // The last file takes the namespace's directory with it.
        await_removed(&operator, namespace.name()).await?;

        // A namesake starts a history of its own.
        namespace.apply(&profile("web", &json!({ "profile": numbered(3) })))?;
        let status = await_ready(&profiles, "web").await?;
        assert_eq!(status.revisions.len(), 1, "{:?}", status.revisions);
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn removing_the_finalizer_forces_a_profile_out_from_under_its_pods() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "forced", permitted(), async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        namespace.apply(&profile("web", &json!({ "profile": denying(&["swapon"], TELLING_ERRNO) })))?;
        await_ready(&profiles, "web").await?;
        let pod = confined_pod("user", "node1", &format!("profiles/{}", web.current_path()))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        namespace.kubectl(&["delete", "seccompprofile", "web", "--wait=false"])?;
        await_reason(&profiles, "web", ConditionType::Reconciling, Reason::InUse).await?;

        let none = r#"{"metadata":{"finalizers":null}}"#;
        namespace.kubectl(&["patch", "seccompprofile", "web", "--type=merge", "--patch", none])?;
        await_gone(&profiles, "web", PATIENCE).await?;
        // Its files go although a pod names them, which is what it was done for; what runs goes on.
        await_removed(&operator, &web.current_path()).await?;
        ensure!(revisions(operator.cluster(), &web).await?.is_empty(), "revisions are left");
        namespace.exec("user", &["true"])?;
        let user = format!("{}/user", namespace.name());
        await_event(&namespace.api(), "RevisionDropped", "SeccompProfile", &[&user, FINALIZER]).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_deleted_namespace_takes_profiles_pods_and_files_with_it() -> Result<()> {
    let operator = local_operator().await?;
    let mut name = String::new();
    with_namespace_options(operator.cluster(), "doomed", permitted(), async |namespace| {
        namespace.name().clone_into(&mut name);
        let profiles: Api<SeccompProfile> = namespace.api();
        for number in 0..5 {
            let document = denying(&["swapon"], TELLING_ERRNO + number);
            namespace.apply(&profile(&format!("p{number}"), &json!({ "profile": document })))?;
        }
        for number in 0..5 {
            await_ready(&profiles, &format!("p{number}")).await?;
        }
        let path = format!("profiles/{}", owner(&namespace, "p0")?.current_path());
        namespace.run_pod(&confined_pod("user", "node1", &path)?, "running", PATIENCE, is_running).await?;
        let namespaces: Api<Namespace> = Api::all(namespace.client());
        namespaces.delete(namespace.name(), &DeleteParams::default()).await.context("can't delete it")?;
        await_gone(&namespaces, namespace.name(), PATIENCE).await?;
        await_removed(&operator, namespace.name()).await
    })
    .await
}
