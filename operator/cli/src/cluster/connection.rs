//! How to reach a cluster: kubectl's own flags, kubeconfig files, or a pod's service account.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueHint};
use clap_complete::ArgValueCandidates;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{Cluster, failure};
use crate::complete;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster, and as whom. The flags are kubectl's.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Connection {
    /// The namespace; the context's where it is not given.
    #[arg(short, long, value_name = "NAMESPACE", add = ArgValueCandidates::new(complete::namespaces))]
    pub(crate) namespace: Option<String>,
    /// The kubeconfig file; without it $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context.
    #[arg(long, value_name = "NAME", help_heading = "Connection", add = ArgValueCandidates::new(complete::contexts))]
    pub(crate) context: Option<String>,
    /// The kubeconfig's cluster.
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub(crate) cluster: Option<String>,
    /// The kubeconfig's user.
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub(crate) user: Option<String>,
    /// The API server's address.
    #[arg(short, long, value_name = "URL", help_heading = "Connection")]
    server: Option<http::Uri>,
    /// The bearer token to show to the API server.
    #[arg(long, value_name = "TOKEN", help_heading = "Connection", hide_env_values = true)]
    token: Option<String>,
    /// The user to impersonate.
    #[arg(long = "as", value_name = "USER", help_heading = "Connection")]
    impersonate: Option<String>,
    /// A group to impersonate; may be repeated.
    #[arg(long = "as-group", value_name = "GROUP", help_heading = "Connection", requires = "impersonate")]
    impersonate_groups: Vec<String>,
    /// The UID to impersonate.
    #[arg(long = "as-uid", value_name = "UID", help_heading = "Connection", requires = "impersonate")]
    impersonate_uid: Option<String>,
    /// The file of the authority that signed the API server's certificate.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    certificate_authority: Option<PathBuf>,
    /// Don't check the API server's certificate: whoever answers is believed.
    #[arg(long, help_heading = "Connection", conflicts_with = "certificate_authority")]
    insecure_skip_tls_verify: bool,
    /// The name to expect in the API server's certificate.
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    tls_server_name: Option<String>,
    /// How long one answer may take, for example 5s or 1m; 0 is without end.
    #[arg(long, value_name = "TIME", help_heading = "Connection", default_value = "30s", value_parser = duration)]
    request_timeout: Limit,
}

/// How long something may take; no time where it may take for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

/// A time as kubectl takes it: `0`, whole seconds, or a sum of numbers with units such as `1m30s`.
///
/// Source: ParseTimeout in k8s.io/client-go/tools/clientcmd/helpers.go, ParseDuration in Go's time package.
pub(crate) fn duration(text: &str) -> Result<Limit, String> {
    let wrong = || format!("{text:?} is no time: write a number with ms, s, m or h, such as 30s or 1m30s");
    let limit = |time: Duration| Limit((!time.is_zero()).then_some(time));
    if let Ok(seconds) = text.parse() {
        return Ok(limit(Duration::from_secs(seconds)));
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = &rest[digits..];
        let unit = &unit[..unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len())];
        let one = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(wrong()),
        };
        sum = one.checked_mul(number).and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + unit.len()..];
    }
    Ok(limit(sum))
}

impl Connection {
    /// A client of the cluster. Nothing is asked of it yet.
    pub(crate) async fn connect(&self) -> Result<Cluster> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        self.amend(&mut config)?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        // A watch is silent for as long as nothing happens.
        let watching = client(config.clone())?;
        config.read_timeout = self.request_timeout.0;
        Ok(Cluster { client: client(config)?, watching, namespace, server })
    }

    async fn config(&self) -> Result<Config> {
        let (context, cluster, user) = (self.context.clone(), self.cluster.clone(), self.user.clone());
        let options = KubeConfigOptions { context, cluster, user };
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .map_err(|error| unusable(&error))
                .with_context(|| format!("--kubeconfig {}", path.display()))?,
            None => match found_kubeconfig() {
                Ok(kubeconfig) => kubeconfig,
                Err(_) if !self.names_part_of_a_kubeconfig() && is_no_kubeconfig() => {
                    return self.without_kubeconfig();
                }
                Err(error) => return Err(unusable(&error)),
            },
        };
        let named = kubeconfig.current_context.as_deref().is_some_and(|name| !name.is_empty());
        if !named && self.context.is_none() {
            match &self.server {
                Some(server) => return Ok(Config::new(server.clone())),
                None => bail!(
                    "the kubeconfig has no current context: name one with --context, or choose one with \
                     `kubectl config use-context`"
                ),
            }
        }
        Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))
    }

    fn names_part_of_a_kubeconfig(&self) -> bool {
        self.context.is_some() || self.cluster.is_some() || self.user.is_some()
    }

    /// In a pod, or where everything is given by flags.
    fn without_kubeconfig(&self) -> Result<Config> {
        match (&self.server, Config::incluster()) {
            (Some(server), _) => Ok(Config::new(server.clone())),
            (None, Ok(config)) => Ok(config),
            (None, Err(_)) => bail!(
                "no cluster is configured: $KUBECONFIG is not set, there is no ~/.kube/config, and this is no pod; \
                 use --kubeconfig FILE or --server URL"
            ),
        }
    }

    /// What flags say goes before what the kubeconfig says.
    fn amend(&self, config: &mut Config) -> Result<()> {
        if let Some(server) = &self.server {
            config.cluster_url = server.clone();
        }
        if let Some(token) = &self.token {
            config.auth_info.token = Some(token.clone().into());
            config.auth_info.exec = None;
        }
        if self.impersonate.is_some() {
            config.auth_info.impersonate.clone_from(&self.impersonate);
            config.auth_info.impersonate_uid.clone_from(&self.impersonate_uid);
            config.auth_info.impersonate_groups =
                (!self.impersonate_groups.is_empty()).then(|| self.impersonate_groups.clone());
        }
        if let Some(path) = &self.certificate_authority {
            let pem = std::fs::read(path)
                .with_context(|| format!("--certificate-authority {} can't be read", path.display()))?;
            config.root_cert_file = Some(path.clone());
            anyhow::ensure!(
                pem.starts_with(b"-----BEGIN") || pem.windows(11).any(|part| part == b"\n-----BEGIN"),
                "--certificate-authority {} holds no certificate in PEM",
                path.display()
            );
        }
        if self.insecure_skip_tls_verify {
            config.accept_invalid_certs = true;
        }
        if let Some(name) = &self.tls_server_name {
            config.tls_server_name = Some(name.clone());
        }
        Ok(())
    }
}

/// The error's own words hold its cause.
fn unusable(error: &KubeconfigError) -> anyhow::Error {
    anyhow!("the kubeconfig can't be used: {error}")
}

/// What $KUBECONFIG names, or ~/.kube/config.
fn found_kubeconfig() -> Result<Kubeconfig, KubeconfigError> {
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(value) => merged(std::env::split_paths(&value)),
        None => Kubeconfig::read(),
    }
}

/// Several files as one. Those that are not there are passed over, as kubectl does, unless none is.
fn merged(paths: impl Iterator<Item = PathBuf>) -> Result<Kubeconfig, KubeconfigError> {
    let all: Vec<_> = paths.filter(|path| !path.as_os_str().is_empty()).collect();
    let mut there: Vec<_> = all.iter().filter(|path| path.exists()).collect();
    if there.is_empty() {
        there.extend(all.first());
    }
    there
        .into_iter()
        .try_fold(Kubeconfig::default(), |merged, path| merged.merge(Kubeconfig::read_from(path)?))
}

/// Whether no kubeconfig is named by the environment and none is where one would be by default.
fn is_no_kubeconfig() -> bool {
    let named = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let by_default = std::env::home_dir().map(|home| home.join(".kube/config"));
    !named && !by_default.is_some_and(|path| path.exists())
}

fn client(config: Config) -> Result<Client> {
    let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
    Client::try_from(config).map_err(|error| failure::plain(&error)).with_context(|| match plugin {
        Some(plugin) => format!("the kubeconfig's credential plugin {plugin:?} does not help"),
        None => "the kubeconfig can't be used".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubeconfigs_that_are_not_there_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, context: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: {context}\ncontexts: [{{name: {context}, context: {{cluster: c}}}}]\n"
            );
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, two, missing) = (file("one", "a"), file("two", "b"), folder.path().join("missing"));
        let found = merged([missing.clone(), one, PathBuf::new(), two].into_iter()).unwrap();
        assert_eq!(found.current_context.as_deref(), Some("a"));
        assert_eq!(found.contexts.len(), 2);
        assert!(merged([missing].into_iter()).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn times_are_kubectls() {
        for (text, milliseconds) in
            [("5", 5000), ("30s", 30_000), ("1m30s", 90_000), ("250ms", 250), ("2h", 7_200_000)]
        {
            assert_eq!(duration(text), Ok(Limit(Some(Duration::from_millis(milliseconds)))), "{text}");
        }
        for text in ["0", "0s"] {
            assert_eq!(duration(text), Ok(Limit(None)), "{text}");
        }
        for text in ["-1", "1d", "s", "1.5s", "s5", "99999999999999999999h", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
