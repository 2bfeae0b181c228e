//! What an operator of the recorder can set.

use std::path::PathBuf;

/// Settings of `portcullis recorder`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The node that this recorder is on.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// Name of this recorder's pod, for Events.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Namespace of this recorder's pod.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The DaemonSet that it belongs to: once that is deleted, a recorder that ends detaches its programs.
    #[arg(long, default_value = "portcullis-recorder")]
    pub daemon_set: String,
    /// The directory in the host's BPF file system below which programs and counters are pinned. No other is needed of it.
    #[arg(long, default_value = "/sys/fs/bpf/portcullis")]
    pub pins: PathBuf,
    /// Containers that are told apart at a time, those that ended a moment ago included. 46 KiB of kernel memory each. Those of one
    /// namespace take at most twice as many as they leave free.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=1024))]
    pub containers: u32,
    /// SeccompRecordings of one namespace that are recorded: the oldest ones. The controller has the same setting.
    #[arg(
        long,
        env = "PORTCULLIS_MAX_RECORDINGS_PER_NAMESPACE",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_recordings_per_namespace: u32,
}
