//! A client of the API server, for every role.

use std::time::Duration;

use kube::{Client, Config};

/// How long connecting to the API server may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nothing at all may come on a connection that something is awaited on. The API server ends a watch after 290 s at most
/// (`timeoutSeconds`, which kube sets), so only a connection that is dead is silent for longer: a node that lost its power answers no more,
/// and TCP alone takes a quarter of an hour to notice.
const SILENCE: Duration = Duration::from_secs(300);

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

/// A client by the pod's environment or a kubeconfig. A connection that is not made after five seconds is given
/// up, and one on which nothing comes for five minutes.
///
/// # Errors
/// Where nothing says how to reach an API server, or it can't be used.
pub async fn client() -> Result<Client, ClientError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    // Else the time that a connection was idle before a request counts too.
    config.reset_reader_on_write = true;
    Client::try_from(config).map_err(ClientError::Client)
}
