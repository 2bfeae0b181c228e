//! Asking processes whether they are well.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// How long one question may take; who needs longer is not well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A client for a kubeconfig file.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let what = || format!("the kubeconfig {} can't be used", kubeconfig.display());
    let content = Kubeconfig::read_from(kubeconfig).with_context(what)?;
    let config =
        Config::from_custom_kubeconfig(content, &KubeConfigOptions::default()).await.with_context(what)?;
    Client::try_from(config).with_context(what)
}

/// Whether the API server says that it is ready.
pub(crate) async fn api_server_is_ready(kubeconfig: &Path) -> bool {
    match client(kubeconfig).await {
        Ok(client) => get(&client, "/readyz").await,
        Err(_) => false,
    }
}

/// Whether a URL answers with success.
pub(crate) async fn answers(url: &str) -> bool {
    ask(url, false).await
}

/// The same for a server whose certificate is made at its start and signed by nobody.
pub(crate) async fn answers_tls(url: &str) -> bool {
    ask(url, true).await
}

async fn ask(url: &str, any_certificate: bool) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let path = uri.path().to_owned();
    let Some(origin) = url.strip_suffix(&path).and_then(|origin| origin.parse().ok()) else { return false };
    let mut config = Config::new(origin);
    config.accept_invalid_certs = any_certificate;
    match Client::try_from(config) {
        Ok(client) => get(&client, &path).await,
        Err(_) => false,
    }
}

async fn get(client: &Client, path: &str) -> bool {
    let Ok(request) = http::Request::get(path).body(Vec::new()) else { return false };
    matches!(tokio::time::timeout(PATIENCE, client.request_text(request)).await, Ok(Ok(_)))
}
