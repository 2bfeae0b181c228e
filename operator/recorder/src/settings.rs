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
    /// The DaemonSet that it belongs to: once that is gone, a recorder that ends detaches its programs.
    #[arg(long, default_value = "portcullis-recorder")]
    pub daemon_set: String,
    /// Where the host's BPF file system is mounted.
    #[arg(long, default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,
    /// Containers that are told apart at a time, those that ended a moment ago included. 8.4 KiB of kernel memory each, and
    /// beyond 512 room for 32 more values of arguments each.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=1024))]
    pub containers: u32,
}
