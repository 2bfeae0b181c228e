//! A client of the API server, for the roles that run on every node.

use std::time::Duration;

use kube::{Client, Config};

/// How long connecting to the API server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration can't be used.
    #[error("can't configure a client of the API server: {0}")]
    Client(#[source] kube::Error),
    /// There is no configuration.
    #[error(
        "found no way to reach the API server, neither in the pod's environment nor in a kubeconfig: {0}"
    )]
    Configuration(#[from] kube::config::InferConfigError),
}

/// A client by the pod's environment or a kubeconfig. An API server that does not answer is given up after five seconds.
///
/// # Errors
/// Where nothing says how to reach an API server, or it can't be used.
pub async fn client() -> Result<Client, ClientError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(ClientError::Client)
}
