//! etcd and the control plane's processes.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    binaries::Binaries,
    health, kubeconfig, network,
    paths::{self, Paths},
    pki::{Authority, Identity, certificate_file, key_file},
    process::{Program, Supervisor},
    wait,
};

pub(crate) const ETCD: &str = "etcd";
pub(crate) const API_SERVER: &str = "kube-apiserver";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";
pub(crate) const PROXY: &str = "kube-proxy";
/// All of them, in the order in which they start.
pub(crate) const ALL: [&str; 5] = [ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER, PROXY];

/// etcd speaks without TLS, so it listens where pods can't reach it.
const ETCD_CLIENT_URL: &str = "http://127.0.0.1:2379";
const ETCD_PEER_URL: &str = "http://127.0.0.1:2380";
const API_SERVER_PATIENCE: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes certificates and kubeconfigs of everything but nodes.
pub(crate) fn prepare(paths: &Paths) -> Result<Authority> {
    let authority = Authority::create(paths)?;
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    authority.issue(&Identity {
        name: API_SERVER,
        common_name: "kube-apiserver",
        organization: None,
        dns: names.map(str::to_owned).to_vec(),
        addresses: vec![IpAddr::V4(network::CONTROL_PLANE), IpAddr::V4(network::API_SERVICE)],
    })?;
    for (name, user, group) in [
        ("admin", "admin", Some("system:masters")),
        ("kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters")),
        (CONTROLLER_MANAGER, "system:kube-controller-manager", None),
        (SCHEDULER, "system:kube-scheduler", None),
        (PROXY, "system:kube-proxy", None),
    ] {
        authority.issue(&Identity::client(name, user, group))?;
    }
    for name in [CONTROLLER_MANAGER, SCHEDULER, PROXY] {
        kubeconfig::write(paths, name, &paths.component_kubeconfig(name))?;
    }
    kubeconfig::write(paths, "admin", &paths.kubeconfig())?;
    Ok(authority)
}

/// Starts etcd and the API server and waits until the latter answers.
pub(crate) async fn start_api(paths: &Paths, supervisor: &Supervisor, binaries: &Binaries) -> Result<()> {
    supervisor.start(&etcd(paths, binaries))?;
    wait_for(ETCD, paths, supervisor).await?;
    supervisor.start(&api_server(paths, binaries))?;
    wait_for(API_SERVER, paths, supervisor).await
}

/// Starts what works through the API server.
pub(crate) fn start_controllers(
    paths: &Paths,
    supervisor: &Supervisor,
    binaries: &Binaries,
    proxys_node: &str,
) -> Result<()> {
    supervisor.start(&controller_manager(paths, binaries))?;
    supervisor.start(&scheduler(paths, binaries))?;
    supervisor.start(&proxy(paths, binaries, proxys_node)?)
}

/// Waits until a process of the control plane says that it is ready.
pub(crate) async fn wait_for(name: &str, paths: &Paths, supervisor: &Supervisor) -> Result<()> {
    let patience = if name == API_SERVER { API_SERVER_PATIENCE } else { PATIENCE };
    wait::until(patience, async || Ok(is_ready(name, paths).await), || !supervisor.is_alive(name))
        .await?
        .map_err(|state| supervisor.complaint(name, state))
}

/// Whether a process of the control plane says that it is ready.
pub(crate) async fn is_ready(name: &str, paths: &Paths) -> bool {
    match name {
        ETCD => health::answers(&format!("{ETCD_CLIENT_URL}/health")).await,
        API_SERVER => health::api_server_is_ready(&paths.kubeconfig()).await,
        CONTROLLER_MANAGER => health::answers_tls("https://127.0.0.1:10257/healthz").await,
        SCHEDULER => health::answers_tls("https://127.0.0.1:10259/healthz").await,
        _ => health::answers("http://127.0.0.1:10256/livez").await,
    }
}

fn program(name: &str, binaries: &Binaries, flags: &[(&str, String)]) -> Program {
    let mut arguments = vec![binaries.path(name).display().to_string()];
    arguments.extend(flags.iter().map(|(flag, value)| format!("--{flag}={value}")));
    Program { name: name.to_owned(), arguments, mounts_of: None }
}

fn etcd(paths: &Paths, binaries: &Binaries) -> Program {
    program(
        ETCD,
        binaries,
        &[
            ("data-dir", paths.run().join("etcd").display().to_string()),
            ("listen-client-urls", ETCD_CLIENT_URL.to_owned()),
            ("advertise-client-urls", ETCD_CLIENT_URL.to_owned()),
            ("listen-peer-urls", ETCD_PEER_URL.to_owned()),
            ("initial-advertise-peer-urls", ETCD_PEER_URL.to_owned()),
            ("initial-cluster", format!("default={ETCD_PEER_URL}")),
            // The data need not survive the machine, and a test machine's disk is slow.
            ("unsafe-no-fsync", "true".to_owned()),
        ],
    )
}

fn api_server(paths: &Paths, binaries: &Binaries) -> Program {
    let pki = |file: &str| paths.pki().join(file).display().to_string();
    program(
        API_SERVER,
        binaries,
        &[
            ("etcd-servers", ETCD_CLIENT_URL.to_owned()),
            ("advertise-address", network::CONTROL_PLANE.to_string()),
            ("bind-address", network::CONTROL_PLANE.to_string()),
            ("secure-port", network::API_SERVER_PORT.to_string()),
            ("tls-cert-file", certificate_file(paths, API_SERVER).display().to_string()),
            ("tls-private-key-file", key_file(paths, API_SERVER).display().to_string()),
            ("client-ca-file", pki("ca.crt")),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("service-account-key-file", pki("sa.pub")),
            ("service-account-signing-key-file", pki("sa.key")),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-cluster-ip-range", network::SERVICE_RANGE.to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("kubelet-client-certificate", certificate_file(paths, "kubelet-client").display().to_string()),
            ("kubelet-client-key", key_file(paths, "kubelet-client").display().to_string()),
            ("kubelet-certificate-authority", pki("ca.crt")),
            // The nodes' names mean nothing to the machine's resolver.
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("profiling", "false".to_owned()),
        ],
    )
}

fn controller_manager(paths: &Paths, binaries: &Binaries) -> Program {
    let pki = |file: &str| paths.pki().join(file).display().to_string();
    program(
        CONTROLLER_MANAGER,
        binaries,
        &[
            ("kubeconfig", paths.component_kubeconfig(CONTROLLER_MANAGER).display().to_string()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("leader-elect", "false".to_owned()),
            ("use-service-account-credentials", "true".to_owned()),
            ("service-account-private-key-file", pki("sa.key")),
            ("root-ca-file", pki("ca.crt")),
            // A stopped kubelet shows as NotReady after this, not after the usual 50 s.
            ("node-monitor-grace-period", "16s".to_owned()),
            ("node-monitor-period", "2s".to_owned()),
            ("profiling", "false".to_owned()),
        ],
    )
}

fn scheduler(paths: &Paths, binaries: &Binaries) -> Program {
    program(
        SCHEDULER,
        binaries,
        &[
            ("kubeconfig", paths.component_kubeconfig(SCHEDULER).display().to_string()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("leader-elect", "false".to_owned()),
            ("profiling", "false".to_owned()),
        ],
    )
}

/// One kube-proxy serves all nodes, because they share the machine's network namespace.
fn proxy(paths: &Paths, binaries: &Binaries, node: &str) -> Result<Program> {
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": paths.component_kubeconfig(PROXY) },
        "hostnameOverride": node,
        "clusterCIDR": network::POD_RANGE,
        "detectLocalMode": "ClusterCIDR",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // Answers of a pod on the same bridge must come back the way they went, with or without br_netfilter.
        "nftables": { "masqueradeAll": true },
        // Leave the kernel's connection tracking as it is.
        "conntrack": { "maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    });
    let file = paths.run().join("kube-proxy.json");
    paths::write_json(&file, &configuration).context("the configuration of kube-proxy can't be written")?;
    Ok(program(PROXY, binaries, &[("config", file.display().to_string())]))
}
