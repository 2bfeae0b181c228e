//! What an operator of the agent can set.

use std::{path::PathBuf, time::Duration};

/// Settings of `portcullis agent`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// The node that this agent writes on.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// UID of this agent's pod; it stands in the node's status, so that everybody sees who wrote it.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// Name of this agent's pod, for Events.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Namespace of this agent's pod.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// Where the host's `<kubelet root>/seccomp` is mounted.
    #[arg(long, default_value = "/host/seccomp")]
    pub directory: PathBuf,
    /// The directory below it that Portcullis owns: one name, without a slash.
    #[arg(long, default_value = portcullis_api::DEFAULT_SUBDIRECTORY, value_parser = single_name)]
    pub subdirectory: String,
    /// The directory's path on the host, for messages only.
    #[arg(long, default_value = "/var/lib/kubelet/seccomp")]
    pub host_directory: PathBuf,
    /// Seconds between two lists of all revisions' metadata, give or take a fifth.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub relist_seconds: u64,
    /// Seconds between two readings of every file and its comparison with its digest, give or take a fifth.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub rehash_seconds: u64,
    /// Revisions that are taken in: what fits into the memory that the agent has. More are reported as TooMany.
    #[arg(long, default_value_t = 25_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_revisions: u32,
    /// Seconds for which a file stays whose revision a list no longer names.
    #[arg(long, default_value_t = 600)]
    pub grace_seconds: u64,
}

/// How long the keeper waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Between two rehashes.
    pub(crate) rehash: Duration,
    /// Before a file goes that a list no longer names.
    pub(crate) grace: Duration,
}

impl Settings {
    /// How many revisions are taken in.
    pub(crate) fn most(&self) -> usize {
        usize::try_from(self.max_revisions).unwrap_or(usize::MAX)
    }

    pub(crate) fn timing(&self) -> Timing {
        Timing {
            rehash: Duration::from_secs(self.rehash_seconds),
            grace: Duration::from_secs(self.grace_seconds),
        }
    }
}

/// A sub-directory of one component: the agent opens it without following anything.
pub(crate) fn single_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= 63 && !text.starts_with('.') && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("give one directory name of at most 63 letters, digits, '-', '_' and '.', not beginning with a dot"
            .to_owned())
    }
}

/// A duration between four and six fifths of this one, so that thousands of agents don't act at once.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_plain_name_as_the_sub_directory() {
        for name in ["profiles", "portcullis.dev", "a_b-c"] {
            assert_eq!(single_name(name), Ok(name.to_owned()));
        }
        for name in ["", ".", "..", "a/b", "/a", ".hidden", "a\0", "ä", &"a".repeat(64)] {
            assert!(single_name(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..1000 {
            let seconds = jittered(Duration::from_secs(100)).as_secs_f64();
            assert!((80.0..=120.0).contains(&seconds), "{seconds}");
        }
    }
}
