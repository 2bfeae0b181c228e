//! What was given is taken back: a revision that an administrator revokes, a profile whose finalizer is taken off.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::Event,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use portcullis_api::{
    ClusterSeccompProfile, ConditionType, FINALIZER, REVOKED_ANNOTATION, Reason, SEQUENCE_ANNOTATION,
    SeccompProfile, SeccompRevision,
};
use portcullis_e2e::testing::{
    Seen, TestNamespace, await_gone, busybox, eventually, impersonating,
    profiles::{
        PATIENCE, TELLING_ERRNO, allowing, await_ready, await_reason, await_removed, await_served,
        cluster_profile, current_content, denying, ensure_served, local_operator, numbered, owned_by,
        profile, revisions,
    },
    tenant_of, with_namespace, with_namespace_options,
};
use serde_json::{Value, json};

use crate::support::{await_event, owner, permitted};

/// A pod that no node takes: it names a path, and never starts.
async fn pending(namespace: &TestNamespace, path: &str) -> Result<()> {
    let context =
        json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": format!("profiles/{path}") } });
    let spec = json!({ "nodeSelector": { "none": "none" }, "securityContext": context });
    namespace.create_object(&busybox("pending", &spec)?).await?;
    Ok(())
}

/// Revisions as a user of some cluster role sees them.
async fn revisions_as(namespace: &TestNamespace, user: &str, role: &str) -> Result<Api<SeccompRevision>> {
    let name = format!("{}-{user}", namespace.name());
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name, "ownerReferences": [owned_by(namespace).await?] },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name }],
    }))?;
    Api::<ClusterRoleBinding>::all(namespace.client()).create(&PostParams::default(), &binding).await?;
    let api: Api<SeccompRevision> = Api::all(impersonating(namespace.cluster(), &name).await?);
    eventually("the role is bound", PATIENCE, async || {
        let read = api.get_opt("none").await;
        Ok(read.map_or_else(|error| Seen::NotYet(error.to_string()), |_| Seen::Done(())))
    })
    .await?;
    Ok(api)
}

/// A role that may patch revisions, and has not the verb that revoking needs.
async fn patcher(namespace: &TestNamespace) -> Result<String> {
    let name = format!("{}-patcher", namespace.name());
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": { "name": name, "ownerReferences": [owned_by(namespace).await?] },
        "rules": [{ "apiGroups": ["portcullis.dev"], "resources": ["seccomprevisions"], "verbs": ["get", "patch"] }],
    }))?;
    Api::<ClusterRole>::all(namespace.client()).create(&PostParams::default(), &role).await?;
    Ok(name)
}

async fn annotate(api: &Api<SeccompRevision>, name: &str, annotations: Value) -> Result<(), String> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(status.message),
        Err(error) => Err(format!("not refused: {error}")),
    }
}

fn refused(result: Result<(), String>, words: &str) -> Result<()> {
    let said = result.err().context("was taken")?;
    ensure!(said.contains(words), "{said}");
    Ok(())
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_revoked_revision_goes_from_every_node_though_a_pod_names_it() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "revoked", permitted(), async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let web = owner(&namespace, "web")?;
        // Permitted to be loose, and named by a pod that waits for ever, so that it stays.
        let loose = json!({ "profile": denying(&["swapon"], TELLING_ERRNO), "revisionHistoryLimit": 0 });
        namespace.apply(&profile("web", &loose))?;
        let old = await_ready(&profiles, "web").await?.digest.context("no digest")?;
        let content = current_content(operator.cluster(), &web).await?;
        let (path, name) = (web.revision_path(&old), web.revision_name(&old));
        pending(&namespace, &path).await?;
        let tight = json!({ "profile": numbered(1), "revisionHistoryLimit": 0 });
        namespace.apply(&profile("web", &tight))?;
        await_ready(&profiles, "web").await?;
        ensure_served(&operator, &path, &content)?;

        // The namespace's own people can't, nor who may patch revisions and no more.
        let tenant: Api<SeccompRevision> = Api::all(tenant_of(&namespace).await?);
        let revoke = || json!({ REVOKED_ANNOTATION: "it was too loose" });
        refused(annotate(&tenant, &name, revoke()).await, "cannot patch resource \"seccomprevisions\"")?;
        let role = patcher(&namespace).await?;
        let patcher = revisions_as(&namespace, "patcher", &role).await?;
        let may_not = "may not revoke SeccompRevisions, nor take that back: it needs the verb revoke";
        refused(annotate(&patcher, &name, revoke()).await, may_not)?;
        ensure_served(&operator, &path, &content)?;

        let admin = revisions_as(&namespace, "admin", "portcullis-admin").await?;
        let more = json!({ REVOKED_ANNOTATION: "too loose", SEQUENCE_ANNOTATION: "9" });
        refused(annotate(&admin, &name, more).await, "only the controller writes SeccompRevisions")?;
        annotate(&admin, &name, revoke()).await.map_err(anyhow::Error::msg)?;
        await_removed(&operator, &path).await?;
        await_ready(&profiles, "web").await?;
        let pod = format!("{}/pending", namespace.name());
        let words = [&*old.short(), "it was too loose", &pod];
        await_event(&namespace.api(), "RevisionRevoked", "SeccompProfile", &words).await?;
        await_event(&namespace.api(), "RevisionRevoked", "Pod", &[&*old.short()]).await?;
        let events: Api<Event> = Api::namespaced(namespace.client(), "default");
        await_event(&events, "RevisionRevoked", "SeccompRevision", &words).await?;

        // The same content does not come back, not by a new profile of the name either, until an administrator says so.
        namespace.kubectl(&["delete", "seccompprofile", "web", "--timeout=60s"])?;
        namespace.apply(&profile("web", &loose))?;
        let message = await_reason(&profiles, "web", ConditionType::Stalled, Reason::Revoked).await?;
        assert!(message.contains(&old.short()) && message.contains("it was too loose"), "{message}");
        await_removed(&operator, &path).await?;
        await_removed(&operator, &web.current_path()).await?;
        let restore = || json!({ REVOKED_ANNOTATION: null });
        refused(annotate(&tenant, &name, restore()).await, "cannot patch resource \"seccomprevisions\"")?;
        refused(annotate(&patcher, &name, restore()).await, may_not)?;
        annotate(&admin, &name, restore()).await.map_err(anyhow::Error::msg)?;
        await_ready(&profiles, "web").await?;
        await_served(&operator, &path, &content).await?;
        await_served(&operator, &web.current_path(), &content).await
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_cluster_profile_that_is_forced_out_leaves_no_file_for_a_tenants_pod() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "forced-out", async |namespace| {
        let profiles: Api<ClusterSeccompProfile> = Api::all(namespace.client());
        let name = namespace.name();
        for number in 1..=2 {
            let spec = json!({ "profile": allowing(&["read", "write", "exit_group"][..number]) });
            namespace.apply(&cluster_profile(&namespace, name, &spec).await?)?;
            await_ready(&profiles, name).await?;
        }
        let base = portcullis_api::Owner::cluster(name)?;
        let mut paths: Vec<String> = revisions(operator.cluster(), &base)
            .await?
            .iter()
            .map(|(meta, _)| base.revision_path(&meta.digest))
            .collect();
        assert_eq!(paths.len(), 2);
        paths.push(base.current_path());
        pending(&namespace, &base.current_path()).await?;
        namespace.kubectl(&["delete", "clusterseccompprofile", name, "--wait=false"])?;
        await_reason(&profiles, name, ConditionType::Reconciling, Reason::InUse).await?;

        let none = r#"{"metadata":{"finalizers":null}}"#;
        namespace.kubectl(&["patch", "clusterseccompprofile", name, "--type=merge", "--patch", none])?;
        await_gone(&profiles, name, PATIENCE).await?;
        for path in &paths {
            await_removed(&operator, path).await?;
        }
        ensure!(revisions(operator.cluster(), &base).await?.is_empty(), "revisions are left");
        let events: Api<Event> = Api::namespaced(namespace.client(), "default");
        let pod = format!("{name}/pending");
        await_event(&events, "RevisionDropped", "ClusterSeccompProfile", &[&pod, FINALIZER]).await
    })
    .await
}
