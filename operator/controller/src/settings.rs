//! Settings of the controller.

/// Settings of the controller.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The namespace that the controller and the agents run in.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The name of the controller's own pod: who holds the lease, and who reports Events.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// The agents' DaemonSet: nodes that it does not go to don't count.
    #[arg(long, env = "PORTCULLIS_AGENT_DAEMONSET", default_value = "portcullis-agent")]
    pub agent_daemonset: String,
    /// The label selector of the agents' pods.
    #[arg(
        long,
        env = "PORTCULLIS_AGENT_SELECTOR",
        default_value = "app.kubernetes.io/name=portcullis,app.kubernetes.io/component=agent"
    )]
    pub agent_selector: String,
    /// The sub-directory of the kubelet's seccomp directory that Portcullis owns.
    #[arg(long, env = "PORTCULLIS_SUBDIRECTORY", default_value = portcullis_api::DEFAULT_SUBDIRECTORY)]
    pub subdirectory: String,
    /// The lease by which one of the replicas leads.
    #[arg(long, env = "PORTCULLIS_LEASE_NAME", default_value = "portcullis-controller")]
    pub lease_name: String,
    /// Looks at SeccompRecordings as well. Needs their definitions and the rights on them; without it they cost nothing.
    #[arg(long, env = "PORTCULLIS_RECORDINGS")]
    pub recordings: bool,
}
