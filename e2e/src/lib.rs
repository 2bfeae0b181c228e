//! A real Kubernetes on this machine, and what end-to-end tests need to use it or a cluster of the user's own.
//!
//! [`Cluster::from_env`] gives a test its cluster: the one that `KUBECONFIG` names, or else the local one, brought up where it
//! is not up yet. The binary `cluster` does the same by hand.

mod binaries;
mod bpffs;
mod cgroup;
pub mod cli;
mod clients;
mod cluster;
pub mod command;
mod control_plane;
mod health;
pub mod image;
mod kubeconfig;
mod local;
mod lock;
mod machine;
mod network;
mod node;
pub mod operator;
mod packages;
mod paths;
mod pki;
mod process;
pub mod progress;
pub mod registry;
pub mod settings;
pub mod testing;
mod wait;

pub use binaries::{Binaries, Client, oras};
pub use cluster::{Cluster, Component};
pub use local::{FIRST_NODES, LocalCluster, ProcessStatus, Status};
pub use lock::{Lock, Usage};
pub use node::NodeOptions;
pub use operator::Operator;
pub use packages::{buildah, promtool};
pub use paths::Paths;
