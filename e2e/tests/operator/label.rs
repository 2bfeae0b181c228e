//! Who may permit looser profiles: not everybody who may change a namespace.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use portcullis_api::ALLOW_LOOSER_LABEL;
use portcullis_e2e::{
    Operator,
    testing::{
        Seen, TestNamespace, eventually, impersonating,
        profiles::{PATIENCE, owned_by},
        with_namespace,
    },
};
use serde_json::{Value, json};

/// Who administers a namespace and may change the Namespace itself, as project owners of Rancher may.
async fn landlord_of(namespace: &TestNamespace) -> Result<(Client, Value)> {
    let user = format!("landlord-of-{}", namespace.name());
    let subject = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user });
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": "landlord" },
        "rules": [{
            "apiGroups": [""],
            "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
            "verbs": ["get", "update", "patch"],
        }],
    }))?;
    namespace.create_object(&role).await?;
    for (kind, name) in [("Role", "landlord"), ("ClusterRole", "admin")] {
        bind(namespace, kind, name, &subject).await?;
    }
    // Creating namespaces is a right of the whole cluster.
    let name = format!("{}-landlord", namespace.name());
    let metadata = json!({ "name": name, "ownerReferences": [owned_by(namespace).await?] });
    let rules = json!([{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["create"] }]);
    let role: ClusterRole = serde_json::from_value(json!({ "metadata": metadata, "rules": rules }))?;
    Api::all(namespace.client()).create(&PostParams::default(), &role).await?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [subject],
    }))?;
    Api::all(namespace.client()).create(&PostParams::default(), &binding).await?;
    Ok((impersonating(namespace.cluster(), &user).await?, subject))
}

async fn bind(namespace: &TestNamespace, kind: &str, name: &str, subject: &Value) -> Result<()> {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
        "subjects": [subject],
    }))?;
    namespace.create_object(&binding).await.map(drop)
}

fn labelled(value: Option<&str>) -> Patch<Value> {
    Patch::Merge(json!({ "metadata": { "labels": { ALLOW_LOOSER_LABEL: value } } }))
}

/// The words of the policy, for want of the right.
fn ensure_wanting<T>(asked: kube::Result<T>, what: &str) -> Result<()> {
    let said = asked.err().with_context(|| format!("{what} was taken"))?.to_string();
    ensure!(said.contains("permitlooser on seccompprofiles.portcullis.dev"), "{what}: {said}");
    Ok(())
}

#[tokio::test]
async fn the_label_for_looser_profiles_needs_a_right_of_its_own() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "label", async |namespace| {
        let name = namespace.name();
        let (landlord, subject) = landlord_of(&namespace).await?;
        let namespaces: Api<Namespace> = Api::all(landlord);
        let parameters = PatchParams::default();
        let other = Patch::Merge(json!({ "metadata": { "labels": { "team": "shop" } } }));
        eventually("the namespace's other labels may be changed", PATIENCE, async || {
            let changed = namespaces.patch(name, &parameters, &other).await;
            Ok(changed.map_or_else(|error| Seen::NotYet(error.to_string()), |_| Seen::Done(())))
        })
        .await?;

        ensure_wanting(namespaces.patch(name, &parameters, &labelled(Some("true"))).await, "the label")?;
        ensure_wanting(namespaces.patch_status(name, &parameters, &labelled(Some("true"))).await, "its status")?;
        let mut finalized = namespaces.get(name).await?;
        finalized.metadata.labels.get_or_insert_default().insert(ALLOW_LOOSER_LABEL.to_owned(), "true".to_owned());
        let put = namespaces.replace_subresource("finalize", name, &PostParams::default(), &finalized).await;
        ensure_wanting(put, "its finalizers")?;
        let trial = PostParams { dry_run: true, ..PostParams::default() };
        let another: Namespace = serde_json::from_value(json!({
            "metadata": { "name": format!("{name}-another"), "labels": { ALLOW_LOOSER_LABEL: "true" } },
        }))?;
        eventually("a namespace may be created", PATIENCE, async || {
            let mut plain = another.clone();
            plain.metadata.labels = None;
            let created = namespaces.create(&trial, &plain).await;
            Ok(created.map_or_else(|error| Seen::NotYet(error.to_string()), |_| Seen::Done(())))
        })
        .await?;
        ensure_wanting(namespaces.create(&trial, &another).await, "a namespace with it")?;

        let right: Role = serde_json::from_value(json!({
            "metadata": { "name": "permits" },
            "rules": [{ "apiGroups": ["portcullis.dev"], "resources": ["seccompprofiles"], "verbs": ["permitlooser"] }],
        }))?;
        namespace.create_object(&right).await?;
        bind(&namespace, "Role", "permits", &subject).await?;
        eventually("the right counts", PATIENCE, async || {
            let changed = namespaces.patch(name, &parameters, &labelled(Some("true"))).await;
            Ok(changed.map_or_else(|error| Seen::NotYet(error.to_string()), |_| Seen::Done(())))
        })
        .await?;
        // It is the administrator's word, so it is not taken back by others either.
        namespace.api::<RoleBinding>().delete("permits", &DeleteParams::default()).await?;
        eventually("the right is gone", PATIENCE, async || {
            let trial = PatchParams { dry_run: true, ..PatchParams::default() };
            let changed = namespaces.patch(name, &trial, &labelled(None)).await;
            Ok(if changed.is_err() { Seen::Done(()) } else { Seen::NotYet("the label may be taken away".to_owned()) })
        })
        .await?;
        namespaces.patch(name, &parameters, &other).await.context("another label, beside this one")?;
        Ok(())
    })
    .await
}
