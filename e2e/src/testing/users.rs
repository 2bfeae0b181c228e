//! Clients that speak as users of the cluster.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Client,
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use super::TestNamespace;
use crate::Cluster;

/// A client that speaks as a user.
///
/// # Errors
/// Where the kubeconfig can't be read.
pub async fn impersonating(cluster: &Cluster, user: &str) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.to_owned());
    Ok(Client::try_from(config)?)
}

/// A client of somebody who has the role `edit` in a namespace, and nothing else.
///
/// # Errors
/// Where the role can't be given.
pub async fn tenant_of(namespace: &TestNamespace) -> Result<Client> {
    let user = format!("tenant-of-{}", namespace.name());
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "tenant" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    }))?;
    namespace.create_object(&binding).await?;
    impersonating(namespace.cluster(), &user).await
}
