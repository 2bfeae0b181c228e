//! Settings of the controller.

use std::time::Duration;

use portcullis_api::Owner;

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
    /// The label selector of the recorders' pods: recordings are told of nodes that have none.
    #[arg(
        long,
        env = "PORTCULLIS_RECORDER_SELECTOR",
        default_value = "app.kubernetes.io/name=portcullis,app.kubernetes.io/component=recorder"
    )]
    pub recorder_selector: String,
    /// The sub-directory of the kubelet's seccomp directory that Portcullis owns.
    #[arg(long, env = "PORTCULLIS_SUBDIRECTORY", default_value = portcullis_api::DEFAULT_SUBDIRECTORY)]
    pub subdirectory: String,
    /// The lease by which one of the replicas leads.
    #[arg(long, env = "PORTCULLIS_LEASE_NAME", default_value = "portcullis-controller")]
    pub lease_name: String,
    /// Looks at SeccompRecordings as well. Needs their definitions and the rights on them; without it they cost nothing.
    #[arg(long, env = "PORTCULLIS_RECORDINGS")]
    pub recordings: bool,
    /// A ClusterSeccompProfile in the runtime default's place: what namespaces' profiles may allow, and Audit mode lets through. Without it
    /// that is what the defaults of all supported runtimes allow.
    #[arg(long, env = "PORTCULLIS_BASELINE", value_name = "NAME", value_parser = cluster_profile)]
    pub baseline: Option<Owner>,
    /// What one namespace may have.
    #[command(flatten)]
    pub bounds: Bounds,
    /// How long what a node reports has to last.
    #[command(flatten)]
    pub lasting: Lasting,
}

/// How long what a node reports has to last.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Lasting {
    /// Seconds for which a Ready that stands outlasts it when a node reports less than before.
    #[arg(long, env = "PORTCULLIS_FALL_SECONDS", default_value_t = 5)]
    pub fall_seconds: u32,
    /// Seconds after which a node counts again that was left out because its report fell back again and again, if it has not since.
    #[arg(long, env = "PORTCULLIS_STEADY_SECONDS", default_value_t = 600, value_parser = at_least_one)]
    pub steady_seconds: u32,
}

impl Lasting {
    /// See [`Self::fall_seconds`].
    pub(crate) fn fall(&self) -> Duration {
        Duration::from_secs(self.fall_seconds.into())
    }

    /// See [`Self::steady_seconds`].
    pub(crate) fn steady(&self) -> Duration {
        Duration::from_secs(self.steady_seconds.into())
    }
}

fn cluster_profile(name: &str) -> Result<Owner, String> {
    Owner::cluster(name).map_err(|error| error.to_string())
}

/// What one namespace may have, how fast, and what the cluster may. Cluster profiles, an administrator's own, have no bound.
#[derive(Clone, Debug, clap::Args)]
pub struct Bounds {
    /// SeccompProfiles of one namespace that are served: the oldest ones.
    #[arg(long, env = "PORTCULLIS_MAX_PROFILES_PER_NAMESPACE", default_value_t = 500, value_parser = at_least_one)]
    pub max_profiles_per_namespace: u32,
    /// Revisions of one namespace's profiles. Each is on every node.
    #[arg(long, env = "PORTCULLIS_MAX_REVISIONS_PER_NAMESPACE", default_value_t = 2000, value_parser = at_least_one)]
    pub max_revisions_per_namespace: u32,
    /// Mebibytes of the contents of these revisions. Each is on every node twice.
    #[arg(long, env = "PORTCULLIS_MAX_REVISION_MIB_PER_NAMESPACE", default_value_t = 32, value_parser = at_least_one)]
    pub max_revision_mib_per_namespace: u32,
    /// Revisions of one profile that are kept beyond its history because pods name them; the newest of them. 0 keeps none.
    #[arg(long, env = "PORTCULLIS_MAX_REVISIONS_KEPT_FOR_PODS", default_value_t = 10)]
    pub max_revisions_kept_for_pods: u32,
    /// SeccompRecordings of one namespace that are recorded: the oldest ones.
    #[arg(long, env = "PORTCULLIS_MAX_RECORDINGS_PER_NAMESPACE", default_value_t = 20, value_parser = at_least_one)]
    pub max_recordings_per_namespace: u32,
    /// Revisions of all namespaces together: what fits into the memory of agents and controller.
    #[arg(long, env = "PORTCULLIS_MAX_REVISIONS", default_value_t = 20_000, value_parser = at_least_one)]
    pub max_revisions: u32,
    /// Revisions of one profile that are written without a pause.
    #[arg(long, env = "PORTCULLIS_REVISION_BURST", default_value_t = 20, value_parser = at_least_one)]
    pub revision_burst: u32,
    /// Seconds between two revisions of one profile after that.
    #[arg(long, env = "PORTCULLIS_SECONDS_PER_REVISION", default_value_t = 10, value_parser = at_least_one)]
    pub seconds_per_revision: u32,
    /// Profiles a second that are worked out anew because a profile that they build on changed, beyond the first 20.
    #[arg(long, env = "PORTCULLIS_DEPENDENTS_PER_SECOND", default_value_t = 10, value_parser = at_least_one)]
    pub dependents_per_second: u32,
}

fn at_least_one(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
fn default<T: clap::Args>() -> T {
    #[derive(clap::Parser)]
    struct Alone<T: clap::Args> {
        #[command(flatten)]
        settings: T,
    }
    <Alone<T> as clap::Parser>::parse_from(["controller"]).settings
}

#[cfg(test)]
impl Default for Bounds {
    fn default() -> Self {
        default()
    }
}

#[cfg(test)]
impl Default for Lasting {
    fn default() -> Self {
        default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_nothing_is_refused() {
        assert_eq!(at_least_one("7"), Ok(7));
        for text in ["0", "-1", "", "many"] {
            assert!(at_least_one(text).is_err(), "{text}");
        }
    }
}
