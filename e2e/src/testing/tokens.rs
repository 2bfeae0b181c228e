//! Clients that speak as a service account of the operator, as one who stole a token would.

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::PostParams,
    config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::{Cluster, operator::SYSTEM_NAMESPACE};

/// A client with a token of an account, bound to a pod or to nothing.
///
/// # Errors
/// Where the API server gives no token.
pub async fn with_token(cluster: &Cluster, account: &str, pod: Option<&Pod>) -> Result<Client> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), SYSTEM_NAMESPACE);
    let bound =
        pod.map(|pod| json!({ "kind": "Pod", "apiVersion": "v1", "name": pod.name_any(), "uid": pod.uid() }));
    let request: TokenRequest =
        serde_json::from_value(json!({ "spec": { "audiences": [], "boundObjectRef": bound } }))?;
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = answer.status.context("no token came")?.token;
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info = serde_json::from_value::<AuthInfo>(json!({ "token": token }))?;
    Ok(Client::try_from(config)?)
}
